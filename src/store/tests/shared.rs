//! What several processes share and must not spoil for each other: Redis itself and its memory, its
//! clock, channels that only some of them know.

use super::on_redis::pair;
use super::*;
use crate::store::redis::{self, Connection, Settings};
use crate::store::testing::RedisServer;
use tokio::time::{sleep, timeout};

/// A message to be sent once more, and the first attempt at it, whose outcome nobody knows.
async fn to_be_resent(first: &World, second: &World) -> ClaimedMessage {
    let stale = first.attempt("m1", 1, 0).await;
    second.take_over(5, 600).await;
    assert_eq!(second.sweep(true, 605).await.resent.len(), 1);
    stale
}

#[tokio::test]
async fn what_was_under_way_when_redis_lost_its_data_never_hits_a_new_message() {
    let (redis, first, second) = pair();
    first.sent("m0", 9, "P0", 0).await;
    first.event("P0", Status::Sent, None, 0).await;
    let queue = lane("a", Destination::Status);
    let told = first.callbacks(&queue, 0).await.remove(0);
    let claimed = first.attempt("m1", 1, 0).await;
    redis.say("FLUSHALL").await;
    first.renew_all(&second).await;
    second.sent("n0", 8, "Q0", 1).await;
    second.event("Q0", Status::Sent, None, 1).await;
    second.accept("n1", 7, 1).await;
    first.settle(&claimed, receipt("P1"), 2).await;
    first.end(&queue, told.handle, taken(), 2).await;
    assert_eq!(second.state("n1").await, State::Queued);
    // What Redis lost, whoever sends it put back, and whoever took in its statuses told the last of them once more.
    assert_eq!(second.event("P1", Status::Read, None, 3).await.unmatched, 0);
    assert_eq!(
        second.statuses(3).await,
        ["m0 sent", "n0 sent", "m1 read"]
    );
    assert_eq!(second.ledger().await.callbacks_taken, 3);
    for number in [claimed.handle, told.handle.callback] {
        assert_eq!(number.to_string().len(), 16, "all are ordered alike");
    }
    second.check().await;
}

impl World {
    /// Accepts and claims one message of another account, on channel `x`.
    pub(super) async fn attempt_of(&self, account: &AccountId) -> ClaimedMessage {
        let (channel, message) = (channel("x"), message("mx", 1));
        let accepted = self.store.accept(&channel, account, &message, at(0));
        accepted.await.unwrap();
        self.claims(&["x"], 1, 0).await.taken.remove(0)
    }

    async fn renew_all(&self, other: &Self) {
        self.store.renew().await.unwrap();
        other.store.renew().await.unwrap();
    }
}

#[tokio::test]
async fn a_receipt_that_comes_before_a_resend_makes_it_needless() {
    let (_redis, first, second) = pair();
    let stale = to_be_resent(&first, &second).await;
    assert_eq!(second.state("m1").await, State::Queued);
    first.settle(&stale, receipt("P1"), 606).await;
    assert_eq!(second.state("m1").await, State::Accepted);
    // Before a claim could take it for something that waits.
    second.check().await;
    assert!(second.claim(607).await.is_empty(), "it is not sent again");
    second.event("P1", Status::Read, None, 608).await;
    assert_eq!(second.statuses(608).await, ["m1 read"]);
    second.check().await;
}

/// Whoever sends or relays waits for news; anybody may look, as `/api/ledger` does.
#[tokio::test]
async fn whoever_looks_at_the_ledger_takes_no_news_from_the_one_who_rings() {
    let (_redis, first, second) = pair();
    first.store.look().await.unwrap();
    assert!(first.store.changed_channels().is_empty());
    second.accept("m1", 1, 0).await;
    for _ in 0..2 {
        first.store.look().await.unwrap();
    }
    assert_eq!(first.ledger().await.queued, 1);
    assert_eq!(first.store.changed_channels(), [channel("a")]);
    assert!(first.store.changed_channels().is_empty(), "told once");
}

/// Before and after are told by Redis' clock alone.
#[tokio::test]
async fn a_clock_that_is_behind_does_not_spoil_the_evidence() {
    let (_redis, first, second) = pair();
    first.lost("m1", 1, 10, 600).await;
    let early = second.event("P1", Status::Sent, Some(1), 5).await;
    assert_eq!(early.inferred, 1);
    assert_eq!(second.state("m1").await, State::Accepted);
    // And an id that was seen before the attempt is another message's, whatever the clocks say.
    second.event("P2", Status::Sent, Some(2), 700).await;
    first.lost("m2", 2, 690, 1300).await;
    assert_eq!(first.state("m2").await, State::Unknown);
    second.check().await;
}

#[tokio::test]
async fn a_process_that_does_not_know_the_channel_leaves_its_hold_to_one_that_does() {
    let (_redis, first, second) = pair();
    first.lost("m1", 1, 0, 600).await;
    let sweep = async |name: &str, seconds: i64| {
        let rule = SweepRule {
            resend: true,
            ..sweep_rule(name, seconds)
        };
        let swept = second.store.sweep(vec![rule], SweepScope::Ages, at(seconds));
        swept.await.unwrap()
    };
    assert!(sweep("b", 601).await.is_empty());
    assert_eq!(second.state("m1").await, State::Unknown);
    assert_eq!(sweep("a", 602).await.resent.len(), 1);
    let again = second.claim(603).await.remove(0);
    second.settle(&again, receipt("P1"), 603).await;
    second.check().await;
    // Ten minutes later nobody can know it any more.
    first.lost("m2", 2, 1000, 1600).await;
    assert!(sweep("b", 2100).await.is_empty());
    assert_eq!(sweep("b", 2201).await.failed.len(), 1);
    second.check().await;
}

/// A replica that is behind sees messages that are to come: they are of others, and due by their time.
#[tokio::test]
async fn a_replica_that_is_behind_makes_no_message_of_others_older() {
    let (_redis, behind, ahead) = pair();
    for seconds in [60, 3600] {
        let id = format!("m{seconds}");
        ahead.accept(&id, 1, seconds).await;
        behind.sweep(false, 0).await;
        assert!(behind.claim(0).await.is_empty(), "{id} waits for its time");
        let claimed = ahead.claim(seconds).await.remove(0);
        assert_eq!(claimed.accepted_at, at(seconds));
        ahead.settle(&claimed, receipt(&id), seconds).await;
    }
    ahead.check().await;
}

/// Redis without the replica that must confirm what is written: every accept asks it for half a
/// second, and is refused.
struct Unconfirmed {
    server: RedisServer,
    store: redis::Store,
}

impl Unconfirmed {
    const MANY: u64 = 8;

    fn new() -> Self {
        let server = RedisServer::start();
        let settings = Settings {
            url: server.url().into(),
            wait_replicas: 1,
        };
        let link = Connection::new(&settings).unwrap();
        let store = redis::Store::open(link, vec![(channel("a"), account())], false);
        Self { server, store }
    }

    /// How often Redis was asked to confirm.
    async fn asked(&self) -> u64 {
        let stats = self.server.say("INFO commandstats").await;
        let calls = stats.split("cmdstat_wait:calls=").nth(1);
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse().unwrap())
    }

    /// The number of the question that is under way, if one is.
    async fn question(&self) -> Option<u64> {
        let clients = self.server.say("INFO clients").await;
        // In this order: a later question would show.
        let asked = self.asked().await;
        clients.contains("blocked_clients:1").then_some(asked)
    }

    /// Accepts many at once, and renews the lease meanwhile. Whether it was renewed before Redis
    /// answered to the question that was under way: else that is over, or another is.
    async fn renews_beside_a_burst(&self) -> bool {
        let mut burst = tokio::task::JoinSet::new();
        for n in 0..Self::MANY {
            let store = self.store.clone();
            burst.spawn(async move {
                let (channel, account) = (channel("a"), account());
                let message = message(&format!("m{n}"), n);
                let accepted = store.accept(&channel, &account, &message, at(0));
                accepted.await.is_err()
            });
        }
        let mut question = None;
        until("somebody waits", async || {
            question = self.question().await;
            question.is_some()
        })
        .await;
        self.store.renew().await.unwrap();
        let beside = self.question().await == question;
        assert_eq!(burst.join_all().await, [true; Self::MANY as usize]);
        beside
    }
}

/// Replicas of Redis are gone: accepts are refused, but no lease is lost for it. On a machine that is
/// slow Redis may answer before the renewal comes; one that had to wait never comes before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leases_are_renewed_while_many_writes_wait_for_a_replica_of_redis_that_is_gone() {
    let redis = Unconfirmed::new();
    redis.store.renew().await.unwrap();
    let mut bursts = 1;
    while !redis.renews_beside_a_burst().await {
        assert!(bursts < 20, "the renewal waited too");
        bursts += 1;
    }
    let asked = redis.asked().await;
    assert!(
        asked < bursts * Unconfirmed::MANY,
        "one question serves many, not {asked} in {bursts} bursts"
    );
}

/// MoEngage must not hear success of what a failover could lose, whoever stored it.
#[tokio::test]
async fn a_message_counts_as_known_only_when_the_replica_of_redis_has_it() {
    let redis = Unconfirmed::new();
    let (channel, account, message) = (channel("a"), account(), message("m1", 1));
    let accepted = redis.store.accept(&channel, &account, &message, at(0));
    assert!(accepted.await.is_err());
    let known = redis.store.is_accepted(&channel, &message.msg_id).await;
    assert!(known.is_err(), "{known:?}");
    let never = MsgId::parse("m2").unwrap();
    assert!(!redis.store.is_accepted(&channel, &never).await.unwrap());
}

pub(super) async fn until(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let look = async {
        while !done().await {
            // waits because others bring it about; bounded
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(10), look).await.expect(what);
}

#[tokio::test]
async fn a_message_that_cannot_be_read_does_not_hold_up_those_claimed_with_it() {
    let (redis, first, _second) = pair();
    // The script of claims is known, that of settlements is not and cannot be loaded.
    assert!(first.claim(0).await.is_empty());
    first.accept("bad", 1, 0).await;
    first.accept("good", 2, 0).await;
    let number = redis.say("GET gw:{acc}:i:a:bad").await;
    let mut damage = ::redis::cmd("SETRANGE");
    damage.arg(format!("gw:{{acc}}:d:{number}")).arg(0).arg("?");
    let link = redis.server.link();
    let _: u32 = link.command(&damage).await.unwrap();
    redis.say("ACL SETUSER default -script").await;
    let claims = first.claims(&["a"], 10, 1).await;
    assert_eq!(claims.taken.len(), 1);
    assert_eq!(claims.taken[0].message.msg_id.as_str(), "good");
    assert_eq!(claims.failed.len(), 1);
    redis.say("ACL SETUSER default +script").await;
    first.settle(&claims.taken[0], receipt("P1"), 2).await;
    until("it is put aside", async || {
        first.ledger().await.failed == 1
    })
    .await;
    first.check().await;
}

#[tokio::test]
async fn trouble_of_one_account_leaves_the_others_their_leases_and_their_ends() {
    let (redis, first, _second) = pair();
    let other = AccountId::parse("other").unwrap();
    let mx = first.attempt_of(&other).await;
    first.settle(&mx, unknown_until(600), 0).await;
    redis.say("DEL gw:{acc}:replicas gw:{other}:replicas").await;
    redis.say("ACL SETUSER default resetkeys ~gw:{other}:*").await;
    assert!(first.store.renew().await.is_err());
    assert_eq!(redis.say("ZCARD gw:{other}:replicas").await, "1");
    let rules = ["a", "x"].map(|name| sweep_rule(name, 700));
    let swept = first.store.sweep(rules.to_vec(), SweepScope::Ages, at(700)).await;
    assert_eq!(swept.unwrap().failed.len(), 1);
    let rules = vec![sweep_rule("a", 700)];
    assert!(first.store.sweep(rules, SweepScope::Ages, at(700)).await.is_err());
}

#[tokio::test]
async fn of_a_message_that_was_sent_twice_nothing_stays_after_its_time() {
    let (redis, first, second) = pair();
    let stale = to_be_resent(&first, &second).await;
    let fresh = second.claim(606).await.remove(0);
    for id in ["PROVIDER-1", "PROVIDER-2"] {
        second.event(id, Status::Sent, Some(1), 606).await;
    }
    // One that never finds its message goes too.
    second
        .event("PROVIDER-3", Status::Sent, Some(2), 606)
        .await;
    first.settle(&stale, receipt("PROVIDER-1"), 607).await;
    second.settle(&fresh, receipt("PROVIDER-2"), 608).await;
    for id in ["PROVIDER-1", "PROVIDER-2"] {
        second.event(id, Status::Read, None, 609).await;
    }
    assert_eq!(second.statuses(610).await, ["m1 sent", "m1 read"]);
    let purged = second.store.purge(at(700), at(700)).await.unwrap();
    assert_eq!(purged.messages, 1);
    let keys = redis.say("KEYS *").await;
    let handle = stale.handle.to_string();
    let people = [1, 2].map(|person| phone(person).number().to_string());
    for trace in ["PROVIDER", "m1", &handle, &people[0], &people[1]] {
        assert!(!keys.contains(trace), "{trace}: {keys}");
    }
    second.check().await;
}

#[tokio::test]
async fn dead_letters_of_a_channel_that_is_not_configured_any_more_go_in_time() {
    let (redis, first, _second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    first.event("P1", Status::Sent, None, 0).await;
    let queue = lane("a", Destination::Status);
    let told = first.callbacks(&queue, 0).await.remove(0);
    let reason = "refused".into();
    let dead = RelayOutcome::Dead { reason };
    first.end(&queue, told.handle, dead, 1).await;
    let channels = vec![(channel("b"), account())];
    let without = redis::Store::open(redis.server.link(), channels, false);
    let purged = without.purge(at(10), at(10)).await.unwrap();
    assert_eq!((purged.others, purged.messages), (1, 1));
    let keys = redis.say("KEYS *").await;
    let number = told.handle.callback.to_string();
    assert!(!keys.contains(&number) && !keys.contains("dl:"), "{keys}");
}

#[tokio::test]
async fn retention_lets_redis_breathe_however_much_is_old() {
    let (redis, first, _second) = pair();
    let named = |n: u64| {
        Incoming::Reply(Reply {
            id: Some(provider_id(&format!("R{n}"))),
            ..reply(n, "Hello")
        })
    };
    first.events((0..250).map(named).collect(), 0).await;
    redis.say("CONFIG RESETSTAT").await;
    let purged = first.store.purge(at(10), at(0)).await.unwrap();
    assert_eq!(purged.others, 250);
    let steps = redis.say("INFO commandstats").await;
    assert!(
        steps.contains("cmdstat_zremrangebyrank:calls=3,"),
        "a hundred a step: {steps}"
    );
}

/// The answer to a webhook's write may be lost. A reply without an id is known by its content.
#[tokio::test]
async fn a_reply_without_an_id_is_told_once_though_it_comes_again_within_a_minute() {
    let (_redis, first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    for (seconds, replies) in [(5, 1), (65, 0), (66, 1)] {
        let said = vec![Incoming::Reply(reply(1, "Hello"))];
        let rules = Arc::new(rules("a"));
        let taken = first.store.take_events(rules, said, at(seconds), in_time());
        taken.await.unwrap();
        let told = second.relayed(&lane("a", Destination::Inbound), seconds + 1).await;
        assert_eq!(told.len(), replies, "{seconds}");
    }
    first.check().await;
}

/// The provider gave the same id twice; it goes with the message that had it last.
#[tokio::test]
async fn a_message_that_goes_takes_no_provider_id_of_another_with_it() {
    let (_redis, first, _second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    first.sent("m2", 2, "P1", 10).await;
    let purged = first.store.purge(at(5), at(5)).await.unwrap();
    assert_eq!(purged.messages, 1);
    first.event("P1", Status::Read, None, 11).await;
    assert_eq!(first.statuses(12).await, ["m2 read"]);
}

/// The safe side of G3: what stays unknown is reported as such; later evidence moves it.
#[tokio::test]
async fn nothing_is_inferred_for_a_person_whom_more_than_a_hundred_ids_name() {
    for (before, inferred) in [(100, 1), (101, 0)] {
        let (_redis, world, _) = pair();
        // None of these proves anything, being older than the attempt.
        for n in 0..before - 1 {
            world.event(&format!("A{n}"), Status::Sent, Some(1), 0).await;
        }
        world.lost("m1", 1, 10, 600).await;
        let folded = world.event("P1", Status::Sent, Some(1), 20).await;
        assert_eq!(folded.inferred, inferred, "{before} ids");
        let swept = world.sweep(false, 600).await;
        assert_eq!(swept.inferred, 0);
        if inferred == 1 {
            assert_eq!(world.statuses(600).await, ["m1 sent"]);
            continue;
        }
        assert_eq!(swept.failed[0].2, crate::store::refusals::outcome_unknown());
        assert_eq!(world.statuses(600).await, ["m1 failed"]);
        // The ids go, and the next one is the only one.
        let purged = world.store.purge(at(0), at(700)).await.unwrap();
        assert_eq!(purged.early_statuses, before);
        let folded = world.event("P2", Status::Delivered, Some(1), 800).await;
        assert_eq!(folded.inferred, 1);
        assert_eq!(world.statuses(800).await, ["m1 delivered"]);
        assert_eq!(world.state("m1").await, State::Accepted);
        world.check().await;
    }
}
