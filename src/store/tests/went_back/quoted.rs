//! A reply names a message that Redis forgot, and comes before whoever remembers the message has put it back.

use super::*;
use crate::domain::{InboundEntry, ReplyKind};
use crate::store::{EventRules, QuickReply};

/// Two messages went to the first person, the second one by this channel and with a button; that it was sent is what
/// only the first process knows.
async fn forgotten(by: &str) -> (std::rc::Rc<OnRedis>, World, World) {
    let (redis, first, second) = pair();
    first.sent("m1", 1, "P1", 0).await;
    first.accept_on(by, &message("m2", 1), 1).await;
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    let claimed = first.claims(&[by], 1, 2).await.taken.remove(0);
    let Settlement::Accepted { receipt, .. } = receipt("P2") else {
        panic!()
    };
    let label = "Move".into();
    let payload = "move".into();
    let taps = vec![QuickReply { label, payload }];
    let end = Settlement::Accepted { receipt, taps };
    first.settle(&claimed, end, 2).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    (redis, first, second)
}

fn naming(context: &str, text: &str) -> Vec<Incoming> {
    vec![Incoming::Reply(Reply {
        context: Some(provider_id(context)),
        ..reply(1, text)
    })]
}

async fn told(world: &World, by: &str, seconds: i64) -> Vec<InboundEntry> {
    let relayed = world.relayed(&lane(by, Destination::Inbound), seconds).await;
    let entry = |callback| match callback {
        Callback::Inbound(entry) => entry,
        Callback::Status(_) => panic!(),
    };
    relayed.into_iter().map(entry).collect()
}

fn shown(entry: &InboundEntry) -> (&str, &str, ReplyKind) {
    let msg_id = entry.msg_id.as_ref().map_or("", |id| id.as_str());
    (msg_id, &entry.text, entry.kind.clone())
}

/// It may be over for longer than those who answered need.
async fn long_over(redis: &OnRedis) {
    redis.say("DEL gw:{acc}:lately").await;
}

#[tokio::test]
async fn r_55_a_reply_to_a_message_that_redis_forgot_is_told_with_that_message() {
    let (redis, first, second) = forgotten("a").await;
    // Once before anybody noticed, once while the others are waited for.
    second.events(naming("P2", "STOP"), 3).await;
    assert!(told(&second, "a", 3).await.is_empty());
    second.store.renew().await.unwrap();
    second.events(naming("P2", "Move"), 4).await;
    // It names no message, and means the latest.
    let fine = vec![Incoming::Reply(reply(1, "fine"))];
    second.events(fine, 4).await;
    // Whoever wants no messages gets none from now on.
    let refused = Accepted::OptedOut(OptOut::All);
    assert_eq!(second.accept("m3", 1, 4).await, refused);
    // However long ago it came: what is remembered of ten minutes is taken once more.
    assert!(told(&second, "a", 600).await.is_empty(), "nobody knows whose it is");
    assert_eq!(second.ledger().await.callbacks_waiting, 3);
    called([&first, &second]).await;
    first.until_state("m2", State::Accepted).await;
    long_over(&redis).await;
    // Nobody answers what they got later.
    assert_eq!(second.accept_on("b", &message("m4", 1), 5).await, Accepted::Stored);
    for claimed in second.claims(&["b"], 1, 5).await.taken {
        second.settle(&claimed, receipt("P4"), 5).await;
    }
    let told = told(&second, "a", 700).await;
    let tap = ReplyKind::Button { payload: "move".into() };
    let expected = [("m2", "STOP", ReplyKind::Text), ("m2", "Move", tap), ("m2", "fine", ReplyKind::Text)];
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), expected);
    assert_eq!(told[0].waba_number, "+1 202-555-0999");
    assert_eq!(second.ledger().await.callbacks_waiting, 0);
    second.check().await;
}

#[tokio::test]
async fn r_55_it_goes_to_the_channel_of_the_message_that_was_put_back() {
    let (_redis, first, second) = forgotten("b").await;
    second.events(naming("P2", "STOP"), 3).await;
    called([&first, &second]).await;
    let state = async || {
        let search = Search::MsgId(channel("b"), "m2".into());
        first.store.find(search, 1).await.unwrap().remove(0).state
    };
    super::super::shared::until("it is put back", async || state().await == State::Accepted).await;
    assert!(told(&second, "a", 9).await.is_empty());
    let told = told(&second, "b", 9).await;
    let expected = [("m2", "STOP", ReplyKind::Text)];
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), expected);
    for by in ["a", "b"] {
        let again = second.accept_on(by, &message("m9", 1), 10).await;
        assert_eq!(again, Accepted::OptedOut(OptOut::All), "{by}");
    }
    second.check().await;
}

/// It is told as it would have been without the loss.
#[tokio::test]
async fn r_55_a_reply_to_a_message_that_nobody_remembers_is_told_when_all_answered() {
    for relay_unmatched in [true, false] {
        let (redis, first, second) = forgotten("a").await;
        let rules = EventRules {
            relay_unmatched,
            ..rules("a")
        };
        let stranger = |from, text: &str| {
            Incoming::Reply(Reply {
                context: Some(provider_id("P9")),
                ..reply(from, text)
            })
        };
        let events = vec![stranger(1, "fine"), stranger(9, "STOP"), stranger(8, "hm")];
        second.store.take_events(rules.into(), events, at(3), in_time()).await.unwrap();
        // Behind it in the order of that person.
        second.events(vec![Incoming::Reply(reply(1, "again"))], 3).await;
        called([&first, &second]).await;
        assert!(told(&second, "a", 9).await.is_empty(), "who sent may say it in a moment");
        long_over(&redis).await;
        let told = told(&second, "a", 11).await;
        let mut told: Vec<_> = told.iter().map(shown).collect();
        told.sort_by_key(|(_, text, _)| text.to_string());
        let mut expected = vec![
            ("", "STOP", ReplyKind::Text),
            ("m2", "again", ReplyKind::Text),
            ("m2", "fine", ReplyKind::Text),
        ];
        let others = redis.say("ZRANGE gw:{acc}:oe:a 0 -1").await;
        assert_eq!(others.contains("|unmatched_reply|hm"), !relay_unmatched, "{others}");
        if relay_unmatched {
            expected.push(("", "hm", ReplyKind::Text));
        }
        assert_eq!(told, expected, "{relay_unmatched}");
        assert_eq!(second.ledger().await.callbacks_waiting, 0);
        second.check().await;
    }
}

/// While an operator is to decide nobody else will put anything back, and replies do not wait for the operator.
#[tokio::test]
async fn r_55_a_reply_waits_for_no_operator() {
    let (redis, first, _second) = held().await;
    first.events(naming("P1", "STOP"), 3).await;
    assert!(told(&first, "a", 5).await.is_empty());
    redis.say("HSET gw:{acc}:roll held 1").await;
    let told = told(&first, "a", 6).await;
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), [("", "STOP", ReplyKind::Text)]);
}

/// Nothing but the message says from which number the channel sends.
#[tokio::test]
async fn r_55_a_reply_is_told_with_the_number_that_redis_forgot() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    first.sent("m1", 1, "P1", 0).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    let all = EventRules {
        relay_unmatched: true,
        ..rules("a")
    };
    let events = vec![Incoming::Reply(reply(9, "before"))];
    let taken = second.store.take_events(all.clone().into(), events, at(3), in_time());
    taken.await.unwrap();
    called([&first, &second]).await;
    let events = vec![Incoming::Reply(reply(8, "after"))];
    let taken = second.store.take_events(all.into(), events, at(4), in_time());
    taken.await.unwrap();
    long_over(&redis).await;
    let told = told(&second, "a", 9).await;
    let told: Vec<_> = told.iter().map(|entry| (&*entry.text, &*entry.waba_number)).collect();
    let number = "+1 202-555-0999";
    assert_eq!(told, [("before", number), ("after", number)]);
    second.check().await;
}

/// A row that no program of ours wrote is given up as such, and holds back nobody.
#[tokio::test]
async fn r_55_a_row_that_waits_and_is_damaged_becomes_a_dead_letter() {
    let (redis, first, second) = forgotten("a").await;
    second.events(naming("P9", "fine"), 3).await;
    let cid = redis.say("ZRANGE gw:{acc}:cr:1:a 0 0").await;
    let key = format!("gw:{{acc}}:c:{cid}");
    let sound: String = redis.ask(&[b"GET", key.as_bytes()]).await;
    assert!(sound.contains(r#","since":"#), "{sound}");
    for (part, other) in [
        (r#""since":"#, r#""since":"x","not":"#),
        (r#""asked":"#, r#""asked":[],"not":"#),
        (r#""from":"#, r#""from":"x","not":"#),
        (r#""text":"fine""#, r#""text":7"#),
        (r#""inbound":"#, r#""outbound":"#),
        (r#""at":"#, r#""when":"#),
        (r#"{"v":1"#, r#"{"v":"1""#),
    ] {
        let damaged = sound.replace(part, other);
        let _: String = redis.ask(&[b"SET", key.as_bytes(), damaged.as_bytes()]).await;
        let queue = lane("a", Destination::Inbound);
        let seen = second.store.take_callbacks(&queue, 10, at(4)).await;
        assert!(seen.is_ok(), "{damaged}: {seen:?}");
        redis.say(&format!("ZADD gw:{{acc}}:cr:1:a 1 {cid}")).await;
    }
    drop(first);
}

/// MoEngage asks for the message again, which Redis forgot, before it is put back.
#[tokio::test]
async fn r_55_a_reply_to_a_message_that_was_accepted_once_more_is_told_with_it() {
    let (redis, first, second) = pair();
    renewed([&first, &second]).await;
    let copy = redis.copy().await;
    first.sent("m1", 1, "P1", 0).await;
    redis.put_back(&copy, On::Another, [&first, &second]).await;
    second.events(vec![Incoming::Reply(reply(1, "hello"))], 3).await;
    assert_eq!(second.accept("m1", 1, 4).await, Accepted::Stored);
    called([&first, &second]).await;
    first.until_state("m1", State::Accepted).await;
    long_over(&redis).await;
    let told = told(&second, "a", 9).await;
    assert_eq!(told.iter().map(shown).collect::<Vec<_>>(), [("m1", "hello", ReplyKind::Text)]);
}
