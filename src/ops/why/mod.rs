//! Why is nothing sent, why does this message wait? One answer for all who ask: `gateway trace`,
//! `gateway check`, the ops listener's `/readyz` and API, the metrics, the log and the demo.
//!
//! Pure: what was read is in [`facts`], what follows from it is here. Of several reasons the one is
//! told without whose end nothing would be sent: what needs a person before what ends by itself, and of
//! two pauses the longer one.

mod facts;
mod reason;
#[cfg(test)]
mod tests;

pub(super) use facts::{AccountFacts, ChannelFacts, Circuit, Held, Place, Rate, Site, Token};
pub(super) use reason::clock_time;
pub(super) use reason::{Code, Reason};

use crate::domain::UnixMs;

/// Why an account sends nothing, or less than it is set to.
pub(super) fn account(site: &Site, account: &AccountFacts) -> Option<Reason> {
    stopped(site, None, account).or_else(|| slowed(account))
}

/// The same of a channel.
pub(super) fn channel(site: &Site, facts: &ChannelFacts) -> Option<Reason> {
    stopped(site, Some(facts), &facts.account).or_else(|| slowed(&facts.account))
}

/// Why a message waits that is queued: always for something.
pub(super) fn message(site: &Site, facts: &ChannelFacts, place: &Place) -> Reason {
    let stopped = stopped(site, Some(facts), &facts.account);
    let pause = place.due.filter(|due| *due > site.now);
    match (stopped, pause) {
        // It may end before the pause of this message does.
        (Some(reason), Some(due)) if passes_before(&reason, due) => retry(place, due),
        (Some(reason), _) => reason,
        (None, Some(due)) => retry(place, due),
        (None, None) => turn(site, facts, place),
    }
}

/// Whether a reason ends by itself, and sooner than that. A hold has a time as well: of its next trial,
/// which may not be its end.
fn passes_before(reason: &Reason, due: UnixMs) -> bool {
    matches!(reason.code, Code::CircuitOpen | Code::AskedToWait)
        && reason.until.is_some_and(|until| until < due)
}

/// What stops sending altogether.
fn stopped(site: &Site, channel: Option<&ChannelFacts>, account: &AccountFacts) -> Option<Reason> {
    stopping(site)
        .or_else(|| store(site))
        .or_else(|| paused(channel?))
        .or_else(|| went_back(account))
        .or_else(|| catching_up(account))
        .or_else(|| reading_opt_outs(account))
        .or_else(|| no_token(account))
        .or_else(|| {
            held(
                channel
                    .map_or(&account.held, |channel| &channel.held)
                    .as_ref()?,
            )
        })
        .or_else(|| passing(site, account))
}

fn stopping(site: &Site) -> Option<Reason> {
    site.stopping.then(|| {
        Reason::of(Code::Draining, "the gateway is stopping")
            .cured("what waits is kept; the gateway sends it after its next start")
    })
}

fn store(site: &Site) -> Option<Reason> {
    let trouble = site.store.as_ref()?;
    Some(Reason::of(Code::StoreNotWritable, trouble.clone()))
}

fn paused(channel: &ChannelFacts) -> Option<Reason> {
    let id = &channel.id;
    channel.paused.then(|| {
        Reason::of(Code::Paused, format!("an operator paused channel {id}")).cured(format!(
            "POST /api/channels/{id}/resume at the ops listener ends it"
        ))
    })
}

fn went_back(account: &AccountFacts) -> Option<Reason> {
    let Token { reason, since } = account.went_back.as_ref()?;
    let id = &account.id;
    let words = format!("account {id} sends nothing: {reason}");
    let cure = format!(
        "with POST /api/holds/store:{id}/release at the ops listener the gateway sends what waits, and some people \
         may get a message twice; with .../fail it tells MoEngage 7004 for what waited in that state"
    );
    let reason = Reason::of(Code::StoreWentBack, words);
    Some(reason.since(*since).cured(cure))
}

fn catching_up(account: &AccountFacts) -> Option<Reason> {
    account.catching_up.then(|| {
        let words = format!(
            "Redis restarted, was replaced or went back: the gateway processes tell it first what they sent for \
             account {}",
            account.id
        );
        Reason::of(Code::StoreCatchingUp, words).cured(
            "the gateway goes on by itself once each process answered; it waits 15 s for a process that died",
        )
    })
}

fn reading_opt_outs(account: &AccountFacts) -> Option<Reason> {
    account.reading_opt_outs.then(|| {
        let words = format!(
            "account {} waits for the opt-outs that Datastore keeps, so that nobody who opted out gets a message",
            account.id
        );
        Reason::of(Code::ReadingOptOuts, words)
            .cured("the gateway sends once it has read them, and after 30 s in any case")
    })
}

fn no_token(account: &AccountFacts) -> Option<Reason> {
    let Token { reason, since } = account.no_token.as_ref()?;
    let words = format!("account {} has no token to send with: {reason}", account.id);
    let cure = format!(
        "gateway check says what to do; a new refresh token goes to PUT /api/accounts/{}/token/seed \
         at the ops listener",
        account.id
    );
    Some(Reason::of(Code::NoToken, words).since(*since).cured(cure))
}

fn held(held: &Held) -> Option<Reason> {
    let id = &held.id;
    let words = format!("{} is held: {}", id.replace(':', " "), held.words);
    let cure = format!(
        "a trial ends it once the provider takes a message; POST /api/holds/{id}/release at the ops \
         listener ends it now, .../fail gives up what waits"
    );
    let reason = Reason::of(Code::Held, words).since(held.since);
    // Until then nothing is tried; whether it ends then is not known.
    Some(reason.until(held.next_trial).cured(cure))
}

/// What ends by itself: the breaker's pause and the provider's own, the longer one first.
fn passing(site: &Site, account: &AccountFacts) -> Option<Reason> {
    let open = account.circuit.map(|Circuit { until }| {
        let id = &account.id;
        let words = match until.filter(|until| *until > site.now) {
            Some(until) => format!(
                "the provider of account {id} does not work; the gateway tries it again at {}",
                clock_time(until)
            ),
            None => {
                format!("the provider of account {id} did not work; the gateway is trying it now")
            }
        };
        Reason::of(Code::CircuitOpen, words)
            .until(until)
            .cured("sending goes on by itself as soon as the provider answers")
    });
    let asked = account.asked_to_wait.map(|until| {
        let words = format!(
            "the provider asked account {} to wait until {}",
            account.id,
            clock_time(until)
        );
        Reason::of(Code::AskedToWait, words)
            .until(Some(until))
            .cured("a change of the rate or a resume of the channel at the ops listener ends it")
    });
    open.into_iter().chain(asked).max_by_key(|one| one.until)
}

fn slowed(account: &AccountFacts) -> Option<Reason> {
    let Rate {
        set,
        effective,
        away,
    } = account.rate;
    let now = effective.filter(|now| set.is_none_or(|set| *now < set))?;
    let instead = match set {
        Some(set) => format!("instead of {set}"),
        None => "for a while".to_owned(),
    };
    let (why, cure) = match away {
        None => (
            format!("the provider said \"too fast\" to account {}", account.id),
            "the rate recovers by itself",
        ),
        Some(away) => (
            format!("Redis takes {} ms to answer", away.as_millis()),
            "an operator moves the gateway nearer to Redis, or raises CONCURRENT_API_CALLS",
        ),
    };
    let words = format!("{why}: {now:.2} calls per second {instead}");
    Some(Reason::of(Code::Slowed, words).cured(cure))
}

fn retry(place: &Place, due: UnixMs) -> Reason {
    let what = match place.attempts {
        0 => "this message is not due yet",
        _ => "the provider did not take the last try of this message",
    };
    let words = format!("{what}; the next try comes at {}", clock_time(due));
    Reason::of(Code::RetryPause, words).until(Some(due))
}

fn turn(site: &Site, facts: &ChannelFacts, place: &Place) -> Reason {
    let rate = facts.account.rate.effective.or(facts.account.rate.set);
    let expected = place.ahead.zip(rate).map(|(ahead, rate)| {
        let millis = (ahead as f64 * 1000.0 / rate).min(MOST_AHEAD_MS);
        // What others of the account send meanwhile comes on top.
        UnixMs(site.now.0.saturating_add(millis as i64))
    });
    let words = match place.ahead {
        Some(0) => "waits for its turn: it is the next one of its channel".to_owned(),
        Some(ahead) => format!("waits for its turn behind {ahead} others of its channel"),
        None => "waits for its turn".to_owned(),
    };
    let slower = slowed(&facts.account);
    let words = match &slower {
        Some(slower) => format!("{words}; {}", slower.words),
        None => words,
    };
    let code = slower.map_or(Code::Turn, |slower| slower.code);
    Reason {
        position: place.ahead.map(|ahead| ahead + 1),
        expected: expected.filter(|_| place.ahead.is_some()),
        ..Reason::of(code, words)
    }
}

/// Nothing is foretold farther ahead than a year.
const MOST_AHEAD_MS: f64 = 365.0 * 86_400_000.0;
