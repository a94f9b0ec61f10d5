//! The kinds of components, parameters and buttons: how one is read, and what is said of one that cannot be
//! sent.

use super::{Fault, text};
use crate::domain::phone::mask_numbers;
use crate::domain::{Refusal, RefusalKind};
use crate::doors::moengage::wire::Leaf;
use std::borrow::Cow;
use std::fmt::Arguments;

/// Kinds that are right somewhere, so that they are a mistake of place rather than unknown.
const KNOWN: [&str; 7] = [
    "text",
    "currency",
    "date_time",
    "image",
    "video",
    "document",
    "payload",
];

/// The refusal of a kind that may not stand there.
pub(super) fn misplaced(what: Arguments<'_>, wanted: &str, kind: &str) -> Fault {
    if KNOWN.contains(&kind) {
        Fault::template(format_args!("{what} must be {wanted}, not {kind}"))
    } else {
        unsupported(&format!("{what} of type"), kind)
    }
}

/// The refusal of a kind that no template of ours can carry.
pub(super) fn unsupported(what: &str, kind: &str) -> Fault {
    // The kind is the caller's own word: named when it looks like one, and no number survives in it.
    let is_word = kind.len() <= 40 && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let kind = if is_word && !kind.is_empty() {
        mask_numbers(kind)
    } else {
        "(unreadable)".into()
    };
    other(format!("{what} {kind} is not supported by this gateway"))
}

/// The refusal of what has no code of its own.
pub(super) fn other(reason: String) -> Fault {
    Fault::Refused(Refusal::new(RefusalKind::Other, reason))
}

/// A `type` or `sub_type`, in lower case (Q19).
pub(super) fn kind<'a>(
    leaf: Leaf<'a>,
    place: Arguments<'_>,
) -> Result<Option<Cow<'a, str>>, Fault> {
    Ok(text(leaf, place)?.map(|kind| {
        if kind.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(kind.to_ascii_lowercase())
        } else {
            kind
        }
    }))
}
