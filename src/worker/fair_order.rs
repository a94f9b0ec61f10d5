//! Whose turn it is: the channels of an account share its permits, whoever has how much waiting.
//!
//! The channel that was served least goes first. One that had nothing to send saves nothing up: it
//! comes back level with the one that was served least meanwhile.

use crate::domain::ChannelId;
use crate::store::ClaimFrom;
use std::collections::HashMap;

/// How much each channel was served while it had something to send.
#[derive(Debug, Default)]
pub(super) struct FairOrder {
    served: HashMap<ChannelId, u64>,
}

impl FairOrder {
    /// Puts the channels that have something to send in their order. Those that are left out lose
    /// their account.
    pub(super) fn ordered(&mut self, mut queues: Vec<ClaimFrom>) -> Vec<ClaimFrom> {
        let waits = |channel: &ChannelId| queues.iter().any(|queue| queue.channel == *channel);
        self.served.retain(|channel, _| waits(channel));
        let level = self.served.values().min().copied().unwrap_or(0);
        for queue in &queues {
            self.served.entry(queue.channel.clone()).or_insert(level);
        }
        // Stable: of equals the first in the configuration goes first.
        queues.sort_by_key(|queue| self.served.get(&queue.channel).copied());
        queues
    }

    /// Puts down what was claimed.
    pub(super) fn served<'a>(&mut self, claimed: impl Iterator<Item = &'a ChannelId>) {
        for channel in claimed {
            *self.served.entry(channel.clone()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UnixMs;
    use proptest::prelude::*;

    fn id(n: usize) -> ChannelId {
        ChannelId::parse(&format!("c{n}")).unwrap()
    }

    /// One claim of `most`, as the store makes it: each its share, then what the others left.
    fn claim(fair: &mut FairOrder, waiting: &mut [u32], most: usize) -> Vec<usize> {
        let open = (0..waiting.len()).filter(|n| waiting[*n] > 0);
        let open = open.map(|n| ClaimFrom {
            channel: id(n),
            ages: UnixMs(0).into(),
            retries: usize::MAX,
            aside: usize::MAX,
        });
        let order = fair.ordered(open.collect());
        let mut taken = Vec::new();
        let share = most.div_ceil(order.len().max(1));
        for limit in [share, most] {
            for queue in &order {
                let n: usize = queue.channel.as_str()[1..].parse().unwrap();
                let room = (most - taken.len()).min(limit).min(waiting[n] as usize);
                waiting[n] -= room as u32;
                taken.extend(std::iter::repeat_n(n, room));
            }
        }
        let channels: Vec<_> = taken.iter().map(|n| id(*n)).collect();
        fair.served(channels.iter());
        taken
    }

    proptest! {
        /// Of channels that always have something waiting none is ahead by more than one claim,
        /// however many others have nothing.
        #[test]
        fn who_waits_is_served_alike(
            mosts in prop::collection::vec(1usize..20, 1..200),
            busy in prop::collection::vec(any::<bool>(), 1..8),
        ) {
            let mut waiting: Vec<u32> = busy.iter().map(|busy| u32::from(*busy) * 1_000_000).collect();
            let (mut fair, mut counts) = (FairOrder::default(), vec![0usize; busy.len()]);
            for most in mosts {
                for n in claim(&mut fair, &mut waiting, most) {
                    counts[n] += 1;
                }
                let served = counts.iter().zip(&busy).filter(|(_, busy)| **busy);
                let served: Vec<_> = served.map(|(count, _)| *count).collect();
                if let (Some(least), Some(most)) = (served.iter().min(), served.iter().max()) {
                    prop_assert!(most - least <= 20, "{counts:?}");
                }
            }
        }
    }

    #[test]
    fn one_that_comes_back_saves_nothing_up() {
        let (mut fair, mut waiting) = (FairOrder::default(), [1000, 1, 1000]);
        for _ in 0..600 {
            claim(&mut fair, &mut waiting, 1);
        }
        waiting[1] = 1000;
        let next: Vec<_> = (0..30)
            .map(|_| claim(&mut fair, &mut waiting, 1)[0])
            .collect();
        let of = |n| next.iter().filter(|one| **one == n).count();
        assert!(of(1) <= 11 && of(0) >= 9 && of(2) >= 9, "{next:?}");
    }
}
