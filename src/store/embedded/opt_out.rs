//! Who does not want messages of a channel. 0.1.0 wrote an opt-out under one of a person's numbers
//! only, so all that can be computed are looked at. What else a person is called (`alias`) is not: an
//! opt-out is written under all of it, and copied when it is learnt.

use super::writer::Txn;
use super::{alias, signed};
use crate::domain::{AccountId, ChannelId, OptOut, Person, Phone, UnixMs, UserId};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql};

/// Under what an opt-out is written: a number, or the user id of one whose number nobody knows yet.
#[derive(Clone, Copy)]
pub(super) enum Name<'a> {
    Number(Phone),
    User(&'a UserId),
}

impl ToSql for Name<'_> {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        match self {
            Self::Number(number) => Ok(signed(number.number()).into()),
            Self::User(user) => user.as_str().to_sql(),
        }
    }
}

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

/// Whose opt-outs: of a channel, on its account.
pub(super) type Home<'a> = (&'a AccountId, &'a ChannelId);

/// The person opts out. Answers whether they had not yet.
pub(super) fn add(
    txn: &mut Txn<'_>,
    (account, channel): Home<'_>,
    name: Name<'_>,
    scope: OptOut,
    now: UnixMs,
) -> Result<bool> {
    let names = all_names(txn, account, name)?;
    let mut insert = txn.conn.prepare_cached(
        "INSERT INTO opt_out (account, channel, phone, scope, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO NOTHING",
    )?;
    let mut is_new = false;
    for name in names {
        let row = (
            account.as_str(),
            channel.as_str(),
            name,
            number(scope),
            now.0,
        );
        is_new |= insert.execute(row)? > 0;
    }
    Ok(is_new)
}

fn all_names<'a>(txn: &mut Txn<'_>, account: &AccountId, name: Name<'a>) -> Result<Vec<Name<'a>>> {
    match name {
        Name::User(_) => Ok(vec![name]),
        Name::Number(phone) => {
            let numbers = alias::numbers(txn, account, phone)?;
            Ok(numbers.into_iter().map(Name::Number).collect())
        }
    }
}

/// What is known of one name on an account holds for the other too. An older layout did not say of which account
/// an opt-out was; where no message of its channel did either, it may be of any.
pub(super) fn copy(
    conn: &Connection,
    account: &AccountId,
    from: Name<'_>,
    to: Name<'_>,
) -> Result<()> {
    conn.prepare_cached(
        "INSERT INTO opt_out (account, channel, phone, scope, at)
         SELECT account, channel, ?3, scope, at FROM opt_out
         WHERE account IN (?1, '') AND phone = ?2
         ON CONFLICT DO NOTHING",
    )?
    .execute((account.as_str(), from, to))
    .map(drop)
}

/// All that was written under a name stands under another.
pub(super) fn forget(conn: &Connection, account: &AccountId, name: Name<'_>) -> Result<()> {
    conn.prepare_cached("DELETE FROM opt_out WHERE account = ?1 AND phone = ?2")?
        .execute((account.as_str(), name))
        .map(drop)
}

/// The person wants messages again. Whoever stopped promotions by WhatsApp's own button
/// has them stopped there too, and no word that they write undoes that (DESIGN section 13).
pub(super) fn lift(txn: &mut Txn<'_>, (account, channel): Home<'_>, name: Name<'_>) -> Result<()> {
    let names = all_names(txn, account, name)?;
    let mut delete = txn
        .conn
        .prepare_cached("DELETE FROM opt_out WHERE channel = ?1 AND phone = ?2 AND scope <> 1")?;
    for name in names {
        delete.execute((channel.as_str(), name))?;
    }
    Ok(())
}
