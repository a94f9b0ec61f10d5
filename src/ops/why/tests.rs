//! Each reason by itself, and which of several is told.

use super::*;
use proptest::prelude::*;

const NOW: UnixMs = UnixMs(1_930_000_000_000);

fn at(seconds: i64) -> UnixMs {
    UnixMs(NOW.0 + seconds * 1000)
}

fn site() -> Site {
    Site {
        now: NOW,
        stopping: false,
        store: None,
    }
}

fn facts() -> ChannelFacts {
    ChannelFacts {
        id: crate::domain::ChannelId::parse("uk").unwrap(),
        paused: false,
        held: None,
        account: AccountFacts {
            id: "acme".into(),
            rate: Rate {
                set: Some(10.0),
                effective: Some(10.0),
                away: None,
            },
            ..AccountFacts::default()
        },
    }
}

fn hold(id: &str) -> Held {
    Held {
        id: id.into(),
        words: "HTTP 403, to 5 people".into(),
        since: at(-60),
        next_trial: Some(at(15)),
    }
}

/// A change that brings about one reason.
type Harm = (Code, fn(&mut Site, &mut ChannelFacts));

/// From the reason that comes before all others to the one that comes after them.
const HARMS: [Harm; 9] = [
    (Code::Draining, |site, _| site.stopping = true),
    (Code::StoreNotWritable, |site, _| {
        site.store = Some("no disk".into());
    }),
    (Code::Paused, |_, channel| channel.paused = true),
    (Code::StoreWentBack, |_, channel| {
        let (reason, since) = ("Redis went back".into(), at(-5));
        channel.account.went_back = Some(Token { reason, since });
    }),
    (Code::StoreCatchingUp, |_, channel| {
        channel.account.catching_up = true;
    }),
    (Code::NoToken, |_, channel| {
        let (reason, since) = ("dead".into(), at(-5));
        channel.account.no_token = Some(Token { reason, since });
    }),
    (Code::Held, |_, channel| {
        channel.held = Some(hold("channel:uk"));
    }),
    (Code::CircuitOpen, |_, channel| {
        channel.account.circuit = Some(Circuit {
            until: Some(at(30)),
        });
    }),
    (Code::AskedToWait, |_, channel| {
        channel.account.asked_to_wait = Some(at(20));
    }),
];

#[test]
fn r_41_each_reason_says_what_happened_to_whom_and_what_ends_it() {
    let said = |code| {
        let (mut site, mut channel) = (site(), facts());
        let harm = HARMS.iter().find(|(of, _)| *of == code).unwrap().1;
        harm(&mut site, &mut channel);
        let reason = super::channel(&site, &channel).unwrap();
        assert_eq!(reason.code, code);
        assert_eq!(super::message(&site, &channel, &Place::default()), reason);
        reason
    };
    for (code, words) in [
        (Code::Draining, "after its next start"),
        (Code::StoreNotWritable, "no disk"),
        (Code::Paused, "channel uk; POST /api/channels/uk/resume"),
        (
            Code::StoreWentBack,
            "account acme sends nothing: Redis went back; with POST /api/holds/store:acme/release",
        ),
        (
            Code::StoreCatchingUp,
            "tell it first what they sent for account acme; the gateway goes on by itself",
        ),
        (
            Code::NoToken,
            "account acme has no token to send with: dead",
        ),
        (
            Code::Held,
            "channel uk is held: HTTP 403, to 5 people; a trial",
        ),
        (
            Code::CircuitOpen,
            "the gateway tries it again at 23:07:10 UTC",
        ),
        (
            Code::AskedToWait,
            "asked account acme to wait until 23:07:00 UTC",
        ),
    ] {
        let sentence = said(code).sentence();
        assert!(sentence.contains(words), "{words:?}: {sentence}");
    }
    assert_eq!(said(Code::Held).since, Some(at(-60)));
    assert_eq!(said(Code::Held).until, Some(at(15)));
    assert_eq!(said(Code::Paused).until, None);
}

#[test]
fn a_hold_of_the_account_is_told_of_the_account_and_one_of_a_channel_is_not() {
    let mut of_account = facts().account;
    assert_eq!(account(&site(), &of_account), None);
    of_account.held = Some(hold("account:acme"));
    let reason = account(&site(), &of_account).unwrap();
    assert!(
        reason.words.starts_with("account acme is held"),
        "{reason:?}"
    );
    assert!(
        reason
            .sentence()
            .contains("/api/holds/account:acme/release")
    );
}

#[test]
fn a_retry_is_told_when_its_pause_is_the_longer_one() {
    let place = |due| Place {
        due: Some(at(due)),
        attempts: 2,
        ahead: None,
    };
    let mut channel = facts();
    let code = |channel: &ChannelFacts, due| super::message(&site(), channel, &place(due)).code;
    assert_eq!(code(&channel, 8), Code::RetryPause);
    assert_eq!(code(&channel, -8), Code::Turn);
    channel.account.circuit = Some(Circuit {
        until: Some(at(30)),
    });
    assert_eq!(code(&channel, 8), Code::CircuitOpen);
    assert_eq!(code(&channel, 60), Code::RetryPause);
    // A trial in 15 s may not be the end of a hold.
    channel.held = Some(hold("channel:uk"));
    assert_eq!(code(&channel, 60), Code::Held);
    // Nobody knows when a pause of an operator's ends.
    channel.paused = true;
    assert_eq!(code(&channel, 60), Code::Paused);
}

#[test]
fn a_turn_has_a_place_and_a_time() {
    let place = |ahead| Place {
        due: Some(at(-1)),
        attempts: 0,
        ahead,
    };
    let mut channel = facts();
    let reason = super::message(&site(), &channel, &place(Some(600)));
    assert_eq!((reason.code, reason.position), (Code::Turn, Some(601)));
    assert_eq!(reason.expected, Some(at(60)));
    let first = super::message(&site(), &channel, &place(Some(0)));
    assert_eq!((first.position, first.expected), (Some(1), Some(NOW)));
    // Half the rate, twice the time; and the reason for it is told.
    channel.account.rate.effective = Some(5.0);
    let slower = super::message(&site(), &channel, &place(Some(600)));
    assert_eq!(
        (slower.code, slower.expected),
        (Code::Slowed, Some(at(120)))
    );
    assert!(
        slower.words.contains("5.00 calls per second instead of 10"),
        "{slower:?}"
    );
    channel.account.rate.away = Some(std::time::Duration::from_millis(310));
    let far = super::message(&site(), &channel, &place(Some(600)));
    assert_eq!((far.code, far.expected), (Code::Slowed, Some(at(120))));
    assert!(far.words.contains("takes 310 ms to answer"), "{far:?}");
    // No limit: no time.
    channel.account.rate = Rate::default();
    let free = super::message(&site(), &channel, &place(Some(600)));
    assert_eq!((free.code, free.expected), (Code::Turn, None));
}

proptest! {
    /// The first of all that is wrong, in the order of the table; the two pauses by their length.
    #[test]
    fn of_several_reasons_the_one_is_told_that_ends_last(wrong in prop::collection::vec(any::<bool>(), 7)) {
        let (mut site, mut channel) = (site(), facts());
        let chosen = || HARMS.iter().zip(&wrong).filter(|(_, on)| **on).map(|(harm, _)| harm);
        chosen().for_each(|(_, harm)| harm(&mut site, &mut channel));
        let first = chosen().next().map(|(code, _)| *code);
        prop_assert_eq!(super::channel(&site, &channel).map(|reason| reason.code), first);
        let told = super::message(&site, &channel, &Place::default());
        prop_assert_eq!(told.code, first.unwrap_or(Code::Turn));
        prop_assert!(!told.words.is_empty());
        // What stops an account is of the closed set of its metric.
        if let Some(reason) = super::account(&site, &channel.account) {
            prop_assert!(Code::OF_ACCOUNTS.contains(&reason.code));
        }
    }
}
