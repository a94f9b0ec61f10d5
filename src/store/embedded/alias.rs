//! What else a person is called on an account: another number, the provider's user id (design.md section 13).
//!
//! Learnt only where the provider's id of a message says whose it is, one to one; a second name of one kind,
//! or a name of somebody else, is not linked, and counted. What hangs on a person is looked for under all
//! of their numbers; an opt-out is written under all, so that an accept need not look here.

use super::named::Named;
use super::opt_out::{self, Name};
use super::writer::Txn;
use super::{Store, answered, damage, settle, signed};
use crate::domain::{AccountId, Person, Phone, UserId};
use crate::store::StoreError;
use rusqlite::{Connection, OptionalExtension, Result, ToSql};
use std::collections::HashMap;

/// The kind of a name in its row.
pub(super) const NUMBER: i64 = 0;
pub(super) const USER: i64 = 1;

/// Which accounts know other numbers, and which user ids, as far as the writing thread knows: where there
/// are none, none is looked for. Nothing is known after a rollback.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<AccountId, (bool, bool)>);

impl Store {
    /// All numbers of the person of this one, those too that the account learnt.
    pub async fn numbers_of(
        &self,
        account: &AccountId,
        phone: Phone,
    ) -> std::result::Result<Vec<Phone>, StoreError> {
        let account = account.clone();
        self.read(move |conn| numbers_of(conn, &account, phone))
            .await
    }
}

/// The same, in a transaction.
pub(super) fn numbers(txn: &mut Txn<'_>, account: &AccountId, phone: Phone) -> Result<Vec<Phone>> {
    match known(txn, account)? {
        (true, _) => numbers_of(txn.conn, account, phone),
        (false, _) => Ok(Person::of(phone).numbers().collect()),
    }
}

/// The same, on any connection.
pub(super) fn numbers_of(
    conn: &Connection,
    account: &AccountId,
    phone: Phone,
) -> Result<Vec<Phone>> {
    let other = other(conn, account, phone)?;
    let people = [phone].into_iter().chain(other);
    Ok(people
        .flat_map(|phone| Person::of(phone).numbers())
        .collect())
}

/// What else the person of a number is called, as an event says that is certainly of this message to them. Answers
/// how many of these names are not linked.
pub(super) fn learn(
    txn: &mut Txn<'_>,
    account: &AccountId,
    to: Phone,
    message: i64,
    named: &Named<'_>,
) -> Result<u32> {
    let is_other = |number: &Phone| *number != to && Person::of(*number) != Person::of(to);
    let number = match named.number.filter(is_other) {
        Some(number) => is_linked(txn, account, to, message, number)?,
        None => true,
    };
    let user = match named.user {
        Some(user) => is_linked_user(txn, account, to, user)?,
        None => true,
    };
    Ok(u32::from(!number) + u32::from(!user))
}

/// Whether the two numbers are one person's from now on.
fn is_linked(
    txn: &mut Txn<'_>,
    account: &AccountId,
    to: Phone,
    message: i64,
    number: Phone,
) -> Result<bool> {
    let (person, other) = (Person::of(to), Person::of(number));
    for (one, of) in [(other, person), (person, other)] {
        let name = signed(one.key().number());
        match dialled(txn.conn, account, NUMBER, &name)? {
            Some(to) if Person::of(to) == of => return Ok(true),
            // Of somebody else.
            Some(_) => return Ok(false),
            None => {}
        }
    }
    let has = |kind, of: Person| has_name(txn.conn, account, kind, of);
    if has(NUMBER, person)? || has(NUMBER, other)? || is_sender(txn.conn, message, other)? {
        return Ok(false);
    }
    if has(USER, other)? {
        if has(USER, person)? {
            return Ok(false);
        }
        txn.conn
            .prepare_cached(
                "UPDATE alias SET person = ?3, dialled = ?4
                 WHERE account = ?1 AND kind = 1 AND person = ?2",
            )?
            .execute((
                account.as_str(),
                signed(other.key().number()),
                signed(person.key().number()),
                signed(to.number()),
            ))?;
    }
    let name = signed(other.key().number());
    insert(txn, account, NUMBER, &name, to)?;
    for one in person.numbers() {
        for other in other.numbers() {
            let (one, other) = (Name::Number(one), Name::Number(other));
            opt_out::copy(txn.conn, account, one, other)?;
            opt_out::copy(txn.conn, account, other, one)?;
        }
    }
    Ok(true)
}

/// Whether the user id is this person's from now on.
fn is_linked_user(
    txn: &mut Txn<'_>,
    account: &AccountId,
    to: Phone,
    user: &UserId,
) -> Result<bool> {
    let known_of = dialled(txn.conn, account, USER, &user.as_str())?;
    if known_of.is_some_and(|known| Person::of(known) == Person::of(to)) {
        return Ok(true);
    }
    // Of two numbers of one person, the one that the other is linked to.
    let key = signed(Person::of(to).key().number());
    let to = dialled(txn.conn, account, NUMBER, &key)?.unwrap_or(to);
    if let Some(known) = known_of {
        return Ok(Person::of(known) == Person::of(to));
    }
    if has_name(txn.conn, account, USER, Person::of(to))? {
        return Ok(false);
    }
    insert(txn, account, USER, &user.as_str(), to)?;
    for number in numbers(txn, account, to)? {
        opt_out::copy(txn.conn, account, Name::User(user), Name::Number(number))?;
    }
    opt_out::forget(txn.conn, account, Name::User(user))?;
    Ok(true)
}

fn insert(
    txn: &mut Txn<'_>,
    account: &AccountId,
    kind: i64,
    name: &dyn ToSql,
    to: Phone,
) -> Result<()> {
    txn.conn
        .prepare_cached(
            "INSERT INTO alias (account, kind, alias, person, dialled) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
        )?
        .execute((
            account.as_str(),
            kind,
            name,
            signed(Person::of(to).key().number()),
            signed(to.number()),
        ))?;
    txn.aliases.0.remove(account);
    Ok(())
}

/// Whether the account knows other numbers of anybody, and user ids.
pub(super) fn known(txn: &mut Txn<'_>, account: &AccountId) -> Result<(bool, bool)> {
    if let Some(known) = txn.aliases.0.get(account) {
        return Ok(*known);
    }
    let mut select = txn
        .conn
        .prepare_cached("SELECT 1 FROM alias WHERE account = ?1 AND kind = ?2 LIMIT 1")?;
    let mut any = |kind| select.exists((account.as_str(), kind));
    let known = (any(NUMBER)?, any(USER)?);
    txn.aliases.0.insert(account.clone(), known);
    Ok(known)
}

/// The number that was dialled of who has this name; nothing where it cannot be read.
pub(super) fn dialled(
    conn: &Connection,
    account: &AccountId,
    kind: i64,
    name: &dyn ToSql,
) -> Result<Option<Phone>> {
    conn.prepare_cached(
        "SELECT dialled FROM alias WHERE account = ?1 AND kind = ?2 AND alias = ?3",
    )?
    .query_row((account.as_str(), kind, name), |row| {
        damage::readable(row.get(0).and_then(settle::phone))
    })
    .optional()
    .map(Option::flatten)
}

/// The other number of a person, by either.
fn other(conn: &Connection, account: &AccountId, phone: Phone) -> Result<Option<Phone>> {
    let key = signed(Person::of(phone).key().number());
    conn.prepare_cached(
        "SELECT dialled FROM alias WHERE account = ?1 AND kind = 0 AND alias = ?2
         UNION ALL
         SELECT alias FROM alias WHERE account = ?1 AND kind = 0 AND person = ?2
         LIMIT 1",
    )?
    .query_row((account.as_str(), key), |row| {
        damage::readable(row.get(0).and_then(settle::phone))
    })
    .optional()
    .map(Option::flatten)
}

/// Whether a person has a name of a kind.
fn has_name(conn: &Connection, account: &AccountId, kind: i64, of: Person) -> Result<bool> {
    conn.prepare_cached("SELECT 1 FROM alias WHERE account = ?1 AND kind = ?2 AND person = ?3")?
        .exists((account.as_str(), kind, signed(of.key().number())))
}

/// Whether a message was sent from a number of this person: then they are the brand.
fn is_sender(conn: &Connection, message: i64, person: Person) -> Result<bool> {
    let sender = conn
        .prepare_cached("SELECT body FROM message WHERE id = ?1")?
        .query_row([message], |row| answered::sender(row, 0))
        .optional()?
        .flatten();
    let sender = sender.and_then(|number| Phone::parse(&number).ok());
    Ok(sender.is_some_and(|sender| Person::of(sender) == person))
}
