//! How rows spell the kind of a refusal: as the first version did, in MoEngage's codes, so that every version reads
//! what another one wrote.

use crate::domain::{Refusal, RefusalKind};

/// The word of a kind in a row.
pub(crate) fn kind_word(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Credentials => "7000",
        RefusalKind::Template => "7001",
        RefusalKind::Phone => "7002",
        RefusalKind::OptedOut => "7003",
        RefusalKind::Other => "7004",
    }
}

/// The kind that a row spells so; what nobody knows is something else.
pub(super) fn read_kind(word: &str) -> RefusalKind {
    let known = RefusalKind::ALL
        .into_iter()
        .find(|one| kind_word(*one) == word);
    known.unwrap_or(RefusalKind::Other)
}

/// A refusal as a history tells it: `7004 Outcome unknown`.
pub(crate) fn failure(refusal: &Refusal) -> String {
    format!("{} {}", kind_word(refusal.kind), refusal.reason)
}
