//! When a token is renewed, and when it is called dead, and any sequence of answers,
//! kills and clocks.

use super::*;
use proptest::prelude::*;
use std::sync::Mutex;

fn error(status: u16, word: &str) -> Reaction {
    Reaction::Json(status, json!({ "error": word }))
}

#[tokio::test]
async fn r_13_an_odd_answer_to_the_first_refresh_is_tried_again() {
    for (status, word) in [
        (400, "temporarily_unavailable"),
        (400, "server_error"),
        (401, "unauthorized"),
        (403, "access_denied"),
    ] {
        let fake = Fake::start(move |number, _| match number {
            0 => error(status, word),
            n => pair(n),
        })
        .await;
        let (_dir, store) = stores();
        let tokens = started(&fake, &store, Some("seed")).await;
        let said = tokens.access().await.unwrap_err();
        assert!(matches!(said, TokenError::Unavailable(_)), "{said:?}");
        assert_eq!(tokens.state(), TokenState::Stale);
        assert_eq!(stored(&store).await.dead, None);
        tokens.pass(Duration::from_secs(2)).await;
        tokens.maintain().await;
        assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-1");
    }
}

#[tokio::test]
async fn r_13_a_token_is_dead_when_jumper_says_so_twice_a_minute_apart() {
    // Refused once, then something else, then it works.
    let fake = Fake::start(|number, _| match number {
        0 => refused(),
        1 => error(503, "down"),
        n => pair(n),
    })
    .await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert!(tokens.access().await.is_err());
    tokens.pass(Duration::from_secs(58)).await;
    tokens.maintain().await;
    assert_eq!(fake.calls(), 1, "not within the minute");
    assert!(tokens.pause().await <= Duration::from_secs(2));
    for _ in 0..2 {
        tokens.pass(MINUTE).await;
        tokens.maintain().await;
    }
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-2");

    // An operator who asks within the minute hears it again; that is not twice.
    let fake = Fake::start(|_, _| refused()).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert!(tokens.access().await.is_err());
    assert!(tokens.refresh_now().await.is_err());
    assert_eq!((fake.calls(), tokens.state()), (2, TokenState::Stale));
    said_again(&tokens).await;
    assert!(matches!(tokens.state(), TokenState::Dead { .. }));
}

#[tokio::test]
async fn r_14_with_a_dead_refresh_token_the_access_token_is_used_until_it_is_refused() {
    let fake = Fake::start(|_, _| refused()).await;
    let (_dir, store) = stores();
    // In its last quarter, then over by our clock: only Jumper knows its end.
    store.save(&account(), &with_life(80, 100)).await.unwrap();
    let tokens = started(&fake, &store, None).await;
    tokens.maintain().await;
    said_again(&tokens).await;
    let TokenState::Dead { sends: true, .. } = tokens.state() else {
        panic!("{:?}", tokens.state());
    };
    let access = tokens.access().await.unwrap();
    assert_eq!(bearer(&access), "Bearer access-old");
    // Also after a restart.
    let again = started(&fake, &store, None).await;
    again.maintain().await;
    assert_eq!(bearer(&again.access().await.unwrap()), "Bearer access-old");
    let refused = tokens.refused(access.generation, "HTTP 401").await;
    assert!(matches!(refused, Err(TokenError::Dead(_))), "{refused:?}");
    let TokenState::Dead { sends: false, .. } = tokens.state() else {
        panic!("{:?}", tokens.state());
    };
    assert!(matches!(tokens.access().await, Err(TokenError::Dead(_))));
    assert_eq!(fake.calls(), 3);
    // Jumper takes it after all.
    tokens.worked(access.generation);
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-old");
}

#[tokio::test]
async fn r_14_a_new_seed_leaves_the_access_token_in_use_until_there_is_a_better_one() {
    let fake = Fake::start(|_, _| error(503, "down")).await;
    let (_dir, store) = stores();
    let dead = StoredToken {
        dead: Some("refused".into()),
        ..with_life(10, 100)
    };
    store.save(&account(), &dead).await.unwrap();
    let tokens = started(&fake, &store, Some("new-seed")).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-old");
    assert_eq!(stored(&store).await.refresh.expose_secret(), "new-seed");
}

#[tokio::test]
async fn r_15_a_token_revoked_right_after_its_issue_is_replaced_within_15_s() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    let mut gaps = Vec::new();
    for _ in 0..5 {
        let access = tokens.access().await.unwrap();
        let mut waited = 0;
        while tokens.refused(access.generation, "HTTP 401").await.is_err() {
            assert!(matches!(tokens.state(), TokenState::Refused { .. }));
            assert!(tokens.access().await.is_err());
            tokens.pass(Duration::from_secs(1)).await;
            waited += 1;
        }
        gaps.push(waited);
    }
    assert_eq!(gaps, [0, 10, 10, 10, 10]);
    // One that lived for a while is replaced at once, and the next one too.
    let access = tokens.access().await.unwrap();
    tokens.worked(access.generation);
    tokens.pass(MINUTE).await;
    for _ in 0..2 {
        let access = tokens.access().await.unwrap();
        assert_eq!(tokens.refused(access.generation, "HTTP 401").await, Ok(()));
    }
}

#[tokio::test]
async fn r_16_a_pair_that_is_over_by_our_clock_is_used_until_it_is_refused() {
    let claims = |number: usize| format!("{{\"exp\":5,\"jti\":{number}}}");
    let over = move |number: usize, _: &Seen| {
        use base64::Engine;
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(claims(number));
        Reaction::Json(200, json!({ "access_token": format!("h.{claims}.s") }))
    };
    let fake = Fake::start(over).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    for leap in [0, 3, -7, 200] {
        tokens.set_clock(leap * 24 * 3_600_000);
        for _ in 0..100 {
            tokens.access().await.unwrap();
            tokens.maintain().await;
        }
    }
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn r_17_wrong_credentials_are_proved_with_a_token_that_nobody_has() {
    let fake = Fake::start(|number, seen: &Seen| {
        if number < 2 {
            error(401, "invalid_client")
        } else if seen.body.contains("=made-up") {
            refused()
        } else {
            pair(number)
        }
    })
    .await;
    let (_dir, store) = stores();
    let tokens = started_with(&fake, &store, Some("seed"), Some(MINUTE)).await;
    for _ in 0..5 {
        let wrong = tokens.access().await;
        assert!(
            matches!(wrong, Err(TokenError::Credentials(_))),
            "{wrong:?}"
        );
    }
    let TokenState::WrongCredentials { sends: false, .. } = tokens.state() else {
        panic!("{:?}", tokens.state());
    };
    assert_eq!(fake.calls(), 1, "once a start");
    assert!(tokens.pause().await <= Duration::from_secs(5));
    for (calls, seconds) in [(2, 5), (2, 10), (3, 15)] {
        tokens.pass(Duration::from_secs(seconds)).await;
        tokens.maintain().await;
        let proofs = fake.seen();
        let proofs = proofs.iter().filter(|seen| seen.body.contains("=made-up"));
        assert_eq!(proofs.count(), calls);
    }
    // Right at last: the seed, which was never risked, is used.
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-3");
    assert!(fake.seen()[3].body.ends_with("refresh_token=seed"));
    assert!(matches!(tokens.state(), TokenState::Fresh { .. }));
    tokens.pass(MINUTE * 60).await;
    tokens.maintain().await;
    assert_eq!(fake.calls(), 4);
}

#[tokio::test]
async fn r_17_wrong_credentials_do_not_stop_a_good_access_token() {
    let fake = Fake::start(|_, _| error(401, "invalid_client")).await;
    let (_dir, store) = stores();
    store.save(&account(), &with_life(80, 100)).await.unwrap();
    let tokens = started(&fake, &store, None).await;
    tokens.maintain().await;
    let TokenState::WrongCredentials { sends: true, .. } = tokens.state() else {
        panic!("{:?}", tokens.state());
    };
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-old");
    assert_eq!(stored(&store).await.dead, None);
}

/// What Jumper answers next, and what happens.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// From now on a refresh is answered so.
    Answers(Mood),
    /// So many seconds pass.
    Pass(u16),
    /// The wall clock is set, by hours.
    Clock(i16),
    /// The maintenance runs once.
    Look,
    /// A send wants a token.
    Want,
    /// The process is killed, and another one starts.
    Kill,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Good { life: u16 },
    Dead,
    Busy,
    Odd,
    Lost,
}

fn mood() -> impl Strategy<Value = Mood> {
    prop_oneof![
        (0u16..400).prop_map(|life| Mood::Good { life }),
        Just(Mood::Dead),
        Just(Mood::Dead),
        Just(Mood::Busy),
        Just(Mood::Odd),
        Just(Mood::Lost),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => mood().prop_map(Event::Answers),
        4 => (1u16..90).prop_map(Event::Pass),
        1 => (-200i16..200).prop_map(Event::Clock),
        4 => Just(Event::Look),
        3 => Just(Event::Want),
        1 => Just(Event::Kill),
    ]
}

/// When Jumper was asked, and what it said.
type Asked = Arc<Mutex<Vec<(u64, Mood)>>>;

/// One account through all these events. Time is only counted; nothing waits.
#[expect(clippy::too_many_lines, reason = "one arm per event of the story")]
async fn lives_through(events: Vec<Event>) -> Result<(), TestCaseError> {
    let mood = Arc::new(Mutex::new(Mood::Good { life: 100 }));
    let time = Arc::new(AtomicU64::new(0));
    let asked = Asked::default();
    let fake = {
        let (mood, time, asked) = (mood.clone(), time.clone(), asked.clone());
        Fake::start(move |number, _| {
            let mood = *mood.lock().unwrap();
            let at = time.load(Ordering::Relaxed);
            asked.lock().unwrap().push((at, mood));
            match mood {
                Mood::Good { life } => Reaction::Json(
                    200,
                    json!({ "access_token": format!("a-{number}"), "expires_in": life,
                        "refresh_token": format!("r-{number}") }),
                ),
                Mood::Dead => refused(),
                Mood::Busy => error(503, "temporarily_unavailable"),
                Mood::Odd => Reaction::Json(200, json!({ "success": false })),
                Mood::Lost => Reaction::Close,
            }
        })
        .await
    };
    let (_dir, store) = stores();
    let mut tokens = started(&fake, &store, Some("seed")).await;
    let mut starts = 0;
    for event in events {
        let now = time.load(Ordering::Relaxed);
        match event {
            Event::Answers(next) => *mood.lock().unwrap() = next,
            Event::Pass(seconds) => {
                tokens.pass(Duration::from_secs(seconds.into())).await;
                time.fetch_add(seconds.into(), Ordering::Relaxed);
            }
            Event::Clock(hours) => tokens.set_clock(i64::from(hours) * 3_600_000),
            Event::Look => tokens.maintain().await,
            Event::Want => drop(tokens.access().await),
            Event::Kill => {
                let ahead = tokens.shared.ahead.load(Ordering::Relaxed);
                let was_dead = stored(&store).await.dead.is_some();
                let before = fake.calls();
                starts += 1;
                tokens = started(&fake, &store, Some("seed")).await;
                tokens.set_clock(ahead);
                if was_dead {
                    tokens.maintain().await;
                    prop_assert!(
                        fake.calls() > before,
                        "a restart tries a dead token once more"
                    );
                }
            }
        }
        let asked = asked.lock().unwrap();
        // Never dead by anything but two refusals, a minute apart, or one more of what was dead.
        if stored_dead(&tokens) {
            let refusals: Vec<_> = asked
                .iter()
                .filter(|(_, mood)| *mood == Mood::Dead)
                .collect();
            let first = refusals.iter().rev().skip(1);
            let apart =
                first.filter(|(at, _)| refusals.last().is_some_and(|last| at + 60 <= last.0));
            prop_assert!(apart.count() > 0, "dead at {now} by {asked:?}");
        }
    }
    // Nobody forced anything and nothing was refused: all was for want of life. Renewals that
    // brought a pair lie a minute apart.
    let asked = asked.lock().unwrap();
    let good = asked
        .iter()
        .filter(|(_, mood)| matches!(mood, Mood::Good { .. }));
    let good: Vec<_> = good.map(|(at, _)| *at).collect();
    let close = good.windows(2).filter(|two| two[0] + 60 > two[1]).count();
    // A process that starts knows the age of the pair by the wall clock only.
    prop_assert!(close <= starts, "{asked:?}");
    Ok(())
}

fn stored_dead(tokens: &Tokens) -> bool {
    tokens
        .held()
        .token
        .as_ref()
        .is_some_and(|token| token.dead.is_some())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn r_13_r_16_no_sequence_of_answers_kills_and_clocks_breaks_the_rules(
        events in prop::collection::vec(event(), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(lives_through(events))?;
    }
}
