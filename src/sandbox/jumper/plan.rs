//! Plans the events of one accepted message: which statuses, in which shapes, when. Pure: knobs and dice in,
//! a list of steps out; `courier` carries it out. Never looks at a clock.

use fastrand::Rng;

use super::{
    modes::{EventMode, Shape},
    shape::{FAILURES, Failure, MISMATCH, Status},
    strange::Odd,
};
use crate::sandbox::{
    dice::{around, chance},
    knobs::Knobs,
};

/// The events to come, in the order of posting.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    /// Whether the first step is posted before the send is answered.
    pub(super) before_answer: bool,
    pub(super) steps: Vec<Step>,
}

/// One webhook post.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Pause after the previous step, milliseconds.
    pub(super) delay_ms: u64,
    pub(super) content: Content,
}

/// What a step says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Status(Shape, Vec<Planned>),
    Odd(Odd),
}

/// A status and when it happened, in milliseconds after acceptance: its timestamp, which differs from the
/// time of posting when events come out of order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Planned {
    pub(super) status: Status,
    pub(super) offset_ms: u64,
    pub(super) failure: Option<Failure>,
}

/// Plans a message; `mismatch` tells that its parameters do not fit the template.
pub(super) fn plan(knobs: &Knobs, rng: &mut Rng, mismatch: bool) -> Plan {
    if knobs.event_mode == EventMode::None {
        return Plan::default();
    }
    let before_answer = chance(rng, knobs.event_first);
    let failure = *rng.choice(&FAILURES).unwrap_or(&MISMATCH);
    let failure = if mismatch { MISMATCH } else { failure };
    let mut offset_ms = 0;
    let mut planned: Vec<_> = statuses(knobs, rng, mismatch)
        .into_iter()
        .map(|status| {
            offset_ms += around(rng, knobs.event_delay_ms, knobs.event_jitter_ms);
            let failure = (status == Status::Failed).then_some(failure);
            Planned {
                status,
                offset_ms,
                failure,
            }
        })
        .collect();
    if chance(rng, knobs.share_out_of_order) {
        planned.reverse();
    }
    let repeat = chance(rng, knobs.share_duplicate);
    let mut contents = group(knobs, rng, &planned);
    if repeat && !contents.is_empty() {
        duplicate(rng, &mut contents);
    }
    if chance(rng, knobs.share_odd) {
        contents.push(Content::Odd(
            *rng.choice(&Odd::ALL).unwrap_or(&Odd::MissingData),
        ));
    }
    let steps = contents.into_iter().enumerate().map(|(order, content)| {
        let delay_ms = around(rng, knobs.event_delay_ms, knobs.event_jitter_ms);
        let delay_ms = if order == 0 && before_answer {
            0
        } else {
            delay_ms
        };
        Step { delay_ms, content }
    });
    Plan {
        steps: steps.collect(),
        before_answer,
    }
}

/// The statuses in their natural order.
fn statuses(knobs: &Knobs, rng: &mut Rng, mismatch: bool) -> Vec<Status> {
    use Status::{Delivered, Failed, Read, Sent};
    // Every throw happens, so that turning one knob does not change what the others decide.
    let never = chance(rng, knobs.share_never);
    let failed = chance(rng, knobs.share_failed);
    let delivered = chance(rng, knobs.share_delivered);
    let read = chance(rng, knobs.share_read);
    let skip = chance(rng, knobs.share_skip_delivered);
    let late_failed = chance(rng, knobs.share_late_failed);
    match () {
        () if never => vec![],
        () if failed || mismatch => vec![Failed],
        () if !delivered => vec![Sent],
        () if late_failed => vec![Sent, Delivered, Failed],
        () if read && skip => vec![Sent, Read],
        () if read => vec![Sent, Delivered, Read],
        () => vec![Sent, Delivered],
    }
}

/// Gives each status a shape; a batch takes the next status along.
fn group(knobs: &Knobs, rng: &mut Rng, planned: &[Planned]) -> Vec<Content> {
    let mut contents = Vec::new();
    let mut rest = planned;
    while let Some(first) = rest.first() {
        let shape = rng
            .choice(&knobs.event_shapes)
            .copied()
            .unwrap_or(Shape::Gen3);
        let shape = shape.fit(first.status);
        let take = if shape == Shape::Gen3Batch {
            rest.len().min(2)
        } else {
            1
        };
        let (now, later) = rest.split_at(take);
        contents.push(Content::Status(shape, now.to_vec()));
        rest = later;
    }
    contents
}

/// Repeats one event: byte-equal, or with a timestamp two seconds later.
fn duplicate(rng: &mut Rng, contents: &mut Vec<Content>) {
    let at = rng.usize(..contents.len());
    let mut copy = contents[at].clone();
    let later = rng.bool();
    if let (true, Content::Status(_, planned)) = (later, &mut copy) {
        for one in planned {
            one.offset_ms += 2_000;
        }
    }
    contents.insert(at + 1, copy);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert_eq, proptest};

    fn words(plan: &Plan) -> Vec<&'static str> {
        let of = |step: &Step| match &step.content {
            Content::Status(_, planned) => planned.iter().map(|one| one.status.word()).collect(),
            Content::Odd(odd) => vec![odd.name()],
        };
        plan.steps.iter().flat_map(of).collect()
    }

    fn planned(knobs: &Knobs, mismatch: bool) -> Vec<&'static str> {
        words(&plan(knobs, &mut Rng::with_seed(11), mismatch))
    }

    #[test]
    fn each_knob_does_what_it_says() {
        let base = Knobs {
            share_read: 1.0,
            event_shapes: vec![Shape::Gen3],
            ..Knobs::default()
        };
        let with = |change: fn(&mut Knobs)| {
            let mut knobs = base.clone();
            change(&mut knobs);
            planned(&knobs, false)
        };
        assert_eq!(with(|_| ()), ["sent", "delivered", "read"]);
        assert_eq!(with(|k| k.share_delivered = 0.0), ["sent"]);
        assert_eq!(with(|k| k.share_read = 0.0), ["sent", "delivered"]);
        assert_eq!(with(|k| k.share_skip_delivered = 1.0), ["sent", "read"]);
        assert_eq!(
            with(|k| k.share_out_of_order = 1.0),
            ["read", "delivered", "sent"]
        );
        assert_eq!(with(|k| k.share_failed = 1.0), ["failed"]);
        assert_eq!(
            with(|k| k.share_late_failed = 1.0),
            ["sent", "delivered", "failed"]
        );
        assert_eq!(with(|k| k.share_never = 1.0), Vec::<&str>::new());
        assert_eq!(with(|k| k.event_mode = EventMode::None), Vec::<&str>::new());
        assert_eq!(with(|k| k.share_duplicate = 1.0).len(), 4);
        assert!(with(|k| k.share_odd = 1.0)[3].starts_with("odd:"));
        assert_eq!(planned(&base, true), ["failed"]);
    }

    #[test]
    fn a_mismatch_fails_with_its_own_reason() {
        let plan = plan(&Knobs::default(), &mut Rng::with_seed(1), true);
        let Content::Status(_, planned) = &plan.steps[0].content else {
            panic!("{plan:?}")
        };
        assert_eq!(planned[0].failure, Some(MISMATCH));
    }

    #[test]
    fn a_batch_carries_two_statuses() {
        let knobs = Knobs {
            event_shapes: vec![Shape::Gen3Batch],
            share_read: 1.0,
            ..Knobs::default()
        };
        let plan = plan(&knobs, &mut Rng::with_seed(1), false);
        assert_eq!(plan.steps.len(), 2);
        assert_eq!(words(&plan), ["sent", "delivered", "read"]);
    }

    proptest! {
        #[test]
        fn the_same_seed_plans_the_same(seed in any::<u64>(), odd in 0.0..1.0f64, twice in 0.0..1.0f64) {
            let knobs = Knobs { share_odd: odd, share_duplicate: twice, event_jitter_ms: 20, ..Knobs::default() };
            let once = plan(&knobs, &mut Rng::with_seed(seed), false);
            prop_assert_eq!(&once, &plan(&knobs, &mut Rng::with_seed(seed), false));
            for step in &once.steps {
                if let Content::Status(Shape::Gen1, planned) = &step.content {
                    prop_assert_eq!(planned[0].status, Status::Delivered);
                }
            }
        }
    }
}
