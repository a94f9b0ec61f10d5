//! What matches nothing is kept within bounds: anybody who may post can make it up (cases R-67). The
//! newest are kept, since a receipt comes seconds after its first status.

use super::events::Here;
use super::ledger::Counter;
use super::writer::Txn;
use super::{channel_id, damage};
use crate::domain::ChannelId;
use crate::store::{Folded, MOST_EARLY, MOST_OTHERS};
use rusqlite::Result;

/// One insert in so many looks whether there are too many; so many more may stand meanwhile.
const LOOK: u8 = 64;
/// Rows that go at once. More than come between two looks, so what an older program left shrinks too.
const AT_ONCE: i64 = 256;

/// Statuses of an account that are kept for a message while the disk is nearly full: what is under way may
/// still need them, and they are too few to fill it.
const MOST_WHEN_TIGHT: u32 = 1000;

/// Whether one more status that matches nothing may be kept.
pub(super) fn has_room(txn: &Txn<'_>, here: &Here<'_>) -> Result<bool> {
    if !here.tight {
        return Ok(true);
    }
    let full = txn
        .conn
        .prepare_cached(
            "SELECT 1 FROM event INDEXED BY event_status
             WHERE account = ?1 AND status IS NOT NULL LIMIT 1 OFFSET ?2",
        )?
        .exists((here.rules.account.as_str(), MOST_WHEN_TIGHT - 1))?;
    Ok(!full)
}

/// Removes the oldest statuses of the account and the oldest other events of the channel that are too
/// many. By lot, so that no pattern of events is never looked at.
pub(super) fn trim(txn: &mut Txn<'_>, here: &Here<'_>, folded: &mut Folded) -> Result<()> {
    if fastrand::u8(..LOOK) != 0 {
        return Ok(());
    }
    let gone: Vec<Option<ChannelId>> = txn
        .conn
        .prepare_cached(
            "DELETE FROM event WHERE id IN
               (SELECT id FROM event INDEXED BY event_status
                WHERE account = ?1 AND status IS NOT NULL AND id <=
                  (SELECT id FROM event INDEXED BY event_status
                   WHERE account = ?1 AND status IS NOT NULL
                   ORDER BY id DESC LIMIT 1 OFFSET ?2)
                ORDER BY id LIMIT ?3)
             RETURNING channel",
        )?
        .query_map((here.rules.account.as_str(), MOST_EARLY, AT_ONCE), |row| {
            damage::readable(
                row.get_ref(0)?
                    .as_str()
                    .map_err(Into::into)
                    .and_then(channel_id),
            )
        })?
        .collect::<Result<_>>()?;
    for channel in gone.iter().flatten() {
        txn.deltas.add(channel, Counter::ExpiredEvents, 1);
    }
    let others = txn
        .conn
        .prepare_cached(
            "DELETE FROM event WHERE id IN
               (SELECT id FROM event INDEXED BY event_other
                WHERE channel = ?1 AND kind <> 'status' AND id <=
                  (SELECT id FROM event INDEXED BY event_other
                   WHERE channel = ?1 AND kind <> 'status'
                   ORDER BY id DESC LIMIT 1 OFFSET ?2)
                ORDER BY id LIMIT ?3)",
        )?
        .execute((here.rules.channel.as_str(), MOST_OTHERS, AT_ONCE))?;
    let all = gone.len() + others;
    folded.crowded_out += u32::try_from(all).unwrap_or(u32::MAX);
    Ok(())
}
