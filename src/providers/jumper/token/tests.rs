//! The promises of design.md G7, over real sockets.

mod aside;
mod replicas;
mod rules;

use super::*;
use crate::limit::Rate;
use crate::providers::jumper::fake::{Fake, Reaction, Seen};
use crate::store::testing::{self, break_kept, mend_kept};
use serde_json::json;
use std::sync::atomic::Ordering;
use tempfile::TempDir;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);

fn stores() -> (TempDir, store::Tokens) {
    let (dir, store) = testing::store();
    (dir, store::Tokens::Embedded(store))
}

impl Tokens {
    /// Makes the pair old enough that a refusal of it is believed.
    pub(in crate::providers::jumper) async fn forget_age(&self) {
        self.shared.flight.lock().await.refreshed = None;
    }

    pub(super) fn now(&self) -> UnixMs {
        let ahead = self.shared.ahead.load(Ordering::Relaxed);
        UnixMs(crate::clock::now().0 + ahead)
    }

    /// Sets the wall clock.
    fn set_clock(&self, by: i64) {
        self.shared.ahead.fetch_add(by, Ordering::Relaxed);
    }

    /// Lets time pass: on the wall clock, and for all that is remembered.
    async fn pass(&self, time: Duration) {
        let earlier = |at: &mut Option<Instant>| {
            if let Some(at) = at {
                *at = at.checked_sub(time).unwrap();
            }
        };
        let mut flight = self.shared.flight.lock().await;
        earlier(&mut flight.refreshed);
        earlier(&mut flight.not_before);
        earlier(&mut flight.prove_at);
        flight.doubt_began(time);
        self.set_clock(i64::try_from(time.as_millis()).unwrap());
    }
}

fn limiter() -> Limiter {
    Limiter::new(
        Rate {
            per_second: None,
            concurrency: 10,
        },
        Duration::ZERO,
    )
}

fn account() -> AccountId {
    AccountId::parse("default").unwrap()
}

async fn started(fake: &Fake, store: &store::Tokens, seed: Option<&str>) -> Tokens {
    started_with(fake, store, seed, None).await
}

async fn started_with(
    fake: &Fake,
    store: &store::Tokens,
    seed: Option<&str>,
    longest_probe: Option<Duration>,
) -> Tokens {
    started_beside(fake, store, (seed, longest_probe), nowhere()).await
}

/// Where no pair can be put by.
fn nowhere() -> Aside {
    Aside::of("/dev/null/nowhere".as_ref())
}

async fn started_beside(
    fake: &Fake,
    store: &store::Tokens,
    (seed, longest_probe): (Option<&str>, Option<Duration>),
    aside: Aside,
) -> Tokens {
    let settings = TokenSettings {
        account: account(),
        api_url: fake.url.clone(),
        basic: "Basic a2V5OnNlY3JldA==".into(),
        seed: seed.map(Into::into),
        refresh_timeout: Duration::from_secs(5),
        longest_probe,
        owner: "api key".into(),
        aside,
    };
    let tokens = Tokens::new(settings, store.clone(), limiter()).unwrap();
    tokens.start().await.unwrap();
    tokens
}

/// The nth pair of a server that rotates.
fn pair(number: usize) -> Reaction {
    Reaction::Json(
        200,
        json!({ "access_token": format!("access-{number}"), "refresh_token": format!("refresh-{number}"),
            "expires_in": 7_776_000 }),
    )
}

fn refused() -> Reaction {
    Reaction::Json(
        400,
        json!({ "error": "invalid_grant", "error_description": "Refresh Token is invalid" }),
    )
}

/// Answers with a new pair to whoever brings the refresh token of the last one, at first `seed`.
fn rotating(number: usize, seen: &Seen) -> Reaction {
    let expected = match number {
        0 => "refresh_token=seed".to_string(),
        n => format!("refresh_token=refresh-{}", n - 1),
    };
    if seen.body.ends_with(&expected) {
        pair(number)
    } else {
        refused()
    }
}

fn bearer(access: &Access) -> String {
    access.bearer().to_str().unwrap().to_string()
}

async fn stored(store: &store::Tokens) -> StoredToken {
    store.load(&account()).await.unwrap().unwrap()
}

#[tokio::test]
async fn nothing_to_begin_with_is_missing() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("  ")).await;
    assert_eq!(tokens.state(), TokenState::Missing);
    assert_eq!(tokens.access().await.unwrap_err(), TokenError::Missing);
    assert_eq!(
        tokens.refused(0, "HTTP 401").await,
        Err(TokenError::Missing)
    );
    assert_eq!(fake.calls(), 0);
}

#[tokio::test]
async fn a_seed_brings_a_pair_that_is_stored() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some(" seed\n")).await;
    assert_eq!(tokens.state(), TokenState::Stale);
    let all = (0..20).map(|_| {
        tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.access().await.unwrap() }
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(bearer(&one.await.unwrap()), "Bearer access-0");
    }
    assert_eq!(fake.calls(), 1);
    let request = &fake.seen()[0];
    assert_eq!(request.line, "POST /oauth/refresh");
    assert_eq!(request.body, "grant_type=refresh_token&refresh_token=seed");
    assert!(
        request
            .head
            .contains("authorization: Basic a2V5OnNlY3JldA==")
    );
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
    assert!(matches!(tokens.state(), TokenState::Fresh { .. }));

    let after_restart = started(&fake, &store, Some("seed")).await;
    assert_eq!(
        bearer(&after_restart.access().await.unwrap()),
        "Bearer access-0"
    );
    assert_eq!(fake.calls(), 1);
}

/// B-15: the loser of a race stored a dead pair.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_refusals_at_once_are_one_refresh() {
    let slow = |number, seen: &Seen| {
        Reaction::After(Duration::from_millis(50), Box::new(rotating(number, seen)))
    };
    let fake = Fake::start(slow).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    let old = tokens.access().await.unwrap().generation;
    tokens.forget_age().await;
    let all = (0..20).map(|_| {
        tokio::spawn({
            let tokens = tokens.clone();
            async move { tokens.refused(old, "HTTP 401").await }
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(fake.calls(), 2);
    let access = tokens.access().await.unwrap();
    assert_eq!(bearer(&access), "Bearer access-1");
    assert!(access.generation > old);
    assert_eq!(
        tokens.refused(old, "HTTP 401").await,
        Ok(()),
        "a 401 in flight goes on with the newer pair"
    );
    // a young one is replaced once more, and then not at once.
    assert_eq!(tokens.refused(access.generation, "HTTP 401").await, Ok(()));
    let access = tokens.access().await.unwrap();
    assert_eq!(
        tokens.refused(access.generation, "HTTP 401").await,
        Err(TokenError::StillRefused)
    );
    assert_eq!(fake.calls(), 3);
}

/// Jumper says it a second time, a minute after the first.
async fn said_again(tokens: &Tokens) {
    tokens.pass(MINUTE).await;
    tokens.maintain().await;
}

#[tokio::test]
async fn a_dead_token_stays_dead_until_there_is_a_new_seed() {
    let fake = Fake::start(|number, _| if number == 4 { pair(2) } else { refused() }).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert!(tokens.access().await.is_err());
    said_again(&tokens).await;
    assert!(matches!(tokens.access().await, Err(TokenError::Dead(_))));
    assert!(matches!(tokens.state(), TokenState::Dead { .. }));
    assert!(stored(&store).await.dead.is_some());
    said_again(&tokens).await;
    assert_eq!(fake.calls(), 2, "a dead token is not asked about again");

    // a restart tries once more.
    let same_seed = started(&fake, &store, Some("seed")).await;
    assert_eq!(same_seed.state(), TokenState::Stale);
    same_seed.maintain().await;
    assert!(matches!(same_seed.access().await, Err(TokenError::Dead(_))));
    said_again(&same_seed).await;
    assert_eq!(fake.calls(), 3);

    let bad = tokens.new_seed("bad".into()).await;
    assert!(matches!(bad, Err(TokenError::SeedRefused(_))), "{bad:?}");
    tokens.new_seed(" good ".into()).await.unwrap();
    assert!(fake.seen()[4].body.ends_with("refresh_token=good"));
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-2");
    assert!(stored(&store).await.dead.is_none());
}

#[tokio::test]
async fn a_new_seed_in_the_configuration_replaces_a_dead_one_at_start() {
    let fake = Fake::start(|number, _| if number < 2 { refused() } else { pair(1) }).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert!(tokens.access().await.is_err());
    said_again(&tokens).await;
    let tokens = started(&fake, &store, Some("other")).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-1");
    assert!(fake.seen()[2].body.ends_with("refresh_token=other"));
    let tokens = started(&fake, &store, Some("third")).await;
    assert_eq!(
        bearer(&tokens.access().await.unwrap()),
        "Bearer access-1",
        "a living pair is kept"
    );
}

#[tokio::test]
async fn a_refused_seed_changes_nothing() {
    let fake = Fake::start(|number, _| if number == 0 { pair(0) } else { refused() }).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    tokens.access().await.unwrap();
    assert!(matches!(
        tokens.new_seed("bad".into()).await,
        Err(TokenError::SeedRefused(_))
    ));
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
}

/// The pair rotated and the answer was lost: only the old token can tell, and it is asked once.
#[tokio::test]
async fn after_a_lost_answer_the_old_token_is_tried_once_more() {
    let fake = Fake::start(|number, _| {
        if number == 0 {
            Reaction::Close
        } else {
            refused()
        }
    })
    .await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert!(tokens.access().await.is_err());
    assert_eq!(fake.calls(), 2);
    said_again(&tokens).await;
    assert!(matches!(tokens.access().await, Err(TokenError::Dead(_))));
    assert_eq!(fake.calls(), 3);

    let fake = Fake::start(|number, _| {
        if number == 0 {
            Reaction::Cut(200, "{\"access_")
        } else {
            pair(1)
        }
    })
    .await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-1");
}

#[tokio::test]
async fn an_outage_kills_no_token_and_is_not_hammered() {
    let down = |number, _: &Seen| {
        if number == 0 {
            Reaction::Raw(503, "", "<html>".into())
        } else {
            pair(number)
        }
    };
    let fake = Fake::start(down).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    for _ in 0..5 {
        assert!(matches!(
            tokens.access().await,
            Err(TokenError::Unavailable(_))
        ));
    }
    assert_eq!(fake.calls(), 1);
    assert_eq!(tokens.state(), TokenState::Stale);
    tokens.refresh_now().await.unwrap();
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-1");
}

#[tokio::test]
async fn a_pair_that_the_store_does_not_take_is_used_and_stored_later() {
    let (dir, store) = stores();
    let path = dir.path().to_owned();
    let breaks_the_store = move |number, seen: &Seen| {
        break_kept(&path);
        rotating(number, seen)
    };
    let fake = Fake::start(breaks_the_store).await;
    let tokens = started(&fake, &store, Some("seed")).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
    assert!(tokens.pause().await <= Duration::from_secs(5));
    tokens.maintain().await;
    mend_kept(dir.path());
    assert_eq!(stored(&store).await.refresh.expose_secret(), "seed");
    tokens.maintain().await;
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
    assert_eq!(fake.calls(), 1);
}

/// The old pair dies with the answer, and the new one could be lost with this process.
#[tokio::test]
async fn while_the_store_takes_nothing_no_refresh_begins() {
    let fake = Fake::start(rotating).await;
    let (dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    break_kept(dir.path());
    let failed = tokens.access().await.unwrap_err();
    assert!(matches!(failed, TokenError::Unavailable(_)), "{failed:?}");
    tokens.maintain().await;
    assert_eq!(fake.calls(), 0);
    mend_kept(dir.path());
    assert!(tokens.refresh_now().await.is_ok());
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
}

#[tokio::test]
async fn a_caller_who_gives_up_does_not_cut_a_refresh_short() {
    let slow = |number, seen: &Seen| {
        Reaction::After(Duration::from_millis(600), Box::new(rotating(number, seen)))
    };
    let fake = Fake::start(slow).await;
    let (_dir, store) = stores();
    let tokens = started(&fake, &store, Some("seed")).await;
    let mut changes = tokens.changes();
    let given_up = tokio::time::timeout(Duration::from_millis(20), tokens.access()).await;
    assert!(given_up.is_err());
    changes.next().await;
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-0");
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
}

#[tokio::test]
async fn a_newer_pair_in_the_store_is_taken_without_a_call() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    let one = started(&fake, &store, Some("seed")).await;
    let old = one.access().await.unwrap().generation;
    let two = started(&fake, &store, None).await;
    two.refresh_now().await.unwrap();
    one.forget_age().await;
    assert_eq!(one.refused(old, "HTTP 401").await, Ok(()));
    assert_eq!(bearer(&one.access().await.unwrap()), "Bearer access-1");
    assert_eq!(fake.calls(), 2);
}

fn with_life(obtained_ago: u64, life: u64) -> StoredToken {
    let obtained_at = crate::clock::now().minus(Duration::from_secs(obtained_ago));
    StoredToken {
        access: Some("access-old".into()),
        refresh: "seed".into(),
        obtained_at,
        expires_at: obtained_at.plus(Duration::from_secs(life)),
        fence: 3,
        dead: None,
        seed: None,
    }
}

#[tokio::test]
async fn a_pair_near_its_end_is_renewed_by_itself() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    store.save(&account(), &with_life(80, 100)).await.unwrap();
    let tokens = started(&fake, &store, None).await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-old");
    assert_eq!(fake.calls(), 0);
    let mut changes = tokens.changes();
    let shutdown = CancellationToken::new();
    let maintenance = tokio::spawn({
        let (tokens, shutdown) = (tokens.clone(), shutdown.clone());
        async move { tokens.keep_fresh(shutdown).await }
    });
    changes.next().await;
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
    assert_eq!(stored(&store).await.fence, 4);
    shutdown.cancel();
    maintenance.await.unwrap();
    assert_eq!(fake.calls(), 1);
}

#[tokio::test]
async fn nobody_renews_early_twice_a_minute() {
    let short = |_, _: &Seen| Reaction::Json(200, json!({ "access_token": "a", "expires_in": 1 }));
    let fake = Fake::start(short).await;
    let (_dir, store) = stores();
    store.save(&account(), &with_life(80, 100)).await.unwrap();
    let tokens = started(&fake, &store, None).await;
    tokens.maintain().await;
    assert_eq!(fake.calls(), 1);
    assert_eq!(
        stored(&store).await.refresh.expose_secret(),
        "seed",
        "an answer without a refresh token keeps the old one"
    );
    tokens.pass(Duration::from_secs(2)).await;
    tokens.maintain().await;
    assert_eq!(fake.calls(), 1);
    assert!(tokens.pause().await > Duration::from_secs(50));
    assert_eq!(
        bearer(&tokens.access().await.unwrap()),
        "Bearer a",
        "it is used until it is refused"
    );
    assert_eq!(fake.calls(), 1);
    tokens.pass(MINUTE).await;
    tokens.maintain().await;
    assert_eq!(fake.calls(), 2);
}

#[tokio::test]
async fn an_ended_token_is_renewed_before_it_is_used() {
    let fake = Fake::start(rotating).await;
    let (_dir, store) = stores();
    store.save(&account(), &with_life(200, 100)).await.unwrap();
    let tokens = started(&fake, &store, None).await;
    assert_eq!(tokens.state(), TokenState::Stale);
    assert_eq!(bearer(&tokens.access().await.unwrap()), "Bearer access-0");
}

#[tokio::test]
async fn a_new_seed_in_the_configuration_heals_at_the_first_start() {
    let fake = Fake::start(|number, seen: &Seen| {
        if number == 0 || seen.body.contains("new-seed") {
            pair(number)
        } else {
            refused()
        }
    })
    .await;
    let (_dir, store) = stores();
    started(&fake, &store, Some("seed"))
        .await
        .refresh_now()
        .await
        .unwrap();
    let again = started(&fake, &store, Some("new-seed")).await;
    again.refresh_now().await.unwrap();
    assert_eq!(stored(&store).await.refresh.expose_secret(), "refresh-2");
    // The same seed is not tried a second time.
    assert!(again.refresh_now().await.is_err());
    assert_eq!(fake.calls(), 4);
    said_again(&again).await;
    assert!(matches!(again.state(), TokenState::Dead { .. }));
    assert_eq!(fake.calls(), 5);
}
