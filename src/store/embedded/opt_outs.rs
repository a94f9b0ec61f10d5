//! The list of who opted out: shown, put together with another, and owed to Datastore.

use super::writer::Txn;
use super::{Store, alias, columns, damage, opt_out, signed};
use crate::domain::{
    AccountId, ChannelId, OptOut, OptOutEntry, OptOutName, Source, UnixMs, UserId,
};
use crate::store::opt_outs::HIDDEN;
use crate::store::{Entrance, Page, StoreError};
use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Result, Row};

impl Store {
    /// A part of the list of a channel.
    pub async fn opt_outs(
        &self,
        channel: &ChannelId,
        from: u64,
        most: u64,
    ) -> std::result::Result<Page, StoreError> {
        let channel = channel.clone();
        self.read(move |conn| {
            let mut select = conn.prepare_cached(
                "SELECT phone, scope, is_out, at, source FROM opt_out WHERE channel = ?1
                 ORDER BY phone, scope LIMIT ?2 OFFSET ?3",
            )?;
            let params = (channel.as_str(), signed(most), signed(from));
            let rows = select.query_map(params, |row| entry(&channel, row))?;
            let (mut looked, mut page) = (0, Page::default());
            for row in rows {
                looked += 1;
                page.entries.extend(row?.filter(|entry| entry.is_out));
            }
            page.next = (looked == most).then_some(from + most);
            Ok(page)
        })
        .await
    }

    /// Takes what was said.
    pub async fn take_opt_outs(
        &self,
        account: &AccountId,
        entrance: Entrance,
        entries: Vec<OptOutEntry>,
    ) -> std::result::Result<usize, StoreError> {
        let account = account.clone();
        self.write(move |txn| {
            let mut changed = 0;
            for one in &entries {
                changed += usize::from(take_all(txn, &account, entrance, one)?);
            }
            Ok(changed)
        })
        .await
    }

    /// What Datastore does not have.
    pub async fn owed_opt_outs(
        &self,
        channels: &[ChannelId],
        most: u64,
        now: UnixMs,
    ) -> std::result::Result<Vec<OptOutEntry>, StoreError> {
        let channels = channels.to_vec();
        let owed = self
            .read(move |conn| {
                let mut select = conn.prepare_cached(
                    "SELECT phone, scope, is_out, at, source FROM opt_out
                     WHERE channel = ?1 AND due <= ?2 ORDER BY due LIMIT ?3",
                )?;
                let mut owed = Vec::new();
                for channel in &channels {
                    let room = most.saturating_sub(owed.len() as u64);
                    let params = (channel.as_str(), now.0, signed(room));
                    for row in select.query_map(params, |row| entry(channel, row))? {
                        owed.extend(row?);
                    }
                }
                Ok(owed)
            })
            .await?;
        let hidden = owed.clone();
        if !hidden.is_empty() {
            self.write(move |txn| owe(txn, &hidden, Some(now.plus(HIDDEN).0)))
                .await?;
        }
        Ok(owed)
    }

    /// Datastore is owed all of a channel.
    pub async fn owe_opt_outs(&self, channel: &ChannelId) -> std::result::Result<(), StoreError> {
        let channel = channel.clone();
        self.write(move |txn| {
            txn.conn
                .prepare_cached("UPDATE opt_out SET due = 0 WHERE channel = ?1")?
                .execute([channel.as_str()])
                .map(drop)
        })
        .await
    }

    /// Datastore has these.
    pub async fn opt_outs_kept(
        &self,
        entries: Vec<OptOutEntry>,
    ) -> std::result::Result<(), StoreError> {
        self.write(move |txn| owe(txn, &entries, None)).await
    }
}

/// When Datastore is to be told of these, as far as they stand as they were; nothing: it has them.
fn owe(txn: &Txn<'_>, entries: &[OptOutEntry], due: Option<i64>) -> Result<()> {
    let mut update = txn.conn.prepare_cached(
        "UPDATE opt_out SET due = ?4 WHERE channel = ?1 AND phone = ?2 AND scope = ?3 AND at = ?5 AND is_out = ?6",
    )?;
    for one in entries {
        update.execute((
            one.channel.as_str(),
            named(&one.name),
            opt_out::number(one.scope),
            due,
            one.at.0,
            one.is_out,
        ))?;
    }
    Ok(())
}

/// The same under all that the person is called. A user id of which the number is known is of no use any more.
fn take_all(
    txn: &mut Txn<'_>,
    account: &AccountId,
    entrance: Entrance,
    entry: &OptOutEntry,
) -> Result<bool> {
    let number = match &entry.name {
        OptOutName::Number(number) => Some(*number),
        OptOutName::User(user) => alias::dialled(txn.conn, account, alias::USER, &user.as_str())?,
    };
    let Some(number) = number else {
        return take(txn, account, entrance, entry);
    };
    let mut changed = false;
    for number in alias::numbers(txn, account, number)? {
        let name = OptOutName::Number(number);
        // Of a name that Datastore does not have, it is owed it.
        let entrance = match entrance {
            Entrance::Merge if name != entry.name => Entrance::Import,
            entrance => entrance,
        };
        let entry = OptOutEntry {
            name,
            ..entry.clone()
        };
        changed |= take(txn, account, entrance, &entry)?;
    }
    Ok(changed)
}

/// Whether it changed what the person wants.
fn take(
    txn: &Txn<'_>,
    account: &AccountId,
    entrance: Entrance,
    entry: &OptOutEntry,
) -> Result<bool> {
    let key = (
        entry.channel.as_str(),
        named(&entry.name),
        opt_out::number(entry.scope),
    );
    let kept: Option<(bool, UnixMs)> = txn
        .conn
        .prepare_cached(
            "SELECT is_out, at FROM opt_out WHERE channel = ?1 AND phone = ?2 AND scope = ?3",
        )?
        .query_row(key, |row| {
            Ok((row.get::<_, i64>(0)? != 0, UnixMs(row.get(1)?)))
        })
        .optional()?;
    let differs = kept.map_or(entry.is_out, |(is_out, _)| is_out != entry.is_out);
    let at = match (entrance, kept) {
        (Entrance::Now, Some((_, at))) => entry.at.max(UnixMs(at.0 + 1)),
        (_, Some(kept)) if !entry.prevails(kept.0, kept.1) => {
            if entrance == Entrance::Merge && (differs || kept.1 != entry.at) {
                let mut owe = txn.conn.prepare_cached(
                    "UPDATE opt_out SET due = 0 WHERE channel = ?1 AND phone = ?2 AND scope = ?3",
                )?;
                owe.execute(key)?;
            }
            return Ok(false);
        }
        _ => entry.at,
    };
    let due = (entrance != Entrance::Merge).then_some(0);
    let row = (
        account.as_str(),
        key.0,
        key.1,
        key.2,
        at.0,
        entry.is_out,
        entry.source.as_str(),
        due,
    );
    txn.conn
        .prepare_cached(
            "INSERT INTO opt_out (account, channel, phone, scope, at, is_out, source, due)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET at = ?5, is_out = ?6, source = ?7, due = ?8",
        )?
        .execute(row)?;
    Ok(differs)
}

fn named(name: &OptOutName) -> opt_out::Name<'_> {
    match name {
        OptOutName::Number(number) => opt_out::Name::Number(*number),
        OptOutName::User(user) => opt_out::Name::User(user),
    }
}

/// A row: name, scope, whether out, when, how. Nothing where the name cannot be read.
fn entry(channel: &ChannelId, row: &Row<'_>) -> Result<Option<OptOutEntry>> {
    let name = match row.get_ref(0)? {
        ValueRef::Text(text) => {
            let text = str::from_utf8(text).ok();
            text.and_then(UserId::parse).map(OptOutName::User)
        }
        _ => damage::readable(row.get(0).and_then(columns::phone))?.map(OptOutName::Number),
    };
    let Some(name) = name else { return Ok(None) };
    Ok(Some(OptOutEntry {
        channel: channel.clone(),
        name,
        // What cannot be read was written for a person who opted out.
        scope: match row.get_ref(1)?.as_i64() {
            Ok(1) => OptOut::Marketing,
            _ => OptOut::All,
        },
        is_out: row.get_ref(2)?.as_i64() != Ok(0),
        at: UnixMs(damage::readable(row.get(3))?.unwrap_or_default()),
        source: Source::kept(row.get_ref(4)?.as_str().unwrap_or_default()),
    }))
}
