//! One message of which part is missing in Redis or is not what a program of ours writes (a key was
//! evicted, a hand was at it): the work on others goes on, and it ends as failed. The embedded
//! store's file has the same in its own tests.

use super::on_redis::{OnRedis, pair};
use super::*;
use crate::store::DirtyEnd;
use crate::store::redis::is_told;
use std::rc::Rc;

/// What a message in the queue comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    /// It has all that it takes to be sent.
    Sent,
    /// It is failed, and MoEngage is told.
    Failed,
    /// It is failed, and nobody knows of whom to tell.
    Silent,
}
use End::{Failed, Sent, Silent};

/// What is done to the message, its number in place of `N`; words of `X` are no UTF-8. Then its end,
/// and whether it can still be told later, when it is not in the queue of its channel any more.
const HARM: [(&str, End, bool); 30] = [
    ("DEL m:N", Silent, false),
    ("SET m:N nonsense", Silent, false),
    ("DEL d:N", Failed, true),
    ("SET d:N nonsense", Failed, true),
    ("SET d:N X", Failed, true),
    ("DEL d:N; RPUSH d:N list", Failed, true),
    ("HDEL m:N ch", Sent, false),
    ("HSET m:N ch ''", Sent, false),
    ("HDEL m:N mi", Silent, false),
    ("HSET m:N mi ''", Silent, false),
    ("HSET m:N mi X", Silent, false),
    ("HDEL m:N to", Failed, true),
    ("HSET m:N to nobody", Failed, true),
    ("HSET m:N to X", Failed, true),
    ("HSET m:N to 99999999999999999999999", Failed, true),
    ("HDEL m:N s", Failed, true),
    ("HSET m:N s 9", Failed, true),
    ("HSET m:N s nonsense", Failed, true),
    ("HDEL m:N du ac", Failed, true),
    ("HSET m:N ac nonsense", Failed, true),
    ("HSET m:N ac 1e99", Failed, true),
    ("HSET m:N du nonsense", Sent, true),
    ("HDEL m:N ow n ta", Sent, true),
    ("HSET m:N n nonsense ow nonsense", Sent, true),
    ("HSET m:N n 9999999999999999 ta nonsense", Sent, true),
    ("HSET m:N pr nonsense rs nonsense lo nonsense", Sent, true),
    ("HSET m:N pr 99", Sent, true),
    ("HSET m:N cv X vr nonsense", Sent, true),
    ("SET t:N nonsense", Sent, true),
    ("RPUSH t:N list", Sent, true),
];

/// A world on the one server of a story, emptied, whose changes are marked for Datastore.
async fn fresh(home: &Rc<OnRedis>) -> World {
    home.say("FLUSHALL").await;
    home.mark(true);
    World {
        store: home.open(),
        home: home.clone(),
    }
}

/// Does harm to the message `bad`.
async fn harm(home: &OnRedis, harm: &str) {
    let number = home.say("GET gw:{acc}:i:a:bad").await;
    for command in harm.split("; ") {
        let (verb, rest) = command.split_once(' ').unwrap();
        let key = format!("{verb} gw:{{acc}}:{}", rest.replacen('N', &number, 1));
        home.say(&key).await;
    }
}

/// `m1`, `bad` and `m3` to a person each.
async fn accept_three(world: &World) {
    for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
        world.accept(id, to, 0).await;
    }
}

fn id_of(one: &ClaimedMessage) -> &str {
    one.message.msg_id.as_str()
}

/// Waits until what could not be read is settled, which happens beside the claim.
async fn settled(world: &World, what: &str) {
    for _ in 0..1000 {
        if world.store.count_open().await.unwrap()[1] == 0 {
            return;
        }
        // waits because another task settles it; bounded
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: it is never settled");
}

#[tokio::test]
async fn a_damaged_message_in_the_queue_holds_back_nobody_and_ends() {
    let (home, ..) = pair();
    for (what, end, _) in HARM {
        let world = fresh(&home).await;
        accept_three(&world).await;
        harm(&home, what).await;
        let claims = world.claims(&["a"], 9, 100).await;
        let ids: Vec<&str> = claims.taken.iter().map(id_of).collect();
        let all = ["m1", "bad", "m3"];
        let expected = all.iter().filter(|id| end == Sent || **id != "bad");
        assert!(ids.iter().eq(expected), "{what}: {ids:?}");
        let refused = claims.failed.iter().map(|(_, id, _)| id.as_str());
        let expected = ["bad"].into_iter().filter(|_| end == Failed);
        assert!(refused.eq(expected), "{what}: {:?}", claims.failed);
        for one in &claims.taken {
            let provider_id = format!("P-{}", id_of(one));
            world.settle(one, receipt(&provider_id), 100).await;
        }
        settled(&world, what).await;
        let ledger = world.ledger().await;
        assert_eq!((ledger.lost(), ledger.queued), (0, 0), "{what}");
        assert_eq!(ledger.failed, i64::from(end != Sent), "{what}");
        world.store.renew().await.unwrap();
        assert!(world.claim(101).await.is_empty(), "{what}: it goes round");
        for one in ["P-m1", "P-bad", "P-m3"] {
            world.event(one, Status::Sent, None, 101).await;
        }
        let mut told = world.statuses(101).await;
        told.sort();
        let of_bad = match end {
            Sent => Some("bad sent"),
            Failed => Some("bad failed"),
            Silent => None,
        };
        let expected = of_bad.into_iter().chain(["m1 sent", "m3 sent"]);
        assert!(told.iter().eq(expected), "{what}: {told:?}");
        // Only what looked like a name until it was to be told.
        let dead = i64::from(what == "HSET m:N mi X");
        assert_eq!(world.ledger().await.dead_letters, dead, "{what}");
        world.store.purge(at(DAY), at(DAY)).await.unwrap();
    }
}

#[tokio::test]
async fn a_damaged_message_in_the_queue_grows_too_old_with_the_others() {
    let (home, ..) = pair();
    for (what, end, _) in HARM {
        let world = fresh(&home).await;
        accept_three(&world).await;
        harm(&home, what).await;
        world.sweep(false, 2 * DAY).await;
        let told = world.statuses(2 * DAY).await;
        let all = ["m1 failed", "bad failed", "m3 failed"];
        let expected = all.iter().filter(|one| end != Silent || !one.starts_with("bad"));
        assert!(told.iter().eq(expected), "{what}: {told:?}");
        let ledger = world.ledger().await;
        assert_eq!((ledger.lost(), ledger.failed), (0, 3), "{what}");
    }
}

#[tokio::test]
async fn a_damaged_attempt_does_not_stop_who_takes_over() {
    let (home, ..) = pair();
    for (what, _, tellable) in HARM {
        let world = fresh(&home).await;
        accept_three(&world).await;
        world.claims(&["a"], 9, 1).await;
        harm(&home, what).await;
        let world = world.died(2, 600).await;
        for id in ["m1", "m3"] {
            assert_eq!(world.state(id).await, State::Unknown, "{what}: {id}");
        }
        world.event("P3", Status::Sent, Some(3), 3).await;
        world.sweep(false, 700).await;
        assert_eq!(world.state("m1").await, State::Failed, "{what}");
        assert_eq!(world.state("m3").await, State::Accepted, "{what}");
        assert_eq!(world.store.count_open().await.unwrap(), [0; 3], "{what}");
        let told = world.statuses(700).await;
        assert_eq!(told.contains(&"bad failed".into()), tellable, "{what}: {told:?}");
    }
}

/// As if the answer to the claim had been lost.
async fn lose_the_claim(home: &OnRedis, world: &World) {
    if let Outbox::Redis(store) = &world.store {
        store.lose(&account(), 1);
    }
    let held = home.say("KEYS gw:{acc}:att:*").await;
    let replica = held.rsplit(':').next().unwrap();
    for id in ["m1", "bad", "m3"] {
        let number = home.say(&format!("GET gw:{{acc}}:i:a:{id}")).await;
        home.say(&format!("HSET {held} {number} 1")).await;
        home.say(&format!("HSET gw:{{acc}}:m:{number} ow {replica}:1")).await;
    }
}

#[tokio::test]
async fn a_damaged_message_of_a_lost_claim_does_not_end_the_lease() {
    let (home, ..) = pair();
    for (what, ..) in HARM {
        let world = fresh(&home).await;
        accept_three(&world).await;
        world.claims(&["a"], 9, 1).await;
        lose_the_claim(&home, &world).await;
        harm(&home, what).await;
        world.store.renew().await.unwrap();
        let taken = world.claim(2).await;
        for id in ["m1", "m3"] {
            assert!(taken.iter().any(|one| id_of(one) == id), "{what}: {id}");
        }
        for one in &taken {
            world.settle(one, Settlement::failed(refusal()), 3).await;
        }
        settled(&world, what).await;
        assert_eq!(world.store.count_open().await.unwrap(), [0; 3], "{what}");
        // Of one whose channel is gone nobody knows where it is counted.
        let nameless = ["DEL m:N", "SET m:N nonsense", "HDEL m:N ch", "HSET m:N ch ''"];
        let gone = i64::from(nameless.contains(&what));
        assert_eq!(world.ledger().await.attempting, gone, "{what}");
    }
}

#[tokio::test]
async fn an_attempt_whose_message_is_damaged_meanwhile_ends() {
    let (home, ..) = pair();
    let ends = [receipt("P2"), Settlement::failed(refusal()), unknown_until(600)];
    for (what, ..) in HARM {
        for end in &ends {
            let world = fresh(&home).await;
            accept_three(&world).await;
            let claimed = world.claims(&["a"], 9, 1).await.taken;
            harm(&home, what).await;
            for one in &claimed {
                world.settle(one, end.clone(), 2).await;
            }
            world.event("P2", Status::Sent, Some(2), 3).await;
            world.sweep(false, 700).await;
            world.statuses(700).await;
            let ledger = world.ledger().await;
            assert_eq!(ledger.lost(), 0, "{what}: {end:?}");
            // Of a row that is gone altogether nobody knows where it is counted.
            let gone = i64::from(["DEL m:N", "SET m:N nonsense"].contains(&what));
            let open = ledger.attempting + ledger.unknown;
            assert_eq!(open, gone, "{what}: {end:?}: {ledger:?}");
            assert_eq!(world.store.count_open().await.unwrap(), [0; 3], "{what}: {end:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_unknown_message_does_not_stop_the_sweep() {
    let (home, ..) = pair();
    for (what, _, tellable) in HARM {
        for resend in [false, true] {
            let world = fresh(&home).await;
            for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
                world.lost(id, to, 0, 600).await;
            }
            harm(&home, what).await;
            world.set_back(0).await;
            world.sweep(resend, 700).await;
            assert_eq!(world.store.count_open().await.unwrap()[2], 0, "{what}");
            world.sweep(resend, 3 * DAY).await;
            for id in ["m1", "m3"] {
                assert_eq!(world.state(id).await, State::Failed, "{what}: {id}");
            }
            let told = world.statuses(3 * DAY).await;
            assert_eq!(told.contains(&"bad failed".into()), tellable, "{what}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_unknown_message_does_not_spoil_the_events_of_others() {
    let (home, ..) = pair();
    for (what, ..) in HARM {
        let world = fresh(&home).await;
        for (id, to) in [("m1", 1), ("bad", 2), ("m3", 3)] {
            world.lost(id, to, 0, 600).await;
        }
        harm(&home, what).await;
        let events = [1, 2, 3].map(|n| event(&format!("P{n}"), Status::Sent, Some(n)));
        world.events(events.to_vec(), 1).await;
        let told = world.statuses(2).await;
        for one in ["m1 sent", "m3 sent"] {
            assert!(told.contains(&one.into()), "{what}: {told:?}");
        }
    }
}

#[tokio::test]
async fn a_damaged_message_does_not_spoil_the_statuses_and_replies_of_others() {
    let (home, ..) = pair();
    for (what, ..) in HARM {
        let world = fresh(&home).await;
        for (id, to, provider_id) in [("m1", 1, "P1"), ("bad", 2, "P2"), ("m3", 3, "P3")] {
            world.sent(id, to, provider_id, 0).await;
        }
        harm(&home, what).await;
        let events = ["P1", "P2", "P3"].map(|id| event(id, Status::Sent, None));
        world.events(events.to_vec(), 1).await;
        let told = world.statuses(2).await;
        for one in ["m1 sent", "m3 sent"] {
            assert!(told.contains(&one.into()), "{what}: {told:?}");
        }
        let quoting = Reply {
            context: Some(provider_id("P2")),
            ..reply(2, "hello")
        };
        let replies = [reply(2, "hello"), quoting, reply(3, "hi"), reply(4, "STOP")];
        let folded = world.events(replies.map(Incoming::Reply).to_vec(), 3).await;
        assert!(folded.replies >= 1 && folded.opted_out == 1, "{what}: {folded:?}");
        let relayed = world.relayed(&lane("a", Destination::Inbound), 4).await;
        let hi = |one: &Callback| matches!(one, Callback::Inbound(entry) if entry.text == "hi");
        assert!(relayed.iter().any(hi), "{what}: {relayed:?}");
        world.accept("bad", 2, 5).await;
        let of = async |to| world.store.find(Search::Phone(phone(to)), 9).await.unwrap().len();
        assert_eq!(of(1).await, 1, "{what}");
        let _ = world.store.find(Search::Phone(phone(2)), 9).await;
        home.say("DEL gw:{acc}:dirty").await;
        world.store.purge(at(9), at(9)).await.unwrap();
        assert_eq!(of(3).await, 0, "{what}");
    }
}

#[tokio::test]
async fn a_damaged_callback_holds_back_no_other() {
    let (home, ..) = pair();
    let bodies = ["nonsense", "X", "1|2|3", "a|b|c|d|e", "||||", "1|1|x|y|{}"];
    for body in ["", "1|2|99999999999|0|{}"].into_iter().chain(bodies) {
        let world = fresh(&home).await;
        for (id, to, provider_id) in [("m1", 1, "P1"), ("bad", 2, "P2"), ("m3", 3, "P3")] {
            world.sent(id, to, provider_id, 0).await;
            world.event(provider_id, Status::Sent, None, 1).await;
        }
        spoil(&home, "cr:0:a", 1, body).await;
        // One that waits behind it, and one that comes after it.
        world.event("P2", Status::Delivered, None, 2).await;
        let told = world.statuses(2).await;
        assert!(told.starts_with(&["m1 sent".into(), "m3 sent".into()]), "{body}: {told:?}");
        world.event("P2", Status::Read, None, 3).await;
        let later = world.statuses(3).await;
        let of_bad: Vec<_> = told.iter().chain(&later).skip(2).collect();
        assert_eq!(of_bad, ["bad delivered", "bad read"], "{body}");
        let ledger = world.ledger().await;
        assert_eq!((ledger.callbacks_waiting, ledger.dead_letters), (0, 1), "{body}");
        assert!(world.callbacks(&lane("a", Destination::Status), 9).await.is_empty());
        world.record("bad").await;
        world.store.purge(at(DAY), at(DAY)).await.unwrap();
        assert_eq!(home.say("KEYS gw:{acc}:co:*").await, "", "{body}");
    }
}

/// Does harm to the nth callback that is ready.
async fn spoil(home: &OnRedis, ready: &str, n: usize, body: &str) {
    let number = home.say(&format!("ZRANGE gw:{{acc}}:{ready} {n} {n}")).await;
    home.say(&match body {
        "" => format!("DEL gw:{{acc}}:c:{number}"),
        body => format!("SET gw:{{acc}}:c:{number} {body}"),
    })
    .await;
}

#[tokio::test]
async fn a_damaged_reply_does_not_silence_the_person() {
    let (home, ..) = pair();
    for body in ["", "nonsense", "1|2|3"] {
        let world = fresh(&home).await;
        world.sent("m1", 1, "P1", 0).await;
        let replies = ["first", "second"].map(|text| Incoming::Reply(reply(1, text)));
        world.events(replies.to_vec(), 1).await;
        spoil(&home, "cr:1:a", 0, body).await;
        let third = Incoming::Reply(reply(1, "third"));
        world.events(vec![third], 2).await;
        let told = world.relayed(&lane("a", Destination::Inbound), 3).await;
        let texts: Vec<&str> = told
            .iter()
            .map(|one| match one {
                Callback::Inbound(entry) => &*entry.text,
                Callback::Status(_) => "a status",
            })
            .collect();
        assert_eq!(texts, ["second", "third"], "{body}");
        let ledger = world.ledger().await;
        assert_eq!((ledger.callbacks_waiting, ledger.dead_letters), (0, 1), "{body}");
    }
}

#[tokio::test]
async fn a_callback_that_is_damaged_while_its_process_dies_holds_back_no_other() {
    let (home, ..) = pair();
    let world = fresh(&home).await;
    world.sent("m1", 1, "P1", 0).await;
    world.event("P1", Status::Sent, None, 1).await;
    let taken = world.callbacks(&lane("a", Destination::Status), 1).await;
    assert_eq!(taken.len(), 1);
    let callbacks = home.say("KEYS gw:{acc}:c:*").await;
    home.say(&format!("DEL {callbacks}")).await;
    let world = world.died(20, 600).await;
    world.event("P1", Status::Delivered, None, 21).await;
    assert_eq!(world.statuses(21).await, ["m1 delivered"]);
    assert_eq!(world.ledger().await.callbacks_waiting, 0);
}

#[tokio::test]
async fn a_damaged_ledger_stops_nothing_and_its_queue_is_counted_anew() {
    let (home, ..) = pair();
    let harms = ["HSET gw:{acc}:l:a queued nonsense", "DEL gw:{acc}:l:a", "SET gw:{acc}:l:a text"];
    for what in harms {
        let world = fresh(&home).await;
        accept_three(&world).await;
        home.say(what).await;
        world.sweep(false, 1).await;
        assert_eq!(world.ledger().await.queued, 3, "{what}");
        home.say(what).await;
        let claims = world.claims(&["a"], 2, 1).await;
        assert_eq!(claims.taken.len(), 2, "{what}");
        for (n, one) in claims.taken.iter().enumerate() {
            world.settle(one, receipt(&format!("P{n}")), 2).await;
        }
        home.say(what).await;
        // What has no id of its own is known by its content.
        let folded = world.events(vec![Incoming::Reply(reply(1, "hello"))], 3).await;
        assert_eq!(folded.replies, 1, "{what}");
        world.event("P0", Status::Sent, None, 4).await;
        assert_eq!(world.statuses(4).await, ["m1 sent"], "{what}");
        world.sweep(false, 5).await;
        assert_eq!(world.ledger().await.queued, 1, "{what}");
        world.store.purge(at(9), at(9)).await.unwrap();
    }
}

/// What every step of a message, a status and a reply goes through, at this time. No step may fail.
async fn all_steps(world: &World, seconds: i64) {
    let name = |name: &str| format!("{name}{seconds}");
    world.store.renew().await.unwrap();
    for (id, to) in [("kept", 1), ("lost", 2), ("waits", 3)] {
        world.accept(&name(id), to, seconds).await;
    }
    for one in world.claims(&["a"], 2, seconds).await.taken {
        let end = match id_of(&one).starts_with("lost") {
            true => unknown_until(seconds + 600),
            false => receipt(&name("P")),
        };
        world.settle(&one, end, seconds).await;
    }
    let events = [
        event(&name("P"), Status::Sent, None),
        event(&name("P"), Status::Delivered, None),
        event(&name("early"), Status::Sent, Some(4)),
    ];
    world.events(events.to_vec(), seconds).await;
    let replies = [reply(1, "hello"), reply(4, "STOP")];
    world.events(replies.map(Incoming::Reply).to_vec(), seconds).await;
    for lane in [lane("a", Destination::Status), lane("a", Destination::Inbound)] {
        let due = at(seconds + 1);
        let reason = "refused".into();
        let ends = [RelayOutcome::Later { due }, RelayOutcome::Dead { reason }];
        for (one, end) in world.callbacks(&lane, seconds).await.iter().zip(ends) {
            world.end(&lane, one.handle, end, seconds).await;
        }
    }
    world.sweep(true, seconds).await;
    let dirty = world.store.take_dirty(&account(), 9, at(seconds)).await.unwrap();
    let ends = dirty.iter().map(|one| (one.handle, one.version, DirtyEnd::Written));
    world.store.settle_dirty(&account(), ends.collect(), at(seconds)).await.unwrap();
    world.store.unmatched(&account(), at(seconds), 9).await.unwrap();
}

/// What somebody's hand put where a key of ours was, which is of this type.
fn of_another_kind(key: &str, type_of: &str) -> Vec<String> {
    match type_of {
        "list" => vec![format!("SET {key} nonsense")],
        "string" => vec![format!("RPUSH {key} nonsense"), format!("SET {key} nonsense")],
        _ => vec![format!("RPUSH {key} nonsense")],
    }
}

#[tokio::test]
async fn a_key_of_another_type_fails_no_step_and_stops_nobody() {
    let (home, ..) = pair();
    let world = fresh(&home).await;
    all_steps(&world, 0).await;
    let keys = home.say("KEYS gw:{acc}:*").await;
    let mut kinds: Vec<String> = keys.split(' ').map(kind_of).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() > 28, "{kinds:?}");
    for (kind, which) in kinds.iter().flat_map(|kind| [(kind, 0), (kind, 1)]) {
        let world = fresh(&home).await;
        all_steps(&world, 0).await;
        let keys = home.say("KEYS gw:{acc}:*").await;
        let mut harmed = 0;
        for key in keys.split(' ').filter(|key| kind_of(key) == *kind) {
            let type_of = home.say(&format!("TYPE {key}")).await;
            if let Some(harm) = of_another_kind(key, &type_of).get(which) {
                home.say(&format!("DEL {key}")).await;
                home.say(harm).await;
                harmed += 1;
            }
        }
        if harmed == 0 {
            continue;
        }
        all_steps(&world, 5).await;
        all_steps(&world, 1000).await;
        world.store.purge(at(2000), at(2000)).await.unwrap();
        // Whatever was there: new work goes on.
        world.accept("new", 5, 1001).await;
        let claims = world.claims(&["a"], 99, 1001).await;
        assert!(claims.taken.iter().any(|one| id_of(one) == "new"), "{kind}");
        for one in &claims.taken {
            world.settle(one, receipt(&format!("Q-{}", id_of(one))), 1001).await;
        }
        world.event("Q-new", Status::Sent, None, 1002).await;
        let told = world.statuses(1002).await;
        assert!(told.contains(&"new sent".into()), "{kind}: {told:?}");
    }
}

/// A row that names another message's line is no reason to tell the first of that line once more.
#[tokio::test]
async fn a_damaged_callback_frees_no_other_that_is_under_way() {
    let (home, ..) = pair();
    let world = fresh(&home).await;
    world.sent("m1", 1, "P1", 0).await;
    world.sent("bad", 2, "P2", 0).await;
    world.event("P1", Status::Sent, None, 1).await;
    let queue = lane("a", Destination::Status);
    assert_eq!(world.callbacks(&queue, 1).await.len(), 1);
    world.event("P2", Status::Sent, None, 1).await;
    let number = home.say("GET gw:{acc}:i:a:m1").await;
    spoil(&home, "cr:0:a", 0, &format!("{number}|nonsense")).await;
    assert!(world.callbacks(&queue, 2).await.is_empty());
    assert!(world.callbacks(&queue, 3).await.is_empty());
}

/// `m:17` is of the kind `m`.
fn kind_of(key: &str) -> String {
    let name = key.strip_prefix("gw:{acc}:").unwrap();
    let first = name.split(':').next().unwrap().to_owned();
    let second = name.split(':').nth(1);
    match second {
        Some(lane @ ("0" | "1")) => format!("{first}:{lane}"),
        _ => first,
    }
}

#[tokio::test]
async fn a_message_that_is_gone_stands_in_the_way_of_no_evidence() {
    let (home, ..) = pair();
    let world = fresh(&home).await;
    world.lost("gone", 1, 0, 600).await;
    let number = home.say("GET gw:{acc}:i:a:gone").await;
    home.say(&format!("DEL gw:{{acc}}:m:{number}")).await;
    world.lost("m1", 1, 1, 600).await;
    assert_eq!(world.event("P1", Status::Sent, Some(1), 2).await.inferred, 1);
    assert_eq!(world.statuses(2).await, ["m1 sent"]);
}

#[tokio::test]
async fn a_damaged_version_is_written_once_and_not_over_and_over() {
    let (home, ..) = pair();
    for what in ["HSET m:N vr nonsense", "HDEL m:N vr"] {
        let world = fresh(&home).await;
        world.accept("bad", 1, 0).await;
        harm(&home, what).await;
        for _ in 0..2 {
            let dirty = world.store.take_dirty(&account(), 9, at(1)).await.unwrap();
            let ends = dirty.iter().map(|one| (one.handle, one.version, DirtyEnd::Written));
            let ends = ends.collect();
            world.store.settle_dirty(&account(), ends, at(1)).await.unwrap();
        }
        assert_eq!(world.store.dirty_waiting(&account()).await.unwrap(), 0, "{what}");
    }
}

/// Datastore is asked for few at once, the oldest first.
#[tokio::test]
async fn ids_whose_statuses_are_gone_stand_in_the_way_of_no_question() {
    let (home, ..) = pair();
    let world = fresh(&home).await;
    for id in ["P1", "P2", "P3"] {
        world.event(id, Status::Sent, None, 0).await;
    }
    home.say("DEL gw:{acc}:e:P1 gw:{acc}:e:P2").await;
    home.say("RPUSH gw:{acc}:e:P2 nonsense").await;
    let mut found = Vec::new();
    for _ in 0..2 {
        found = world.store.unmatched(&account(), at(9), 2).await.unwrap();
    }
    let ids: Vec<&str> = found.iter().map(|one| one.provider_id.as_str()).collect();
    assert_eq!(ids, ["P3"]);
}

#[tokio::test]
async fn a_damaged_message_holds_back_no_record() {
    let (home, ..) = pair();
    for (what, ..) in HARM {
        let world = fresh(&home).await;
        accept_three(&world).await;
        harm(&home, what).await;
        let dirty = world.store.take_dirty(&account(), 9, at(1)).await.unwrap();
        let ends = dirty.iter().map(|one| (one.handle, one.version, DirtyEnd::Written));
        let ends = ends.collect();
        world.store.settle_dirty(&account(), ends, at(1)).await.unwrap();
        for id in ["m1", "m3"] {
            let found = dirty.iter().any(|one| one.record.message.msg_id.as_str() == id);
            assert!(found, "{what}: {id}");
        }
    }
}

#[tokio::test]
async fn an_operator_is_told_which_key_is_damaged() {
    let (home, ..) = pair();
    for (what, kind) in [("HSET m:N n nonsense", "m"), ("SET d:N nonsense", "d")] {
        let world = fresh(&home).await;
        accept_three(&world).await;
        let number = home.say("GET gw:{acc}:i:a:bad").await;
        let key = format!("gw:{{acc}}:{kind}:{number}");
        harm(&home, what).await;
        assert!(!is_told(&key));
        world.claim(1).await;
        assert!(is_told(&key), "{what}");
    }
}
