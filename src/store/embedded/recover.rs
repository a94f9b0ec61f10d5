//! What a start makes of the sends that the last process did not end.

use super::settle::Loss;
use super::writer::Txn;
use super::{Store, damage, evidence, found, settle};
use crate::domain::{AccountId, State, UnixMs, Writer};
use crate::store::{Folded, StoreError};
use rusqlite::Result;

/// What an account was sending.
const ATTEMPTING: &str = "state = 1 AND account = ?1";

impl Store {
    /// What was being sent when the process ended is unknown now, unless an event that came before
    /// the end proves it. Called once at start, before anything is claimed; returns how many there
    /// were.
    pub async fn recover(
        &self,
        account: &AccountId,
        until: UnixMs,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        let account = account.clone();
        self.write(move |txn| {
            let found = found::find_where(txn.conn, ATTEMPTING, [account.as_str()])?;
            let loss = Loss {
                writer: Writer::Successor,
                until,
                answer: "the process ended during the attempt",
            };
            for message in &found {
                settle::mark_unknown(txn, message, &loss, now)?;
            }
            // Only when all are marked: two to the same person prove nothing. Whom it concerns need
            // not be told, since at start every relay looks for itself.
            let mut folded = Folded::default();
            for message in &found {
                evidence::infer_receipt(txn, message.id, now, &mut folded)?;
            }
            // What is left could not be read.
            for id in ids_where(txn, ATTEMPTING, account.as_str())? {
                damage::set_aside(txn, id, State::Attempting, now)?;
            }
            Ok(found.len())
        })
        .await
    }
}

fn ids_where(txn: &Txn<'_>, condition: &str, account: &str) -> Result<Vec<i64>> {
    let mut select = txn
        .conn
        .prepare_cached(&format!("SELECT id FROM message WHERE {condition}"))?;
    select.query_map([account], |row| row.get(0))?.collect()
}
