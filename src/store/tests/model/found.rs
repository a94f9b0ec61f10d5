//! Stories that were found, each as short as it can be.

use super::*;

fn accept(n: u64) -> Op {
    Op::Accept { n, lost: false }
}

/// The first process claims one message.
fn claim() -> Op {
    claim_by(0, 1)
}

fn claim_by(by: usize, most: usize) -> Op {
    let lost = false;
    Op::Claim { by, most, lost }
}

/// The end of the attempt that was begun last.
fn ends(end: End) -> Op {
    of_older(0, end)
}

/// The end of an attempt before that one.
fn of_older(claim: usize, end: End) -> Op {
    let lost = false;
    Op::End { claim, end, lost }
}

/// A status of an attempt, counted from the newest, with the number of the person.
fn status(claim: usize, status: Status) -> Op {
    webhook(Of::Claim(claim), status, true)
}

fn webhook(of: Of, status: Status, named: bool) -> Op {
    Op::Events {
        channel: 0,
        events: vec![Event {
            of,
            said: (status, false),
            named,
        }],
        lost: false,
    }
}

fn sweep(resend: bool) -> Op {
    sweep_by(0, resend)
}

fn sweep_by(by: usize, resend: bool) -> Op {
    let (ages, lost) = (false, false);
    Op::Sweep {
        by,
        resend,
        ages,
        lost,
    }
}

/// Long enough for a hold to end.
fn pass() -> Op {
    Op::Pass { seconds: HOLD_OVER }
}

/// The first attempt at the message: nobody knows what became of it, and it is sent once more.
fn resent() -> Vec<Op> {
    vec![accept(0), claim(), ends(End::Lose), pass(), sweep(true)]
}

/// The same, where the first process still lives, and a second has claimed it then.
fn resent_by_another() -> Vec<Op> {
    let lease_ends = Op::LeaseEnds { process: 0 };
    let noticed = vec![sweep_by(1, false), pass(), sweep_by(1, true)];
    let mut ops = vec![accept(0), claim(), lease_ends];
    ops.extend(noticed);
    ops.push(claim_by(1, 1));
    ops
}

fn then(mut ops: Vec<Op>, more: impl IntoIterator<Item = Op>) -> Vec<Op> {
    ops.extend(more);
    ops
}

/// Its statuses are not those of another message to the person, whose outcome is unknown too: that
/// one was taken for sent, and never was.
fn a_message_that_was_sent_twice_keeps_its_statuses_to_itself() -> Vec<Op> {
    let again = [claim(), ends(End::Receipt)];
    let other = [accept(4), claim(), ends(End::Lose)];
    let late = status(2, Status::Delivered);
    let all = again.into_iter().chain(other).chain([late]);
    then(resent(), all)
}

fn what_is_refused_the_second_time_may_have_been_taken_the_first_time() -> Vec<Op> {
    let again = [claim(), ends(End::Fail), status(1, Status::Delivered)];
    then(resent(), again)
}

fn a_status_in_time_makes_the_second_sending_needless() -> Vec<Op> {
    then(resent(), [status(0, Status::Sent), claim()])
}

/// First without the person's number, which tells nothing about whose it is.
/// Of two messages that were in doubt one is purged, and a process starts.
fn a_start_infers_only_what_was_under_way() -> Vec<Op> {
    let end = Told::Taken;
    vec![
        accept(0),
        accept(4),
        claim_by(0, 2),
        Op::Kill { by: 0 },
        Op::Pass { seconds: 700 },
        sweep(false),
        status(0, Status::Sent),
        take(),
        Op::Relayed {
            take: 0,
            end,
            lost: false,
        },
        Op::Purge {
            by: 0,
            age: 0,
            events: false,
        },
    ]
}

/// The clock is set back between two statuses of an id.
fn an_id_is_as_old_as_what_came_first_of_it() -> Vec<Op> {
    let of = |of| Event {
        of,
        said: (Status::Sent, false),
        named: true,
    };
    vec![
        accept(4),
        claim(),
        Op::Events {
            channel: 0,
            events: vec![of(Of::Nobody(0, 0)), of(Of::Claim(0))],
            lost: false,
        },
        Op::Pass { seconds: -400 },
        ends(End::Lose),
        webhook(Of::Claim(0), Status::Sent, false),
    ]
}

fn an_id_seen_before_the_attempt_is_another_messages_whoever_it_named() -> Vec<Op> {
    let of = Of::Nobody(0, 0);
    vec![
        webhook(of, Status::Sent, false),
        accept(0),
        claim(),
        ends(End::Lose),
        webhook(of, Status::Read, true),
    ]
}

fn take() -> Op {
    Op::CallbackLease {
        by: 0,
        channel: 0,
        lane: Destination::Status,
        most: 9,
        lost: false,
    }
}

fn relayed(take: usize, end: Told) -> Op {
    let lost = false;
    Op::Relayed { take, end, lost }
}

fn the_end_of_an_older_take_is_not_that_of_a_newer_one() -> Vec<Op> {
    let receipt = ends(End::Receipt);
    vec![
        accept(0),
        claim(),
        receipt,
        status(0, Status::Sent),
        take(),
        relayed(0, Told::Later),
        relayed(0, Told::Later),
        pass(),
        take(),
        relayed(1, Told::Later),
        take(),
    ]
}

fn what_is_told_again_ends_nothing_else_of_its_claim() -> Vec<Op> {
    vec![
        accept(0),
        accept(2),
        claim_by(0, 2),
        ends(End::Receipt),
        ends(End::Receipt),
        Op::Renew { by: 0 },
    ]
}

macro_rules! found {
    ($rig:path: $($story:ident),+ $(,)?) => {
        $(#[test]
        fn $story() {
            tell($rig, &super::$story());
        })+
    };
}

mod embedded {
    use super::*;

    found! {
        rig::embedded:
        an_id_is_as_old_as_what_came_first_of_it,
        a_start_infers_only_what_was_under_way,
        a_message_that_was_sent_twice_keeps_its_statuses_to_itself,
        what_is_refused_the_second_time_may_have_been_taken_the_first_time,
        a_status_in_time_makes_the_second_sending_needless,
        an_id_seen_before_the_attempt_is_another_messages_whoever_it_named,
        the_end_of_an_older_take_is_not_that_of_a_newer_one,
        what_is_told_again_ends_nothing_else_of_its_claim,
    }
}

on_redis! {
    /// What only happens where a process can lose its lease and live.
    fn a_late_receipt_counts_after_the_second_attempt_was_refused() -> Vec<Op> {
        let ends = [ends(End::Fail), of_older(1, End::Receipt)];
        then(resent_by_another(), ends)
    }

    /// A receipt of the first attempt, and then the end of the second.
    fn late_receipt_and(end: End) -> Vec<Op> {
        let late = [of_older(1, End::Receipt), status(1, Status::Delivered)];
        then(then(resent_by_another(), late), [ends(end)])
    }

    fn with_a_late_receipt_nothing_goes_back_to_the_queue() -> Vec<Op> {
        late_receipt_and(End::Retry)
    }

    fn with_a_late_receipt_nothing_fails() -> Vec<Op> {
        late_receipt_and(End::Fail)
    }

    fn with_a_late_receipt_nothing_is_unknown() -> Vec<Op> {
        late_receipt_and(End::Lose)
    }

    fn with_a_late_receipt_the_end_of_the_second_process_loses_nothing() -> Vec<Op> {
        let late = of_older(1, End::Receipt);
        let gone = [late, Op::LeaseEnds { process: 0 }, sweep_by(0, false)];
        then(resent_by_another(), gone)
    }

    fn what_goes_back_stands_in_the_way_of_no_evidence() -> Vec<Op> {
        let unheard = Op::Claim { by: 0, most: 1, lost: true };
        vec![
            accept(0),
            accept(4),
            claim(),
            ends(End::Lose),
            unheard,
            status(0, Status::Sent),
            Op::Renew { by: 0 },
        ]
    }

    mod redis {
        use super::*;

        found! {
            rig::redis:
            an_id_is_as_old_as_what_came_first_of_it,
            a_message_that_was_sent_twice_keeps_its_statuses_to_itself,
            what_is_refused_the_second_time_may_have_been_taken_the_first_time,
            a_status_in_time_makes_the_second_sending_needless,
            an_id_seen_before_the_attempt_is_another_messages_whoever_it_named,
            the_end_of_an_older_take_is_not_that_of_a_newer_one,
            what_is_told_again_ends_nothing_else_of_its_claim,
            a_late_receipt_counts_after_the_second_attempt_was_refused,
            with_a_late_receipt_nothing_goes_back_to_the_queue,
            with_a_late_receipt_nothing_fails,
            with_a_late_receipt_nothing_is_unknown,
            with_a_late_receipt_the_end_of_the_second_process_loses_nothing,
            what_goes_back_stands_in_the_way_of_no_evidence,
        }
    }
}
