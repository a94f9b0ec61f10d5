//! MoEngage's error codes (contracts/moengage.md section 4).

use crate::domain::RefusalKind;

/// The code of a kind of refusal as MoEngage's samples write it: a text of four digits.
pub(super) fn code(kind: RefusalKind) -> &'static str {
    match kind {
        RefusalKind::Credentials => "7000",
        RefusalKind::Template => "7001",
        RefusalKind::Phone => "7002",
        RefusalKind::OptedOut => "7003",
        RefusalKind::Other => "7004",
    }
}
