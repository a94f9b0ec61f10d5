//! The list of who opted out, put together with another one (cases R-60).

use super::*;
use crate::domain::{OptOutEntry, OptOutName, Source};
use crate::store::Entrance;

stories! {
    r_60_the_list_says_who_is_out_since_when_and_how,
    r_60_the_list_comes_in_parts_that_leave_nobody_out,
    r_60_the_later_of_two_words_counts,
    r_60_an_operator_s_word_counts_whatever_the_clock_says,
    r_60_what_was_said_is_owed_to_datastore_until_it_has_it,
    r_60_a_user_id_that_became_a_number_is_of_no_use_any_more,
    r_60_what_was_said_elsewhere_counts_for_all_that_a_person_is_called,
    r_60_a_stop_that_is_written_again_is_later_than_a_start_before,
}

/// What a person wants, of all messages.
fn said(to: u64, is_out: bool, seconds: i64) -> OptOutEntry {
    OptOutEntry {
        channel: channel("a"),
        name: OptOutName::Number(phone(to)),
        scope: OptOut::All,
        is_out,
        at: at(seconds),
        source: Source::parse("elsewhere").unwrap(),
    }
}

impl World {
    async fn writes(&self, text: &str, to: u64, seconds: i64) -> Folded {
        self.events(vec![Incoming::Reply(reply(to, text))], seconds)
            .await
    }

    async fn take_said(&self, entrance: Entrance, said: &[OptOutEntry]) -> usize {
        let account = account();
        let taken = self.store.take_opt_outs(&account, entrance, said.to_vec());
        taken.await.unwrap()
    }

    async fn owed(&self, seconds: i64) -> Vec<OptOutEntry> {
        let (account, channels) = (account(), [channel("a"), channel("b")]);
        let store = &self.store;
        let owed = store.owed_opt_outs(&account, &channels, 100, at(seconds));
        owed.await.unwrap()
    }

    async fn kept(&self, said: Vec<OptOutEntry>) {
        let account = account();
        let kept = self.store.opt_outs_kept(&account, said);
        kept.await.unwrap();
    }

    /// Who is out, of what, since when, how.
    async fn list(&self) -> Vec<(String, OptOut, UnixMs, String)> {
        let page = self.store.opt_outs(&channel("a"), 0, 1000).await.unwrap();
        assert_eq!(page.next, None);
        let row = |one: OptOutEntry| {
            assert!(one.is_out && one.channel == channel("a"));
            let source = one.source.as_str().to_owned();
            (one.name.text(), one.scope, one.at, source)
        };
        page.entries.into_iter().map(row).collect()
    }

    async fn refuses(&self, to: u64, seconds: i64) -> bool {
        let accepted = self.accept(&format!("q{to}-{seconds}"), to, seconds).await;
        accepted == Accepted::OptedOut(OptOut::All)
    }
}

async fn r_60_the_list_says_who_is_out_since_when_and_how(new: NewWorld) {
    let world = new();
    let digits = |to| phone(to).digits();
    world.sent("m2", 2, "P2", 0).await;
    world.writes("STOP", 1, 1).await;
    world.writes("STOP", 1, 90).await;
    world.events(vec![stopped("P2", None)], 2).await;
    world.writes("STOP", 3, 3).await;
    world.writes("START", 3, 4).await;
    world.writes("START", 4, 5).await;
    let mut list = world.list().await;
    list.sort();
    let expected = [
        (digits(1), OptOut::All, at(90), "reply".to_owned()),
        (digits(2), OptOut::Marketing, at(2), "status".to_owned()),
    ];
    assert_eq!(list, expected);
    world.check().await;
}

async fn r_60_the_list_comes_in_parts_that_leave_nobody_out(new: NewWorld) {
    let world = new();
    let all: Vec<OptOutEntry> = (1..=250).map(|to| said(to, true, 1)).collect();
    assert_eq!(world.take_said(Entrance::Import, &all).await, 250);
    for to in [7, 120] {
        world.writes("START", to, 2).await;
    }
    let (mut listed, mut from) = (Vec::new(), Some(0));
    while let Some(place) = from {
        let page = world
            .store
            .opt_outs(&channel("a"), place, 99)
            .await
            .unwrap();
        // Somebody new comes to stand before the others meanwhile.
        if place == 0 {
            let first = OptOutEntry {
                name: OptOutName::parse("10000001").unwrap(),
                ..said(1, true, 1)
            };
            world.take_said(Entrance::Import, &[first]).await;
        }
        assert!(page.entries.len() <= 99);
        listed.extend(page.entries.into_iter().map(|one| one.name.text()));
        from = page.next;
    }
    for to in 1..=250 {
        let times = listed.iter().filter(|name| **name == phone(to).digits());
        let is_out = to != 7 && to != 120;
        assert_eq!(times.count() > 0, is_out, "{to}");
    }
    let page = world.store.opt_outs(&channel("b"), 0, 9).await.unwrap();
    assert!(page.entries.is_empty() && page.next.is_none());
}

async fn r_60_the_later_of_two_words_counts(new: NewWorld) {
    let world = new();
    for entrance in [Entrance::Merge, Entrance::Import] {
        let n = if entrance == Entrance::Merge { 10 } else { 20 };
        let [stopped, started] = [n, n + 1];
        world.writes("STOP", stopped, 10).await;
        world.writes("START", started, 10).await;
        let far = world.owed(40).await;
        world.kept(far).await;
        // What was said before, elsewhere, changes nothing; and Datastore is owed the later word.
        let before = [said(stopped, false, 9), said(started, true, 9)];
        assert_eq!(world.take_said(entrance, &before).await, 0);
        assert!(world.refuses(stopped, 41).await && !world.refuses(started, 41).await);
        let owed = world.owed(41).await;
        let expected = if entrance == Entrance::Merge { 2 } else { 0 };
        assert_eq!(owed.len(), expected, "{entrance:?}");
        assert!(owed.iter().all(|one| one.at == at(10)));
        world.kept(owed).await;
        // At the same time, whoever wants none gets none.
        let same = [said(stopped, false, 10), said(started, true, 10)];
        assert_eq!(world.take_said(entrance, &same).await, 1);
        assert!(world.refuses(stopped, 42).await && world.refuses(started, 42).await);
        // The later one counts.
        let later = [said(stopped, false, 11), said(started, false, 11)];
        assert_eq!(world.take_said(entrance, &later).await, 2);
        assert!(!world.refuses(stopped, 43).await && !world.refuses(started, 43).await);
        let of_others = [said(n + 2, true, 11), said(n + 3, false, 11)];
        assert_eq!(world.take_said(entrance, &of_others).await, 1);
        assert!(world.refuses(n + 2, 44).await && !world.refuses(n + 3, 44).await);
        let rest = world.owed(80).await;
        world.kept(rest).await;
    }
    world.check().await;
}

async fn r_60_an_operator_s_word_counts_whatever_the_clock_says(new: NewWorld) {
    let world = new();
    world.writes("STOP", 1, 100).await;
    let now = Entrance::Now;
    assert_eq!(world.take_said(now, &[said(1, true, 200)]).await, 0);
    assert_eq!(world.list().await[0].2, at(200), "it is said again");
    assert_eq!(world.take_said(now, &[said(1, false, 50)]).await, 1);
    assert!(!world.refuses(1, 101).await);
    assert_eq!(world.take_said(now, &[said(1, true, 20)]).await, 1);
    assert_eq!(
        world.list().await[0].2,
        at(200).plus(Duration::from_millis(2))
    );
    // So does a person's.
    world.writes("START", 1, 30).await;
    let before = [said(1, true, 200)];
    assert_eq!(world.take_said(Entrance::Merge, &before).await, 0);
    assert!(!world.refuses(1, 102).await);
    world.check().await;
}

async fn r_60_what_was_said_is_owed_to_datastore_until_it_has_it(new: NewWorld) {
    let world = new();
    world.writes("STOP", 1, 1).await;
    world.writes("START", 2, 1).await;
    let owed = world.owed(2).await;
    let mut wants: Vec<_> = owed
        .iter()
        .map(|one| (one.name.text(), one.is_out))
        .collect();
    wants.sort();
    assert_eq!(
        wants,
        [(phone(1).digits(), true), (phone(2).digits(), false)]
    );
    assert_eq!(world.owed(31).await, [], "hidden for 30 s");
    assert_eq!(world.owed(32).await.len(), 2, "nobody wrote it");
    world.writes("START", 1, 33).await;
    world.kept(owed).await;
    let left = world.owed(34).await;
    let left: Vec<_> = left.iter().map(|one| (one.is_out, one.at)).collect();
    assert_eq!(left, [(false, at(33))], "it was said meanwhile");
    // What Datastore has is owed no more.
    let merged = [said(1, false, 40)];
    world.take_said(Entrance::Merge, &merged).await;
    assert_eq!(world.owed(99).await, []);
    world.check().await;
}

async fn r_60_a_user_id_that_became_a_number_is_of_no_use_any_more(new: NewWorld) {
    let world = new();
    let user = OptOutName::parse("US.77").unwrap();
    let of_user = OptOutEntry {
        name: user.clone(),
        ..said(1, true, 1)
    };
    world.take_said(Entrance::Import, &[of_user]).await;
    world.sent("m1", 1, "P1", 2).await;
    let mut event = event("P1", Status::Delivered, None);
    if let (Incoming::Status(event), OptOutName::User(user)) = (&mut event, user) {
        event.user = Some(user);
    }
    world.events(vec![event], 3).await;
    assert!(world.refuses(1, 4).await);
    assert_eq!(world.list().await.len(), 1);
    let owed = world.owed(5).await;
    let of_user = owed.iter().find(|one| one.name.text() == "US.77").unwrap();
    assert!(!of_user.is_out, "else it would count again after a START");
    let of_number = owed.iter().find(|one| one.name.text() != "US.77").unwrap();
    assert_eq!((of_number.is_out, of_number.at), (true, at(1)));
    world.check().await;
}

async fn r_60_what_was_said_elsewhere_counts_for_all_that_a_person_is_called(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    // A status names another number and a user id of the same person.
    let mut delivered = event("P1", Status::Delivered, Some(7));
    if let Incoming::Status(event) = &mut delivered {
        event.user = crate::domain::UserId::parse("US.77");
    }
    world.events(vec![delivered], 1).await;
    let rest = world.owed(2).await;
    world.kept(rest).await;
    let under = |name: &str, is_out, seconds| OptOutEntry {
        name: OptOutName::parse(name).unwrap(),
        ..said(1, is_out, seconds)
    };
    for (n, name) in [(10, phone(7).digits()), (20, "US.77".to_owned())] {
        let stop = [under(&name, true, n)];
        assert_eq!(world.take_said(Entrance::Merge, &stop).await, 1, "{name}");
        assert!(world.refuses(1, n + 1).await && world.refuses(7, n + 1).await);
        // Datastore has it under one name only.
        let owed = world.owed(n + 1).await;
        let names: Vec<String> = owed.iter().map(|one| one.name.text()).collect();
        assert!(
            names.contains(&phone(1).digits()) && !names.contains(&name),
            "{names:?}"
        );
        world.kept(owed).await;
        let start = [under(&name, false, n + 2)];
        assert_eq!(world.take_said(Entrance::Import, &start).await, 1);
        assert!(!world.refuses(1, n + 3).await && !world.refuses(7, n + 3).await);
        let owed = world.owed(n + 4).await;
        world.kept(owed).await;
    }
    world.check().await;
}

async fn r_60_a_stop_that_is_written_again_is_later_than_a_start_before(new: NewWorld) {
    let world = new();
    world.writes("STOP", 1, 1).await;
    world.writes("STOP", 1, 100).await;
    let lifted_elsewhere = [said(1, false, 50)];
    assert_eq!(world.take_said(Entrance::Merge, &lifted_elsewhere).await, 0);
    assert!(world.refuses(1, 101).await);
    let owed = world.owed(102).await;
    assert_eq!(owed[0].at, at(100));
    world.check().await;
}
