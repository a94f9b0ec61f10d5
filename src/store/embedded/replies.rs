//! Replies of people: matched to a message, opt-outs remembered, queued for MoEngage.

use super::events::{Here, keep_other};
use super::writer::Txn;
use super::{callbacks, channel_id, damage, damaged, settle, signed};
use crate::domain::{
    Callback, ChannelId, InboundEntry, Keyword, MsgId, Phone, Reply, ReplyKind, UnixMs,
};
use crate::store::seen::Mark;
use crate::store::{Folded, row};
use rusqlite::{Connection, OptionalExtension, Result, Row};

/// The message that a reply belongs to.
struct Answered {
    id: i64,
    channel: ChannelId,
    msg_id: MsgId,
    waba_number: String,
    /// Whom it was sent to, when the person answered that very message: WhatsApp may spell the
    /// number of the same person in another way.
    recipient: Option<Phone>,
    /// Labels and payloads; empty when the match is by person only.
    taps: Vec<(String, String)>,
    accepted_at: UnixMs,
}

/// Takes one reply.
pub(super) fn take(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    reply: &Reply,
    folded: &mut Folded,
) -> Result<()> {
    let mark = Mark::of(&here.rules.channel, reply);
    let keyword = here.rules.keywords.meaning(&reply.text);
    let repeated = seen_before(txn.conn, here, &mark)?;
    if repeated && !mark.counts_again(keyword) {
        folded.repeated_replies += 1;
        return Ok(());
    }
    let answered = answered(txn.conn, here, reply)?;
    let channel = answered
        .as_ref()
        .map_or(&here.rules.channel, |message| &message.channel)
        .clone();
    let from = answered
        .as_ref()
        .and_then(|message| message.recipient)
        .unwrap_or(reply.from);
    for spelling in [reply.from, from] {
        remember(txn.conn, &channel, spelling, keyword, here.now)?;
    }
    if repeated {
        folded.repeated_replies += 1;
        return Ok(());
    }
    match keyword {
        Some(Keyword::Stop) => folded.opted_out += 1,
        Some(Keyword::Start) => folded.opted_in += 1,
        None => {}
    }
    if answered.is_none() && keyword.is_none() && !here.rules.relay_unmatched {
        folded.unmatched_replies += 1;
        return keep_other(txn, here, "unmatched_reply", &reply.text);
    }
    let accepted_at = answered.as_ref().map(|message| message.accepted_at);
    let entry = Callback::Inbound(InboundEntry {
        from,
        waba_number: match &answered {
            Some(message) => message.waba_number.clone(),
            None => own_number(txn.conn, here)?,
        },
        at: here.believed(reply.at, accepted_at.unwrap_or_default(), folded),
        kind: kind(answered.as_ref(), &reply.text),
        text: reply.text.clone(),
        msg_id: answered.as_ref().map(|message| message.msg_id.clone()),
    });
    let message = answered.map(|message| message.id);
    callbacks::note(
        txn,
        message,
        here.now,
        "reply",
        &format!("from {}", reply.from),
    )?;
    callbacks::enqueue(txn, &channel, message, &entry, here.now)?;
    folded.replies += 1;
    folded.ring.push(channel);
    Ok(())
}

fn seen_before(conn: &Connection, here: &Here<'_>, mark: &Mark) -> Result<bool> {
    let fresh = conn
        .prepare_cached(
            "INSERT INTO reply_seen (account, id, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET at = ?3 WHERE abs(at - ?3) > ?4",
        )?
        .execute((
            here.rules.account.as_str(),
            &mark.name,
            here.now.0,
            mark.life_ms.unwrap_or(i64::MAX),
        ))?;
    Ok(fresh == 0)
}

fn remember(
    conn: &Connection,
    channel: &ChannelId,
    phone: Phone,
    keyword: Option<Keyword>,
    now: UnixMs,
) -> Result<()> {
    let (channel, phone) = (channel.as_str(), signed(phone.number()));
    match keyword {
        Some(Keyword::Stop) => conn
            .prepare_cached(
                "INSERT INTO opt_out (channel, phone, at) VALUES (?1, ?2, ?3)
                 ON CONFLICT DO NOTHING",
            )?
            .execute((channel, phone, now.0))?,
        Some(Keyword::Start) => conn
            .prepare_cached("DELETE FROM opt_out WHERE channel = ?1 AND phone = ?2")?
            .execute((channel, phone))?,
        None => 0,
    };
    Ok(())
}

/// Messages that the person has, or may have: the provider took them or may have taken them, or is
/// being asked to, and a reply may overtake its answer.
const REACHED: &str = "(state IN (1, 2, 3) OR lost = 1)";
/// How many messages are looked through: the newest of a person, for the one that is answered; the
/// newest of all, for the last number that MoEngage named.
const LOOKED_THROUGH: i64 = 1000;

const COLUMNS: &str = "SELECT id, channel, msg_id, body, taps, recipient, accepted_at FROM message";

fn answered(conn: &Connection, here: &Here<'_>, reply: &Reply) -> Result<Option<Answered>> {
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
        if by_context.is_some() {
            return Ok(by_context);
        }
        let in_doubt = tapped_in_doubt(conn, here, reply)?;
        if in_doubt.is_some() {
            return Ok(in_doubt);
        }
    }
    let since = here.now.minus(here.rules.reply_window);
    let latest = conn
        .prepare_cached(&format!(
            "{COLUMNS} WHERE id =
               (SELECT id FROM (SELECT id, account, state, lost, accepted_at FROM message
                                WHERE recipient = ?1 ORDER BY id DESC LIMIT ?4)
                WHERE account = ?2 AND {REACHED} AND accepted_at >= ?3
                ORDER BY state = 1 AND lost = 0, accepted_at DESC, id DESC LIMIT 1)"
        ))?
        .query_row(
            (
                signed(reply.from.number()),
                here.rules.account.as_str(),
                since.0,
                LOOKED_THROUGH,
            ),
            |row| damage::readable(read(row)),
        )
        .optional()?
        .flatten();
    // Without context it is free text, even when it reads like a label (B-33).
    Ok(latest.map(|message| Answered {
        taps: Vec::new(),
        recipient: None,
        ..message
    }))
}

/// The message of a person in doubt that has a button of this label, the newest where several have: its
/// id is not known yet, as a tap may overtake the answer to the send.
fn tapped_in_doubt(conn: &Connection, here: &Here<'_>, reply: &Reply) -> Result<Option<Answered>> {
    let since = here.now.minus(here.rules.reply_window);
    let mut select = conn.prepare_cached(&format!(
        "{COLUMNS} WHERE id IN
           (SELECT id FROM (SELECT id, account, state, lost, accepted_at FROM message
                            WHERE recipient = ?1 ORDER BY id DESC LIMIT ?4)
            WHERE account = ?2 AND (state IN (1, 3) OR lost = 1) AND accepted_at >= ?3)
         ORDER BY accepted_at DESC, id DESC"
    ))?;
    let params = (
        signed(reply.from.number()),
        here.rules.account.as_str(),
        since.0,
        LOOKED_THROUGH,
    );
    let rows = select.query_map(params, |row| damage::readable(read(row)))?;
    for message in rows {
        let message = message?;
        if kind(message.as_ref(), &reply.text) != ReplyKind::Text {
            return Ok(message);
        }
    }
    Ok(None)
}

fn read(row: &Row<'_>) -> Result<Answered> {
    let taps: Option<String> = damage::readable(row.get(4))?.flatten();
    Ok(Answered {
        id: row.get(0)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        waba_number: sender(row, 3)?.unwrap_or_default(),
        recipient: damage::readable(settle::phone(row.get(5)?))?,
        // Without them a tap is told as a text.
        taps: taps
            .and_then(|taps| serde_json::from_str(&taps).ok())
            .unwrap_or_default(),
        accepted_at: UnixMs(damage::readable(row.get(6))?.unwrap_or_default()),
    })
}

fn kind(answered: Option<&Answered>, text: &str) -> ReplyKind {
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

/// The number that a reply without a message was sent to: the configured one, else the last one
/// that MoEngage named on this channel, else one that it named long ago.
fn own_number(conn: &Connection, here: &Here<'_>) -> Result<String> {
    if let Some(number) = &here.rules.waba_number {
        return Ok(number.as_written().into());
    }
    let channel = here.rules.channel.as_str();
    let mut newest =
        conn.prepare_cached("SELECT channel, body FROM message ORDER BY id DESC LIMIT ?1")?;
    let mut rows = newest.query([LOOKED_THROUGH])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(0)?.as_bytes()? == channel.as_bytes()
            && let Some(number) = sender(row, 1)?
        {
            return Ok(number);
        }
    }
    let any = conn
        .prepare_cached("SELECT body FROM message WHERE channel = ?1 LIMIT 1")?
        .query_row([channel], |row| sender(row, 0))
        .optional()?;
    Ok(any.flatten().unwrap_or_default())
}

/// The number that MoEngage named in the message of this row.
fn sender(row: &Row<'_>, column: usize) -> Result<Option<String>> {
    let body = row.get_ref(column)?.as_bytes()?;
    let number = std::str::from_utf8(body).ok().and_then(row::sender);
    Ok(number.map(|number| number.as_written().to_owned()))
}
