//! Who does not want promotions, and gets everything else (cases R-21).

use super::*;

stories! {
    r_21_who_stops_promotions_gets_everything_else,
    r_21_stop_is_wider_and_start_lifts_it_alone,
    r_21_the_button_counts_for_all_numbers_of_a_person_on_one_channel,
    r_21_a_status_that_says_so_stops_promotions,
    r_21_so_does_one_that_came_before_the_receipt,
}

const STOPPED: &str = "131050 User has stopped marketing messages";

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

fn stopped(id: &str) -> Incoming {
    Incoming::Status(StatusEvent {
        provider_id: provider_id(id),
        status: Status::Failed,
        at: None,
        recipient: None,
        error: Some(STOPPED.into()),
    })
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
    let folded = world.events(vec![stopped("P1")], 1).await;
    let counts = (folded.opted_out, folded.opted_out_of_marketing);
    assert_eq!((counts, folded.emitted), ((0, 1), 1));
    let told = world.relayed(&lane("a", Lane::Status), 1).await;
    let Callback::Status(entry) = &told[0] else {
        panic!("{told:?}")
    };
    let error = entry.error.clone().unwrap();
    assert_eq!((entry.status, error.code), (Status::Failed, Code::OptedOut));
    assert!(error.reason.contains(STOPPED), "{error}");
    assert_eq!(world.promotion("m2", 1, 2).await, REFUSED);
    assert_eq!(world.accept("m2", 1, 2).await, Accepted::Stored);
    // A repeat of the webhook says nothing new.
    let folded = world.events(vec![stopped("P1")], 4).await;
    assert_eq!((folded.opted_out_of_marketing, folded.superseded), (0, 1));
    // Nor does another failure stop anything.
    world.event("P0", Status::Failed, Some(2), 7).await;
    assert_eq!(world.promotion("m4", 2, 8).await, Accepted::Stored);
    world.check().await;
}

async fn r_21_so_does_one_that_came_before_the_receipt(new: NewWorld) {
    let world = new();
    let claimed = world.attempt("m1", 1, 0).await;
    let folded = world.events(vec![stopped("P1")], 1).await;
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
