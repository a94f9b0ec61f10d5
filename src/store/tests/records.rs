//! Marks for Datastore, and what it gives back.

use super::*;
use crate::domain::Progress;
use crate::store::{Adopted, Dirty, DirtyEnd};

stories! {
    every_step_of_a_message_marks_it_and_counts_its_version_up,
    a_taken_mark_is_hidden_and_comes_back,
    what_changed_during_the_write_is_due_at_once,
    marks_survive_a_restart_and_retention_waits_for_them,
    an_id_is_asked_for_once,
    r_71_people_in_doubt_come_first_and_leave_room_for_what_came_first,
    an_adopted_message_is_told_of_its_statuses_and_counted_nowhere,
    an_adopted_message_is_not_the_latest_one_to_its_person,
    a_message_that_is_here_already_decides,
    what_a_record_has_proved_is_not_in_the_way_of_the_last_look,
}

impl World {
    async fn dirty(&self, seconds: i64) -> Vec<Dirty> {
        let account = account();
        let taken = self.store.take_dirty(&account, 100, at(seconds));
        taken.await.unwrap()
    }

    pub(in crate::store) async fn write_all(&self, seconds: i64) -> Vec<(String, u64)> {
        let taken = self.dirty(seconds).await;
        let ends = taken
            .iter()
            .map(|one| (one.handle, one.version, DirtyEnd::Written));
        let account = account();
        let settled = self
            .store
            .settle_dirty(&account, ends.collect(), at(seconds));
        settled.await.unwrap();
        let name = |one: &Dirty| (one.record.message.msg_id.to_string(), one.version);
        taken.iter().map(name).collect()
    }

    pub(in crate::store) async fn waiting(&self) -> u64 {
        self.store.dirty_waiting(&account()).await.unwrap()
    }

    pub(in crate::store) async fn unasked(&self, seconds: i64) -> Vec<(String, i64)> {
        let account = account();
        let found = self.store.unmatched(&account, at(seconds), 10);
        let found = found.await.unwrap();
        let one = |u: &crate::store::Unmatched| (u.provider_id.to_string(), u.received_at.0);
        found.iter().map(one).collect()
    }

    pub(super) async fn adopt(&self, id: &str, found: Option<Adopted>, seconds: i64) -> Folded {
        let (account, id) = (account(), provider_id(id));
        let folded = self.store.adopt(&account, &id, found, at(seconds));
        folded.await.unwrap()
    }
}

pub(super) fn adopted(id: &str, status: Option<Status>) -> Adopted {
    Adopted {
        channel: channel("a"),
        msg_id: MsgId::parse(id).unwrap(),
        to: Some(phone(1)),
        inferred: false,
        from: BusinessNumber::parse("12025550999").unwrap(),
        template: "7".into(),
        language: String::new(),
        campaign: Some("c1".into()),
        conversation: Some("conv".into()),
        progress: Progress::at(status),
        accepted_at: at(-90_000),
        version: 7,
    }
}

async fn every_step_of_a_message_marks_it_and_counts_its_version_up(new: NewWorld) {
    let world = new().marking();
    let mut last = 0;
    let mut seconds = 0;
    let mut grew = async |world: &World, step: &str| {
        let written = world.write_all(seconds).await;
        seconds += 1;
        assert_eq!(written.len(), 1, "{step}: {written:?}");
        assert!(written[0].1 > last, "{step}: {written:?} after {last}");
        last = written[0].1;
        assert_eq!(world.waiting().await, 0, "{step}");
    };
    world.accept("m1", 1, 0).await;
    grew(&world, "accepted").await;
    world.accept("m1", 1, 0).await;
    assert_eq!(world.waiting().await, 0, "a repeat changes nothing");
    let claimed = world.claim(0).await.remove(0);
    grew(&world, "claimed").await;
    world.settle(&claimed, Settlement::retry(at(2)), 1).await;
    grew(&world, "to be tried again").await;
    let claimed = world.claim(2).await.remove(0);
    grew(&world, "claimed again").await;
    world.settle(&claimed, unknown_until(600), 3).await;
    grew(&world, "unknown").await;
    world.sweep(false, 700).await;
    grew(&world, "failed").await;
    world.event("P1", Status::Delivered, Some(1), 701).await;
    grew(&world, "proved").await;
    world.event("P1", Status::Delivered, None, 702).await;
    grew(&world, "superseded").await;
    world.statuses(703).await;
    grew(&world, "relayed").await;
    world.check().await;
}

async fn a_taken_mark_is_hidden_and_comes_back(new: NewWorld) {
    let world = new().marking();
    world.sent("m1", 1, "P1", 0).await;
    let first = world.dirty(1).await;
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].record.provider_id.as_deref(), Some("P1"));
    assert_eq!(first[0].record.status, None);
    assert!(world.dirty(30).await.is_empty(), "hidden for 30 s");
    assert_eq!(world.waiting().await, 1);
    assert_eq!(world.dirty(31).await.len(), 1, "the taker died");
    let later = DirtyEnd::Later { due: at(99) };
    let ends = vec![(first[0].handle, first[0].version, later)];
    world
        .store
        .settle_dirty(&account(), ends, at(32))
        .await
        .unwrap();
    assert!(world.dirty(98).await.is_empty());
    assert_eq!(world.dirty(99).await.len(), 1);
    let other = AccountId::parse("other").unwrap();
    assert!(
        world
            .store
            .take_dirty(&other, 9, at(999))
            .await
            .unwrap()
            .is_empty()
    );
}

async fn what_changed_during_the_write_is_due_at_once(new: NewWorld) {
    let world = new().marking();
    world.sent("m1", 1, "P1", 0).await;
    let taken = world.dirty(1).await;
    world.event("P1", Status::Read, None, 1).await;
    let ends = vec![(taken[0].handle, taken[0].version, DirtyEnd::Written)];
    world
        .store
        .settle_dirty(&account(), ends, at(2))
        .await
        .unwrap();
    let again = world.dirty(2).await;
    assert_eq!(again[0].record.status, Some(Status::Read));
    assert!(again[0].version > taken[0].version);
}

async fn marks_survive_a_restart_and_retention_waits_for_them(new: NewWorld) {
    let world = new().marking();
    world.sent("m1", 1, "P1", 0).await;
    let world = world.reopened();
    let purge = async |world: &World| {
        let purged = world.store.purge(at(1000), at(1000)).await.unwrap();
        purged.messages
    };
    assert_eq!(purge(&world).await, 0, "Datastore does not have it yet");
    world.write_all(1).await;
    assert_eq!(purge(&world).await, 1);
    // Switched off, an old mark holds nothing back.
    world.sent("m2", 1, "P2", 0).await;
    let world = world.marking_no_more();
    assert_eq!((purge(&world).await, world.waiting().await), (1, 0));
}

async fn an_id_is_asked_for_once(new: NewWorld) {
    let world = new().marking();
    world.event("P1", Status::Sent, None, 0).await;
    world.event("P2", Status::Sent, None, 5).await;
    world.event("P1", Status::Delivered, None, 6).await;
    world.sent("m3", 3, "P3", 0).await;
    world.event("P3", Status::Sent, None, 1).await;
    let first = |id: &str, seconds: i64| (id.to_owned(), at(seconds).0);
    assert!(world.unasked(0).await.is_empty(), "too young");
    assert_eq!(world.unasked(1).await, [first("P1", 0)]);
    assert_eq!(world.unasked(60).await, [first("P1", 0), first("P2", 5)]);
    let folded = world.adopt("P1", None, 61).await;
    assert_eq!(folded, Folded::default());
    world.event("P1", Status::Read, None, 62).await;
    assert_eq!(world.unasked(99).await, [first("P2", 5)], "P1 never again");
    // It stays until its day is over, in case its receipt comes after all.
    world.sent("m1", 1, "P1", 63).await;
    assert_eq!(
        world.statuses(64).await,
        ["m3 sent", "m1 sent", "m1 delivered", "m1 read"]
    );
}

/// A stranger makes up ids without end; whom we are in doubt about he does not know.
async fn r_71_people_in_doubt_come_first_and_leave_room_for_what_came_first(new: NewWorld) {
    let world = new().marking();
    for n in 0..20 {
        let id = format!("X{n}");
        world.event(&id, Status::Sent, Some(500), n).await;
    }
    // Each is named by two ids of other sends, the first person by five, before the send in doubt.
    for n in 1..=3 {
        for id in 0..if n == 1 { 5 } else { 2 } {
            let id = format!("Q{n}.{id}");
            world.event(&id, Status::Sent, Some(n), 20 + n as i64).await;
        }
        world.lost(&format!("m{n}"), n, 30, 600 + n as i64).await;
    }
    let people = |asked: &[(String, i64)]| {
        let ids = asked.iter().map(|(id, _)| id.split('.').next().unwrap());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    let asked = world.unasked(60).await;
    let first = ["Q1", "Q2", "Q3", "X0", "X1", "X2", "X3", "X4", "X5", "X6"];
    assert_eq!(people(&asked), first, "one of each person");
    let asked = world.unasked(23).await;
    assert_eq!(people(&asked)[..3], ["Q1", "Q2", "X0"], "Q3 is too young");
    // Half of the question is for what came first, however many are in doubt.
    for n in 4..=9 {
        let id = format!("Q{n}.0");
        world.event(&id, Status::Sent, Some(n), 40).await;
        world.lost(&format!("m{n}"), n, 41, 700 + n as i64).await;
    }
    let asked = world.unasked(60).await;
    let first = ["Q1", "Q2", "Q3", "Q4", "Q5", "X0", "X1", "X2", "X3", "X4"];
    assert_eq!(people(&asked), first);
    for (id, _) in asked {
        world.adopt(&id, None, 61).await;
    }
    let asked = world.unasked(60).await;
    let next = ["Q1", "Q2", "Q3", "Q6", "Q7", "X5", "X6", "X7", "X8", "X9"];
    assert_eq!(people(&asked), next, "each once");
}

async fn an_adopted_message_is_told_of_its_statuses_and_counted_nowhere(new: NewWorld) {
    let world = new().marking();
    for status in [Status::Sent, Status::Delivered] {
        world.event("P1", status, None, 0).await;
    }
    let folded = world
        .adopt("P1", Some(adopted("m1", Some(Status::Sent))), 61)
        .await;
    assert_eq!((folded.emitted, folded.superseded), (1, 1));
    assert_eq!(folded.wake, [channel("a")]);
    assert_eq!(world.event("P1", Status::Read, None, 62).await.emitted, 1);
    assert_eq!(world.statuses(63).await, ["m1 delivered", "m1 read"]);
    let record = world.record("m1").await;
    assert_eq!(record.state, State::Accepted);
    assert_eq!(record.conversation.as_deref(), Some("conv"));
    assert_eq!(record.message.campaign.as_deref(), Some("c1"));
    let ledger = world.ledger().await;
    assert_eq!(
        (ledger.accepted, ledger.accepted_by_provider, ledger.lost()),
        (0, 0, 0)
    );
    assert_eq!(world.store.count_open().await.unwrap(), [0, 0, 0]);
    let dirty = world.dirty(64).await;
    assert!(
        dirty[0].version > 7,
        "counts on from the record: {}",
        dirty[0].version
    );
    // MoEngage asking for it again gets no second message (G3).
    let again = world.accept("m1", 1, 65).await;
    assert!(matches!(again, Accepted::Repeat { .. }), "{again:?}");
    assert!(world.unasked(99).await.is_empty());
}

async fn an_adopted_message_is_not_the_latest_one_to_its_person(new: NewWorld) {
    let world = new().marking();
    world.sent("m2", 1, "P2", 0).await;
    world.event("P1", Status::Sent, None, 0).await;
    world.adopt("P1", Some(adopted("m1", None)), 61).await;
    world
        .events(vec![Incoming::Reply(reply(1, "hello"))], 62)
        .await;
    let entries = world.relayed(&lane("a", Destination::Inbound), 62).await;
    let Callback::Inbound(entry) = &entries[0] else {
        panic!("{entries:?}")
    };
    assert_eq!(entry.msg_id, MsgId::parse("m2").ok());
}

async fn a_message_that_is_here_already_decides(new: NewWorld) {
    let world = new().marking();
    world.lost("unknown", 1, 0, 600).await;
    world.sent("sent", 2, "P2", 0).await;
    world.accept("queued", 3, 0).await;
    for n in 1..=3 {
        world.event(&format!("Q{n}"), Status::Read, None, 1).await;
    }
    // Failed or unknown: the record proves that the provider took it.
    let folded = world.adopt("Q1", Some(adopted("unknown", None)), 61).await;
    assert_eq!(
        (folded.emitted, world.state("unknown").await),
        (1, State::Accepted)
    );
    // With another receipt, or on its way: left as it is.
    for (id, msg_id) in [("Q2", "sent"), ("Q3", "queued")] {
        let folded = world.adopt(id, Some(adopted(msg_id, None)), 61).await;
        assert_eq!(folded.emitted, 0, "{msg_id}");
    }
    assert_eq!(
        world.record("sent").await.provider_id.as_deref(),
        Some("P2")
    );
    assert_eq!(world.state("queued").await, State::Queued);
    assert!(world.unasked(99).await.is_empty());
    assert_eq!(world.statuses(62).await, ["unknown read"]);
    world.check().await;
}

/// Two in doubt prove nothing; nobody looks again before the hold of the other one ends.
async fn what_a_record_has_proved_is_not_in_the_way_of_the_last_look(new: NewWorld) {
    let world = new();
    world.lost("m1", 1, 0, 600).await;
    world.lost("m2", 1, 0, 900).await;
    world.event("P1", Status::Read, Some(1), 5).await;
    world.event("P2", Status::Sent, None, 6).await;
    world.adopt("P2", Some(adopted("m2", None)), 70).await;
    assert_eq!(world.state("m1").await, State::Unknown);
    let swept = world.sweep(false, 600).await;
    assert_eq!((swept.failed.len(), swept.inferred), (0, 1));
    let record = world.record("m1").await;
    assert_eq!(record.state, State::Accepted);
    assert_eq!(record.provider_id.as_deref(), Some("P1"));
    assert_eq!(world.statuses(601).await, ["m2 sent", "m1 read"]);
    world.check().await;
}
