//! How a batch is cut, so that a record which cannot be written holds back no other. Pure: time and dice are
//! arguments.
//!
//! What Datastore refuses is halved at once. What loses against other writers is tried once more, then halved, and
//! each half waits for a while of its own. In the end those that fail by themselves stand alone.

use crate::outbox::retry_delay;
use std::ops::Range;
use std::time::Duration;
use tokio::time::Instant;

/// How often a piece may lose before it is cut.
const MOST_LOST: u32 = 2;
/// The pause of a piece that lost, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Neighbours of a batch that are written by one transaction.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Their places in the batch; never none.
    pub(super) range: Range<usize>,
    /// Not to be tried before.
    pub(super) due: Instant,
    /// How often it lost against other writers.
    lost: u32,
}

/// The pieces of a batch that are still to be tried.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// In their order in the batch.
    waiting: Vec<Piece>,
}

impl Pieces {
    /// Adds a piece behind all others.
    pub(super) fn push(&mut self, range: Range<usize>, due: Instant) {
        if !range.is_empty() {
            let lost = 0;
            self.waiting.push(Piece { range, due, lost });
        }
    }

    /// Takes the first piece that is due; when none is, the one that will be first.
    pub(super) fn take(&mut self, now: Instant) -> Option<Piece> {
        let places = self.waiting.iter().enumerate();
        // The first of those that are equal.
        let (next, _) = places.min_by_key(|(_, piece)| piece.due.max(now))?;
        Some(self.waiting.remove(next))
    }

    /// A piece was refused. Its place when it stands alone; else its halves are tried at once.
    pub(super) fn refused(&mut self, piece: Piece, now: Instant) -> Option<usize> {
        self.halve(piece, || now)
    }

    /// A piece lost against other writers. Its place when it stands alone and lost for the last time.
    pub(super) fn lost(
        &mut self,
        mut piece: Piece,
        now: Instant,
        mut dice: impl FnMut() -> f64,
    ) -> Option<usize> {
        piece.lost += 1;
        let (first, longest) = PAUSES;
        let tries = piece.lost;
        let mut later = || now + retry_delay(tries, first, longest, 0.5 + dice() / 2.0);
        if piece.lost < MOST_LOST {
            piece.due = later();
            self.put_back(piece);
            return None;
        }
        self.halve(piece, later)
    }

    /// Puts a piece where it was.
    pub(super) fn put_back(&mut self, piece: Piece) {
        let before = |one: &Piece| one.range.start < piece.range.start;
        let place = self.waiting.partition_point(before);
        self.waiting.insert(place, piece);
    }

    /// The places of all that was not tried to its end.
    pub(super) fn left(self) -> impl Iterator<Item = usize> {
        self.waiting.into_iter().flat_map(|piece| piece.range)
    }

    fn halve(&mut self, piece: Piece, mut due: impl FnMut() -> Instant) -> Option<usize> {
        let Range { start, end } = piece.range;
        if end - start == 1 {
            return Some(start);
        }
        let middle = start + (end - start) / 2;
        for range in [start..middle, middle..end] {
            let (due, lost) = (due(), 0);
            self.put_back(Piece { range, due, lost });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// What became of each place, and how many transactions that took.
    #[derive(Default)]
    struct Ends {
        written: BTreeSet<usize>,
        alone: BTreeSet<usize>,
        tries: usize,
    }

    /// Writes a batch in which these places are refused, and these lose, whatever is tried.
    fn run(length: usize, refused: &BTreeSet<usize>, losing: &BTreeSet<usize>) -> Ends {
        let (mut pieces, mut ends, mut now) = (Pieces::default(), Ends::default(), Instant::now());
        pieces.push(0..length, now);
        while let Some(piece) = pieces.take(now) {
            now = now.max(piece.due);
            ends.tries += 1;
            let holds = |bad: &BTreeSet<usize>| bad.range(piece.range.clone()).next().is_some();
            let alone = if holds(losing) {
                pieces.lost(piece, now, || 0.5)
            } else if holds(refused) {
                pieces.refused(piece, now)
            } else {
                for place in piece.range {
                    assert!(ends.written.insert(place), "{place} was written twice");
                }
                None
            };
            ends.alone.extend(alone);
        }
        ends
    }

    proptest! {
        #[test]
        fn r_62_all_are_written_but_those_that_fail_by_themselves(
            length in 1_usize..300,
            refused in prop::collection::btree_set(0_usize..300, 0..6),
            losing in prop::collection::btree_set(0_usize..300, 0..6),
        ) {
            let bad: BTreeSet<usize> =
                refused.union(&losing).copied().filter(|place| *place < length).collect();
            let ends = run(length, &refused, &losing);
            prop_assert_eq!(&ends.alone, &bad);
            let good = (0..length).filter(|place| !bad.contains(place));
            prop_assert!(good.eq(ends.written.iter().copied()));
            // For each of them a way down the halves, on which each piece is tried twice and its other half once.
            let levels = length.next_power_of_two().ilog2() as usize + 1;
            prop_assert!(ends.tries <= 1 + bad.len() * levels * 3, "{} for {bad:?}", ends.tries);
        }
    }

    #[test]
    fn r_62_what_lost_twice_is_halved_and_each_half_has_a_pause_of_its_own() {
        let (mut pieces, now) = (Pieces::default(), Instant::now());
        pieces.push(0..9, now);
        pieces.push(9..10, now);
        let whole = pieces.take(now).unwrap();
        assert_eq!(pieces.lost(whole, now, || 0.0), None);
        // Meanwhile the others go on.
        let other = pieces.take(now).unwrap();
        assert_eq!((other.range, other.due), (9..10, now));
        let again = pieces.take(now).unwrap();
        assert_eq!((&again.range, again.due), (&(0..9), now + PAUSES.0 / 2));
        let mut dice = [0.2, 0.1].into_iter();
        assert_eq!(pieces.lost(again, now, || dice.next().unwrap()), None);
        let (first, second) = (pieces.take(now).unwrap(), pieces.take(now).unwrap());
        assert_eq!((&first.range, &second.range), (&(4..9), &(0..4)));
        assert!(
            now < first.due && first.due < second.due,
            "{first:?} {second:?}"
        );
        pieces.put_back(second);
        assert!(pieces.left().eq(0..4));
    }
}
