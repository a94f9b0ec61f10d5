//! Write B: messages are marked as being sent before the first byte goes out.

use super::found::Found;
use super::writer::Txn;
use super::{Store, columns, damage, damaged, history, opt_out, settle, signed};
use crate::domain::state::Step;
use crate::domain::{Ages, ChannelId, Message, MsgId, OptOut, Phone, State, UnixMs, Writer};
use crate::store::row::RowError;
use crate::store::{ClaimFrom, ClaimedMessage, Claims, StoreError, refusals, row};
use rusqlite::{Params, Result, Row};
use std::time::Duration;

/// How long a message waits about whose age the clocks disagree.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A queued row as the claim reads it.
pub(super) struct Waiting {
    pub(super) message: Found,
    /// Nothing when it is no number.
    pub(super) to: Option<Phone>,
    pub(super) accepted_at: UnixMs,
    attempts: u32,
    /// Nothing when it is no text.
    pub(super) body: Option<String>,
    aside: bool,
}

/// A round through the channels.
struct Round {
    /// Whether what was tried before gets its share ahead of fresh messages.
    is_first: bool,
    /// The most that one channel gets.
    most: usize,
}

impl Store {
    /// Takes up to `most` due messages, the channels in the order given, each its fair share first.
    /// Messages that may not be sent any more (too old, opted out meanwhile) are failed instead.
    pub async fn claim(
        &self,
        queues: Vec<ClaimFrom>,
        most: usize,
        now: UnixMs,
    ) -> Result<Claims, StoreError> {
        self.shared.disk.check_floor()?;
        if queues.is_empty() || most == 0 {
            return Ok(Claims::default());
        }
        self.step("claim", move |txn| {
            let mut claims = Claims::default();
            // First each its share, then what the others left; one alone has all at once.
            let share = most.div_ceil(queues.len());
            let rounds: &[(bool, usize)] = if queues.len() > 1 {
                &[(true, share), (false, most)]
            } else {
                &[(true, most)]
            };
            for &(is_first, limit) in rounds {
                for queue in &queues {
                    let most = (most - claims.taken.len()).min(limit);
                    if most > 0 {
                        take(txn, queue, Round { is_first, most }, now, &mut claims)?;
                    }
                }
            }
            Ok(claims)
        })
        .await
    }

    /// When the next queued message of these channels is due.
    pub async fn next_due(&self, channels: Vec<ChannelId>) -> Result<Option<UnixMs>, StoreError> {
        self.read(move |conn| {
            let mut select = conn.prepare_cached(
                "SELECT (SELECT min(due) FROM message
                         WHERE channel = ?1 AND state = 0 AND attempts = 0),
                        (SELECT min(due) FROM message
                         WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 0),
                        (SELECT min(due) FROM message
                         WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 1)",
            )?;
            let mut next: Option<i64> = None;
            for channel in channels {
                let dues: [Option<i64>; 3] = select.query_row([channel.as_str()], |row| {
                    Ok([row.get(0)?, row.get(1)?, row.get(2)?])
                })?;
                next = next.into_iter().chain(dues.into_iter().flatten()).min();
            }
            Ok(next.map(UnixMs))
        })
        .await
    }
}

/// Takes from one channel. While fresh messages wait, what was tried before gets no more than its share
/// of the first round; what nobody else wants goes to it too.
fn take(
    txn: &mut Txn<'_>,
    queue: &ClaimFrom,
    Round { is_first, most }: Round,
    now: UnixMs,
    claims: &mut Claims,
) -> Result<()> {
    let [retries, aside] = if is_first {
        [queue.retries, queue.aside]
    } else {
        [0, 0]
    };
    let rounds = [
        (RETRIES, retries),
        (ASIDE, aside),
        (FRESH, most),
        (RETRIES, most),
        (ASIDE, most),
    ];
    let before = claims.taken.len();
    for (sql, limit) in rounds {
        let room = most.saturating_sub(claims.taken.len() - before).min(limit);
        if room == 0 {
            continue;
        }
        let room = signed(room as u64);
        let found = if sql == FRESH {
            let params = (queue.channel.as_str(), now.0, room, fresh_from(queue.ages));
            due(txn, sql, &queue.channel, params)?
        } else {
            let params = (queue.channel.as_str(), now.0, room);
            due(txn, sql, &queue.channel, params)?
        };
        for one in found {
            begin(txn, one, queue.ages, now, claims)?;
        }
    }
    Ok(())
}

/// What was never tried is due when it was accepted, so that those about whose age the clocks disagree
/// are left where they are. Those that are too old too: a sweep finds them.
fn fresh_from(ages: Ages) -> i64 {
    if ages.failed_before < ages.sent_from {
        ages.sent_from.0
    } else {
        i64::MIN
    }
}

/// Marks one queued message as being sent, or fails it when it must not be sent any more.
pub(super) fn begin(
    txn: &mut Txn<'_>,
    one: std::result::Result<Waiting, i64>,
    ages: Ages,
    now: UnixMs,
    claims: &mut Claims,
) -> Result<()> {
    // Left in the queue, what cannot be read would hold back everything behind it, on every
    // channel.
    let one = match one {
        Ok(one) => one,
        Err(id) => return damage::set_aside(txn, id, State::Queued, now),
    };
    if ages.disagree(one.accepted_at) {
        return put_off(txn, one.message.id, now);
    }
    let (channel, msg_id) = (one.message.channel.clone(), one.message.msg_id.clone());
    let message = one.message();
    let unwanted = match &message {
        Ok(message) => opt_out::of(txn.conn, &channel, message.to)?,
        Err(_) => None,
    };
    let refusal = match (&message, unwanted) {
        (Err(_), _) => Some(refusals::unreadable()),
        _ if one.accepted_at < ages.failed_before => Some(refusals::too_old()),
        (_, Some(OptOut::All)) => Some(OptOut::All.refusal()),
        _ => None,
    };
    if let Some(refusal) = refusal {
        settle::fail(txn, &one.message, Writer::Worker, &refusal, now)?;
        claims.failed.push((channel, msg_id, refusal));
        return Ok(());
    }
    let attempt = one.attempts.saturating_add(1);
    mark(txn, &one.message, attempt, now)?;
    claims.taken.push(ClaimedMessage {
        handle: one.message.id,
        claim: attempt.into(),
        term: 0,
        channel,
        message: message.map_err(damaged)?,
        attempt,
        aside: one.aside,
        no_marketing: unwanted.is_some(),
        accepted_at: one.accepted_at,
    });
    Ok(())
}

/// Due messages that were tried before.
const RETRIES: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 0 AND due <= ?2
     ORDER BY due, id LIMIT ?3";
/// Due messages that were put aside.
const ASIDE: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 1 AND due <= ?2
     ORDER BY due, id LIMIT ?3";
/// Due messages that were never tried.
const FRESH: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts = 0 AND due BETWEEN ?4 AND ?2
     ORDER BY due, accepted_at, id LIMIT ?3";

pub(super) fn due(
    txn: &Txn<'_>,
    sql: &str,
    channel: &ChannelId,
    params: impl Params,
) -> Result<Vec<std::result::Result<Waiting, i64>>> {
    let mut select = txn.conn.prepare_cached(sql)?;
    let rows = select.query_map(params, |row| {
        let id = row.get(0)?;
        Ok(damage::readable(waiting(channel, row))?.ok_or(id))
    })?;
    rows.collect()
}

fn waiting(channel: &ChannelId, row: &Row<'_>) -> Result<Waiting> {
    Ok(Waiting {
        message: Found {
            id: row.get(0)?,
            channel: channel.clone(),
            msg_id: MsgId::parse(row.get_ref(1)?.as_str()?).map_err(damaged)?,
            life: columns::life(row.get(6)?, row.get(7)?, row.get(8)?)?,
        },
        to: damage::readable(columns::phone(row.get(2)?))?,
        accepted_at: UnixMs(row.get(3)?),
        attempts: damage::readable(row.get(4))?.unwrap_or(u32::MAX),
        body: damage::readable(row.get(5))?,
        aside: damage::readable(row.get(9))?.unwrap_or_default(),
    })
}

impl Waiting {
    fn message(&self) -> std::result::Result<Message, RowError> {
        let gone = || RowError::Damaged("a value is missing".into());
        let to = self.to.ok_or_else(gone)?;
        let body = self.body.as_deref().ok_or_else(gone)?;
        row::read_message(self.message.msg_id.clone(), to, body)
    }
}

/// A message about whose age the clocks disagree is looked at again later; others go on.
fn put_off(txn: &mut Txn<'_>, id: i64, now: UnixMs) -> Result<()> {
    txn.conn
        .prepare_cached("UPDATE message SET due = ?2 WHERE id = ?1")?
        .execute((id, now.plus(LOOK_AGAIN).0))
        .map(drop)
}

fn mark(txn: &mut Txn<'_>, message: &Found, attempt: u32, now: UnixMs) -> Result<()> {
    let next = message.step(txn, Writer::Worker, Step::Claim)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, attempts = ?3, aside = 0,
                    seen = coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event'), 0),
                    history = iif(length(history) < ?5, history || ?4, history) WHERE id = ?1",
        )?
        .execute((
            message.id,
            columns::number(next.state),
            attempt,
            row::moment(now, "attempt", &attempt.to_string()),
            history::HISTORY_LIMIT,
        ))?;
    Ok(())
}
