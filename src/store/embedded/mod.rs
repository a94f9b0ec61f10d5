//! The embedded store: one SQLite file in the data directory.
//!
//! One thread writes, with group commit; a few read-only connections answer questions. A lock file
//! keeps a second process out. Leases live in memory, because there is one process only: after a
//! restart what was being sent is unknown, and what was being relayed is due again.

mod accept;
mod adopt;
mod alias;
mod answered;
mod back;
mod cache;
mod callbacks;
mod claim;
mod columns;
mod crowd;
mod damage;
mod disk;
mod early;
mod events;
mod evidence;
mod fold;
mod found;
#[cfg(any(test, fuzzing))]
pub(in crate::store) mod fuzz;
mod here;
mod history;
mod ledger;
mod link;
mod named;
mod opt_out;
mod opt_outs;
mod read;
mod records;
mod recover;
mod replies;
mod retention;
mod schema;
mod settings;
mod settle;
mod sweep;
mod taken;
#[cfg(test)]
mod tests;
mod trial;
mod writer;

pub(in crate::store) use disk::make_dir;
pub use disk::{owner, room, unsafe_because};

use super::{Ledger, StoreError};
use crate::domain::ChannelId;
use disk::Disk;
use ledger::Totals;
use rusqlite::{Connection, OpenFlags};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use taken::Taken;
use writer::{Txn, Writer};

/// Connections that answer questions; more would only wait for the processors.
const READERS: usize = 2;
/// Statements that each keeps prepared, and the writer; more than there are.
const READER_STATEMENTS: usize = 48;
const WRITER_STATEMENTS: usize = 128;

/// Where and how the embedded store keeps its file.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The directory; made when it is missing.
    pub data_dir: PathBuf,
    /// Bytes that must be free for new messages to be accepted: on the disk or in the file.
    pub min_free: u64,
    /// Whether every change of a message is marked for Datastore.
    pub mark_dirty: bool,
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Writer,
    /// Read-only connections; each question takes one for its duration.
    readers: Mutex<Vec<Connection>>,
    totals: Totals,
    disk: Disk,
    path: PathBuf,
    /// Whether changes are marked for Datastore.
    mark_dirty: bool,
    /// Callbacks handed to the relay and not yet settled: the leases of this one process.
    taken: Mutex<Taken>,
    /// Accounts about which an operator is to decide.
    backs: back::Backs,
    /// Held as long as the store lives; the lock ends with the process, however it ends.
    _lock: File,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("path", &self.shared.path)
            .finish_non_exhaustive()
    }
}

fn unavailable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl Store {
    /// Opens the store, making directory and file when they are missing.
    pub fn open(settings: &Settings) -> Result<Self, StoreError> {
        let dir = &settings.data_dir;
        let in_dir =
            |error: std::io::Error| unavailable(format!("DATA_DIR {}: {error}", dir.display()));
        disk::make_dir(dir).map_err(in_dir)?;
        let lock = disk::lock(dir)?;
        let path = dir.join("gateway.db");
        disk::make_private(&path).map_err(in_dir)?;
        let conn = Connection::open(&path).map_err(unavailable)?;
        schema::set_up(&conn).map_err(|error| {
            unavailable(format!(
                "{} cannot be set to durable writes: {error}",
                path.display()
            ))
        })?;
        schema::create(&conn).map_err(|error| layout_fault(&path, error))?;
        if settings.mark_dirty {
            schema::mark_changes(&conn).map_err(unavailable)?;
        }
        conn.set_prepared_statement_cache_capacity(WRITER_STATEMENTS);
        callbacks::all_due(&conn).map_err(unavailable)?;
        let totals = Totals::load(&conn).map_err(unavailable)?;
        let backs = back::Backs::load(&conn).map_err(unavailable)?;
        let readers = (0..READERS)
            .map(|_| reader(&path))
            .collect::<Result<_, _>>()?;
        let reusable = Arc::default();
        let seen = writer::Seen {
            totals: totals.clone(),
            reusable: Arc::clone(&reusable),
        };
        let writer = Writer::start(conn, seen).map_err(unavailable)?;
        let disk = Disk::new(dir.clone(), path.clone(), settings.min_free, reusable);
        let shared = Shared {
            writer,
            readers: Mutex::new(readers),
            totals,
            disk: disk.map_err(in_dir)?,
            path,
            mark_dirty: settings.mark_dirty,
            taken: Mutex::default(),
            backs,
            _lock: lock,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// The ledger of a channel, as last committed.
    pub fn ledger(&self, channel: &ChannelId) -> Ledger {
        self.shared.totals.of(channel)
    }

    /// Whether a durable write can be made now. Costs nothing while all is well; after a fault it
    /// tries one.
    pub async fn writable(&self) -> Result<(), StoreError> {
        self.shared.disk.check()?;
        self.shared.writer.prove(settings::probe()).await
    }

    /// Tries a durable write.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.write(settings::probe()).await
    }

    /// Whether the disk has room for new messages.
    pub fn has_room(&self) -> Result<(), StoreError> {
        self.shared.disk.check()
    }

    /// Waits for the end of the writing thread.
    pub async fn ended(&self) {
        self.shared.writer.ended().await;
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Txn<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.shared.writer.run(work).await
    }

    /// A write that somebody waits for at this step of a message's way, measured.
    async fn step<T, F>(&self, step: &'static str, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Txn<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let begun = Instant::now();
        let done = self.write(work).await;
        metrics::histogram!("gateway_store_seconds", "step" => step).record(begun.elapsed());
        done
    }

    async fn read<T, F>(&self, question: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let store = self.clone();
        let answer = tokio::task::spawn_blocking(move || store.read_now(question));
        answer.await.map_err(unavailable)?
    }

    fn read_now<T>(
        &self,
        question: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let pooled = self.readers().pop();
        // More questions than connections at once is rare; opening one more takes under 1 ms.
        let conn = pooled.map_or_else(|| reader(&self.shared.path), Ok)?;
        let answer = question(&conn).map_err(unavailable);
        let mut readers = self.readers();
        if readers.len() < READERS {
            readers.push(conn);
        }
        answer
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.shared
            .readers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.shared
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn layout_fault(path: &Path, error: schema::LayoutError) -> StoreError {
    match error {
        schema::LayoutError::Newer(layout) => StoreError::Unreadable(format!(
            "{} has layout {layout}, written by a newer version; upgrade this program",
            path.display()
        )),
        schema::LayoutError::Sqlite(error) => unavailable(format!("{}: {error}", path.display())),
    }
}

fn reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(unavailable)?;
    conn.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -4096;")
        .map_err(unavailable)?;
    schema::keep_plans(&conn).map_err(unavailable)?;
    conn.set_prepared_statement_cache_capacity(READER_STATEMENTS);
    Ok(conn)
}

/// An error for a value that a row should not hold.
fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
}

fn channel_id(text: &str) -> rusqlite::Result<ChannelId> {
    ChannelId::parse(text).map_err(damaged)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
