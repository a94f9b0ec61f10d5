//! Several replicas on a real Redis. Each has a runtime of its own, so that it can be killed: what
//! it was doing stops where it is, and nobody gives its lock back.

use super::*;
use crate::store::testing::RedisServer;
use tokio::runtime::{Builder, Runtime};

const LOCK: &str = "gw:{default}:lock:refresh";

struct Replica {
    runtime: Option<Runtime>,
    tokens: Tokens,
    store: store::Tokens,
    limiter: Limiter,
}

impl Replica {
    async fn start(fake: &Fake, server: &RedisServer, seed: Option<&str>) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let store = store::Tokens::Redis(server.link());
        let limiter = limiter();
        let settings = TokenSettings {
            account: account(),
            api_url: fake.url.clone(),
            basic: "Basic a2V5OnNlY3JldA==".into(),
            seed: seed.map(Into::into),
            refresh_timeout: Duration::from_secs(5),
            longest_probe: None,
            owner: "api key".into(),
            aside: nowhere(),
        };
        let tokens = Tokens::new(settings, store.clone(), limiter.clone()).unwrap();
        drop(entered);
        let replica = Self {
            runtime: Some(runtime),
            tokens,
            store,
            limiter,
        };
        let started = replica.run(|tokens| async move { tokens.start().await });
        started.await.unwrap();
        replica
    }

    /// Does something in the replica's own runtime.
    async fn run<F: Future<Output: Send> + Send + 'static>(
        &self,
        work: impl FnOnce(Tokens) -> F,
    ) -> F::Output {
        let work = work(self.tokens.clone());
        self.runtime.as_ref().unwrap().spawn(work).await.unwrap()
    }

    async fn access(&self) -> Result<String, TokenError> {
        let access = self.run(|tokens| async move { tokens.access().await });
        access.await.map(|access| bearer(&access))
    }

    /// Begins to want an access token, and does not wait.
    fn begin(&self) {
        let tokens = self.tokens.clone();
        let runtime = self.runtime.as_ref().unwrap();
        runtime.spawn(async move { tokens.access().await });
    }

    async fn is_in_doubt(&self) -> bool {
        self.tokens.shared.flight.lock().await.doubt.is_some()
    }

    async fn maintain(&self) {
        self.run(|tokens| async move { tokens.maintain().await })
            .await;
    }

    fn kill(mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !is().await {
        assert!(Instant::now() < give_up, "never: {what}");
        // waits because others are at work; bounded
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// An expired pair at Redis, `seed` being its refresh token.
async fn expired(server: &RedisServer) {
    let store = store::Tokens::Redis(server.link());
    assert!(store.save(&account(), &with_life(200, 100)).await.unwrap());
}

/// Answers `pause` after it has rotated.
fn slow(pause: Duration) -> impl Fn(usize, &Seen) -> Reaction {
    move |number, seen| Reaction::After(pause, Box::new(rotating(number, seen)))
}

const MOMENT: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_and_an_expired_token_are_one_call() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(slow(MOMENT)).await;
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(Replica::start(&fake, &server, None).await);
    }
    let wanted = replicas.iter().flat_map(|replica| {
        [0; 5].map(|_| {
            let tokens = replica.tokens.clone();
            replica
                .runtime
                .as_ref()
                .unwrap()
                .spawn(async move { tokens.access().await.unwrap() })
        })
    });
    for access in wanted.collect::<Vec<_>>() {
        assert_eq!(bearer(&access.await.unwrap()), "Bearer access-0");
    }
    assert_eq!(fake.calls(), 1);
    assert_eq!(stored(&replicas[0].store).await.fence, 4);
    assert_eq!(server.say("GET jumper_auth_token").await, "access-0");
    assert_eq!(server.say("GET jumper_refresh_token").await, "refresh-0");

    // All of them are refused at once: again one call.
    for replica in &replicas {
        replica.tokens.forget_age().await;
    }
    let refused = replicas.iter().map(|replica| {
        let tokens = replica.tokens.clone();
        replica
            .runtime
            .as_ref()
            .unwrap()
            .spawn(async move { tokens.refused(4, "HTTP 401").await })
    });
    for refused in refused.collect::<Vec<_>>() {
        assert_eq!(refused.await.unwrap(), Ok(()));
    }
    for replica in &replicas {
        assert_eq!(replica.access().await.unwrap(), "Bearer access-1");
    }
    assert_eq!((fake.calls(), fake.most_at_once()), (2, 1));
    assert_eq!(server.say(&format!("EXISTS {LOCK}")).await, "0");
}

/// Nobody touches the lock here: the successor waits until it has run out.
#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_call_the_successor_renews() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(rotating).await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    // Its call waits for a place in the rate, the lock already taken.
    one.limiter.set(Rate {
        per_second: Some(0.1),
        concurrency: 1,
    });
    drop(one.limiter.maintenance().await);
    one.begin();
    until("the lock is taken", async || {
        server.say(&format!("EXISTS {LOCK}")).await == "1"
    })
    .await;
    let dead = server.say(&format!("GET {LOCK}")).await;
    one.kill();
    let killed = Instant::now();
    // What has ended by our clock is used meanwhile.
    loop {
        let access = two.access().await.unwrap();
        if access != "Bearer access-old" {
            let holder = server.say(&format!("GET {LOCK}")).await;
            assert_ne!(holder, dead, "in spite of the lock");
            break;
        }
        assert!(killed.elapsed() < Duration::from_secs(120), "never renewed");
    }
    assert_eq!(two.access().await.unwrap(), "Bearer access-0");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_answer_and_write_the_old_token_is_tried_once() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(|number, seen: &Seen| match number {
        0 => Reaction::After(LONG, Box::new(rotating(0, seen))),
        _ if seen.body.ends_with("=new") => pair(7),
        _ => refused(),
    })
    .await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    let three = Replica::start(&fake, &server, None).await;
    one.begin();
    until("the call", async || fake.calls() == 1).await;
    one.kill();
    server.say(&format!("PEXPIRE {LOCK} 1")).await;
    let (of_two, of_three) = tokio::join!(two.access(), three.access());
    // What has ended by our clock is used until it is refused.
    assert_eq!(of_two.unwrap(), "Bearer access-old");
    assert_eq!(of_three.unwrap(), "Bearer access-old");
    assert_eq!(fake.calls(), 2);
    assert!(fake.seen()[1].body.ends_with("refresh_token=seed"));
    // Whoever heard it first hears it again; the other is told by the store.
    let (first, other) = match two.is_in_doubt().await {
        true => (&two, &three),
        false => (&three, &two),
    };
    first.tokens.pass(MINUTE).await;
    first.maintain().await;
    assert_eq!(fake.calls(), 3);
    assert!(matches!(first.tokens.state(), TokenState::Dead { .. }));
    other.maintain().await;
    assert!(matches!(other.tokens.state(), TokenState::Dead { .. }));
    assert_eq!(fake.calls(), 3);

    // One that starts tries once more, and what an operator puts in anywhere is for all.
    let four = Replica::start(&fake, &server, None).await;
    assert_eq!(four.tokens.state(), TokenState::Stale);
    four.maintain().await;
    assert!(matches!(four.tokens.state(), TokenState::Dead { .. }));
    assert_eq!(fake.calls(), 4);
    two.run(|tokens| async move { tokens.new_seed("new".into()).await })
        .await
        .unwrap();
    for other in [&three, &four] {
        other.maintain().await;
        assert_eq!(other.access().await.unwrap(), "Bearer access-7");
    }
    assert_eq!(fake.calls(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_jumper_still_takes_the_old_token_the_successor_goes_on() {
    let server = RedisServer::start();
    expired(&server).await;
    let lenient = |number, _: &Seen| match number {
        0 => Reaction::After(LONG, Box::new(pair(0))),
        n => pair(n),
    };
    let fake = Fake::start(lenient).await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    one.begin();
    until("the call", async || fake.calls() == 1).await;
    one.kill();
    server.say(&format!("PEXPIRE {LOCK} 1")).await;
    assert_eq!(two.access().await.unwrap(), "Bearer access-1");
    assert!(fake.seen()[1].body.ends_with("refresh_token=seed"));
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_write_the_successor_calls_nobody() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(rotating).await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    one.access().await.unwrap();
    // It dies before it gives the lock back.
    server.say(&format!("SET {LOCK} dead PX 600000")).await;
    one.kill();
    // Within the patience of a caller, which is much less than the life of that lock.
    assert_eq!(two.access().await.unwrap(), "Bearer access-0");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_is_noticed_without_a_call() {
    let server = RedisServer::start();
    let fake = Fake::start(rotating).await;
    let one = Replica::start(&fake, &server, Some("seed")).await;
    let two = Replica::start(&fake, &server, Some("seed")).await;
    assert_eq!(one.access().await.unwrap(), "Bearer access-0");
    two.maintain().await;
    assert_eq!(two.access().await.unwrap(), "Bearer access-0");
    assert!(two.tokens.pause().await <= Duration::from_secs(5));

    // A 401 takes the newer pair, even when the refused one has just come.
    one.run(|tokens| async move { tokens.refresh_now().await })
        .await
        .unwrap();
    let refused = two.run(|tokens| async move { tokens.refused(2, "HTTP 401").await });
    assert_eq!(refused.await, Ok(()));
    assert_eq!(two.access().await.unwrap(), "Bearer access-1");
    assert_eq!(fake.calls(), 2);
}

/// The lock comes free in the moment in which somebody else has finished.
#[tokio::test(flavor = "multi_thread")]
async fn who_gets_the_lock_looks_once_more() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(rotating).await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    two.access().await.unwrap();
    let may_renew = one.run(|tokens| async move {
        let mut flight = tokens.shared.flight.lock().await;
        let (why, seen) = (Why::Needed, tokens.held().generation);
        let turn = tokens.turn(&mut flight, Some(Want { why, seen })).await;
        turn.map(|guard| guard.is_some())
    });
    assert_eq!(may_renew.await, Ok(false));
    assert_eq!(server.say(&format!("EXISTS {LOCK}")).await, "0");
    assert_eq!(one.access().await.unwrap(), "Bearer access-0");
    assert_eq!(fake.calls(), 1);
}

/// A refusal that came while somebody put in another refresh token buries nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_is_not_buried_over_a_new_one() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(|number, seen: &Seen| match number {
        0 => Reaction::After(MOMENT * 3, Box::new(refused())),
        n if seen.body.ends_with("=put-in") => pair(n),
        _ => refused(),
    })
    .await;
    let one = Replica::start(&fake, &server, None).await;
    one.begin();
    until("the call", async || fake.calls() == 1).await;
    let put_in = StoredToken {
        access: None,
        refresh: "put-in".into(),
        fence: 4,
        ..with_life(0, 0)
    };
    assert!(one.store.save(&account(), &put_in).await.unwrap());
    let first = one.access().await;
    let reached = if first.is_ok() {
        first
    } else {
        one.access().await
    };
    assert_eq!(reached.unwrap(), "Bearer access-1");
    assert_eq!(stored(&one.store).await.dead, None);
    assert_eq!(fake.calls(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_no_refresh_begins_and_a_good_token_is_used() {
    let server = RedisServer::start();
    let fake = Fake::start(rotating).await;
    let good = Replica::start(&fake, &server, Some("seed")).await;
    good.access().await.unwrap();
    good.tokens.forget_age().await;
    let calls = fake.calls();
    server.say("CONFIG SET maxmemory 1").await;
    let refresh = good.run(|tokens| async move { tokens.refresh_now().await });
    assert!(matches!(refresh.await, Err(TokenError::Unavailable(_))));
    drop(server);
    let refresh = good.run(|tokens| async move { tokens.refresh_now().await });
    assert!(matches!(refresh.await, Err(TokenError::Unavailable(_))));
    assert_eq!(good.access().await.unwrap(), "Bearer access-0");
    good.maintain().await;
    assert_eq!(fake.calls(), calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_redis_does_not_take_is_used_and_stored_later() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(slow(MOMENT * 3)).await;
    let one = Replica::start(&fake, &server, None).await;
    one.begin();
    until("the call", async || fake.calls() == 1).await;
    server.say("CONFIG SET min-replicas-to-write 1").await;
    assert_eq!(one.access().await.unwrap(), "Bearer access-0");
    assert_eq!(stored(&one.store).await.fence, 3);
    // Somebody tried the old token meanwhile and called it dead.
    server.say("CONFIG SET min-replicas-to-write 0").await;
    let dead = StoredToken {
        fence: 4,
        dead: Some("refused".into()),
        ..with_life(200, 100)
    };
    assert!(one.store.save(&account(), &dead).await.unwrap());
    one.maintain().await;
    let kept = stored(&one.store).await;
    assert_eq!(kept.refresh.expose_secret(), "refresh-0");
    assert_eq!((kept.fence, kept.dead), (5, None));
    assert_eq!(one.access().await.unwrap(), "Bearer access-0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_writer_does_not_overwrite_a_newer_pair() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(slow(MOMENT * 3)).await;
    let one = Replica::start(&fake, &server, None).await;
    one.begin();
    until("the call", async || fake.calls() == 1).await;
    let newer = StoredToken {
        access: Some("access-newer".into()),
        fence: 4,
        ..with_life(0, 1000)
    };
    assert!(one.store.save(&account(), &newer).await.unwrap());
    assert_eq!(one.access().await.unwrap(), "Bearer access-newer");
    let kept = stored(&one.store).await;
    assert_eq!(kept.access.unwrap().expose_secret(), "access-newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_try_in_vain_is_in_vain_for_all() {
    let server = RedisServer::start();
    expired(&server).await;
    let fake = Fake::start(|number, _| match number {
        0 => Reaction::Raw(503, "retry-after: 60\r\n", "<html>".into()),
        n => pair(n),
    })
    .await;
    let one = Replica::start(&fake, &server, None).await;
    let two = Replica::start(&fake, &server, None).await;
    for replica in [&one, &two, &two] {
        assert_eq!(replica.access().await.unwrap(), "Bearer access-old");
    }
    assert_eq!(fake.calls(), 1);
    two.run(|tokens| async move { tokens.refresh_now().await })
        .await
        .unwrap();
    assert_eq!(fake.calls(), 2);
    one.maintain().await;
    assert_eq!(one.access().await.unwrap(), "Bearer access-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_lost_the_tokens_gets_them_again() {
    let server = RedisServer::start();
    let fake = Fake::start(rotating).await;
    let one = Replica::start(&fake, &server, Some("seed")).await;
    one.access().await.unwrap();
    server.say("FLUSHALL").await;
    // Another one begins with the seed, which is used up.
    let two = Replica::start(&fake, &server, Some("seed")).await;
    one.maintain().await;
    two.maintain().await;
    assert_eq!(two.access().await.unwrap(), "Bearer access-0");
    assert_eq!(fake.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_connectors_pair_is_taken_over_again_and_again() {
    let server = RedisServer::start();
    let fake = Fake::start(|number, seen: &Seen| {
        if seen.body.ends_with("=dead") || seen.body.ends_with("=old-2") {
            refused()
        } else {
            pair(number)
        }
    })
    .await;
    server
        .say("SET jumper_auth_token old-access-1 EX 1000")
        .await;
    server.say("SET jumper_refresh_token old-1").await;
    let one = Replica::start(&fake, &server, Some("seed")).await;
    assert_eq!(one.access().await.unwrap(), "Bearer old-access-1");
    assert_eq!(fake.calls(), 0);
    // Ours once, theirs next: it ran on beside us.
    server.say("SET jumper_refresh_token old-2").await;
    server
        .say("SET jumper_auth_token old-access-2 EX 1000")
        .await;
    let two = Replica::start(&fake, &server, Some("seed")).await;
    assert_eq!(two.access().await.unwrap(), "Bearer old-access-2");
    one.maintain().await;
    assert_eq!(one.access().await.unwrap(), "Bearer old-access-2");
    // Refused, but it has renewed once more.
    server.say("SET jumper_refresh_token old-3").await;
    server
        .say("SET jumper_auth_token old-access-3 EX 1000")
        .await;
    one.tokens.forget_age().await;
    let generation = one.tokens.held().generation;
    let refused =
        one.run(move |tokens| async move { tokens.refused(generation, "HTTP 401").await });
    assert_eq!(refused.await, Ok(()));
    assert_eq!(one.access().await.unwrap(), "Bearer old-access-3");
    assert_eq!(fake.calls(), 1);
    // A rotation of ours is theirs.
    one.run(|tokens| async move { tokens.refresh_now().await })
        .await
        .unwrap();
    assert_eq!(server.say("GET jumper_auth_token").await, "access-1");
    assert_eq!(server.say("GET jumper_refresh_token").await, "refresh-1");
    let again = Replica::start(&fake, &server, None).await;
    assert_eq!(again.access().await.unwrap(), "Bearer access-1");
    assert_eq!(stored(&again.store).await.fence, 4);
}
