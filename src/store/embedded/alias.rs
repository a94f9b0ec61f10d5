//! What else a person is called on an account: another number, the provider's user id (design.md section 13).
//!
//! Learnt in `link`. What hangs on a person is looked for under all of their numbers; an opt-out is written under
//! all, so that an accept need not look here.

use super::writer::Txn;
use super::{Store, columns, damage, signed};
use crate::domain::{AccountId, Person, Phone};
use crate::store::StoreError;
use rusqlite::{Connection, OptionalExtension, Result, ToSql};

/// The kind of a name in its row.
pub(super) const NUMBER: i64 = 0;
pub(super) const USER: i64 = 1;

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
        damage::readable(row.get(0).and_then(columns::phone))
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
        damage::readable(row.get(0).and_then(columns::phone))
    })
    .optional()
    .map(Option::flatten)
}
