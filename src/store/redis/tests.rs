//! The small things kept at a real Redis, and what it is asked about itself.

use super::*;
use crate::clock::now;
use crate::domain::template::Variant;
use crate::domain::{AccountId, UnixMs};
use crate::store::testing::RedisServer;
use crate::store::{CachedTemplates, ClaimFrom, Promise, StoredToken, SweepRule, SweepScope};
use lock::Taken;
use secrecy::ExposeSecret;
use standing::RenewalAnswer;
use std::time::{Duration, Instant};

fn account(name: &str) -> AccountId {
    AccountId::parse(name).unwrap()
}

fn token(number: u64) -> StoredToken {
    StoredToken {
        access: Some(format!("access-{number}").into()),
        refresh: format!("refresh-{number}").into(),
        obtained_at: now(),
        expires_at: now().plus(Duration::from_secs(90 * 24 * 3600)),
        fence: number,
        dead: None,
        seed: Some("s".into()),
    }
}

fn shown(token: &StoredToken) -> String {
    let access = token.access.as_ref().map(ExposeSecret::expose_secret);
    format!(
        "{} {:?} {} {} {} {:?} {:?}",
        token.fence,
        access,
        token.refresh.expose_secret(),
        token.obtained_at.0,
        token.expires_at.0,
        token.dead,
        token.seed
    )
}

async fn taken(connection: &Connection, urgent: bool) -> Taken {
    let account = account("default");
    connection.lock(&account, "refresh", urgent).await.unwrap()
}

fn ours(taken: Taken) -> Lock {
    match taken {
        Taken::Ours(lock) => lock,
        _ => panic!("the lock was not to be had"),
    }
}

#[tokio::test]
async fn tokens_are_kept_whole_and_only_over_older_ones() {
    let server = RedisServer::start();
    let (connection, default) = (server.link(), account("default"));
    assert!(connection.load_token(&default).await.unwrap().is_none());
    let kept = [
        token(3),
        StoredToken {
            dead: Some("invalid_grant".into()),
            seed: None,
            ..token(4)
        },
        StoredToken {
            access: None,
            ..token(5)
        },
    ];
    for token in &kept {
        assert!(connection.save_token(&default, token).await.unwrap());
        let loaded = connection.load_token(&default).await.unwrap().unwrap();
        assert_eq!(shown(&loaded), shown(token));
    }
    for stale in [token(4), token(5)] {
        assert!(!connection.save_token(&default, &stale).await.unwrap());
    }
    assert!(
        connection.save_token(&default, &kept[2]).await.unwrap(),
        "a write whose answer was lost is repeated"
    );
    let loaded = connection.load_token(&default).await.unwrap().unwrap();
    assert_eq!(shown(&loaded), shown(&kept[2]));
    assert!(
        connection
            .load_token(&account("other"))
            .await
            .unwrap()
            .is_none()
    );
    server.say("HSET gw:{default}:token fence x").await;
    let error = connection
        .load_token(&default)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("account default") && !error.contains("refresh-"));
}

#[tokio::test]
async fn of_many_writers_of_one_fence_one_counts() {
    let server = RedisServer::start();
    let default = account("default");
    let writers = (0..8).map(|number| {
        let (connection, default) = (server.link(), default.clone());
        let token = StoredToken {
            fence: 1,
            ..token(number)
        };
        tokio::spawn(async move { connection.save_token(&default, &token).await.unwrap() })
    });
    let mut kept = 0;
    for writer in writers.collect::<Vec<_>>() {
        kept += usize::from(writer.await.unwrap());
    }
    assert_eq!(kept, 1);
}

#[tokio::test]
async fn the_old_connector_and_we_know_of_each_other() {
    let server = RedisServer::start();
    let (connection, default) = (server.link(), account("default"));
    assert!(connection.old_pair(&default).await.unwrap().is_none());
    server.say("SET jumper_auth_token old-access EX 1000").await;
    server.say("SET jumper_refresh_token old-refresh").await;
    let old = connection.old_pair(&default).await.unwrap().unwrap();
    assert_eq!(old.access.unwrap().expose_secret(), "old-access");
    assert_eq!(old.refresh.expose_secret(), "old-refresh");
    assert!(old.drops_in.unwrap() > Duration::from_secs(990));
    assert!(
        connection
            .old_pair(&account("other"))
            .await
            .unwrap()
            .is_none()
    );

    // Taken over: known, and not written back.
    let imported = StoredToken {
        access: Some("old-access".into()),
        refresh: "old-refresh".into(),
        ..token(1)
    };
    assert!(connection.save_imported(&default, &imported).await.unwrap());
    assert!(connection.old_pair(&default).await.unwrap().is_none());
    server.say("DEL jumper_auth_token").await;
    assert!(connection.old_pair(&default).await.unwrap().is_none());

    // Mirrored: known as well.
    assert!(connection.save_token(&default, &token(2)).await.unwrap());
    assert_eq!(server.say("GET jumper_auth_token").await, "access-2");
    assert_eq!(server.say("GET jumper_refresh_token").await, "refresh-2");
    let left: u64 = server.say("TTL jumper_auth_token").await.parse().unwrap();
    assert!((1_999_000..=2_000_000).contains(&left), "{left}");
    assert_eq!(server.say("TTL jumper_refresh_token").await, "-1");
    assert!(connection.old_pair(&default).await.unwrap().is_none());

    // A dead pair, a seed and other accounts are none of its business.
    let dead = StoredToken {
        dead: Some("dead".into()),
        ..token(3)
    };
    let seeded = StoredToken {
        access: None,
        ..token(4)
    };
    for token in [dead, seeded] {
        assert!(connection.save_token(&default, &token).await.unwrap());
    }
    connection
        .save_token(&account("other"), &token(9))
        .await
        .unwrap();
    assert_eq!(server.say("GET jumper_refresh_token").await, "refresh-2");
    assert!(connection.old_pair(&default).await.unwrap().is_none());

    // It refreshed by itself.
    server.say("SET jumper_refresh_token theirs").await;
    let old = connection.old_pair(&default).await.unwrap().unwrap();
    assert_eq!(old.refresh.expose_secret(), "theirs");
}

#[tokio::test]
async fn a_user_who_may_not_touch_the_old_keys_keeps_tokens_all_the_same() {
    let server = RedisServer::start();
    server
        .say("ACL SETUSER gw on >pw ~gw:* +@all -config")
        .await;
    let url = server.url() + "?user=gw&pass=pw";
    let connection = Connection::new(&Settings {
        url: url.into(),
        wait_replicas: 0,
    })
    .unwrap();
    let default = account("default");
    server.say("SET jumper_refresh_token theirs").await;
    assert!(connection.old_pair(&default).await.unwrap().is_none());
    assert!(connection.save_token(&default, &token(1)).await.unwrap());
    let loaded = connection.load_token(&default).await.unwrap().unwrap();
    assert_eq!(loaded.refresh.expose_secret(), "refresh-1");
    assert_eq!(server.say("GET jumper_refresh_token").await, "theirs");

    // What CONFIG GET would tell is unknown, and INFO tells the rest.
    let persistence = connection.persistence().await.unwrap();
    assert_eq!(persistence.appendfsync, None);
    assert_eq!(persistence.appendonly, Some(false));
    assert_eq!(persistence.eviction.as_deref(), Some("noeviction"));
}

#[tokio::test]
async fn a_lock_is_held_by_one_renewed_and_given_back() {
    let server = RedisServer::start();
    let (one, two) = (server.link(), server.link());
    let lock = ours(taken(&one, false).await);
    assert!(lock.is_ours());
    for urgent in [false, true] {
        assert!(matches!(taken(&two, urgent).await, Taken::Busy));
    }
    let left = async || -> u64 {
        let left = server.say("PTTL gw:{default}:lock:refresh").await;
        left.parse().unwrap()
    };
    assert!((9_000..=10_000).contains(&left().await));
    let other = two.lock(&account("default"), "subscription", false).await;
    drop(ours(other.unwrap()));

    // A renewal brings it back to 10 s, and even a Redis that forgot it gets it again.
    server.say("DEL gw:{default}:lock:refresh").await;
    let give_up = Instant::now() + Duration::from_secs(5);
    while server.say("EXISTS gw:{default}:lock:refresh").await == "0" {
        assert!(Instant::now() < give_up, "the lock is not renewed");
        // waits because renewals come every 3 s; bounded
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(left().await > 9_000 && lock.is_ours());
    lock.release(None).await;
    assert_eq!(server.say("EXISTS gw:{default}:lock:refresh").await, "0");

    // In vain: a pause that only the urgent do not mind.
    let lock = ours(taken(&two, false).await);
    lock.release(Some(Duration::from_secs(60))).await;
    match taken(&one, false).await {
        Taken::PutOff(pause) => assert!(pause > Duration::from_secs(58)),
        _ => panic!("the pause is not minded"),
    }
    ours(taken(&one, true).await).release(None).await;
    ours(taken(&two, false).await).release(None).await;
}

#[tokio::test]
async fn a_lock_that_somebody_else_took_is_not_ours_and_not_given_back() {
    let server = RedisServer::start();
    let lock = ours(taken(&server.link(), false).await);
    server
        .say("SET gw:{default}:lock:refresh other PX 60000")
        .await;
    let give_up = Instant::now() + Duration::from_secs(5);
    while lock.is_ours() {
        assert!(Instant::now() < give_up, "the loss is not noticed");
        // waits because renewals come every 3 s; bounded
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    lock.release(None).await;
    assert_eq!(server.say("GET gw:{default}:lock:refresh").await, "other");
}

#[tokio::test]
async fn templates_and_settings_are_kept() {
    let server = RedisServer::start();
    let (connection, default) = (server.link(), account("default"));
    assert_eq!(connection.load_templates(&default).await.unwrap(), None);
    let templates = CachedTemplates {
        fetched_at: UnixMs(5),
        variants: vec![Variant {
            name: "a".into(),
            language: "en".into(),
            id: "1".into(),
            is_marketing: true,
        }],
    };
    connection
        .save_templates(&default, &templates)
        .await
        .unwrap();
    assert_eq!(
        server.link().load_templates(&default).await.unwrap(),
        Some(templates)
    );
    server.say("SET gw:{default}:templates nonsense").await;
    assert_eq!(connection.load_templates(&default).await.unwrap(), None);

    assert_eq!(connection.load_setting("paused:a").await.unwrap(), None);
    connection
        .save_setting("paused:a", Some("1".into()))
        .await
        .unwrap();
    let seen = server.link().load_setting("paused:a").await.unwrap();
    assert_eq!(seen.as_deref(), Some("1"));
    connection.save_setting("paused:a", None).await.unwrap();
    assert_eq!(connection.load_setting("paused:a").await.unwrap(), None);
}

#[tokio::test]
async fn a_redis_that_takes_no_writes_is_found_out_and_heals() {
    let server = RedisServer::start();
    let connection = server.link();
    let refused = async |said: &str| {
        let error = connection.writable().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    };
    connection.writable().await.unwrap();
    server.say("CONFIG SET maxmemory 1").await;
    refused("raise maxmemory").await;
    server.say("CONFIG SET maxmemory 0").await;
    connection.writable().await.unwrap();

    server.say("REPLICAOF 127.0.0.1 1").await;
    refused("read-only").await;
    server.say("REPLICAOF NO ONE").await;
    connection.writable().await.unwrap();

    server.say("SCRIPT FLUSH").await;
    connection.writable().await.unwrap();
    assert_eq!(server.say("DBSIZE").await, "0", "the proof leaves nothing");
}

#[tokio::test]
async fn a_redis_at_odds_with_its_disk_is_found_out() {
    let server = RedisServer::start();
    let connection = server.link();
    connection.writable().await.unwrap();
    // From here on its directory is gone, so that no snapshot can be made.
    server.lose_disk().await;
    let error = connection.writable().await.unwrap_err().to_string();
    assert!(error.contains("cannot save to disk"), "{error}");
    let report = connection.persistence().await.unwrap().judge(0);
    assert!(
        report.warnings.iter().any(|one| one.contains("snapshot")),
        "{report:?}"
    );
}

#[tokio::test]
async fn the_report_follows_the_configuration() {
    let server = RedisServer::start();
    let connection = server.link();
    let judged = async || connection.persistence().await.unwrap().judge(0);
    assert_eq!(judged().await.promise, Promise::Broken);
    server.say("CONFIG SET appendonly yes").await;
    assert_eq!(judged().await.promise, Promise::LastMoments);
    server.say("CONFIG SET appendfsync always").await;
    let report = judged().await;
    assert_eq!(report.promise, Promise::Holds, "{report:?}");
    assert!(report.summary.starts_with("redis 7."), "{report:?}");
    server.say("CONFIG SET maxmemory-policy allkeys-lru").await;
    assert_eq!(
        judged().await.promise,
        Promise::Holds,
        "memory is unlimited"
    );
    server.say("CONFIG SET maxmemory 100mb").await;
    assert_eq!(judged().await.promise, Promise::Broken);
}

#[tokio::test]
async fn a_report_is_asked_for_now_and_then_and_outlives_an_outage() {
    let server = RedisServer::start();
    let connection = server.link();
    let asked = async || -> u32 {
        let stats = server.say("INFO commandstats").await;
        let calls = stats.split("cmdstat_config|get:calls=").nth(1);
        calls.map_or(0, |text| text.split(',').next().unwrap().parse().unwrap())
    };
    for _ in 0..50 {
        assert_eq!(connection.report().await.promise, Promise::Broken);
    }
    assert_eq!(asked().await, 4, "one report");
    drop(server);
    assert_eq!(connection.report().await.promise, Promise::Broken);
    assert!(connection.writable().await.is_err());
}

#[tokio::test]
async fn before_the_first_answer_nothing_is_promised() {
    let connection = Connection::new(&Settings {
        url: "redis+unix:///nowhere/redis.sock".into(),
        wait_replicas: 0,
    })
    .unwrap();
    assert_eq!(connection.report().await.promise, Promise::Unknown);
    connection.warn_of_weakness().await;
}

/// A refresh token that was exchanged and not kept is lost for good.
#[tokio::test]
async fn a_new_pair_is_kept_also_when_the_memory_is_used_up() {
    let server = RedisServer::start();
    let (connection, default) = (server.link(), account("default"));
    assert!(connection.save_token(&default, &token(1)).await.unwrap());
    server.say("CONFIG SET maxmemory 1").await;
    let mut other = ::redis::cmd("SET");
    other.arg("other").arg("1");
    let refused: Result<String, StoreError> = connection.command(&other).await;
    assert!(refused.is_err(), "the memory is used up");
    let pair = token(2);
    assert!(connection.save_token(&default, &pair).await.unwrap());
    let loaded = connection.load_token(&default).await.unwrap().unwrap();
    assert_eq!(shown(&loaded), shown(&pair));
    assert_eq!(server.say("GET jumper_refresh_token").await, "refresh-2");
}

#[tokio::test]
async fn r_55_a_renewal_gives_back_what_never_came_to_hand_and_nothing_else() {
    let server = RedisServer::start();
    let (account, channel) = (account("default"), ChannelId::parse("a").unwrap());
    let channels = vec![(channel.clone(), account.clone())];
    let store = Store::open(server.link(), channels, false);
    let home = store.shared.accounts[0].clone();
    let renewal = async |last: u64, lost: &[u64]| -> u32 {
        let seen = home.standing.seen();
        let mut call = Call::new(&store.shared.scripts.renew, &home)
            .arg(store.replica())
            .arg(10_000)
            .arg(now().0)
            .arg(last)
            .arg(seen.own)
            .arg(seen.last)
            .arg(seen.run)
            .arg(seen.asked)
            .arg(seen.heard)
            .arg(lost.len());
        lost.iter().for_each(|claim| call.push(claim));
        let call = call.arg(0).arg(0).arg(0);
        let ((back, ..), _): ((u32, bool, Vec<String>), RenewalAnswer) =
            store.ask(&call).await.unwrap();
        back
    };
    let (last, known) = store.shared.in_flight.known();
    assert!(known.is_empty());
    let message = crate::store::tests::message("m1", 1);
    let accepted = store.accept(&channel, &account, &message, now()).await;
    assert_eq!(accepted.unwrap(), crate::store::Accepted::Stored);
    let queue = ClaimFrom {
        channel,
        ages: UnixMs(0).into(),
        retries: usize::MAX,
        aside: usize::MAX,
    };
    let taken = store.claim(vec![queue], 1, now()).await.unwrap().taken;
    assert_eq!(taken.len(), 1);
    assert_eq!(renewal(last, &[]).await, 0, "it is in our hands");
    store.renew().await.unwrap();
    assert_eq!(store.count_open().await.unwrap(), [0, 1, 0]);
    // Nor does one that does not know it: it may have been sent in a state that Redis forgot.
    assert_eq!(renewal(taken[0].claim, &[]).await, 0);
    assert_eq!(store.count_open().await.unwrap(), [0, 1, 0]);
    // Its answer was lost.
    assert_eq!(renewal(taken[0].claim, &[taken[0].claim]).await, 1);
    assert_eq!(store.count_open().await.unwrap(), [1, 0, 0]);
}

/// The provider took both sends of one message; when it goes, both ids go.
#[tokio::test]
async fn ids_of_earlier_attempts_go_with_their_message() {
    use crate::store::tests::{message, receipt};
    let server = RedisServer::start();
    let (account, channel) = (account("default"), ChannelId::parse("a").unwrap());
    let open = || {
        Store::open(
            server.link(),
            vec![(channel.clone(), account.clone())],
            false,
        )
    };
    let (first, second) = (open(), open());
    let queue = || ClaimFrom {
        channel: channel.clone(),
        ages: UnixMs(0).into(),
        retries: usize::MAX,
        aside: usize::MAX,
    };
    let message = message("m1", 1);
    let accepted = first.accept(&channel, &account, &message, UnixMs(1_000));
    accepted.await.unwrap();
    let old = first.claim(vec![queue()], 1, UnixMs(1_000)).await.unwrap();
    crate::store::testing::expire_replica(&server, first.replica()).await;
    let rule = SweepRule {
        channel: channel.clone(),
        resend: true,
        expired_before: UnixMs(0),
        hold: Duration::ZERO,
    };
    let swept = second
        .sweep(vec![rule], SweepScope::Holds, UnixMs(2_000).into())
        .await;
    assert_eq!(swept.unwrap().resent.len(), 1);
    let new = second.claim(vec![queue()], 1, UnixMs(3_000)).await.unwrap();
    for (store, claims, id) in [(&first, &old, "P1"), (&second, &new, "P2")] {
        let settled = store.settle(&claims.taken[0], receipt(id), String::new(), UnixMs(4_000));
        settled.await.unwrap();
        let known = server.say(&format!("EXISTS gw:{{default}}:p:{id}")).await;
        assert_eq!(known, "1", "{id}");
    }
    let later = UnixMs(5_000);
    assert_eq!(second.purge(later, later).await.unwrap().messages, 1);
    let keys = server.say("KEYS gw:*").await;
    let mut left: Vec<&str> = keys
        .split(' ')
        .map(|key| &key["gw:{default}:".len()..])
        .collect();
    left.sort_unstable();
    assert_eq!(
        left,
        [
            "beat", "channels", "did", "gate", "l:a", "num", "oseq", "replicas", "seq"
        ]
    );
}

#[tokio::test]
async fn r_66_a_count_that_is_not_permitted_for_a_moment_wipes_no_ledger() {
    let server = RedisServer::start();
    let (channel, account) = (ChannelId::parse("a").unwrap(), account("acc"));
    let store = Store::open(
        server.link(),
        vec![(channel.clone(), account.clone())],
        false,
    );
    let accept = async |id: &str| {
        let message = crate::store::tests::message(id, 1);
        store.accept(&channel, &account, &message, now()).await
    };
    let accepted = async || store.ledger_of(&account, &channel).await.unwrap().accepted;
    for id in ["m1", "m2", "m3"] {
        accept(id).await.unwrap();
    }
    server.say("ACL SETUSER default -hincrby").await;
    accept("m4").await.unwrap_err();
    server.say("ACL SETUSER default +hincrby").await;
    store.writable().await.unwrap();
    accept("m4").await.unwrap();
    assert_eq!(accepted().await, 4);
    // What is no number still counts anew.
    server.say("HSET gw:{acc}:l:a accepted x").await;
    accept("m5").await.unwrap();
    assert_eq!(accepted().await, 1);
}
