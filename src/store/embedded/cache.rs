//! What the writing thread knows of the file without a look. It outlives a transaction, but not a rollback.

use crate::domain::AccountId;
use std::collections::HashMap;

/// How many statuses of each account may be kept at the most, as far as the writing thread knows. Those that
/// are told or expire are still counted until the next look; nothing is known after a rollback.
#[derive(Debug, Default)]
pub(super) struct Kept(pub(super) HashMap<AccountId, u32>);

/// Which accounts know other numbers, and which user ids, as far as the writing thread knows: where there
/// are none, none is looked for. Nothing is known after a rollback.
#[derive(Debug, Default)]
pub(super) struct Known(pub(super) HashMap<AccountId, (bool, bool)>);
