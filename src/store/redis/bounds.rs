//! No script does more at once than a bounded number of commands, however much is kept, queued or
//! in doubt; Redis does nothing else meanwhile. Counted, not timed, so a slow machine changes nothing.

use super::*;
use crate::domain::{Ages, Phone, UnixMs};
use crate::store::testing::RedisServer;
use crate::store::{ClaimFrom, Claims, SweepRule, SweepScope, Trial};
use std::time::Duration;

/// The most commands of one script; about 10 ms.
const MOST: u64 = 8_000;
const PREFIX: &str = "gw:{default}:";
const NOW: UnixMs = UnixMs(1_000_000_000);

async fn lua<T: FromRedisValue>(server: &RedisServer, script: &str) -> T {
    let script = Script::new(&format!("local P = KEYS[1]\n{script}"));
    server.link().run(&script.key(PREFIX)).await.unwrap()
}

/// How many commands Redis has carried out since this was asked last, of that name or of any.
async fn commands(server: &RedisServer, name: &str) -> u64 {
    let stats = server.say("INFO commandstats").await;
    server.say("CONFIG RESETSTAT").await;
    let calls = stats.lines().filter_map(|line| {
        let (command, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let is_asked = name.is_empty() || command == name;
        is_asked.then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    calls.sum()
}

fn store(server: &RedisServer, channels: usize) -> (Store, Vec<ChannelId>) {
    let account = AccountId::parse("default").unwrap();
    let channels: Vec<_> = (0..channels)
        .map(|n| ChannelId::parse(&format!("c{n}")).unwrap())
        .collect();
    let of_account = channels.iter().cloned();
    let of_account = of_account.map(|channel| (channel, account.clone()));
    let store = Store::open(server.link(), of_account.collect(), false);
    (store, channels)
}

/// Forty channels with a backlog that a clock which was ahead has put off, sixty processes that ended
/// with their hands full, and one person with a thousand sends in doubt.
#[tokio::test]
async fn a_sweep_after_everything_went_wrong_at_once_comes_in_small_steps() {
    let server = RedisServer::start();
    let (store, channels) = store(&server, 40);
    let _: () = lua(
        &server,
        "for c = 0, 39 do for n = 1, 250 do
            local id = 1000 * c + n
            redis.call('HSET', P..'m:'..id, 'ch', 'c'..c, 's', 0, 'ac', 9e9, 'du', 9e9)
            redis.call('ZADD', P..'q:c'..c, 9e9, id)
            redis.call('ZADD', P..'cr:0:c'..c, 9e9, id)
        end redis.call('HSET', P..'l:c'..c, 'queued', 250) end
        for r = 1, 60 do
            redis.call('ZADD', P..'replicas', 1, 'dead'..r)
            for n = 1, 150 do redis.call('HSET', P..'ct:dead'..r, n, '1|0|c1') end
        end
        for n = 1, 1000 do
            local id = 900000 + n
            redis.call('HSET', P..'m:'..id, 'ch', 'c1', 'to', '12', 's', 1, 'ow', 'dead1:1')
            redis.call('SET', P..'d:'..id, 'row')
            redis.call('SADD', P..'x:12', id)
            redis.call('HSET', P..'att:dead1', id, 1)
        end
        redis.call('HSET', P..'l:c1', 'attempting', 1000)",
    )
    .await;
    let rules: Vec<SweepRule> = channels
        .iter()
        .map(|channel| SweepRule {
            channel: channel.clone(),
            resend: false,
            expired_before: UnixMs(0),
            hold: Duration::from_secs(600),
        })
        .collect();
    commands(&server, "").await;
    let mut steps = 0;
    while {
        let swept = store.sweep(rules.clone(), SweepScope::SetBack, NOW.into());
        swept.await.unwrap().more
    } {
        steps += 1;
        let done = commands(&server, "").await;
        // A sweep is two scripts.
        assert!(done < 2 * MOST, "{done} commands in step {steps}");
    }
    assert!(steps > 40, "{steps}");
    let left: u64 = lua(
        &server,
        "local left = redis.call('ZCARD', P..'replicas') + redis.call('HLEN', P..'att:dead1')
        for c = 0, 39 do
            left = left + redis.call('ZCOUNT', P..'q:c'..c, '(1000000000', '+inf')
                + redis.call('ZCOUNT', P..'cr:0:c'..c, '(1000000000', '+inf')
        end
        return left",
    )
    .await;
    assert_eq!(left, 0, "all is done in the end");
}

/// What must stay, here for its dead letters, is passed over once, not once a step; behind it all
/// goes. Several of one moment, as a campaign ends them.
#[tokio::test]
async fn retention_passes_what_must_stay_once_and_takes_what_is_behind() {
    let server = RedisServer::start();
    let (store, _) = store(&server, 1);
    let _: () = lua(
        &server,
        "for n = 1, 1500 do
            redis.call('HSET', P..'m:'..n, 'ch', 'c0', 'mi', 'm'..n, 'to', n, 's', 2)
            if n % 5 > 0 then redis.call('SADD', P..'dm:'..n, 1) end
            redis.call('ZADD', P..'done', math.floor(n / 170), n)
        end",
    )
    .await;
    commands(&server, "").await;
    let purged = store.purge(NOW, NOW).await.unwrap();
    assert_eq!(purged.messages, 300);
    assert_eq!(
        commands(&server, "hmget").await,
        1500,
        "each is looked at once"
    );
    assert_eq!(server.say("ZCARD gw:{default}:done").await, "1200");
    assert_eq!(store.purge(NOW, NOW).await.unwrap().messages, 0);
}

/// An id that thousands of statuses name goes in pieces too.
#[tokio::test]
async fn retention_takes_many_statuses_of_one_id_in_pieces() {
    let server = RedisServer::start();
    let (store, _) = store(&server, 1);
    let _: () = lua(
        &server,
        "for n = 1, 3000 do redis.call('RPUSH', P..'e:P1', '1||5|12|c0|7|4|null') end
        redis.call('RPUSH', P..'e:P2', '1||5|13|c0|7|4|null')
        redis.call('ZADD', P..'ez', 5, 'P1', 6, 'P2')
        redis.call('SADD', P..'er:12', 'P1')
        redis.call('SADD', P..'er:13', 'P2')",
    )
    .await;
    commands(&server, "").await;
    assert_eq!(store.purge(NOW, NOW).await.unwrap().early_statuses, 3001);
    assert_eq!(
        commands(&server, "ltrim").await,
        5,
        "in pieces; the last goes whole"
    );
    let left = server.say("KEYS gw:*e*:*").await;
    assert!(!left.contains(":e"), "{left}");
    let report = server.say("HGET gw:{default}:l:c0 expired_events").await;
    assert_eq!(report, "3001");
}

/// Thousands of answers to claims were lost: what they took goes back over a few renewals.
#[tokio::test]
async fn a_renewal_gives_back_a_bounded_number_at_once() {
    let server = RedisServer::start();
    let (store, _) = store(&server, 1);
    let key = format!("ct:{}", store.replica());
    let fill = format!("for n = 1, 3000 do redis.call('HSET', P..'{key}', n, '1|0|c0') end");
    let _: () = lua(&server, &fill).await;
    let left = async || -> u64 {
        let left = server.say(&format!("HLEN {PREFIX}{key}")).await;
        left.parse().unwrap()
    };
    for renewals in 1..=15 {
        commands(&server, "").await;
        store.renew().await.unwrap();
        let done = commands(&server, "").await;
        assert!(done < MOST, "{done}");
        assert_eq!(left().await, 3000 - 200 * renewals);
    }
}

/// Puts messages into a queue; of a person each, with the row of a version.
const QUEUE: &str = r#"
local function put(queue, from, to, version, accepted)
    local row = '{"v":' .. version .. ',"from":"+12025550100",'
        .. '"name":"t","lang":"en","body":["Ana"]}\n'
    for id = from, to do
        redis.call('HSET', P..'m:'..id, 'ch', 'c0', 'mi', 'm'..id, 'to', 12025550000 + id,
            's', 0, 'ac', accepted, 'du', accepted)
        redis.call('SET', P..'d:'..id, row)
        redis.call('ZADD', P..queue, accepted, id)
    end
end
"#;

fn ages(oldest: i64) -> Ages {
    Ages {
        failed_before: UnixMs(oldest),
        sent_from: UnixMs(oldest),
    }
}

fn queue(channel: &ChannelId) -> ClaimFrom {
    ClaimFrom {
        channel: channel.clone(),
        ages: ages(100_000),
        retries: 8,
        aside: 8,
    }
}

fn taken(claims: &Claims) -> Vec<i64> {
    claims.taken.iter().map(|one| one.handle).collect()
}

/// Five times as many as one claim gets out of the way, of each kind: too old, opted out, of a newer
/// program, sent already. What may be sent stands behind all of them, and in another channel.
#[tokio::test]
async fn a_claim_gets_a_bounded_number_out_of_the_way_and_goes_on_next_time() {
    let server = RedisServer::start();
    let (store, channels) = store(&server, 2);
    let fill = "put('q:c0', 1, 1000, 1, 50000)
        put('q:c0', 1001, 2000, 1, 200000)
        for id = 1001, 2000 do redis.call('SADD', P..'oo:c0', 12025550000 + id) end
        put('q:c0', 2001, 3000, 99, 200001)
        put('q:c0', 3001, 4000, 1, 200002)
        for id = 3001, 4000 do redis.call('HSET', P..'m:'..id, 's', 2) end
        put('aq:c0', 4001, 4900, 1, 50000)
        put('aq:c0', 4901, 4903, 1, 200002)
        put('q:c0', 5001, 5005, 1, 200003)
        put('q:c1', 6001, 6002, 1, 200003)
        for id = 6001, 6002 do redis.call('HSET', P..'m:'..id, 'ch', 'c1') end
        redis.call('HSET', P..'l:c0', 'queued', 4908)
        redis.call('HSET', P..'l:c1', 'queued', 2)";
    let _: () = lua(&server, &format!("{QUEUE}{fill}")).await;
    store.renew().await.unwrap();
    let (mut sent, mut failed, mut claims) = (Vec::new(), Vec::new(), 0);
    while sent.len() < 10 {
        claims += 1;
        assert!(claims < 60, "{sent:?}");
        commands(&server, "").await;
        let queues = channels.iter().map(queue).collect();
        let claim = store.claim(queues, 100, NOW).await.unwrap();
        let done = commands(&server, "").await;
        assert!(done < MOST, "{done} commands");
        assert!(claim.failed.len() <= 200, "{}", claim.failed.len());
        if claims == 1 {
            assert_eq!(
                taken(&claim),
                [6001, 6002],
                "another channel waits for none"
            );
        }
        sent.extend(taken(&claim));
        let names = claim.failed.iter();
        failed.extend(names.map(|(_, msg_id, _)| msg_id.to_string()));
    }
    assert!(claims > 20, "{claims}");
    sent.sort_unstable();
    assert_eq!(
        sent,
        [4901, 4902, 4903, 5001, 5002, 5003, 5004, 5005, 6001, 6002]
    );
    let report = failed.len();
    failed.sort_unstable();
    failed.dedup();
    assert_eq!((failed.len(), report), (2900, 2900), "each is told once");
    let left: Vec<u64> = lua(
        &server,
        "return { redis.call('ZCARD', P..'q:c0'), redis.call('ZCARD', P..'rq:c0'),
            redis.call('ZCARD', P..'aq:c0'), redis.call('HGET', P..'l:c0', 'failed') }",
    )
    .await;
    assert_eq!(left, [0, 1000, 0, 2900], "a newer program finds its own");
}

/// More that was tried before, and is to be got out of the way, than several claims can: what was never tried
/// goes with the first of them.
#[tokio::test]
async fn fresh_messages_do_not_wait_behind_what_is_got_out_of_the_way() {
    let server = RedisServer::start();
    let (store, channels) = store(&server, 1);
    let fill = "put('rq:c0', 1, 3000, 99, 200000)
        put('aq:c0', 3001, 6000, 1, 50000)
        put('q:c0', 7001, 7005, 1, 200003)
        redis.call('HSET', P..'l:c0', 'queued', 6005)";
    let _: () = lua(&server, &format!("{QUEUE}{fill}")).await;
    store.renew().await.unwrap();
    let queues = channels.iter().map(queue).collect();
    let claim = store.claim(queues, 100, NOW).await.unwrap();
    assert_eq!(taken(&claim), [7001, 7002, 7003, 7004, 7005]);
}

/// Nobody but the person of the last trial waits, in many channels; one message each time.
#[tokio::test]
async fn a_trial_looks_at_a_bounded_number_and_still_takes_one() {
    let server = RedisServer::start();
    let (store, channels) = store(&server, 60);
    let fill = "for c = 0, 59 do
            for n, queue in ipairs({ 'q:c', 'rq:c', 'aq:c' }) do
                local from = 1000 * c + 100 * n
                put(queue..c, from, from + 31, 1, 200000)
                for id = from, from + 31 do
                    redis.call('HSET', P..'m:'..id, 'to', 12025550100, 'ch', 'c'..c)
                end
            end
            redis.call('HSET', P..'l:c'..c, 'queued', 96)
        end";
    let _: () = lua(&server, &format!("{QUEUE}{fill}")).await;
    store.renew().await.unwrap();
    let last = (Phone::from_number(12_025_550_100).unwrap(), "t".to_owned());
    let trial = |oldest, tried: Option<_>| {
        let channels = channels.iter();
        let channels = channels.map(|channel| (channel.clone(), ages(oldest)));
        Trial {
            channels: channels.collect(),
            tried,
        }
    };
    for _ in 0..3 {
        commands(&server, "").await;
        let claims = store
            .claim_trial(trial(0, Some(last.clone())), NOW)
            .await
            .unwrap();
        assert_eq!(claims.taken.len(), 1);
        let looks = commands(&server, "").await;
        assert!(looks < 1200, "{looks} commands");
    }
    // All of them are too old now: each trial ends some, until none is left.
    let (mut failed, mut trials) = (0, 0);
    while failed < 60 * 96 - 3 {
        trials += 1;
        assert!(trials < 1500, "{failed} failed");
        commands(&server, "").await;
        let claims = store.claim_trial(trial(300_000, None), NOW).await.unwrap();
        let done = commands(&server, "").await;
        assert!(done < MOST, "{done} commands");
        assert!(!claims.failed.is_empty() && claims.taken.is_empty());
        failed += claims.failed.len();
    }
}

/// As many sends under way and in doubt as are counted at once, and one more: then none is counted.
#[tokio::test]
async fn a_ledger_that_is_off_is_counted_in_a_bounded_step_or_not_at_all() {
    for (unknown, counted) in [(3_000, 5_000), (3_001, 7)] {
        let server = RedisServer::start();
        let (store, _) = store(&server, 40);
        let fill = format!(
            "redis.call('ZADD', P..'replicas', 9e15, 'r')
            for n = 1, 2000 do redis.call('HSET', P..'att:r', n, 1) end
            for n = 1, {unknown} do redis.call('ZADD', P..'u', 9e9, 2000 + n) end
            for n = 1, 2000 + {unknown} do redis.call('HSET', P..'m:'..n, 'ch', 'c1') end
            redis.call('HSET', P..'l:c1', 'unknown', 7)"
        );
        let _: () = lua(&server, &fill).await;
        let home = &store.shared.accounts[0];
        store.recount(home).await.unwrap();
        commands(&server, "").await;
        store.recount(home).await.unwrap();
        let done = commands(&server, "").await;
        assert!(done < MOST, "{done} commands");
        let account = AccountId::parse("default").unwrap();
        let channel = ChannelId::parse("c1").unwrap();
        let ledger = store.ledger_of(&account, &channel).await.unwrap();
        assert_eq!(ledger.attempting + ledger.unknown, counted);
    }
}
