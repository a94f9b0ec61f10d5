//! A file that was put back from a copy: what waits in it may have been sent since. Nothing of an account is sent
//! then until an operator decides, over restarts too. A mark outside of the file shows it (`remember`); where that
//! was put back too, only an operator knows (`gateway serve --hold`).

use super::ledger::Counter;
use super::writer::Txn;
use super::{Store, columns, evidence, found, settings, settle, signed};
use crate::domain::proof::LastProof;
use crate::domain::{AccountId, ChannelId, UnixMs, Writer};
use crate::store::{Folded, Marked, Steps, StoreError, WentBack, refusals};
use rusqlite::{Connection, Result};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Messages given up in one step.
const AT_ONCE: u64 = 200;

/// What is kept of a hold.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Back {
    since: i64,
    waited: u64,
    /// What waits up to this number waited then.
    cut: i64,
    /// The last event that had come then: what comes later is evidence of what was sent before.
    seen: i64,
    /// Whether a mark showed it, and no operator said so.
    #[serde(default)]
    by_mark: bool,
}

/// The accounts that are held.
#[derive(Debug, Default)]
pub(super) struct Backs(Mutex<HashMap<AccountId, Back>>);

impl Backs {
    /// As the file has them.
    pub(super) fn load(conn: &Connection) -> Result<Self> {
        let mut select =
            conn.prepare("SELECT key, value FROM kept WHERE key >= 'back:' AND key < 'back;'")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let (cut, seen) = last_numbers(conn)?;
        let unreadable = Back {
            since: 0,
            waited: 0,
            cut,
            seen,
            by_mark: false,
        };
        let mut backs = HashMap::new();
        for row in rows {
            let (key, value): (String, String) = row?;
            let account = key.strip_prefix("back:").map(AccountId::parse);
            if let Some(Ok(account)) = account {
                // One that cannot be read holds what waits now.
                backs.insert(account, serde_json::from_str(&value).unwrap_or(unreadable));
            }
        }
        Ok(Self(Mutex::new(backs)))
    }

    fn all(&self) -> MutexGuard<'_, HashMap<AccountId, Back>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, account: &AccountId) -> Option<Back> {
        self.all().get(account).copied()
    }
}

impl Store {
    /// How far these channels have come.
    pub fn steps(&self, channels: &[ChannelId]) -> Steps {
        let of = |channel: &ChannelId| {
            let claims = self.shared.totals.claims(channel);
            (channel.to_string(), format!("{claims:016}"))
        };
        channels.iter().map(of).collect()
    }

    /// They had come so far: where they say less, what waits is held.
    pub async fn remember(
        &self,
        of: &Marked,
        steps: &Steps,
        now: UnixMs,
    ) -> std::result::Result<(), StoreError> {
        let mut behind = Vec::new();
        for channel in &of.channels {
            let then = steps
                .get(channel.as_str())
                .and_then(|step| step.parse::<i64>().ok());
            let missing = then.unwrap_or_default() - self.shared.totals.claims(channel);
            if missing > 0 {
                behind.push((channel.clone(), missing));
            }
        }
        if !behind.is_empty() {
            self.hold(&of.account, &of.channels, now, Some(behind))
                .await?;
        }
        Ok(())
    }

    /// Holds what waits in these channels of an account, as an operator says. Answers how many messages; nothing is
    /// held where none waits.
    pub async fn hold_back(
        &self,
        account: &AccountId,
        channels: &[ChannelId],
        now: UnixMs,
    ) -> std::result::Result<u64, StoreError> {
        self.hold(account, channels, now, None).await
    }

    async fn hold(
        &self,
        account: &AccountId,
        channels: &[ChannelId],
        now: UnixMs,
        behind: Option<Vec<(ChannelId, i64)>>,
    ) -> std::result::Result<u64, StoreError> {
        // All that waits now, also where it was held before: that may have been in the copy too.
        let queued = channels.iter().map(|channel| self.ledger(channel).queued);
        let waited = queued.sum::<i64>().unsigned_abs();
        let (cut, last) = self.read(last_numbers).await?;
        let before = self.shared.backs.of(account);
        let back = Back {
            since: now.0,
            waited,
            cut,
            seen: before.map_or(last, |before| before.seen),
            by_mark: behind.is_some(),
        };
        let is_held = back.waited > 0;
        let (key, value) = (
            key(account),
            serde_json::to_string(&back).map_err(super::unavailable)?,
        );
        // In one step: the next start must not hold once more what came since.
        self.write(move |txn| {
            for (channel, missing) in behind.iter().flatten() {
                txn.deltas.add(channel, Counter::Claims, *missing);
            }
            if is_held {
                settings::put(txn.conn, &key, &value)?;
            }
            Ok(())
        })
        .await?;
        if is_held {
            self.shared.backs.all().insert(account.clone(), back);
        }
        Ok(back.waited)
    }

    /// Whether the work of an account is handed out.
    pub fn is_open(&self, account: &AccountId) -> bool {
        self.shared.backs.of(account).is_none()
    }

    /// Why an operator is to decide about an account, if so.
    pub fn went_back(&self, account: &AccountId) -> Option<WentBack> {
        let back = self.shared.backs.of(account)?;
        Some(WentBack {
            since: UnixMs(back.since),
            by: Duration::ZERO,
            waited: back.waited,
            silent: 0,
            is_asked: !back.by_mark,
        })
    }

    /// Work is handed out again: what waits is sent. Whether it was held.
    pub async fn open_again(&self, account: &AccountId) -> std::result::Result<bool, StoreError> {
        if self.is_open(account) {
            return Ok(false);
        }
        self.set(key(account), None).await?;
        Ok(self.shared.backs.all().remove(account).is_some())
    }

    /// Fails what waited in a channel when the account was held; what was accepted since stays. Answers how many.
    pub async fn fail_copy(
        &self,
        account: &AccountId,
        channel: &ChannelId,
        now: UnixMs,
    ) -> std::result::Result<usize, StoreError> {
        let mut failed = 0;
        while let Some(back) = self.shared.backs.of(account) {
            let channel = channel.clone();
            let some = self
                .write(move |txn| fail_some(txn, &channel, back, now))
                .await?;
            failed += some;
            if some == 0 {
                break;
            }
        }
        Ok(failed)
    }

    /// What came while work was held may say what became of messages that were given up.
    pub async fn infer_receipts(
        &self,
        account: &AccountId,
        now: UnixMs,
    ) -> std::result::Result<(), StoreError> {
        let mut last = 0;
        loop {
            let account = account.clone();
            let some = self
                .write(move |txn| infer_some(txn, &account, last, now))
                .await?;
            match some {
                Some(next) => last = next,
                None => return Ok(()),
            }
        }
    }
}

fn key(account: &AccountId) -> String {
    format!("back:{account}")
}

/// The numbers of the last message and of the last event. Those to come have later ones.
fn last_numbers(conn: &Connection) -> Result<(i64, i64)> {
    let mut last = conn.prepare_cached(
        "SELECT coalesce(max(id), 0),
                coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0) FROM message",
    )?;
    last.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn fail_some(txn: &mut Txn<'_>, channel: &ChannelId, back: Back, now: UnixMs) -> Result<usize> {
    let room = signed(AT_ONCE);
    let mut all = Vec::new();
    for waits in [
        "channel = ?1 AND state = 0 AND attempts = 0 AND id <= ?3
         ORDER BY due, accepted_at LIMIT ?2",
        "channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 0 AND id <= ?3
         ORDER BY due LIMIT ?2",
        "channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 1 AND id <= ?3
         ORDER BY due LIMIT ?2",
    ] {
        let params = (channel.as_str(), room, back.cut);
        all.extend(found::find_where(txn.conn, waits, params)?);
    }
    for message in &mut all {
        // As after an attempt whose outcome nobody knows: evidence still counts, and it is not sent once more.
        message.life.resent = true;
        txn.conn
            .prepare_cached("UPDATE message SET resent = 1, proof = ?2, seen = ?3 WHERE id = ?1")?
            .execute((message.id, LastProof::Unclear.number(), back.seen))?;
        settle::fail(
            txn,
            message,
            Writer::Worker,
            &refusals::outcome_unknown(),
            now,
        )?;
    }
    Ok(all.len())
}

/// Infers receipts from statuses that have none, for people of higher numbers than this one. Answers the last
/// number, if there may be more.
fn infer_some(
    txn: &mut Txn<'_>,
    account: &AccountId,
    last: i64,
    now: UnixMs,
) -> Result<Option<i64>> {
    let people: Vec<i64> = txn
        .conn
        .prepare_cached(
            "SELECT DISTINCT recipient FROM event WHERE account = ?1 AND recipient > ?2
             ORDER BY recipient LIMIT ?3",
        )?
        .query_map((account.as_str(), last, signed(AT_ONCE)), |row| row.get(0))?
        .collect::<Result<_>>()?;
    for &person in &people {
        // Of a number that cannot be read nobody can say whose it is.
        if let Ok(person) = columns::phone(person) {
            evidence::infer_receipt_of(txn, account, person, now, &mut Folded::default())?;
        }
    }
    let more = people.len() as u64 == AT_ONCE;
    Ok(people.last().copied().filter(|_| more))
}
