//! Replies of people: whose they are, what they mean.

use super::*;
use crate::domain::{InboundEntry, ReplyKind};
use crate::store::{MOST_INFERRED, QuickReply};

stories! {
    a_tap_carries_its_payload_and_the_message,
    without_context_it_is_text_about_the_latest_message,
    a_message_outside_the_window_is_not_answered,
    a_message_of_unknown_outcome_is_answered_too,
    a_reply_that_overtakes_the_answer_to_the_send_is_told,
    r_29_a_tap_that_overtakes_the_answer_to_the_send_is_a_tap,
    r_29_a_tap_that_may_be_on_another_message_is_told_as_text,
    r_28_a_time_that_nobody_believes_is_when_it_came,
    r_28_a_time_of_an_early_status_that_nobody_believes_is_when_it_came,
    r_28_a_message_that_a_leapt_clock_dated_disbelieves_no_time,
    an_unmatched_reply_is_told_only_where_wanted,
    the_last_number_seen_stands_in,
    stop_is_stored_and_always_told,
    a_reply_goes_to_the_channel_of_its_message,
    a_repeat_of_a_reply_is_not_told,
    replies_keep_their_order,
    stop_counts_for_the_number_that_was_written_to_however_whatsapp_spells_it,
    r_18_a_person_is_known_by_either_number,
    r_18_the_newest_message_to_either_number_is_answered,
    r_18_what_a_person_says_by_either_number_is_told_in_order,
    r_22_a_reply_of_a_user_id_is_of_whom_the_quoted_message_went_to,
}

async fn told(world: &World, name: &str) -> Vec<InboundEntry> {
    let relayed = world
        .relayed(&lane(name, Destination::Inbound), 99 * DAY)
        .await;
    let entry = |callback| match callback {
        Callback::Inbound(entry) => entry,
        Callback::Status(_) => panic!(),
    };
    relayed.into_iter().map(entry).collect()
}

async fn take(world: &World, reply: Reply, seconds: i64) -> Folded {
    world.events(vec![Incoming::Reply(reply)], seconds).await
}

fn to(context: &str, reply: Reply) -> Reply {
    Reply {
        context: Some(provider_id(context)),
        ..reply
    }
}

async fn with_buttons(new: NewWorld) -> World {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let taps = vec![
        QuickReply {
            label: "Keep it".into(),
            payload: "{'slot':1}".into(),
        },
        QuickReply {
            label: " Move ".into(),
            payload: "move".into(),
        },
    ];
    let Settlement::Accepted { receipt, .. } = receipt("P1") else {
        panic!()
    };
    world
        .settle(&claimed, Settlement::Accepted { receipt, taps }, 0)
        .await;
    world
}

async fn a_tap_carries_its_payload_and_the_message(new: NewWorld) {
    let world = with_buttons(new).await;
    world.sent("m2", 1, "P2", 1).await;
    let dated = Reply {
        at: Some(at(-7)),
        ..reply(1, "Keep it")
    };
    let folded = take(&world, to("P1", dated), 5).await;
    assert_eq!((folded.replies, folded.wake.len()), (1, 1));
    take(&world, to("P1", reply(1, "Move")), 6).await;
    take(&world, to("P1", reply(1, "When?")), 7).await;
    let told = told(&world, "a").await;
    let button = |payload: &str| ReplyKind::Button {
        payload: payload.into(),
    };
    let kinds: Vec<_> = told.iter().map(|entry| entry.kind.clone()).collect();
    assert_eq!(
        kinds,
        [button("{'slot':1}"), button("move"), ReplyKind::Text]
    );
    let first = &told[0];
    assert_eq!(first.msg_id.as_ref().unwrap().as_str(), "m1");
    assert_eq!(
        (first.from, first.at, &*first.text),
        (phone(1), at(-7), "Keep it")
    );
    assert_eq!(first.waba_number, "+1 202-555-0999", "as MoEngage wrote it");
    assert_eq!(told[1].at, at(6), "without a time of its own, when it came");
    world.check().await;
}

/// B-33: free text that reads like a label is still free text.
async fn without_context_it_is_text_about_the_latest_message(new: NewWorld) {
    let world = with_buttons(new).await;
    take(&world, reply(1, "Keep it"), 5).await;
    world.sent("m2", 1, "P2", 10).await;
    world.sent("m3", 2, "P3", 10).await;
    world.accept("m4", 1, 11).await;
    take(&world, reply(1, "Hello"), 12).await;
    let told = told(&world, "a").await;
    let ids: Vec<_> = told
        .iter()
        .map(|entry| (entry.msg_id.as_ref().unwrap().as_str(), entry.kind.clone()))
        .collect();
    assert_eq!(ids, [("m1", ReplyKind::Text), ("m2", ReplyKind::Text)]);
}

async fn a_message_outside_the_window_is_not_answered(new: NewWorld) {
    let world = with_buttons(new).await;
    let folded = take(&world, reply(1, "Hello"), 7 * DAY + 1).await;
    assert_eq!((folded.unmatched_replies, folded.replies), (1, 0));
    let folded = take(&world, to("P1", reply(1, "Hello")), 20 * DAY).await;
    assert_eq!(
        folded.replies, 1,
        "a quoted message is known as long as it is kept"
    );
    let folded = take(&world, to("P9", reply(1, "Hello")), 6 * DAY).await;
    assert_eq!(
        folded.replies, 1,
        "an unknown quote falls back to the latest"
    );
    world.check().await;
}

/// Who answers a message has it, whether the provider told us so or not.
async fn a_message_of_unknown_outcome_is_answered_too(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    assert_eq!(take(&world, reply(1, "Hello"), 5).await.replies, 1);
    world.sweep(false, 600).await;
    assert_eq!(take(&world, reply(1, "Hello"), 700).await.replies, 1);
    assert_eq!(
        told(&world, "a").await[1].msg_id.as_ref().unwrap().as_str(),
        "m1"
    );
    let claimed = world.attempt("m2", 2, 0).await;
    world
        .settle(&claimed, Settlement::failed(refusal()), 1)
        .await;
    assert_eq!(
        take(&world, reply(2, "Hello"), 5).await.unmatched_replies,
        1
    );
}

/// The provider may need long to answer a send, and a process that died answers nothing: whoever
/// writes meanwhile has the message. One that surely reached the person comes first.
async fn a_reply_that_overtakes_the_answer_to_the_send_is_told(new: NewWorld) {
    let world = new();
    world.attempt("m1", 1, 0).await;
    assert_eq!(
        take(&world, to("P1", reply(1, "Quick")), 1).await.replies,
        1
    );
    world.sent("m2", 1, "P2", 2).await;
    world.attempt("m3", 1, 3).await;
    assert_eq!(take(&world, reply(1, "Hello"), 4).await.replies, 1);
    world.accept("m4", 2, 5).await;
    assert_eq!(take(&world, reply(2, "Too soon"), 6).await.replies, 0);
    let told = told(&world, "a").await;
    let ids = told.iter().map(|entry| entry.msg_id.as_ref().unwrap());
    assert_eq!(ids.map(MsgId::as_str).collect::<Vec<_>>(), ["m1", "m2"]);
    world.check().await;
}

/// the id that it quotes is not known yet; the label tells.
async fn r_29_a_tap_that_overtakes_the_answer_to_the_send_is_a_tap(new: NewWorld) {
    let world = new();
    world.sent("m0", 1, "P0", 0).await;
    let claimed = world.attempt("m1", 1, 1).await;
    let tap = QuickReply {
        label: " Keep it ".into(),
        payload: "{'slot':1}".into(),
    };
    let known = world.store.know_taps(&claimed, vec![tap.clone()]);
    known.await.unwrap();
    take(&world, to("P1", reply(1, "Keep it")), 2).await;
    take(&world, to("P1", reply(1, "Keep")), 3).await;
    take(&world, reply(1, "Keep it"), 4).await;
    world.settle(&claimed, unknown_until(600), 5).await;
    take(&world, to("P1", reply(1, "Keep it ")), 6).await;
    // Not another attempt's.
    let claimed = world.attempt("m2", 2, 7).await;
    world.settle(&claimed, receipt("P2"), 8).await;
    let late = world.store.know_taps(&claimed, vec![tap]);
    late.await.unwrap();
    take(&world, to("P2", reply(2, "Keep it")), 9).await;
    let told = told(&world, "a").await;
    let mut seen: Vec<_> = told
        .iter()
        .map(|entry| {
            let id = entry.msg_id.as_ref().unwrap().as_str();
            (id, entry.kind != ReplyKind::Text)
        })
        .collect();
    let expected = [
        ("m0", false),
        ("m0", false),
        ("m1", true),
        ("m1", true),
        ("m2", false),
    ];
    // Only those about one message keep their order.
    seen.sort_unstable();
    assert_eq!(seen, expected);
    world.check().await;
}

/// a guess is worse than a text.
async fn r_29_a_tap_that_may_be_on_another_message_is_told_as_text(new: NewWorld) {
    let world = new();
    let tap = || QuickReply {
        label: "Keep it".into(),
        payload: "{'slot':1}".into(),
    };
    let doubt = async |id: &str, to: u64, seconds: i64| {
        let claimed = world.attempt(id, to, seconds).await;
        let end = Settlement::Unknown {
            until: at(seconds + 600),
            taps: vec![tap()],
        };
        world.settle(&claimed, end, seconds).await;
    };
    let is_tap = async |from: u64, seconds: i64| {
        let said = Reply {
            id: Some(provider_id(&format!("R{seconds}"))),
            ..to("P9", reply(from, "Keep it"))
        };
        take(&world, said, seconds).await;
        let told = told(&world, "a").await;
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].kind != ReplyKind::Text
    };
    doubt("m1", 1, 0).await;
    assert!(is_tap(1, 1).await);
    doubt("m2", 1, 2).await;
    assert!(!is_tap(1, 3).await, "two in doubt have such a button");
    world.sent("m3", 1, "P3", 4).await;
    assert!(!is_tap(1, 5).await);
    doubt("m4", 2, 6).await;
    world.sweep(false, 700).await;
    assert!(!is_tap(2, 701).await, "its outcome was told");
    doubt("m5", 2, 702).await;
    assert!(!is_tap(2, 703).await, "it may be the one before");
    // Once more: the person may have the first, and nobody was told anything.
    doubt("m6", 3, 800).await;
    world.sweep(true, 1500).await;
    assert!(is_tap(3, 1501).await);
    for claimed in world.claim(1502).await {
        let id = claimed.message.msg_id.as_str();
        world.settle(&claimed, receipt(id), 1503).await;
    }
    assert!(!is_tap(3, 1504).await, "its outcome was told");
    // Whoever has more in doubt than are looked at.
    for n in 0..MOST_INFERRED {
        world.lost(&format!("x{n}"), 4, 1600, 2200).await;
    }
    doubt("m7", 4, 1601).await;
    assert!(!is_tap(4, 1602).await);
    world.check().await;
}

/// before the acceptance minus a day. What is odd by itself is forgotten before it comes here.
async fn r_28_a_time_that_nobody_believes_is_when_it_came(new: NewWorld) {
    let world = new();
    let dated = |id: &str, seconds: i64| {
        let Incoming::Status(event) = event(id, Status::Read, None) else {
            panic!()
        };
        let at = Some(at(seconds));
        Incoming::Status(StatusEvent { at, ..event })
    };
    let doubt = EventRules {
        clock_doubt: Duration::from_secs(60),
        ..rules("a")
    };
    for (id, seconds, rules, misdated) in [
        ("P1", 3 - DAY - 1, rules("a"), 1),
        ("P2", 3 - DAY, rules("a"), 0),
        ("P3", 3 - DAY - 60, doubt, 0),
    ] {
        world.sent(&id.replace('P', "m"), 1, id, 3).await;
        let events = vec![dated(id, seconds)];
        let folded = world.events_with(rules, events, 4).await;
        assert_eq!(folded.misdated, misdated, "{id}");
    }
    let old = Reply {
        at: Some(at(-DAY)),
        ..reply(1, "Hello")
    };
    assert_eq!(take(&world, to("P3", old), 5).await.misdated, 1);
    let statuses = world.relayed(&lane("a", Destination::Status), 9).await;
    let told_at = |callback: &Callback| match callback {
        Callback::Status(entry) => entry.at,
        Callback::Inbound(_) => panic!(),
    };
    let times: Vec<_> = statuses.iter().map(told_at).collect();
    assert_eq!(times, [at(4), at(3 - DAY), at(3 - DAY - 60)]);
    assert_eq!(told(&world, "a").await[0].at, at(5));
    // A repeat says nothing, so its time is no news either.
    let odd = Reply {
        id: Some(provider_id("R1")),
        at: Some(at(-2 * DAY)),
        ..reply(1, "Hello")
    };
    for (seconds, misdated) in [(6, 1), (7, 0)] {
        let folded = take(&world, to("P3", odd.clone()), seconds).await;
        assert_eq!(folded.misdated, misdated, "{seconds}");
    }
    let again = Reply {
        at: Some(at(-2 * DAY)),
        ..reply(1, "STOP")
    };
    for (seconds, misdated) in [(8, 1), (9, 0)] {
        let folded = take(&world, to("P3", again.clone()), seconds).await;
        assert_eq!(folded.misdated, misdated, "{seconds}");
    }
    world.check().await;
}

/// what came before the receipt is judged by when it came and by its message.
async fn r_28_a_message_that_a_leapt_clock_dated_disbelieves_no_time(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 2 * DAY).await;
    let Incoming::Status(event) = event("P1", Status::Read, None) else {
        panic!()
    };
    let said = Some(at(3));
    let event = Incoming::Status(StatusEvent { at: said, ..event });
    // The clock was set back before it came.
    assert_eq!(world.events(vec![event], 5).await.misdated, 0);
    let told = world
        .relayed(&lane("a", Destination::Status), 99 * DAY)
        .await;
    let [Callback::Status(entry)] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!(entry.at, at(3));
    world.check().await;
}

async fn r_28_a_time_of_an_early_status_that_nobody_believes_is_when_it_came(new: NewWorld) {
    let world = new();
    let dated = |id: &str, to: Option<u64>, seconds: Option<i64>| {
        let Incoming::Status(event) = event(id, Status::Read, to) else {
            panic!()
        };
        let at = seconds.map(at);
        Incoming::Status(StatusEvent { at, ..event })
    };
    let cases = [
        ("P1", Some(3 - DAY - 1), 3 - DAY - 1, 0),
        ("P2", Some(3 - DAY), 3 - DAY, 0),
        ("P3", Some(4 + DAY), 4 + DAY, 0),
        ("P4", Some(5 + DAY), 4, 1),
        ("P5", None, 4, 0),
    ];
    let told_at = async |what: &str| {
        let told = world
            .relayed(&lane("a", Destination::Status), 99 * DAY)
            .await;
        let [Callback::Status(entry)] = &told[..] else {
            panic!("{what}: {told:?}")
        };
        entry.at
    };
    for (id, said, told, misdated) in cases {
        let claimed = world.attempt(&id.replace('P', "m"), 1, 3).await;
        world.events(vec![dated(id, None, said)], 4).await;
        let folded = world.settle(&claimed, receipt(id), 9).await;
        assert_eq!(folded.misdated, misdated, "{id}");
        assert_eq!(told_at(id).await, at(told), "{id}");
    }
    // The same where the status is the evidence.
    world.lost("m9", 2, 10, 600).await;
    let odd = dated("P9", Some(2), Some(3 * DAY));
    let folded = world.events(vec![odd], 11).await;
    assert_eq!((folded.inferred, folded.misdated), (1, 1));
    assert_eq!(told_at("P9").await, at(11));
    world.check().await;
}

async fn an_unmatched_reply_is_told_only_where_wanted(new: NewWorld) {
    let world = new();
    // A server that nobody has renewed at may have been emptied (went_back.rs).
    world.store.renew().await.unwrap();
    let folded = take(&world, reply(1, "Hello"), 5).await;
    assert_eq!((folded.unmatched_replies, folded.replies), (1, 0));
    assert!(told(&world, "a").await.is_empty());
    world.accept("m1", 2, 6).await;
    let wanted = EventRules {
        relay_unmatched: true,
        ..rules("a")
    };
    let says = |text| vec![Incoming::Reply(reply(1, text))];
    world.events_with(wanted.clone(), says("Hello?"), 7).await;
    let own = EventRules {
        waba_number: BusinessNumber::parse("12025550111").ok(),
        ..wanted.clone()
    };
    world.events_with(own, says("Hello!"), 8).await;
    let told = told(&world, "a").await;
    let numbers: Vec<_> = told.iter().map(|entry| &*entry.waba_number).collect();
    assert_eq!(numbers, ["+1 202-555-0999", "12025550111"]);
    assert!(told.iter().all(|entry| entry.msg_id.is_none()));
    world.check().await;
}

/// The last number seen is found, however much other channels sent since.
async fn the_last_number_seen_stands_in(new: NewWorld) {
    let world = new();
    let wanted = EventRules {
        relay_unmatched: true,
        ..rules("a")
    };
    for (id, number) in [("m1", "12025550301"), ("m2", "12025550302")] {
        let mut message = message(id, 2);
        message.from = BusinessNumber::parse(number).unwrap();
        world.accept_on("a", &message, 0).await;
    }
    let events = vec![Incoming::Reply(reply(1, "Hello"))];
    world.events_with(wanted, events, 7).await;
    assert_eq!(told(&world, "a").await[0].waba_number, "12025550302");
}

async fn stop_is_stored_and_always_told(new: NewWorld) {
    let world = new();
    let folded = take(&world, reply(1, "STOP."), 5).await;
    assert_eq!((folded.opted_out, folded.replies), (1, 1));
    assert_eq!(told(&world, "a").await[0].text, "STOP.");
    assert_eq!(
        world.accept("m1", 1, 6).await,
        Accepted::OptedOut(OptOut::All)
    );
    let world = world.reopened();
    assert_eq!(
        world.accept("m1", 1, 6).await,
        Accepted::OptedOut(OptOut::All)
    );
    let folded = take(&world, reply(1, "Start"), 7).await;
    assert_eq!((folded.opted_in, folded.replies), (1, 1));
    assert_eq!(world.accept("m1", 1, 8).await, Accepted::Stored);
}

/// A reply belongs to the channel that sent the message, whatever URL it came in on.
async fn a_reply_goes_to_the_channel_of_its_message(new: NewWorld) {
    let world = with_buttons(new).await;
    let stop = vec![Incoming::Reply(to("P1", reply(1, "stop")))];
    let folded = world.events_with(rules("b"), stop, 5).await;
    assert_eq!(folded.wake, [channel("a")]);
    assert_eq!(told(&world, "a").await.len(), 1);
    assert!(told(&world, "b").await.is_empty());
    assert_eq!(
        world.accept("m2", 1, 6).await,
        Accepted::OptedOut(OptOut::All)
    );
    let other = world.accept_on("b", &message("m2", 1), 6).await;
    assert_eq!(other, Accepted::Stored);
    world.check().await;
}

async fn a_repeat_of_a_reply_is_not_told(new: NewWorld) {
    let world = with_buttons(new).await;
    let named = |id: &str| Reply {
        id: Some(provider_id(id)),
        ..reply(1, "Hello")
    };
    assert_eq!(take(&world, named("R1"), 5).await.replies, 1);
    let folded = take(&world, named("R1"), 6).await;
    assert_eq!((folded.replies, folded.repeated_replies), (0, 1));
    assert_eq!(take(&world, named("R2"), 6).await.replies, 1);
    assert_eq!(told(&world, "a").await.len(), 2);
    // Without an id it is known by its content, for a minute.
    for (seconds, replies) in [(7, 1), (7, 0), (67, 0), (68, 1)] {
        let folded = take(&world, reply(1, "Hello"), seconds).await;
        assert_eq!(folded.replies, replies, "{seconds}");
        assert_eq!(folded.repeated_replies, 1 - replies, "{seconds}");
    }
    assert_eq!(told(&world, "a").await.len(), 2);
}

async fn replies_keep_their_order(new: NewWorld) {
    let world = with_buttons(new).await;
    for text in ["one", "two", "three"] {
        take(&world, reply(1, text), 5).await;
    }
    let told = told(&world, "a").await;
    let texts: Vec<_> = told.iter().map(|entry| &*entry.text).collect();
    assert_eq!(texts, ["one", "two", "three"]);
    let history = world.record("m1").await.history;
    let replies = history.iter().filter(|line| line.what == "reply");
    assert!(
        replies
            .clone()
            .all(|line| !line.detail.contains("12025550001"))
    );
    assert_eq!(replies.count(), 3);
}

async fn stop_counts_for_the_number_that_was_written_to_however_whatsapp_spells_it(new: NewWorld) {
    let world = new();
    world.sent("m", 1, "P", 0).await;
    let stop = Reply {
        context: Some(provider_id("P")),
        ..reply(777, "STOP")
    };
    world.events(vec![Incoming::Reply(stop)], 1).await;
    assert_eq!(
        world.accept("m2", 1, 2).await,
        Accepted::OptedOut(OptOut::All)
    );
    assert_eq!(
        world.accept("m3", 777, 2).await,
        Accepted::OptedOut(OptOut::All)
    );
    let told = world.callbacks(&lane("a", Destination::Inbound), 2).await;
    let Callback::Inbound(entry) = &told[0].callback else {
        panic!("{told:?}")
    };
    assert_eq!(entry.from, phone(1));
}

/// A message to the same person in Mexico, by the number that is dialled or by WhatsApp's id.
fn to_mexico(msg_id: &str, id: bool) -> Message {
    let number = if id {
        5_215_512_345_678
    } else {
        525_512_345_678
    };
    Message {
        to: Phone::from_number(number).unwrap(),
        ..message(msg_id, 1)
    }
}

async fn r_18_a_person_is_known_by_either_number(new: NewWorld) {
    for id in [false, true] {
        let world = new();
        let says = |text: &str| Reply {
            from: Some(to_mexico("m", id).to),
            ..reply(1, text)
        };
        assert_eq!(
            world.accept_on("a", &to_mexico("waits", !id), 0).await,
            Accepted::Stored
        );
        take(&world, says("STOP"), 1).await;
        for (msg_id, id) in [("m1", id), ("m2", !id)] {
            let accepted = world.accept_on("a", &to_mexico(msg_id, id), 2).await;
            assert_eq!(accepted, Accepted::OptedOut(OptOut::All), "{msg_id}");
        }
        assert!(world.claim(2).await.is_empty(), "sent after a STOP");
        take(&world, says("START"), 3).await;
        for (msg_id, id) in [("m1", id), ("m2", !id)] {
            let accepted = world.accept_on("a", &to_mexico(msg_id, id), 4).await;
            assert_eq!(accepted, Accepted::Stored, "{msg_id}");
        }
        world.check().await;
    }
}

async fn r_18_the_newest_message_to_either_number_is_answered(new: NewWorld) {
    for id in [false, true] {
        let world = new();
        for (msg_id, spelled, seconds) in [("m1", id, 0), ("m2", !id, 10)] {
            world
                .accept_on("a", &to_mexico(msg_id, spelled), seconds)
                .await;
            let claimed = world.claim(seconds).await.remove(0);
            world.settle(&claimed, receipt(msg_id), seconds).await;
        }
        let says = Reply {
            from: Some(to_mexico("m", id).to),
            ..reply(1, "Hello")
        };
        take(&world, says, 20).await;
        let told = told(&world, "a").await;
        assert_eq!(told[0].msg_id.as_ref().unwrap().as_str(), "m2");
        assert_eq!(
            told[0].from,
            to_mexico("m", !id).to,
            "as MoEngage knows them"
        );
        world.check().await;
    }
}

async fn r_18_what_a_person_says_by_either_number_is_told_in_order(new: NewWorld) {
    let (world, queue) = (new(), lane("a", Destination::Inbound));
    for (msg_id, spelled) in [("m1", false), ("m2", true)] {
        world.accept_on("a", &to_mexico(msg_id, spelled), 0).await;
        let claimed = world.claim(0).await.remove(0);
        world.settle(&claimed, receipt(msg_id), 0).await;
    }
    let says = |text| Reply {
        from: Some(to_mexico("m", true).to),
        ..reply(1, text)
    };
    for (quoted, text) in [("m1", "STOP"), ("m2", "START"), ("m1", "Hello")] {
        take(&world, to(quoted, says(text)), 1).await;
    }
    // One is under way at a time; what MoEngage is told is the number that it knows.
    for (text, spelled) in [("STOP", false), ("START", true), ("Hello", false)] {
        let due = world.callbacks(&queue, 2).await;
        let [
            PendingCallback {
                callback: Callback::Inbound(entry),
                handle,
                ..
            },
        ] = &due[..]
        else {
            panic!("{due:?}")
        };
        assert_eq!(
            (&*entry.text, entry.from),
            (text, to_mexico("m", spelled).to)
        );
        world.end(&queue, *handle, taken(), 2).await;
        world.check().await;
    }
}

async fn r_22_a_reply_of_a_user_id_is_of_whom_the_quoted_message_went_to(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let nameless = |text: &str| Reply {
        from: None,
        ..reply(1, text)
    };
    for unknown in [nameless("STOP"), to("P9", nameless("STOP"))] {
        let folded = take(&world, unknown, 1).await;
        assert_eq!(
            (folded.opted_out, folded.replies, folded.unmatched_replies),
            (0, 0, 1)
        );
    }
    assert_eq!(world.accept("m2", 1, 2).await, Accepted::Stored);
    let folded = take(&world, to("P1", nameless("STOP")), 3).await;
    assert_eq!((folded.opted_out, folded.replies), (1, 1));
    assert_eq!(
        world.accept("m3", 1, 4).await,
        Accepted::OptedOut(OptOut::All)
    );
    assert_eq!(told(&world, "a").await[0].from, phone(1));
    take(&world, to("P1", nameless("START")), 5).await;
    assert_eq!(world.accept("m3", 1, 6).await, Accepted::Stored);
    world.check().await;
}
