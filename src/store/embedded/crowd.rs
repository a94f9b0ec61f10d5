//! What matches nothing is kept within bounds: anybody who may post can make it up (cases R-67). The
//! newest are kept, since a receipt comes seconds after its first status.

use super::cache::Kept;
use super::here::Here;
use super::ledger::Counter;
use super::writer::Txn;
use super::{channel_id, damage};
use crate::domain::{AccountId, ChannelId};
use crate::store::{Folded, MOST_EARLY, MOST_OTHERS};
use rusqlite::{OptionalExtension, Result};

/// So many more statuses than [`MOST_EARLY`] may stand before a look finds them: to find the newest
/// passes over all that are kept.
const BEFORE_LOOK: u32 = 1024;
/// One insert of another event in so many looks whether there are too many.
const LOOK: u8 = 64;
/// Inserts until the next look where one found more than go at once.
const SOON: u32 = 128;
/// Rows that go at once. More than come between two looks, so what an older program left shrinks too.
const AT_ONCE: u32 = 2 * BEFORE_LOOK;

/// Statuses of an account that are kept for a message while the disk is nearly full: what is under way may
/// still need them, and they are too few to fill it.
const MOST_WHEN_TIGHT: u32 = 1000;

impl Kept {
    /// One more is kept. Answers whether there may be too many.
    fn add(&mut self, account: &AccountId) -> bool {
        match self.0.get_mut(account) {
            Some(most) => {
                *most = most.saturating_add(1);
                *most > MOST_EARLY + BEFORE_LOOK
            }
            None => true,
        }
    }
}

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

/// Removes the oldest statuses of the account if they are too many.
pub(super) fn trim_statuses(txn: &mut Txn<'_>, here: &Here<'_>, folded: &mut Folded) -> Result<()> {
    let account = &here.rules.account;
    if !txn.kept.add(account) {
        return Ok(());
    }
    let newest_surplus: Option<i64> = txn
        .conn
        .prepare_cached(
            "SELECT id FROM event INDEXED BY event_status
             WHERE account = ?1 AND status IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?2",
        )?
        .query_row((account.as_str(), MOST_EARLY), |row| row.get(0))
        .optional()?;
    let most = match newest_surplus {
        Some(last) => {
            match remove_statuses(txn, account, last, folded)? {
                // There are more, so the next look comes soon.
                AT_ONCE => MOST_EARLY + BEFORE_LOOK - SOON,
                _ => MOST_EARLY,
            }
        }
        // No more than are kept, so not long to count.
        None => txn
            .conn
            .prepare_cached(
                "SELECT count(*) FROM event INDEXED BY event_status
                 WHERE account = ?1 AND status IS NOT NULL",
            )?
            .query_row([account.as_str()], |row| row.get(0))?,
    };
    txn.kept.0.insert(account.clone(), most);
    Ok(())
}

/// Removes the oldest statuses of the account up to this one, some at once. Answers how many.
fn remove_statuses(
    txn: &mut Txn<'_>,
    account: &AccountId,
    last: i64,
    folded: &mut Folded,
) -> Result<u32> {
    let gone: Vec<Option<ChannelId>> = txn
        .conn
        .prepare_cached(
            "DELETE FROM event WHERE id IN
               (SELECT id FROM event INDEXED BY event_status
                WHERE account = ?1 AND status IS NOT NULL AND id <= ?2 ORDER BY id LIMIT ?3)
             RETURNING channel",
        )?
        .query_map((account.as_str(), last, AT_ONCE), |row| {
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
    Ok(crowded_out(folded, gone.len()))
}

/// Keeps an event that is not relayed, for a person to look at.
pub(super) fn keep_other(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    kind: &str,
    raw: &str,
    folded: &mut Folded,
) -> Result<()> {
    if here.tight {
        folded.crowded_out += 1;
        return Ok(());
    }
    txn.conn
        .prepare_cached(
            "INSERT INTO event (account, channel, kind, received_at, raw)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((
            here.rules.account.as_str(),
            here.rules.channel.as_str(),
            kind,
            here.now.0,
            raw,
        ))?;
    trim_others(txn, here, folded)
}

/// Removes the oldest other events of the channel if they are too many. Looks by lot, so that no pattern of
/// events is never looked at.
fn trim_others(txn: &mut Txn<'_>, here: &Here<'_>, folded: &mut Folded) -> Result<()> {
    if fastrand::u8(..LOOK) != 0 {
        return Ok(());
    }
    let gone = txn
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
    crowded_out(folded, gone);
    Ok(())
}

fn crowded_out(folded: &mut Folded, gone: usize) -> u32 {
    let gone = u32::try_from(gone).unwrap_or(u32::MAX);
    folded.crowded_out += gone;
    gone
}
