//! Names are linked (`alias`) only where the provider's id of a message says whose it is, one to one; a second name
//! of one kind, or a name of somebody else, is not linked, and counted.

use super::alias::{self, NUMBER, USER, dialled};
use super::named::Named;
use super::opt_out::{self, Name};
use super::writer::Txn;
use super::{answered, signed};
use crate::domain::{AccountId, Person, Phone, UserId};
use rusqlite::{Connection, OptionalExtension, Result, ToSql};

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
    for number in alias::numbers(txn, account, to)? {
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
