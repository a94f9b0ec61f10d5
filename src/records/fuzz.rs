//! What an entity says of a message, for the fuzzer.

use super::entity::read;
use crate::datastore::Entity;

/// Reads an entity as a record.
pub(crate) fn entity(entity: &Entity) {
    if let Some(kept) = read(entity) {
        assert!(kept.ours || kept.version == 0);
    }
}
