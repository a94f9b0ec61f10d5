//! The rights, one by one.

use super::*;
use State::{Accepted, Attempting, Failed, Queued, Unknown};
use Step::{Claim, Evidence, Fail, Lose, Receipt, Resend, Retry};
use Writer::{Former, Holder, Record, Successor, Time, Worker};

/// Every life there is.
fn lives() -> impl Iterator<Item = Life> {
    State::ALL.into_iter().flat_map(|state| {
        (0..8).map(move |bits| Life {
            state,
            resent: bits & 1 > 0,
            lost: bits & 2 > 0,
            taken: bits & 4 > 0,
        })
    })
}

fn in_state(state: State) -> Life {
    Life { state, ..Life::NEW }
}

#[test]
fn the_design_gives_exactly_these_rights() {
    let designed = [
        (Worker, Queued, Claim, Attempting),
        (Worker, Queued, Fail, Failed),
        (Holder, Queued, Receipt, Accepted),
        (Holder, Attempting, Receipt, Accepted),
        (Holder, Attempting, Retry, Queued),
        (Holder, Attempting, Fail, Failed),
        (Holder, Attempting, Lose, Unknown),
        (Holder, Unknown, Receipt, Accepted),
        (Holder, Unknown, Retry, Queued),
        (Holder, Unknown, Fail, Failed),
        (Holder, Failed, Receipt, Accepted),
        (Former, Queued, Receipt, Accepted),
        (Former, Attempting, Receipt, Attempting),
        (Former, Unknown, Receipt, Accepted),
        (Former, Failed, Receipt, Accepted),
        (Successor, Attempting, Lose, Unknown),
        (Writer::Status, Queued, Evidence, Accepted),
        (Writer::Status, Unknown, Evidence, Accepted),
        (Writer::Status, Failed, Evidence, Accepted),
        (Record, Unknown, Evidence, Accepted),
        (Record, Failed, Evidence, Accepted),
        (Time, Queued, Fail, Failed),
        (Time, Unknown, Fail, Failed),
        (Time, Unknown, Resend, Queued),
    ];
    let mut found = Vec::new();
    for writer in Writer::ALL {
        for state in State::ALL {
            for step in Step::ALL {
                let after = writer.after(state, step);
                found.extend(after.map(|next| (writer, state, step, next)));
            }
        }
    }
    assert_eq!(found.len(), designed.len());
    for one in designed {
        assert!(found.contains(&one), "{one:?}");
    }
}

#[test]
fn no_life_does_what_its_writer_may_not() {
    let mut allowed = 0;
    for life in lives() {
        for writer in Writer::ALL {
            for step in Step::ALL {
                match (life.after(writer, step), writer.after(life.state, step)) {
                    (Ok(_), None) => panic!("{life:?} {writer:?} {step}"),
                    (Ok(next), Some(state)) => {
                        allowed += 1;
                        let known = life.taken && life.state == Attempting;
                        assert!(next.state == state || (known && next.state == Accepted));
                        assert!(next.resent >= life.resent, "it is known for good");
                    }
                    (Err(forbidden), _) => assert_eq!(forbidden.life, life),
                }
            }
        }
    }
    assert!(allowed > 100, "{allowed}");
}

#[test]
fn a_message_is_resent_once() {
    let unknown = in_state(Unknown);
    let again = unknown.after(Time, Resend).unwrap();
    assert!((again.resent, again.lost) == (true, true));
    let twice = Life {
        state: Unknown,
        ..again
    };
    assert!(twice.after(Time, Resend).is_err());
    assert!(twice.after(Time, Fail).is_ok());
}

#[test]
fn a_status_proves_only_what_is_in_doubt() {
    let refused = in_state(Attempting).after(Holder, Fail).unwrap();
    assert!(!refused.in_doubt());
    assert!(refused.after(Writer::Status, Evidence).is_err());
    assert!(refused.after(Record, Evidence).is_ok(), "it names it");
    let given_up = in_state(Unknown).after(Time, Fail).unwrap();
    assert!(given_up.after(Writer::Status, Evidence).is_ok());
    // The first attempt of one that was sent twice stays in doubt, whatever the second brought.
    let again = in_state(Unknown).after(Time, Resend).unwrap();
    let sending = again.after(Worker, Claim).unwrap();
    for end in [Receipt, Fail, Lose, Retry] {
        assert!(sending.after(Holder, end).unwrap().in_doubt(), "{end}");
    }
}

#[test]
fn what_is_proved_is_the_one_thing_in_doubt() {
    let (unknown, sending) = (in_state(Unknown), in_state(Attempting));
    let given_up = unknown.after(Time, Fail).unwrap();
    let again = unknown.after(Time, Resend).unwrap();
    let (quiet, taken) = (in_state(Queued), in_state(Accepted));
    let cases: [(&[Life], Option<usize>); 10] = [
        (&[], None),
        (&[unknown], Some(0)),
        (&[quiet, taken, given_up], Some(2)),
        (&[sending], None),
        (&[unknown, sending], None),
        (&[unknown, given_up], None),
        (&[again], Some(0)),
        (
            &[Life {
                state: Accepted,
                ..again
            }],
            None,
        ),
        (&[unknown, again], None),
        (&[unknown, quiet, taken], Some(0)),
    ];
    for (lives, expected) in cases {
        assert_eq!(Life::provable(lives), expected, "{lives:?}");
    }
}

#[test]
fn a_receipt_of_an_earlier_attempt_outlives_the_one_under_way() {
    let sending = in_state(Unknown).after(Time, Resend).unwrap();
    let sending = sending.after(Worker, Claim).unwrap();
    let known = sending.after(Former, Receipt).unwrap();
    assert_eq!((known.state, known.taken), (Attempting, true));
    for (writer, end) in [
        (Holder, Receipt),
        (Holder, Retry),
        (Holder, Fail),
        (Holder, Lose),
        (Successor, Lose),
    ] {
        assert_eq!(known.after(writer, end).unwrap().state, Accepted, "{end}");
    }
}

#[test]
fn a_refusal_tells_who_asked_for_what() {
    let forbidden = in_state(Accepted).after(Holder, Fail).unwrap_err();
    let text = forbidden.to_string();
    assert_eq!(text, "a message that is accepted cannot fail by holder");
}
