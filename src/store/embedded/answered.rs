//! The message that a reply answers: the quoted one, else the latest to the person.

use super::here::Here;
use super::{channel_id, columns, damage, damaged, signed};
use crate::domain::{ChannelId, MsgId, Phone, Reply, ReplyKind, UnixMs};
use crate::store::{MOST_INFERRED, row};
use rusqlite::{Connection, OptionalExtension, Result, Row};

/// The message that a reply belongs to.
pub(super) struct Answered {
    pub(super) id: i64,
    pub(super) channel: ChannelId,
    pub(super) msg_id: MsgId,
    pub(super) waba_number: String,
    /// Whom it was sent to: WhatsApp may spell the number of the same person in another way, and
    /// MoEngage knows only this one.
    pub(super) recipient: Option<Phone>,
    /// Labels and payloads; empty when the match is by person only.
    taps: Vec<(String, String)>,
    pub(super) accepted_at: UnixMs,
    /// Whether the provider took it or may have; else it is being asked to.
    reached: bool,
    /// Whether its outcome is still to be told.
    is_open: bool,
    /// Whether the reply names its id, which came with its receipt: so the person of the one is that of the
    /// other.
    pub(super) is_certain: bool,
    /// Whether its id was found by evidence.
    inferred: bool,
}

/// Messages that the person has, or may have: the provider took them or may have taken them, or is
/// being asked to, and a reply may overtake its answer.
const REACHED: &str = "(state IN (1, 2, 3) OR lost = 1)";
/// How many messages are looked through: the newest of a person, for the one that is answered; the
/// newest of all, for the last number that MoEngage named.
pub(super) const LOOKED_THROUGH: i64 = 1000;

const COLUMNS: &str = "SELECT id, channel, msg_id, body, taps, recipient, accepted_at,
    NOT (state = 1 AND lost = 0), state IN (0, 1, 3), inferred FROM message";

/// Finds it; `numbers` are those of the person who writes.
pub(super) fn find(
    conn: &Connection,
    here: &Here<'_>,
    reply: &Reply,
    numbers: &[Phone],
) -> Result<Option<Answered>> {
    if let Some(context) = &reply.context {
        let by_context = conn
            .prepare_cached(&format!(
                "{COLUMNS} WHERE account = ?1 AND provider_id = ?2"
            ))?
            .query_row((here.rules.account.as_str(), context.as_str()), |row| {
                damage::readable(read(row))
            })
            .optional()?
            .flatten();
        if let Some(message) = by_context {
            let is_certain = !message.inferred;
            return Ok(Some(Answered {
                is_certain,
                ..message
            }));
        }
        let in_doubt = tapped_in_doubt(conn, here, reply, numbers)?;
        if in_doubt.is_some() {
            return Ok(in_doubt);
        }
    }
    let mut latest: Option<Answered> = None;
    for number in numbers {
        let newest = latest_to(conn, here, *number)?;
        latest = latest
            .into_iter()
            .chain(newest)
            .max_by_key(|message| (message.reached, message.accepted_at, message.id));
    }
    // Without context it is free text, even when it reads like a label (B-33).
    Ok(latest.map(|message| Answered {
        taps: Vec::new(),
        ..message
    }))
}

/// The message of a person in doubt that has a button of this label: its id is not known yet, as a tap
/// may overtake the answer to the send. It must be the only one, and its outcome still open: what was
/// told long ago may be what was tapped, as may be what others sent, and nobody can tell.
fn tapped_in_doubt(
    conn: &Connection,
    here: &Here<'_>,
    reply: &Reply,
    numbers: &[Phone],
) -> Result<Option<Answered>> {
    let since = here.now.minus(here.rules.reply_window);
    let fits = |message: &Answered| {
        message.accepted_at >= since && kind(Some(message), &reply.text) != ReplyKind::Text
    };
    let mut fitting = Vec::new();
    for number in numbers {
        let in_doubt = in_doubt(conn, here, *number)?;
        // Beside these there may be some that were not looked at.
        if in_doubt.len() > MOST_INFERRED as usize {
            return Ok(None);
        }
        fitting.extend(in_doubt.into_iter().flatten().filter(fits));
    }
    let only = fitting.pop().filter(|message| message.is_open);
    Ok(only.filter(|_| fitting.is_empty()))
}

/// Messages to a number in doubt, one more than are looked at at most; nothing for one that cannot be read.
fn in_doubt(conn: &Connection, here: &Here<'_>, number: Phone) -> Result<Vec<Option<Answered>>> {
    // Each half by its own small index.
    let mut select = conn.prepare_cached(&format!(
        "{COLUMNS} WHERE (state = 1 OR state = 3 OR (state = 4 AND lost = 1))
           AND recipient = ?1 AND account = ?2
         UNION ALL
         {COLUMNS} WHERE (lost = 1 AND (state = 0 OR state = 2)) AND recipient = ?1 AND account = ?2
         LIMIT ?3"
    ))?;
    let params = (
        signed(number.number()),
        here.rules.account.as_str(),
        MOST_INFERRED + 1,
    );
    let rows = select.query_map(params, |row| damage::readable(read(row)))?;
    rows.collect()
}

/// The latest message to a number that the person has, or may have.
fn latest_to(conn: &Connection, here: &Here<'_>, number: Phone) -> Result<Option<Answered>> {
    let since = here.now.minus(here.rules.reply_window);
    conn.prepare_cached(&format!(
        "{COLUMNS} WHERE id =
           (SELECT id FROM (SELECT id, account, state, lost, accepted_at FROM message
                            WHERE recipient = ?1 ORDER BY id DESC LIMIT ?4)
            WHERE account = ?2 AND {REACHED} AND accepted_at >= ?3
            ORDER BY state = 1 AND lost = 0, accepted_at DESC, id DESC LIMIT 1)"
    ))?
    .query_row(
        (
            signed(number.number()),
            here.rules.account.as_str(),
            since.0,
            LOOKED_THROUGH,
        ),
        |row| damage::readable(read(row)),
    )
    .optional()
    .map(Option::flatten)
}

fn read(row: &Row<'_>) -> Result<Answered> {
    let taps: Option<String> = damage::readable(row.get(4))?.flatten();
    Ok(Answered {
        id: row.get(0)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        waba_number: sender(row, 3)?.unwrap_or_default(),
        recipient: damage::readable(columns::phone(row.get(5)?))?,
        // Without them a tap is told as a text.
        taps: taps
            .and_then(|taps| serde_json::from_str(&taps).ok())
            .unwrap_or_default(),
        accepted_at: UnixMs(damage::readable(row.get(6))?.unwrap_or_default()),
        reached: row.get(7)?,
        is_open: row.get(8)?,
        is_certain: false,
        // One that cannot be read teaches nothing.
        inferred: damage::readable(row.get(9))?.unwrap_or(true),
    })
}

/// A tap, where the text is the label of a button of the message.
pub(super) fn kind(answered: Option<&Answered>, text: &str) -> ReplyKind {
    let tap = answered.and_then(|message| {
        message
            .taps
            .iter()
            .find(|(label, _)| label.trim() == text.trim())
    });
    tap.map_or(ReplyKind::Text, |(_, payload)| ReplyKind::Button {
        payload: payload.clone(),
    })
}

/// The number that MoEngage named in the message of this row.
pub(super) fn sender(row: &Row<'_>, column: usize) -> Result<Option<String>> {
    let body = row.get_ref(column)?.as_bytes()?;
    let number = std::str::from_utf8(body).ok().and_then(row::sender);
    Ok(number.map(|number| number.as_written().to_owned()))
}
