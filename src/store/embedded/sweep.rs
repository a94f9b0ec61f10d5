//! What time alone brings about: holds that end, messages that grow too old.

use super::found::{self, Found};
use super::writer::Txn;
use super::{Store, channel_id, columns, damage, damaged, evidence, settle, signed};
use crate::domain::state::Step;
use crate::domain::{Moment, MsgId, State, UnixMs, Writer};
use crate::store::{Folded, StoreError, SweepRule, SweepScope, Swept, refusals, row};
use rusqlite::{OptionalExtension, Result, Row};
use std::time::Duration;

/// Rows of each kind dealt with in one transaction; bounds how long others wait.
const AT_ONCE: usize = 250;
/// Beyond the longest pause between tries, of ours or asked for by an upstream (an hour).
const FARTHEST: Duration = Duration::from_secs(2 * 3600);

/// Rows of a channel that may wait for a time too far ahead. `beyond` finds some by channel, time and
/// number; `put` gives one another time, if it still waits beyond the first.
struct Rows {
    beyond: &'static str,
    put: &'static str,
}

/// What was never tried is due when it is accepted, so never ahead.
const FRESH: Rows = Rows {
    beyond: "SELECT id FROM message WHERE channel = ?1 AND state = 0 AND attempts = 0 AND due > ?2
     LIMIT ?3",
    put: "UPDATE message SET due = ?3, accepted_at = min(accepted_at, ?3)
     WHERE id = ?1 AND state = 0 AND attempts = 0 AND due > ?2",
};
const RETRIES: Rows = Rows {
    beyond: "SELECT id FROM message
     WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside IN (0, 1) AND due > ?2 LIMIT ?3",
    put: "UPDATE message SET due = ?3, accepted_at = min(accepted_at, ?3)
     WHERE id = ?1 AND state = 0 AND attempts <> 0 AND due > ?2",
};
const CALLBACKS: Rows = Rows {
    beyond: "SELECT id FROM callback
     WHERE channel = ?1 AND lane IN (0, 1) AND ready = 1 AND due > ?2 LIMIT ?3",
    put: "UPDATE callback SET due = ?3 WHERE id = ?1 AND ready = 1 AND due > ?2",
};
/// The plus keeps SQLite from an index of all messages of the channel.
const HELD: Rows = Rows {
    beyond: "SELECT id FROM message WHERE +channel = ?1 AND state = 3 AND due > ?2 LIMIT ?3",
    put: "UPDATE message SET due = ?3 WHERE id = ?1 AND state = 3 AND due > ?2",
};

/// What was never tried is due when it was accepted, so that its index finds what is too old.
const OLD_FRESH: &str =
    "channel = ?1 AND state = 0 AND attempts = 0 AND due < ?2 AND accepted_at < ?2 LIMIT ?3";
const OLD_RETRIES: &str =
    "channel = ?1 AND state = 0 AND attempts <> 0 AND accepted_at < ?2 LIMIT ?3";

impl Store {
    /// Ends holds that are over, and does what else it is to look at; fails a bounded number at
    /// once, and says whether there is more.
    pub async fn sweep(
        &self,
        rules: Vec<SweepRule>,
        look: SweepScope,
        now: Moment,
    ) -> Result<Swept, StoreError> {
        let old = if look == SweepScope::Holds {
            Vec::new()
        } else {
            let farthest = match look {
                SweepScope::SetBack => Duration::ZERO,
                SweepScope::Holds | SweepScope::Ages => FARTHEST,
            };
            for rule in &rules {
                self.bring_back(rule, farthest, now.latest).await?;
            }
            self.too_old(rules.clone()).await?
        };
        let over = self
            .read(move |conn| {
                conn.prepare_cached(
                    "SELECT id FROM message WHERE state = 3 AND due <= ?1 LIMIT ?2",
                )?
                .query_map((now.earliest.0, limit(AT_ONCE)), |row| row.get(0))?
                .collect::<Result<Vec<i64>>>()
            })
            .await?;
        if old.is_empty() && over.is_empty() {
            return Ok(Swept::default());
        }
        self.write(move |txn| {
            let mut swept = Swept {
                more: old.len() == AT_ONCE || over.len() == AT_ONCE,
                ..Swept::default()
            };
            for id in &old {
                expire(txn, *id, now.latest, &mut swept)?;
            }
            for id in &over {
                end_hold(txn, *id, &rules, now, &mut swept)?;
            }
            Ok(swept)
        })
        .await
    }

    /// Brings back what waits for a time that only a clock that was ahead, and has been set back, can
    /// have written.
    async fn bring_back(
        &self,
        rule: &SweepRule,
        farthest: Duration,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let far = now.plus(farthest);
        let held = now.plus(rule.hold);
        self.put(&FRESH, rule, now, now).await?;
        self.put(&RETRIES, rule, far, now).await?;
        self.put(&CALLBACKS, rule, far, now).await?;
        let beyond = now.plus(rule.hold + farthest);
        self.put(&HELD, rule, beyond, held).await
    }

    /// Rows that are due beyond a time are due at another.
    async fn put(
        &self,
        rows: &'static Rows,
        rule: &SweepRule,
        beyond: UnixMs,
        due: UnixMs,
    ) -> Result<(), StoreError> {
        loop {
            let channel = rule.channel.clone();
            let ahead = self
                .read(move |conn| {
                    conn.prepare_cached(rows.beyond)?
                        .query_map((channel.as_str(), beyond.0, limit(AT_ONCE)), |row| {
                            row.get(0)
                        })?
                        .collect::<Result<Vec<i64>>>()
                })
                .await?;
            let last = ahead.len() < AT_ONCE;
            if !ahead.is_empty() {
                self.write(move |txn| {
                    let mut update = txn.conn.prepare_cached(rows.put)?;
                    ahead
                        .iter()
                        .try_for_each(|id| update.execute((id, beyond.0, due.0)).map(drop))
                })
                .await?;
            }
            if last {
                return Ok(());
            }
        }
    }

    /// Queued messages that were accepted too long ago, tried before or not.
    async fn too_old(&self, rules: Vec<SweepRule>) -> Result<Vec<i64>, StoreError> {
        self.read(move |conn| {
            let mut old = Vec::new();
            for rule in &rules {
                for condition in [OLD_FRESH, OLD_RETRIES] {
                    let (before, most) = (rule.expired_before.0, limit(AT_ONCE - old.len()));
                    let params = (rule.channel.as_str(), before, most);
                    let found = found::find_where(conn, condition, params)?;
                    old.extend(found.into_iter().map(|message| message.id));
                }
            }
            Ok(old)
        })
        .await
    }
}

fn expire(txn: &mut Txn<'_>, id: i64, now: UnixMs, swept: &mut Swept) -> Result<()> {
    let found = found::find_where(txn.conn, "id = ?1 AND state = 0", [id])?.pop();
    if let Some(message) = found {
        let refusal = refusals::too_old();
        settle::fail(txn, &message, Writer::Time, &refusal, now)?;
        swept
            .failed
            .push((message.channel, message.msg_id, refusal));
    }
    Ok(())
}

fn end_hold(
    txn: &mut Txn<'_>,
    id: i64,
    rules: &[SweepRule],
    Moment {
        latest: now,
        earliest,
    }: Moment,
    swept: &mut Swept,
) -> Result<()> {
    // A last look: an attempt to the same person may have stood in the way of the evidence.
    let mut folded = Folded::default();
    evidence::infer_receipt(txn, id, now, &mut folded)?;
    swept.inferred += folded.inferred;
    let Some((message, accepted_at)) = over(txn, id, earliest)? else {
        return Ok(());
    };
    let rule = rules.iter().find(|rule| rule.channel == message.channel);
    let young = rule.is_some_and(|rule| UnixMs(accepted_at) >= rule.expired_before);
    if rule.is_some_and(|rule| rule.resend) && !message.life.resent && young {
        resend(txn, &message, now)?;
        swept.resent.push((message.channel, message.msg_id));
        return Ok(());
    }
    let refusal = refusals::outcome_unknown();
    settle::fail(txn, &message, Writer::Time, &refusal, now)?;
    swept
        .failed
        .push((message.channel, message.msg_id, refusal));
    Ok(())
}

/// A message whose hold is over, with when it was accepted; `None` when it moved on meanwhile.
fn over(txn: &mut Txn<'_>, id: i64, now: UnixMs) -> Result<Option<(Found, i64)>> {
    let found = txn
        .conn
        .prepare_cached(
            "SELECT channel, msg_id, state, resent, lost, accepted_at FROM message
             WHERE id = ?1 AND state = 3 AND due <= ?2",
        )?
        .query_row((id, now.0), |row| {
            let found = damage::readable(held(id, row))?;
            Ok(found.map(|found| (found, row.get(5))))
        })
        .optional()?;
    match found {
        None => Ok(None),
        Some(Some((found, accepted_at))) => Ok(Some((found, accepted_at?))),
        Some(None) => {
            damage::set_aside(txn, id, State::Unknown, now)?;
            Ok(None)
        }
    }
}

fn held(id: i64, row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id,
        channel: channel_id(row.get_ref(0)?.as_str()?)?,
        msg_id: MsgId::parse(row.get_ref(1)?.as_str()?).map_err(damaged)?,
        life: columns::life(row.get(2)?, row.get(3)?, row.get(4)?)?,
    })
}

fn limit(rows: usize) -> i64 {
    signed(rows as u64)
}

fn resend(txn: &mut Txn<'_>, message: &Found, now: UnixMs) -> Result<()> {
    let next = message.step(txn, Writer::Time, Step::Resend)?;
    let line = row::moment(
        now,
        "retry",
        "outcome still unknown, sent once more as configured",
    );
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, due = ?3, resent = ?4, lost = ?5,
                    history = history || ?6 WHERE id = ?1",
        )?
        .execute((
            message.id,
            columns::number(next.state),
            now.0,
            next.resent,
            next.lost,
            line,
        ))?;
    Ok(())
}
