//! The pause of a channel, as its tasks see it: an operator makes and undoes it.

use std::sync::atomic::{AtomicU64, Ordering};

/// A stop of sending that an operator can make and undo; not stopped at first. The lowest bit says
/// whether it is paused, the others how often an operator of this process has said so or not.
#[derive(Debug, Default)]
pub struct Pause(AtomicU64);

const PAUSED: u64 = 1;
const ONE_MORE: u64 = 2;

/// What a pause was at a moment.
#[derive(Debug, Clone, Copy)]
pub struct PauseSeen(u64);

impl Pause {
    fn state(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Whether it is paused.
    pub(super) fn is_on(&self) -> bool {
        self.state() & PAUSED != 0
    }

    pub(super) fn set(&self, paused: bool) {
        let next = |now: u64| Some((now & !PAUSED).wrapping_add(ONE_MORE) | u64::from(paused));
        let _ = self
            .0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    pub(super) fn follow(&self, PauseSeen(seen): PauseSeen, paused: bool) -> bool {
        let next = seen & !PAUSED | u64::from(paused);
        let swapped = self
            .0
            .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire);
        swapped.is_ok() && next != seen
    }
}

impl PauseSeen {
    pub(super) fn of(pause: &Pause) -> Self {
        Self(pause.state())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_an_operator_spoke_does_not_undo_it() {
        let pause = Pause::default();
        let paused = || pause.is_on();
        for wanted in [true, false] {
            let seen = PauseSeen::of(&pause);
            pause.set(wanted);
            assert!(!pause.follow(seen, !wanted) && paused() == wanted);
            // Said twice, it is still newer than what was read in between.
            let seen = PauseSeen::of(&pause);
            pause.set(wanted);
            assert!(!pause.follow(seen, !wanted) && paused() == wanted);
        }
        let seen = PauseSeen::of(&pause);
        assert!(!pause.follow(seen, false) && !paused());
        assert!(pause.follow(seen, true) && paused());
    }
}
