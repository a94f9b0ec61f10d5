//! Who does not want messages of a channel. 0.1.0 wrote an opt-out under one of a person's numbers
//! only, so all of them are looked at.

use super::signed;
use crate::domain::{ChannelId, OptOut, Person, Phone, UnixMs};
use rusqlite::{Connection, OptionalExtension, Result, Row};

/// A scope in a row; the widest has the lowest number.
fn number(scope: OptOut) -> i64 {
    match scope {
        OptOut::All => 0,
        OptOut::Marketing => 1,
    }
}

/// What the person of this number does not want of this channel.
pub(super) fn of(conn: &Connection, channel: &ChannelId, phone: Phone) -> Result<Option<OptOut>> {
    let mut select = conn.prepare_cached(
        "SELECT scope FROM opt_out WHERE channel = ?1 AND phone = ?2 ORDER BY scope LIMIT 1",
    )?;
    // What cannot be read, too, was written for a person who opted out.
    let scope = |row: &Row<'_>| {
        let is_marketing = matches!(row.get_ref(0)?.as_i64(), Ok(1));
        Ok(if is_marketing {
            OptOut::Marketing
        } else {
            OptOut::All
        })
    };
    let mut found = None;
    for phone in Person::of(phone).numbers() {
        let params = (channel.as_str(), signed(phone.number()));
        let here = select.query_row(params, scope).optional()?;
        found = found.into_iter().chain(here).min();
    }
    Ok(found)
}

/// The person of this number opts out. Answers whether they had not yet.
pub(super) fn add(
    conn: &Connection,
    channel: &ChannelId,
    phone: Phone,
    scope: OptOut,
    now: UnixMs,
) -> Result<bool> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO opt_out (channel, phone, scope, at) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?;
    let mut is_new = false;
    for phone in Person::of(phone).numbers() {
        let phone = signed(phone.number());
        is_new |= insert.execute((channel.as_str(), phone, number(scope), now.0))? > 0;
    }
    Ok(is_new)
}

/// The person of this number wants messages again. Whoever stopped promotions by WhatsApp's own button
/// has them stopped there too, and no word that they write undoes that (DESIGN section 13).
pub(super) fn lift(conn: &Connection, channel: &ChannelId, phone: Phone) -> Result<()> {
    let mut delete = conn
        .prepare_cached("DELETE FROM opt_out WHERE channel = ?1 AND phone = ?2 AND scope <> 1")?;
    for phone in Person::of(phone).numbers() {
        delete.execute((channel.as_str(), signed(phone.number())))?;
    }
    Ok(())
}
