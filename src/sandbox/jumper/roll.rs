//! The dice that choose what becomes of a send. Pure: knobs and dice in, an outcome out.

use fastrand::Rng;

use crate::sandbox::{
    knobs::Knobs,
    outcome::{Outcome, REFUSAL},
};

/// Throws the dice for one send; the shares are laid side by side, in the order of the knobs.
pub(super) fn roll(knobs: &Knobs, rng: &mut Rng) -> Outcome {
    let mut throw = rng.f64();
    let sides = [
        (knobs.share_accept_then_close, Outcome::AcceptThenClose),
        (
            knobs.share_accept_then_slow,
            Outcome::AcceptThenSlow(knobs.accept_slow_s),
        ),
        (knobs.share_accept_then_502_html, Outcome::AcceptThen502Html),
        (
            knobs.share_accept_then_truncated,
            Outcome::AcceptThenTruncated,
        ),
        (knobs.share_accept_non_json, Outcome::AcceptNonJson),
        (knobs.share_refuse_200, Outcome::Refuse(200, String::new())),
        (knobs.share_refuse_400, Outcome::Refuse(400, String::new())),
        (knobs.share_503, Outcome::Unavailable),
        (knobs.share_500_before, Outcome::Html500),
    ];
    for (share, outcome) in sides {
        if throw < share {
            return match outcome {
                Outcome::Refuse(status, _) => Outcome::Refuse(status, REFUSAL.to_owned()),
                other => other,
            };
        }
        throw -= share;
    }
    Outcome::Ok
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn shares_are_laid_side_by_side() {
        let knobs = Knobs {
            share_503: 0.25,
            share_refuse_200: 0.25,
            ..Knobs::default()
        };
        let mut rng = Rng::with_seed(5);
        let mut count = HashMap::new();
        for _ in 0..4000 {
            *count.entry(roll(&knobs, &mut rng).name()).or_insert(0) += 1;
        }
        for (name, about) in [("503", 1000_i32), ("refuse", 1000), ("ok", 2000)] {
            assert!((count[name] - about).abs() < 150, "{name}: {count:?}");
        }
    }
}
