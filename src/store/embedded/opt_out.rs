//! Who does not want messages of a channel; who wants them again is kept too, so that the last word counts where
//! two stores are put together. 0.1.0 wrote an opt-out under one of a person's numbers
//! only, so all that can be computed are looked at. What else a person is called (`alias`) is not: an
//! opt-out is written under all of it, and copied when it is learnt.

use super::writer::Txn;
use super::{alias, signed};
use crate::domain::{AccountId, ChannelId, OptOut, Person, Phone, Source, UnixMs, UserId};
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
pub(super) fn number(scope: OptOut) -> i64 {
    match scope {
        OptOut::All => 0,
        OptOut::Marketing => 1,
    }
}

/// What the person of this number does not want of this channel.
pub(super) fn of(conn: &Connection, channel: &ChannelId, phone: Phone) -> Result<Option<OptOut>> {
    let mut select = conn.prepare_cached(
        "SELECT scope FROM opt_out WHERE channel = ?1 AND phone = ?2 AND is_out <> 0 ORDER BY scope LIMIT 1",
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
#[derive(Clone, Copy)]
pub(super) struct Home<'a> {
    /// The account.
    pub(super) account: &'a AccountId,
    /// The channel.
    pub(super) channel: &'a ChannelId,
}

/// What a person says who opts out.
pub(super) struct Stop<'a> {
    /// What they do not want.
    pub(super) scope: OptOut,
    /// When they said it.
    pub(super) at: UnixMs,
    /// In which way.
    pub(super) source: &'a str,
}

/// The person opts out. Answers whether they had not yet.
pub(super) fn add(
    txn: &mut Txn<'_>,
    Home { account, channel }: Home<'_>,
    name: Name<'_>,
    stop: &Stop<'_>,
) -> Result<bool> {
    let names = all_names(txn, account, name)?;
    // What is said later is later, whatever the clock says.
    let mut insert = txn.conn.prepare_cached(
        "INSERT INTO opt_out (account, channel, phone, scope, at, is_out, source, due)
         VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, 0)
         ON CONFLICT DO UPDATE SET is_out = 1, at = max(?5, at + 1), source = ?6, due = 0",
    )?;
    let mut is_out = txn.conn.prepare_cached(
        "SELECT 1 FROM opt_out WHERE channel = ?1 AND phone = ?2 AND scope = ?3 AND is_out <> 0",
    )?;
    let mut is_new = false;
    for name in names {
        let row = (
            account.as_str(),
            channel.as_str(),
            name,
            number(stop.scope),
            stop.at.0,
            stop.source,
        );
        is_new |= !is_out.exists((row.1, row.2, row.3))?;
        insert.execute(row)?;
    }
    Ok(is_new)
}

/// The same, as the provider says of a message: the person stopped promotions.
pub(super) fn by_status(txn: &mut Txn<'_>, home: Home<'_>, to: Phone, now: UnixMs) -> Result<bool> {
    let stop = Stop {
        scope: OptOut::Marketing,
        at: now,
        source: Source::STATUS,
    };
    add(txn, home, Name::Number(to), &stop)
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
        "INSERT INTO opt_out (account, channel, phone, scope, at, is_out, source, due)
         SELECT account, channel, ?3, scope, at, 1, source, 0 FROM opt_out
         WHERE account IN (?1, '') AND phone = ?2 AND is_out <> 0
         ON CONFLICT DO UPDATE SET is_out = 1, at = max(excluded.at, at + 1), source = excluded.source, due = 0
         WHERE is_out = 0",
    )?
    .execute((account.as_str(), from, to))
    .map(drop)
}

/// All that was written under a name stands under another.
pub(super) fn forget(conn: &Connection, account: &AccountId, name: Name<'_>) -> Result<()> {
    conn.prepare_cached(
        "UPDATE opt_out SET is_out = 0, at = at + 1, due = 0
         WHERE account = ?1 AND phone = ?2 AND is_out <> 0",
    )?
    .execute((account.as_str(), name))
    .map(drop)
}

/// The person wants messages again. Whoever stopped promotions by WhatsApp's own button
/// has them stopped there too, and no word that they write undoes that (design.md section 13). It is kept also where
/// nobody is opted out here: they may be where this is put together with another store.
pub(super) fn lift(
    txn: &mut Txn<'_>,
    Home { account, channel }: Home<'_>,
    name: Name<'_>,
    now: UnixMs,
) -> Result<()> {
    let names = all_names(txn, account, name)?;
    // A scope that no program writes was read as all.
    let mut delete = txn.conn.prepare_cached(
        "DELETE FROM opt_out WHERE channel = ?1 AND phone = ?2 AND scope NOT IN (0, 1)",
    )?;
    let mut lift = txn.conn.prepare_cached(
        "INSERT INTO opt_out (account, channel, phone, scope, at, is_out, source, due)
         VALUES (?1, ?2, ?3, 0, ?4, 0, ?5, 0)
         ON CONFLICT DO UPDATE SET is_out = 0, at = max(?4, at + 1), source = ?5, due = 0",
    )?;
    for name in names {
        delete.execute((channel.as_str(), name))?;
        lift.execute((
            account.as_str(),
            channel.as_str(),
            name,
            now.0,
            Source::REPLY,
        ))?;
    }
    Ok(())
}
