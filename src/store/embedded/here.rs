//! Where and when an event came in, and when it happened.

use crate::domain::{BELIEVED, UnixMs};
use crate::store::{EventRules, Folded};

/// Where and when an event came in.
pub(super) struct Here<'a> {
    /// What holds for events of its channel.
    pub(super) rules: &'a EventRules,
    /// When it came.
    pub(super) now: UnixMs,
    /// Whether the disk is nearly full: what strangers can make up must not fill it.
    pub(super) tight: bool,
}

impl Here<'_> {
    /// When an event of a message happened: when it came, where it does not say, or says what nobody
    /// believes.
    pub(super) fn believed(
        &self,
        at: Option<UnixMs>,
        accepted: UnixMs,
        folded: &mut Folded,
    ) -> UnixMs {
        // An acceptance that lies ahead was dated by a clock that had leapt.
        let accepted = accepted.min(self.now);
        believed(at, accepted.minus(self.rules.early()), self.now, folded)
    }
}

/// The same for what came at another time.
pub(super) fn believed(
    at: Option<UnixMs>,
    earliest: UnixMs,
    came: UnixMs,
    folded: &mut Folded,
) -> UnixMs {
    match at {
        Some(at) if (earliest..=came.plus(BELIEVED)).contains(&at) => at,
        Some(_) => {
            folded.misdated += 1;
            came
        }
        None => came,
    }
}
