//! Small values that are written whole: tokens, template lists, settings made at run time.

use super::writer::Txn;
use super::{Store, damaged, unavailable};
use crate::domain::{AccountId, UnixMs};
use crate::store::{CachedTemplates, StoreError, StoredToken, listed};
use rusqlite::{Connection, OptionalExtension};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct TokenRow {
    access: Option<String>,
    refresh: String,
    obtained_at: i64,
    expires_at: i64,
    fence: u64,
    dead: Option<String>,
    seed: Option<String>,
}

/// Writes a value in the open transaction.
pub(super) fn put(conn: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT INTO kept (key, value) VALUES (?1, ?2)
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )?
    .execute((key, value))?;
    Ok(())
}

/// A write that says nothing.
pub(super) fn probe() -> impl FnMut(&mut Txn<'_>) -> rusqlite::Result<()> {
    // Another value each time: SQLite does not write what a row has already.
    let value = format!("{:016x}", fastrand::u64(..));
    move |txn| put(txn.conn, "probe", &value)
}

/// The tokens of a row.
pub(super) fn read_token(account: &AccountId, text: &str) -> Result<StoredToken, StoreError> {
    let row: TokenRow = serde_json::from_str(text)
        // Never the text itself: it holds the tokens.
        .map_err(|_| StoreError::Unreadable(format!("the tokens of account {account}")))?;
    Ok(StoredToken {
        access: row.access.map(SecretString::from),
        refresh: row.refresh.into(),
        obtained_at: UnixMs(row.obtained_at),
        expires_at: UnixMs(row.expires_at),
        fence: row.fence,
        dead: row.dead,
        seed: row.seed,
    })
}

impl Store {
    async fn get(&self, key: String) -> Result<Option<String>, StoreError> {
        self.read(move |conn| {
            conn.prepare_cached("SELECT value FROM kept WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()
        })
        .await
    }

    pub(super) async fn set(&self, key: String, value: Option<String>) -> Result<(), StoreError> {
        self.write(move |txn| match &value {
            Some(value) => put(txn.conn, &key, value),
            None => {
                txn.conn
                    .prepare_cached("DELETE FROM kept WHERE key = ?1")?
                    .execute([&key])?;
                Ok(())
            }
        })
        .await
    }

    /// The account's tokens.
    pub async fn load_token(&self, account: &AccountId) -> Result<Option<StoredToken>, StoreError> {
        let Some(text) = self.get(format!("token:{account}")).await? else {
            return Ok(None);
        };
        read_token(account, &text).map(Some)
    }

    /// Keeps the account's tokens, whole, unless what is kept is as new; says whether they are
    /// kept.
    pub async fn save_token(
        &self,
        account: &AccountId,
        token: &StoredToken,
    ) -> Result<bool, StoreError> {
        let row = TokenRow {
            access: token
                .access
                .as_ref()
                .map(|secret| secret.expose_secret().into()),
            refresh: token.refresh.expose_secret().into(),
            obtained_at: token.obtained_at.0,
            expires_at: token.expires_at.0,
            fence: token.fence,
            dead: token.dead.clone(),
            seed: token.seed.clone(),
        };
        let text = serde_json::to_string(&row).map_err(unavailable)?;
        let (key, fence) = (format!("token:{account}"), token.fence);
        self.write(move |txn| {
            let kept: Option<String> = txn
                .conn
                .prepare_cached("SELECT value FROM kept WHERE key = ?1")?
                .query_row([&key], |row| row.get(0))
                .optional()?;
            if let Some(kept) = kept.filter(|kept| *kept != text)
                && serde_json::from_str(&kept).is_ok_and(|kept: TokenRow| kept.fence >= fence)
            {
                return Ok(false);
            }
            put(txn.conn, &key, &text).map(|()| true)
        })
        .await
    }

    /// Forgets the account's tokens and its template list.
    pub async fn forget_account(&self, account: &AccountId) -> Result<(), StoreError> {
        self.set(format!("templates:{account}"), None).await?;
        self.set(format!("token:{account}"), None).await
    }

    /// The account's template list, as last fetched.
    pub async fn load_templates(
        &self,
        account: &AccountId,
    ) -> Result<Option<CachedTemplates>, StoreError> {
        let key = format!("templates:{account}");
        self.read(move |conn| {
            let text: Option<String> = conn
                .prepare_cached("SELECT value FROM kept WHERE key = ?1")?
                .query_row([key], |row| row.get(0))
                .optional()?;
            let Some(text) = text else { return Ok(None) };
            listed::read(&text).map(Some).map_err(damaged)
        })
        .await
    }

    /// Keeps the account's template list.
    pub async fn save_templates(
        &self,
        account: &AccountId,
        templates: &CachedTemplates,
    ) -> Result<(), StoreError> {
        let text = listed::write(templates).map_err(unavailable)?;
        self.set(format!("templates:{account}"), Some(text)).await
    }

    /// A setting made at run time: `paused:{channel}`, `pace:{account}`.
    pub async fn load_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.get(format!("runtime:{name}")).await
    }

    /// Keeps or forgets a setting made at run time.
    pub async fn save_setting(&self, name: &str, value: Option<String>) -> Result<(), StoreError> {
        self.set(format!("runtime:{name}"), value).await
    }

    /// Keeps a setting unless there is one; answers what is kept.
    pub async fn keep_setting(&self, name: &str, value: String) -> Result<String, StoreError> {
        let key = format!("runtime:{name}");
        self.write(move |txn| {
            txn.conn
                .prepare_cached(
                    "INSERT INTO kept (key, value) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET value = value RETURNING value",
                )?
                .query_row((&key, &value), |row| row.get(0))
        })
        .await
    }
}
