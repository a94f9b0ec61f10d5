//! Who does not want promotions, and gets everything else (cases R-21).

use super::records::adopted;
use super::*;

stories! {
    r_21_who_stops_promotions_gets_everything_else,
    r_21_stop_is_wider_and_start_lifts_it_alone,
    r_21_the_button_counts_for_all_numbers_of_a_person_on_one_channel,
    r_21_a_status_that_says_so_stops_promotions,
    r_21_so_does_one_that_came_before_the_receipt,
    r_21_so_does_one_that_is_told_to_nobody,
    r_21_so_does_the_second_failure_of_two_that_came_before_the_receipt,
    r_21_so_does_one_of_a_message_that_was_failed_as_unknown,
}

impl World {
    async fn promotion(&self, id: &str, to: u64, seconds: i64) -> Accepted {
        self.promotion_on("a", &message(id, to), seconds).await
    }

    async fn promotion_on(&self, name: &str, message: &Message, seconds: i64) -> Accepted {
        let arrival = Arrival {
            message,
            is_marketing: true,
        };
        let (channel, account) = (channel(name), account());
        let accepted = self.store.accept(&channel, &account, arrival, at(seconds));
        accepted.await.unwrap()
    }

    async fn says(&self, reply: Reply, seconds: i64) -> Folded {
        self.events(vec![Incoming::Reply(reply)], seconds).await
    }
}

const REFUSED: Accepted = Accepted::OptedOut(OptOut::Marketing);

async fn r_21_who_stops_promotions_gets_everything_else(new: NewWorld) {
    let world = new();
    world.sent("m0", 1, "P0", 0).await;
    world.promotion("m1", 1, 0).await;
    world.promotion("m2", 2, 0).await;
    let folded = world.says(reply(1, "Stop promotions"), 1).await;
    let counts = (folded.opted_out, folded.opted_out_of_marketing);
    assert_eq!((counts, folded.replies), ((0, 1), 1));
    let history = world.record("m0").await.history;
    let told = &history.last().unwrap().detail;
    assert!(told.ends_with("who opts out (marketing)"), "{told}");
    assert_eq!(world.promotion("m3", 1, 2).await, REFUSED);
    assert_eq!(
        world.promotion("m1", 1, 2).await,
        Accepted::Repeat { same: true },
        "what was accepted before stays accepted"
    );
    assert_eq!(world.accept("m3", 1, 2).await, Accepted::Stored);
    assert_eq!(world.promotion("m4", 2, 2).await, Accepted::Stored);
    // Whether what waits is a promotion, only its template tells.
    let claims = world.claims(&["a"], 9, 3).await;
    assert!(claims.failed.is_empty());
    let mut taken: Vec<_> = claims
        .taken
        .iter()
        .map(|one| (one.message.msg_id.as_str(), one.no_marketing))
        .collect();
    taken.sort_unstable();
    let expected = [("m1", true), ("m2", false), ("m3", true), ("m4", false)];
    assert_eq!(taken, expected);
    world.check().await;
}

async fn r_21_stop_is_wider_and_start_lifts_it_alone(new: NewWorld) {
    let world = new();
    let words = [
        ("m1", "stop promotions", "STOP"),
        ("m2", "STOP", "stop promotions"),
    ];
    // The same words again mean something only after a minute.
    for ((id, one, other), now) in words.into_iter().zip([0, 100]) {
        world.says(reply(1, one), now + 1).await;
        world.says(reply(1, other), now + 2).await;
        let all = Accepted::OptedOut(OptOut::All);
        assert_eq!(world.promotion(id, 1, now + 3).await, all);
        assert_eq!(world.accept(id, 1, now + 3).await, all);
        assert_eq!(world.says(reply(1, "START"), now + 4).await.opted_in, 1);
        assert_eq!(world.promotion(id, 1, now + 5).await, REFUSED);
        assert_eq!(world.accept(id, 1, now + 5).await, Accepted::Stored);
        let claimed = world.claim(now + 5).await;
        assert!(claimed[0].no_marketing);
        world.settle(&claimed[0], receipt(id), now + 5).await;
    }
    world.check().await;
}

async fn r_21_the_button_counts_for_all_numbers_of_a_person_on_one_channel(new: NewWorld) {
    let world = new();
    let person = |digits: u64| Message {
        to: Phone::from_number(digits).unwrap(),
        ..message("m1", 1)
    };
    let (short, long) = (person(525_512_345_678), person(5_215_512_345_678));
    let says = |text: &str| Reply {
        from: Some(long.to),
        ..reply(1, text)
    };
    world.says(says("Stop promotions"), 1).await;
    for message in [&short, &long] {
        assert_eq!(world.promotion_on("a", message, 2).await, REFUSED);
    }
    assert_eq!(world.promotion_on("b", &long, 2).await, Accepted::Stored);
    world.says(says("START"), 3).await;
    assert_eq!(world.promotion_on("a", &short, 4).await, REFUSED);
    world.check().await;
}

async fn r_21_a_status_that_says_so_stops_promotions(new: NewWorld) {
    let world = new();
    world.sent("m1", 1, "P1", 0).await;
    world.sent("m0", 2, "P0", 0).await;
    let folded = world.events(vec![stopped("P1", None)], 1).await;
    let counts = (folded.opted_out, folded.opted_out_of_marketing);
    assert_eq!((counts, folded.emitted), ((0, 1), 1));
    let told = world.relayed(&lane("a", Destination::Status), 1).await;
    let Callback::Status(entry) = &told[0] else {
        panic!("{told:?}")
    };
    let error = entry.error.clone().unwrap();
    assert_eq!(
        (entry.status, error.kind),
        (Status::Failed, RefusalKind::OptedOut)
    );
    assert!(error.reason.contains(STOPPED), "{error:?}");
    assert_eq!(world.promotion("m2", 1, 2).await, REFUSED);
    assert_eq!(world.accept("m2", 1, 2).await, Accepted::Stored);
    // A repeat of the webhook says nothing new.
    let folded = world.events(vec![stopped("P1", None)], 4).await;
    assert_eq!((folded.opted_out_of_marketing, folded.superseded), (0, 1));
    // Nor does another failure stop anything.
    world.event("P0", Status::Failed, Some(2), 7).await;
    assert_eq!(world.promotion("m4", 2, 8).await, Accepted::Stored);
    world.check().await;
}

async fn r_21_so_does_one_that_came_before_the_receipt(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let folded = world.events(vec![stopped("P1", None)], 1).await;
    assert_eq!((folded.unmatched, folded.opted_out_of_marketing), (1, 0));
    assert_eq!(
        world.promotion("m2", 1, 2).await,
        Accepted::Stored,
        "whose it is, nobody knows"
    );
    let folded = world.settle(&claimed, receipt("P1"), 3).await;
    assert_eq!((folded.emitted, folded.opted_out_of_marketing), (1, 1));
    assert_eq!(world.promotion("m3", 1, 4).await, REFUSED);
    world.check().await;
}

/// How many opted out of promotions, and how many entries MoEngage is told.
fn counts(folded: &Folded) -> (u32, u32) {
    (folded.opted_out_of_marketing, folded.emitted)
}

async fn r_21_so_does_one_that_is_told_to_nobody(new: NewWorld) {
    let world = new();
    for (to, before) in [(1, Status::Failed), (2, Status::Delivered)] {
        let id = format!("P{to}");
        world.sent(&format!("m{to}"), to, &id, 0).await;
        world.event(&id, before, None, 1).await;
        let folded = world.events(vec![stopped(&id, None)], 2).await;
        assert_eq!((counts(&folded), folded.superseded), ((1, 0), 1));
        // The record says why promotions are refused from now on.
        let history = world.record(&format!("m{to}")).await.history;
        let told = &history.last().unwrap().detail;
        assert!(told.contains(STOPPED), "{told}");
        assert_eq!(world.promotion("p", to, 3).await, REFUSED);
    }
    // Nobody opts out twice.
    world.sent("m3", 1, "P3", 4).await;
    let folded = world.events(vec![stopped("P3", None)], 5).await;
    assert_eq!(counts(&folded), (0, 1));
    world.check().await;
}

async fn r_21_so_does_the_second_failure_of_two_that_came_before_the_receipt(new: NewWorld) {
    let world = new();
    for (to, named) in [(1, None), (2, Some(2))] {
        let id = format!("P{to}");
        let claimed = world.attempt(&format!("m{to}"), to, 0).await;
        let failed = event(&id, Status::Failed, named);
        let (first, again) = (stopped(&id, named), stopped(&id, named));
        let folded = world.events(vec![failed.clone(), first], 1).await;
        assert_eq!((folded.unmatched, folded.superseded), (2, 0));
        let folded = world.events(vec![again, failed], 2).await;
        assert_eq!((folded.unmatched, folded.superseded), (0, 2), "known");
        let folded = world.settle(&claimed, receipt(&id), 3).await;
        assert_eq!(counts(&folded), (1, 1));
        assert_eq!(world.promotion("p", to, 4).await, REFUSED);
    }
    world.check().await;
}

async fn r_21_so_does_one_of_a_message_that_was_failed_as_unknown(new: NewWorld) {
    let world = new();
    for (id, to) in [("m1", 1), ("m2", 2)] {
        world.lost(id, to, 0, 600).await;
    }
    assert_eq!(world.sweep(false, 600).await.failed.len(), 2);
    let proof = stopped("P1", Some(1));
    let folded = world.events(vec![proof, stopped("P2", None)], 601).await;
    assert_eq!((folded.inferred, counts(&folded)), (1, (1, 0)));
    let folded = world.adopt("P2", Some(adopted("m2", None)), 602).await;
    assert_eq!(counts(&folded), (1, 0));
    for to in [1, 2] {
        assert_eq!(world.promotion("p", to, 603).await, REFUSED);
    }
    assert_eq!(world.statuses(604).await, ["m1 failed", "m2 failed"]);
    world.check().await;
}
