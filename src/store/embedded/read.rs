//! Answers to "what happened to this message?".

use super::{Store, channel_id, columns, damaged, signed};
use crate::domain::proof::LastProof;
use crate::domain::{AccountId, ChannelId, MsgId, State, UnixMs};
use crate::store::{Record, Search, StoreError, row};
use rusqlite::{Connection, Result, Row, ToSql, params};

/// What a record is read from.
pub(super) const COLUMNS: &str = "id, channel, account, msg_id, recipient, state, due, accepted_at,
     attempts, provider_id, inferred, body, history, conversation, progress, proof";

impl Store {
    /// The newest messages that fit, at most `most`.
    pub async fn find(&self, search: Search, most: usize) -> Result<Vec<Record>, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.read(move |conn| {
            // The columns of an index, so that each search is a look-up.
            let (condition, keys): (_, Vec<Box<dyn ToSql>>) = match search {
                Search::MsgId(channel, id) => (
                    "channel = ?2 AND msg_id = ?3",
                    vec![text(channel.as_str()), text(&id)],
                ),
                Search::ProviderId(account, id) => (
                    "account = ?2 AND provider_id = ?3",
                    vec![text(account.as_str()), text(&id)],
                ),
                Search::Phone(phone) => ("recipient = ?2", vec![Box::new(signed(phone.number()))]),
            };
            let sql = format!(
                "SELECT {COLUMNS} FROM message WHERE {condition} ORDER BY id DESC LIMIT ?1"
            );
            let params = std::iter::once(Box::new(most) as Box<dyn ToSql>).chain(keys);
            let mut select = conn.prepare_cached(&sql)?;
            let params = rusqlite::params_from_iter(params);
            let rows = select.query_map(params, |row| Ok(record(conn, row)))?;
            let (found, damaged): (Vec<_>, Vec<_>) = rows
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .partition(Result::is_ok);
            // One that cannot be read hides no other.
            let shown = if found.is_empty() { damaged } else { found };
            shown.into_iter().collect()
        })
        .await
    }

    /// Counts of rows by state, to check the ledger against (design.md G2): queued, attempting,
    /// unknown.
    pub async fn count_open(&self) -> Result<[i64; 3], StoreError> {
        self.read(|conn| {
            // One statement sees one moment.
            let sql = "SELECT
                (SELECT count(*) FROM message WHERE state = 0 AND attempts = 0)
                  + (SELECT count(*) FROM message WHERE state = 0 AND attempts <> 0),
                (SELECT count(*) FROM message WHERE state = 1),
                (SELECT count(*) FROM message WHERE state = 3)";
            conn.query_row(sql, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))
        })
        .await
    }
}

/// More than so many that come first are not counted: of those never tried, whose index is enough, and
/// of those tried before.
const MOST_AHEAD: (i64, i64) = (1_000_000, 100_000);

impl Store {
    /// How many queued messages of a channel are due before `due`, those that were put aside apart;
    /// no more are counted than 1,100,000.
    pub async fn ahead(&self, channel: &ChannelId, due: UnixMs) -> Result<u64, StoreError> {
        let channel = channel.clone();
        self.read(move |conn| {
            let sql = "SELECT
                (SELECT count(*) FROM (SELECT 1 FROM message WHERE channel = ?1 AND state = 0
                    AND attempts = 0 AND due < ?2 LIMIT ?3))
                + (SELECT count(*) FROM (SELECT 1 FROM message WHERE channel = ?1 AND state = 0
                    AND attempts <> 0 AND aside = 0 AND due < ?2 LIMIT ?4))";
            let (fresh, tried) = MOST_AHEAD;
            let values = params![channel.as_str(), due.0, fresh, tried];
            conn.query_row(sql, values, |row| row.get::<_, i64>(0))
        })
        .await
        .map(i64::unsigned_abs)
    }
}

fn text(value: &str) -> Box<dyn ToSql> {
    Box::new(value.to_owned())
}

/// The record of a row of [`COLUMNS`].
pub(super) fn record(conn: &Connection, row: &Row<'_>) -> Result<Record> {
    let id: i64 = row.get(0)?;
    let state = columns::state(row.get(5)?)?;
    let msg_id = MsgId::parse(row.get_ref(3)?.as_str()?).map_err(damaged)?;
    let to = columns::phone(row.get(4)?)?;
    let message = row::read_message(msg_id, to, row.get_ref(11)?.as_str()?).map_err(damaged)?;
    let waits = matches!(state, State::Queued | State::Unknown);
    Ok(Record {
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        account: AccountId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        message,
        state,
        due: if waits {
            Some(UnixMs(row.get(6)?))
        } else {
            None
        },
        accepted_at: UnixMs(row.get(7)?),
        attempts: row.get(8)?,
        provider_id: row.get(9)?,
        conversation: row.get(13)?,
        status: columns::progress(row.get(14)?).status(),
        inferred: row.get(10)?,
        proof: LastProof::from_number(row.get(15)?),
        history: row::read_history(row.get_ref(12)?.as_str()?),
        callbacks: open_callbacks(conn, id)?,
    })
}

fn open_callbacks(conn: &Connection, message: i64) -> Result<Vec<String>> {
    let mut select = conn.prepare_cached(
        "SELECT body, ready, tries, reason, id FROM callback
         WHERE lane = 0 AND ord = ?1 AND ready < 2
         UNION ALL
         SELECT body, ready, tries, reason, id FROM callback
         WHERE lane = 0 AND ord = ?1 AND ready = 2
         ORDER BY id",
    )?;
    let rows = select.query_map([message], |row| {
        let words = row::spoken(&String::from_utf8_lossy(row.get_ref(0)?.as_bytes()?));
        let (ready, tries): (i64, u32) = (row.get(1)?, row.get(2)?);
        let reason: Option<String> = row.get(3)?;
        Ok(match ready {
            2 => format!("{words}: given up, {}", reason.unwrap_or_default()),
            1 => format!("{words}: waits for MoEngage, {}", row::attempts(tries)),
            _ => format!("{words}: waits for the one before it"),
        })
    })?;
    rows.collect()
}
