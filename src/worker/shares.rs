//! How many of the next slots of a channel may go to messages that were tried before, while others wait
//! that were not: every second one to retries, every tenth one to what was put aside (design.md section 5).
//! Counted across claims, so that it holds also where each claim takes one message.

/// Tenths of a slot that each slot earns for retries, and for what was put aside.
const EARNS: [u32; 2] = [5, 1];
/// A whole slot; no more is saved up.
const SLOT: u32 = 10;

/// What one channel's retries, and its messages put aside, have earned.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shares {
    saved: [u32; 2],
}

impl Shares {
    /// Of the next `slots` the most for retries, and for what was put aside.
    pub(super) fn most(self, slots: usize) -> [usize; 2] {
        let slots = u32::try_from(slots).unwrap_or(u32::MAX);
        let most = |of: usize| {
            let earned = slots
                .saturating_mul(EARNS[of])
                .saturating_add(self.saved[of]);
            (earned / SLOT) as usize
        };
        [most(0), most(1)]
    }

    /// So many slots were used, of them so many by retries and by what was put aside. What they used
    /// beyond their share nobody else wanted; it costs them nothing later.
    pub(super) fn used(&mut self, slots: usize, by: [usize; 2]) {
        let tenths = |slots: usize| u32::try_from(slots).unwrap_or(u32::MAX / SLOT);
        for of in 0..2 {
            let earned = tenths(slots).saturating_mul(EARNS[of]);
            let spent = tenths(by[of]).saturating_mul(SLOT);
            let saved = self.saved[of].saturating_add(earned).saturating_sub(spent);
            self.saved[of] = saved.min(SLOT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_by_one_every_second_slot_and_every_tenth() {
        let mut shares = Shares::default();
        let mut got = [0; 3];
        for _ in 0..100 {
            let [retries, aside] = shares.most(1);
            let by = if aside > 0 {
                [0, 1]
            } else {
                [retries.min(1), 0]
            };
            shares.used(1, by);
            got[0] += by[0];
            got[1] += by[1];
            got[2] += 1 - by[0] - by[1];
        }
        assert!(got[0] <= 50 && got[1] == 10 && got[2] >= 40, "{got:?}");
    }

    proptest! {
        /// While fresh messages wait, however the claims are cut, retries get at most half and what
        /// was put aside a tenth, with one slot each saved up.
        #[test]
        fn r_08_fresh_messages_keep_their_share(claims in prop::collection::vec(1usize..40, 1..60)) {
            let (mut shares, mut all, mut by) = (Shares::default(), 0, [0; 2]);
            for slots in claims {
                let [retries, aside] = shares.most(slots);
                prop_assert!(retries + aside <= slots + 1);
                let retries = retries.min(slots);
                let aside = aside.min(slots - retries);
                shares.used(slots, [retries, aside]);
                all += slots;
                by = [by[0] + retries, by[1] + aside];
            }
            prop_assert!(by[0] <= all / 2 + 1 && by[1] <= all / 10 + 1, "{by:?} of {all}");
        }
    }
}
