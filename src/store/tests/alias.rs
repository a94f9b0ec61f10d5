//! People by what else the provider calls them: other numbers, user ids (design.md section 13).

use super::records::adopted;
use super::*;
use crate::domain::{InboundEntry, UserId};
use crate::store::Adopted;

stories! {
    another_number_of_a_status_is_learnt,
    another_number_of_a_reply_that_quotes_is_learnt,
    a_user_id_of_a_reply_that_quotes_is_learnt,
    a_user_id_of_a_status_is_learnt,
    what_a_status_from_before_the_receipt_says_is_learnt,
    an_opt_out_from_before_a_number_is_known_counts,
    an_opt_out_by_a_user_id_counts_once_it_is_known_whose_it_is,
    an_opt_out_is_copied_in_all_channels_of_the_account,
    start_lifts_what_stop_set_under_every_name,
    a_stop_of_promotions_counts_under_every_name,
    a_start_by_a_number_lifts_a_stop_by_the_user_id_beside_it,
    a_stop_by_a_number_and_a_user_id_counts_for_who_has_either,
    a_number_decides_where_the_user_id_beside_it_is_somebody_elses,
    who_is_somebody_else_already_is_not_linked_and_counted,
    a_second_name_of_a_kind_is_not_linked_and_counted,
    nothing_is_learnt_where_no_id_says_whose_it_is,
    nothing_is_learnt_of_an_id_that_evidence_found,
    nothing_is_learnt_of_who_shows_no_secret,
    a_number_that_was_looked_up_by_a_user_id_teaches_nothing,
    nothing_is_learnt_of_whom_a_record_does_not_name,
    the_number_that_sends_is_nobody_s_other_number,
    names_are_of_one_account,
    names_survive_a_restart,
    either_number_is_evidence,
    a_user_id_is_evidence,
    a_learnt_number_has_two_spellings_too,
    a_user_id_follows_when_two_numbers_become_one_person,
    who_writes_after_the_window_is_told_by_the_number_that_was_dialled,
    the_newest_message_to_either_learnt_number_is_answered,
    strangers_may_opt_out_who_was_written_to_by_any_name,
    a_user_id_is_shown_nowhere,
}

/// A number that no rule knows of the first person's.
const OTHER: u64 = 21;
const USER: &str = "US.13491208655302741918";

fn user(id: &str) -> Option<UserId> {
    Some(UserId::parse(id).unwrap())
}

/// A status that names a person by a number, a user id or both.
fn names(id: &str, to: Option<u64>, by: Option<&str>) -> Incoming {
    let Incoming::Status(event) = event(id, Status::Delivered, to) else {
        panic!()
    };
    Incoming::Status(StatusEvent {
        user: by.and_then(user),
        ..event
    })
}

fn quotes(context: &str, from: u64, text: &str) -> Reply {
    Reply {
        context: Some(provider_id(context)),
        ..reply(from, text)
    }
}

fn of_user(id: &str, text: &str) -> Reply {
    Reply {
        from: None,
        user: user(id),
        ..reply(1, text)
    }
}

/// A reply that names who writes by both.
fn of_both(from: u64, id: &str, text: &str) -> Reply {
    Reply {
        user: user(id),
        ..reply(from, text)
    }
}

impl World {
    /// The first person has a message, and a status of it names them so.
    async fn knows(self, to: Option<u64>, by: Option<&str>) -> Self {
        self.sent("m1", 1, "P1", 0).await;
        let folded = self.events(vec![names("P1", to, by)], 1).await;
        assert_eq!((folded.emitted, folded.alias_conflicts), (1, 0));
        self
    }

    async fn hears(&self, reply: Reply, seconds: i64) -> Folded {
        self.events(vec![Incoming::Reply(reply)], seconds).await
    }

    /// Whether the nth person gets nothing from a channel; each look needs a name of its own.
    async fn is_out_on(&self, name: &str, to: u64, id: &str, seconds: i64) -> bool {
        match self.accept_on(name, &message(id, to), seconds).await {
            Accepted::OptedOut(OptOut::All) => true,
            Accepted::Stored => false,
            other => panic!("{other:?}"),
        }
    }

    async fn is_out(&self, to: u64, id: &str, seconds: i64) -> bool {
        self.is_out_on("a", to, id, seconds).await
    }

    async fn inbound(&self) -> Vec<InboundEntry> {
        let relayed = self
            .relayed(&lane("a", Destination::Inbound), 99 * DAY)
            .await;
        let entry = |callback| match callback {
            Callback::Inbound(entry) => entry,
            Callback::Status(_) => panic!(),
        };
        relayed.into_iter().map(entry).collect()
    }
}

/// A STOP under a learnt name is heard for the number that was dialled.
async fn stops(world: &World, stop: Reply) {
    let folded = world.hears(stop, 10).await;
    assert_eq!((folded.opted_out, folded.replies), (1, 1));
    let told = world.inbound().await;
    let msg_id = told[0].msg_id.as_ref().unwrap().as_str();
    assert_eq!((told[0].from, msg_id), (phone(1), "m1"));
    assert!(world.is_out(1, "m2", 11).await);
    world.check().await;
}

async fn another_number_of_a_status_is_learnt(new: NewWorld) {
    let world = new().knows(Some(OTHER), None).await;
    stops(&world, reply(OTHER, "STOP")).await;
    assert!(world.is_out(OTHER, "m3", 11).await);
    assert!(!world.is_out(2, "m4", 11).await);
}

async fn another_number_of_a_reply_that_quotes_is_learnt(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.hears(quotes("P1", OTHER, "Hello"), 1).await;
    assert_eq!(world.inbound().await[0].from, phone(1));
    stops(&world, reply(OTHER, "STOP")).await;
}

async fn a_user_id_of_a_reply_that_quotes_is_learnt(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let said = Reply {
        context: Some(provider_id("P1")),
        ..of_user(USER, "Hello")
    };
    world.hears(said, 1).await;
    assert_eq!(world.inbound().await[0].from, phone(1));
    stops(&world, of_user(USER, "STOP")).await;
}

async fn a_user_id_of_a_status_is_learnt(new: NewWorld) {
    // Beside the number that was dialled, and alone.
    for to in [Some(1), None] {
        let world = new().knows(to, Some(USER)).await;
        let unknown = world.hears(of_user("US.200", "STOP"), 2).await;
        assert_eq!(unknown.unmatched_replies, 1, "{to:?}");
        stops(&world, of_user("US.13491208655302741918", "STOP")).await;
    }
}

async fn what_a_status_from_before_the_receipt_says_is_learnt(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let folded = world.events(vec![names("P1", Some(OTHER), None)], 1).await;
    assert_eq!(folded.unmatched, 1);
    world.settle(&claimed, receipt("P1"), 2).await;
    stops(&world, reply(OTHER, "STOP")).await;
}

async fn an_opt_out_from_before_a_number_is_known_counts(new: NewWorld) {
    for (before, after) in [(OTHER, 1), (1, OTHER)] {
        let world = new();
        world.hears(reply(before, "STOP"), 0).await;
        // Sent before, or the provider would not name its person.
        world
            .store
            .accept(&channel("c"), &account(), &message("m1", 1), at(0))
            .await
            .unwrap();
        let claimed = world.claims(&["c"], 1, 0).await.taken.remove(0);
        world.settle(&claimed, receipt("P1"), 0).await;
        assert!(!world.is_out(after, "m2", 1).await);
        world.events(vec![names("P1", Some(OTHER), None)], 2).await;
        assert!(world.is_out(after, "m3", 3).await);
        assert!(world.is_out(before, "m4", 3).await);
        assert!(world.claim(4).await.is_empty(), "what waited is not sent");
        world.check().await;
    }
}

async fn an_opt_out_by_a_user_id_counts_once_it_is_known_whose_it_is(new: NewWorld) {
    let world = new();
    let folded = world.hears(of_user(USER, "STOP"), 0).await;
    let counts = (folded.opted_out, folded.replies, folded.unmatched_replies);
    assert_eq!(counts, (1, 0, 1), "kept, and told to nobody");
    let world = world.knows(None, Some(USER)).await;
    assert!(world.is_out(1, "m2", 2).await);
    // Who wants messages again is not opted out by what was kept.
    world.hears(of_user(USER, "START"), 3).await;
    assert!(!world.is_out(1, "m3", 4).await);
    assert_eq!(world.claim(4).await.len(), 1);
    // Nor is who wanted them again before it was known whose the id is.
    for (text, now) in [("STOP", 5), ("START", 6)] {
        world.hears(of_user("US.7700", text), now).await;
    }
    world.sent("m9", 9, "P9", 7).await;
    world
        .events(vec![names("P9", None, Some("US.7700"))], 8)
        .await;
    assert!(!world.is_out(9, "m10", 9).await);
    world.check().await;
}

async fn an_opt_out_is_copied_in_all_channels_of_the_account(new: NewWorld) {
    let world = new();
    // The webhook of another channel than the one that wrote.
    let stop = vec![Incoming::Reply(reply(OTHER, "STOP"))];
    world.events_with(rules("b"), stop, 0).await;
    let world = world.knows(Some(OTHER), None).await;
    assert!(world.is_out_on("b", 1, "m2", 2).await);
    assert!(!world.is_out_on("a", 1, "m3", 2).await);
    world.check().await;
}

async fn start_lifts_what_stop_set_under_every_name(new: NewWorld) {
    for start in [
        reply(1, "START"),
        reply(OTHER, "START"),
        of_user(USER, "START"),
    ] {
        let world = new().knows(Some(OTHER), Some(USER)).await;
        world.hears(of_user(USER, "STOP"), 2).await;
        for (to, id) in [(1, "m2"), (OTHER, "m3")] {
            assert!(world.is_out(to, id, 3).await);
        }
        let folded = world.hears(start, 4).await;
        assert_eq!(folded.opted_in, 1);
        for (to, id) in [(1, "m4"), (OTHER, "m5")] {
            assert!(!world.is_out(to, id, 5).await);
        }
        world.check().await;
    }
}

async fn a_stop_of_promotions_counts_under_every_name(new: NewWorld) {
    let world = new().knows(Some(OTHER), None).await;
    let folded = world.events(vec![stopped("P1", None)], 2).await;
    assert_eq!(folded.opted_out_of_marketing, 1);
    for (to, id) in [(1, "m2"), (OTHER, "m3")] {
        let (channel, message) = (channel("a"), message(id, to));
        let arrival = Arrival {
            message: &message,
            is_marketing: true,
        };
        let account = account();
        let accepted = world.store.accept(&channel, &account, arrival, at(3));
        let refused = Accepted::OptedOut(OptOut::Marketing);
        assert_eq!(accepted.await.unwrap(), refused, "{id}");
    }
    world.check().await;
}

async fn a_start_by_a_number_lifts_a_stop_by_the_user_id_beside_it(new: NewWorld) {
    let world = new();
    world.hears(of_user(USER, "STOP"), 0).await;
    world.hears(of_both(1, USER, "START"), 1).await;
    let world = world.knows(Some(1), Some(USER)).await;
    assert!(!world.is_out(1, "m2", 2).await);
    world.check().await;
}

async fn a_stop_by_a_number_and_a_user_id_counts_for_who_has_either(new: NewWorld) {
    let world = new();
    let folded = world.hears(of_both(OTHER, USER, "STOP"), 0).await;
    assert_eq!((folded.opted_out, folded.replies), (1, 1));
    let open = EventRules {
        vouched: false,
        ..rules("a")
    };
    let made_up = Incoming::Reply(of_both(OTHER, "US.6600", "STOP"));
    world.events_with(open, vec![made_up], 0).await;
    let world = world.knows(None, Some(USER)).await;
    assert!(world.is_out(1, "m2", 2).await && world.is_out(OTHER, "m3", 2).await);
    // Anybody can make up the id of a person.
    world.sent("m6", 6, "P6", 3).await;
    let named = names("P6", None, Some("US.6600"));
    world.events(vec![named], 4).await;
    assert!(!world.is_out(6, "m7", 5).await);
    world.check().await;
}

async fn a_number_decides_where_the_user_id_beside_it_is_somebody_elses(new: NewWorld) {
    let world = new().knows(None, Some(USER)).await;
    world.sent("m2", 2, "P2", 2).await;
    world.sent("m3", 1, "P3", 3).await;
    let folded = world.hears(of_both(1, USER, "Hello"), 4).await;
    assert_eq!(folded.alias_conflicts, 0, "one person");
    assert_eq!(world.inbound().await[0].from, phone(1));
    for (text, now) in [("Hello", 5), ("STOP", 6)] {
        let folded = world.hears(of_both(2, USER, text), now).await;
        assert_eq!((folded.alias_conflicts, folded.replies), (1, 1), "{text}");
        let told = world.inbound().await.remove(0);
        let msg_id = told.msg_id.unwrap();
        assert_eq!((told.from, msg_id.as_str()), (phone(2), "m2"), "{text}");
    }
    assert!(world.is_out(1, "m4", 7).await && world.is_out(2, "m5", 7).await);
    world.hears(of_both(2, USER, "START"), 8).await;
    assert!(world.is_out(1, "m6", 9).await && !world.is_out(2, "m7", 9).await);
    let open = EventRules {
        vouched: false,
        ..rules("a")
    };
    let made_up = vec![Incoming::Reply(of_both(2, USER, "Who?"))];
    let folded = world.events_with(open, made_up, 10).await;
    assert_eq!((folded.alias_conflicts, folded.replies), (0, 1));
    world.check().await;
}

async fn who_is_somebody_else_already_is_not_linked_and_counted(new: NewWorld) {
    let world = new().knows(Some(OTHER), Some(USER)).await;
    world.sent("m2", 2, "P2", 2).await;
    world.sent("m3", OTHER, "P3", 2).await;
    for (named, conflicts) in [
        (names("P2", Some(OTHER), None), 1),
        (names("P2", None, Some(USER)), 1),
        (names("P2", Some(OTHER), Some(USER)), 2),
        (names("P2", Some(1), None), 1),
        (names("P3", Some(2), None), 1),
        (names("P2", Some(2), None), 0),
        // Known, from either side.
        (names("P1", Some(OTHER), Some(USER)), 0),
        (names("P3", Some(1), Some(USER)), 0),
    ] {
        let folded = world.events(vec![named.clone()], 3).await;
        assert_eq!(folded.alias_conflicts, conflicts, "{named:?}");
    }
    let folded = world.hears(quotes("P2", OTHER, "Hello"), 4).await;
    assert_eq!((folded.alias_conflicts, folded.replies), (1, 1));
    world.hears(reply(OTHER, "STOP"), 5).await;
    assert!(world.is_out(1, "m4", 6).await && !world.is_out(2, "m5", 6).await);
    world.check().await;
}

async fn a_second_name_of_a_kind_is_not_linked_and_counted(new: NewWorld) {
    let world = new().knows(Some(OTHER), Some(USER)).await;
    let second = names("P1", Some(22), Some("US.2222"));
    let folded = world.events(vec![second.clone(), second], 2).await;
    assert_eq!(folded.alias_conflicts, 4);
    // Nor by the other number of the person.
    world.sent("m2", OTHER, "P2", 2).await;
    let folded = world
        .events(vec![names("P2", Some(22), Some("US.2222"))], 3)
        .await;
    assert_eq!(folded.alias_conflicts, 2);
    for stop in [reply(22, "STOP"), of_user("US.2222", "STOP")] {
        world.hears(stop, 4).await;
    }
    assert!(!world.is_out(1, "m3", 5).await);
    world.check().await;
}

async fn nothing_is_learnt_where_no_id_says_whose_it_is(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    // An id that matches nothing; a reply that quotes nothing, or what nobody knows.
    world
        .events(vec![names("P9", Some(1), Some(USER))], 1)
        .await;
    let with_id = Reply {
        user: user(USER),
        ..reply(1, "Hello")
    };
    world.hears(with_id.clone(), 2).await;
    let unknown = Reply {
        context: Some(provider_id("P8")),
        ..with_id
    };
    world.hears(unknown, 3).await;
    assert_eq!(world.inbound().await.len(), 2);
    let folded = world.hears(of_user(USER, "Hello"), 4).await;
    assert_eq!((folded.unmatched_replies, folded.replies), (1, 0));
    world.check().await;
}

async fn nothing_is_learnt_of_an_id_that_evidence_found(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    let folded = world.events(vec![names("P1", Some(1), None)], 1).await;
    assert_eq!(folded.inferred, 1);
    let named = names("P1", Some(OTHER), Some(USER));
    world.events(vec![named], 2).await;
    world.hears(quotes("P1", OTHER, "Hello"), 3).await;
    for stop in [reply(OTHER, "STOP"), of_user(USER, "STOP")] {
        world.hears(stop, 4).await;
    }
    assert!(!world.is_out(1, "m2", 5).await);
    world.check().await;
}

async fn nothing_is_learnt_of_who_shows_no_secret(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let open = EventRules {
        vouched: false,
        ..rules("a")
    };
    let made_up = Reply {
        user: user(USER),
        ..quotes("P1", OTHER, "Hello")
    };
    let said = vec![
        Incoming::Reply(made_up),
        // And nothing is kept of a name that anybody can make up.
        Incoming::Reply(of_user("US.6600", "STOP")),
    ];
    let folded = world.events_with(open, said, 1).await;
    assert_eq!((folded.opted_out, folded.unmatched_replies), (0, 1));
    for stop in [reply(OTHER, "STOP"), of_user(USER, "STOP")] {
        world.hears(stop, 4).await;
    }
    assert!(!world.is_out(1, "m2", 5).await);
    world
        .events(vec![names("P1", None, Some("US.6600"))], 6)
        .await;
    assert!(!world.is_out(1, "m3", 7).await);
    world.check().await;
}

async fn a_number_that_was_looked_up_by_a_user_id_teaches_nothing(new: NewWorld) {
    let world = new().knows(None, Some(USER)).await;
    let claimed = world.attempt("m2", 2, 2).await;
    let folded = world.events(vec![names("P2", None, Some(USER))], 3).await;
    assert_eq!(folded.unmatched, 1);
    let folded = world.settle(&claimed, receipt("P2"), 4).await;
    assert_eq!((folded.emitted, folded.alias_conflicts), (1, 0));
    world.hears(reply(2, "STOP"), 5).await;
    assert!(world.is_out(2, "m3", 6).await && !world.is_out(1, "m4", 6).await);
    world.check().await;
}

async fn nothing_is_learnt_of_whom_a_record_does_not_name(new: NewWorld) {
    // Whom a status names is taken, else the number of the brand; and one that evidence had found before.
    for (named, to, inferred) in [
        (None, None, false),
        (Some(2), None, false),
        (None, Some(phone(2)), true),
    ] {
        let world = new();
        world.events(vec![names("P1", named, None)], 0).await;
        let found = Adopted {
            to,
            inferred,
            ..adopted("m1", None)
        };
        world.adopt("P1", Some(found), 61).await;
        let said = names("P1", Some(1), Some(USER));
        let folded = world.events(vec![said], 62).await;
        assert_eq!(folded.emitted + folded.superseded, 1);
        let folded = world.hears(of_user(USER, "STOP"), 63).await;
        assert_eq!((folded.replies, folded.unmatched_replies), (0, 1));
        world.hears(reply(1, "STOP"), 64).await;
        assert!(!world.is_out(2, "m2", 65).await);
    }
    // What the record says is as good as what we knew.
    let world = new();
    world.events(vec![names("P1", None, None)], 0).await;
    world.adopt("P1", Some(adopted("m1", None)), 61).await;
    let said = names("P1", None, Some(USER));
    world.events(vec![said], 62).await;
    let folded = world.hears(of_user(USER, "STOP"), 63).await;
    assert_eq!(folded.replies, 1);
}

async fn the_number_that_sends_is_nobody_s_other_number(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    let brand = message("m1", 1).from.phone();
    let Incoming::Status(said) = event("P1", Status::Delivered, None) else {
        panic!()
    };
    let said = StatusEvent {
        recipient: Some(brand),
        ..said
    };
    let folded = world.events(vec![Incoming::Status(said)], 1).await;
    assert_eq!((folded.emitted, folded.alias_conflicts), (1, 1));
    let stop = Reply {
        from: Some(brand),
        ..reply(1, "STOP")
    };
    world.hears(stop, 2).await;
    assert!(!world.is_out(1, "m2", 3).await);
    world.check().await;
}

async fn names_are_of_one_account(new: NewWorld) {
    let world = new().knows(Some(OTHER), Some(USER)).await;
    let foreign = EventRules {
        account: AccountId::parse("other").unwrap(),
        ..rules("x")
    };
    let said = vec![
        Incoming::Reply(reply(OTHER, "STOP")),
        Incoming::Reply(of_user(USER, "STOP")),
        Incoming::Reply(reply(23, "STOP")),
    ];
    let folded = world.events_with(foreign.clone(), said, 2).await;
    assert_eq!((folded.replies, folded.unmatched_replies), (2, 1));
    let of_x = async |id: &str, to| {
        let (channel, message) = (channel("x"), message(id, to));
        let accepted = world
            .store
            .accept(&channel, &foreign.account, &message, at(3));
        accepted.await.unwrap()
    };
    assert_eq!(of_x("x1", 1).await, Accepted::Stored);
    let out = Accepted::OptedOut(OptOut::All);
    assert_eq!(of_x("x2", OTHER).await, out);
    assert!(!world.is_out(1, "m2", 4).await);
    assert_eq!(world.claim(4).await.len(), 1);
    // Nor does an opt-out go over when the same number is learnt here.
    world.sent("m3", 3, "P3", 5).await;
    world.events(vec![names("P3", Some(23), None)], 6).await;
    assert!(!world.is_out(3, "m4", 7).await);
    assert_eq!(of_x("x3", 3).await, Accepted::Stored);
    assert_eq!(of_x("x4", 23).await, out);
}

async fn names_survive_a_restart(new: NewWorld) {
    let world = new().knows(Some(OTHER), Some(USER)).await.reopened();
    let folded = world.events(vec![names("P1", Some(22), None)], 2).await;
    assert_eq!(folded.alias_conflicts, 1);
    stops(&world, of_user(USER, "STOP")).await;
    assert!(world.is_out(OTHER, "m3", 12).await);
}

async fn either_number_is_evidence(new: NewWorld) {
    for (dialled, named) in [(1, OTHER), (OTHER, 1)] {
        let world = new().knows(Some(OTHER), None).await;
        world.lost("m2", dialled, 2, 600).await;
        let folded = world.event("P2", Status::Read, Some(named), 3).await;
        assert_eq!((folded.inferred, folded.emitted), (1, 1), "{named}");
        assert_eq!(world.state("m2").await, State::Accepted);
        // Two in doubt, by whatever number, prove nothing.
        world.lost("m3", 1, 4, 600).await;
        world.lost("m4", OTHER, 4, 600).await;
        let folded = world.event("P3", Status::Read, Some(named), 5).await;
        assert_eq!(folded.inferred, 0);
        world.check().await;
    }
}

async fn a_user_id_is_evidence(new: NewWorld) {
    let world = new().knows(None, Some(USER)).await;
    world.lost("m2", 1, 2, 600).await;
    let folded = world
        .events(vec![names("P2", None, Some("US.2200"))], 3)
        .await;
    assert_eq!(folded.inferred, 0);
    let folded = world.events(vec![names("P3", None, Some(USER))], 4).await;
    assert_eq!(folded.inferred, 1);
    assert_eq!(world.record("m2").await.provider_id.unwrap(), "P3");
    world.check().await;
}

async fn a_learnt_number_has_two_spellings_too(new: NewWorld) {
    let [short, long] = [525_512_345_678, 5_215_512_345_678];
    let mexican = |number| Phone::from_number(number).unwrap();
    for (named, writes) in [(short, long), (long, short), (long, long)] {
        let world = new();
        world.sent("m1", 1, "P1", 0).await;
        let said = Reply {
            from: Some(mexican(named)),
            ..quotes("P1", 1, "Hello")
        };
        world.hears(said, 1).await;
        world.inbound().await;
        let stop = Reply {
            from: Some(mexican(writes)),
            ..reply(1, "STOP")
        };
        stops(&world, stop).await;
        for (number, id) in [(short, "m3"), (long, "m4")] {
            let message = Message {
                to: mexican(number),
                ..message(id, 1)
            };
            let accepted = world.accept_on("a", &message, 12).await;
            assert_eq!(accepted, Accepted::OptedOut(OptOut::All), "{number}");
        }
    }
}

async fn a_user_id_follows_when_two_numbers_become_one_person(new: NewWorld) {
    let world = new();
    world.sent("m0", OTHER, "P0", 0).await;
    world.events(vec![names("P0", None, Some(USER))], 0).await;
    let world = world.knows(Some(OTHER), None).await;
    let folded = world.events(vec![names("P1", None, Some(USER))], 2).await;
    assert_eq!(folded.alias_conflicts, 0, "one person");
    stops(&world, of_user(USER, "STOP")).await;
    // Two that have an id each are two people.
    for (id, to, by) in [("m5", 5, "US.5500"), ("m6", 6, "US.6600")] {
        world.sent(id, to, by, 20).await;
        world.events(vec![names(by, None, Some(by))], 20).await;
    }
    let folded = world
        .events(vec![names("US.5500", Some(6), None)], 21)
        .await;
    assert_eq!(folded.alias_conflicts, 1);
    world.check().await;
}

async fn who_writes_after_the_window_is_told_by_the_number_that_was_dialled(new: NewWorld) {
    let world = new().knows(Some(OTHER), Some(USER)).await;
    let late = 8 * DAY;
    for stop in [reply(OTHER, "STOP"), of_user(USER, "STOP")] {
        world.hears(stop, late).await;
    }
    for told in world.inbound().await {
        assert_eq!((told.from, told.msg_id), (phone(1), None));
    }
    assert!(world.is_out(1, "m2", late).await);
    world.check().await;
}

async fn the_newest_message_to_either_learnt_number_is_answered(new: NewWorld) {
    for (number, newest) in [(OTHER, "m1"), (1, "m2")] {
        let world = new().knows(Some(OTHER), None).await;
        world.sent("m2", OTHER, "P2", 10).await;
        if newest == "m1" {
            world.sent("m3", 1, "P3", 20).await;
        }
        world.hears(reply(number, "Hello"), 30).await;
        let told = world.inbound().await.remove(0);
        let expected = if newest == "m1" { "m3" } else { "m2" };
        assert_eq!(told.msg_id.unwrap().as_str(), expected);
    }
}

async fn strangers_may_opt_out_who_was_written_to_by_any_name(new: NewWorld) {
    let world = new().knows(Some(OTHER), None).await;
    let people = [1, 2, OTHER].map(phone).into_iter().collect();
    let mut known: Vec<_> = world
        .store
        .written_to(&rules("a"), &people)
        .await
        .unwrap()
        .into_iter()
        .collect();
    known.sort_unstable();
    assert_eq!(known, [phone(1), phone(OTHER)]);
}

async fn a_user_id_is_shown_nowhere(new: NewWorld) {
    let world = new().knows(None, Some(USER)).await;
    let said = Reply {
        context: Some(provider_id("P1")),
        ..of_user(USER, "STOP")
    };
    world.hears(said, 2).await;
    world.hears(reply(OTHER, "Hello"), 3).await;
    let record = world.record("m1").await;
    let shown: Vec<_> = record.history.iter().map(|line| &*line.detail).collect();
    assert!(
        shown.iter().any(|line| line.contains("a user id")),
        "{shown:?}"
    );
    assert!(!shown.concat().contains("1349120"), "{shown:?}");
}
