//! Group commit: one thread writes, and whatever waits is committed together.
//!
//! A caller hands over a piece of work and awaits its durable end. The thread takes all that waits
//! (up to a bound), runs it in one transaction and syncs once; so the cost of the disk is shared by
//! all callers of the moment. When one piece fails, the batch is rolled back and each piece runs
//! again alone, so that one fault never fails its neighbours: a piece may run twice, but only one
//! run is ever committed.

use super::cache::{Kept, Known};
use super::ledger::Deltas;
use crate::store::StoreError;
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use tokio::sync::{mpsc, oneshot};

/// Pieces of work committed together at the most. Bounds how long the first of them waits.
const MOST_TOGETHER: usize = 512;
/// Pieces of work that may wait. Beyond it callers wait for room, which is the back-pressure.
const MOST_WAITING: usize = 8192;

/// An open transaction.
pub(super) struct Txn<'a> {
    /// The connection, inside a transaction.
    pub(super) conn: &'a Connection,
    /// Changes of the ledger, written once before the commit.
    pub(super) deltas: &'a mut Deltas,
    /// Lives longer than the transaction.
    pub(super) kept: &'a mut Kept,
    /// The same.
    pub(super) aliases: &'a mut Known,
}

/// A piece of work, its type forgotten: what the queue holds.
trait Work: Send {
    fn run(&mut self, txn: &mut Txn<'_>) -> rusqlite::Result<()>;
    fn end(self: Box<Self>, result: Result<(), StoreError>);
}

struct Call<T, F> {
    work: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Work for Call<T, F>
where
    T: Send,
    F: FnMut(&mut Txn<'_>) -> rusqlite::Result<T> + Send,
{
    fn run(&mut self, txn: &mut Txn<'_>) -> rusqlite::Result<()> {
        self.value = Some((self.work)(txn)?);
        Ok(())
    }

    fn end(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        let missing = || StoreError::Unavailable("the write did not run".into());
        // The caller may have gone; its work is done all the same.
        let _ = reply.send(result.and_then(|()| value.ok_or_else(missing)));
    }
}

/// The way to the writing thread. When it is dropped, what still waits is written first, so that
/// nobody else opens the file before the last write.
pub(super) struct Writer {
    queue: mpsc::Sender<Box<dyn Work>>,
    /// Joined when this is dropped.
    thread: Option<JoinHandle<()>>,
    /// Transactions that failed. Counted by the thread, read by `/readyz`.
    faults: Arc<AtomicU64>,
    /// The faults after which a write was proved to work.
    proved: AtomicU64,
}

impl Writer {
    /// Starts the thread on a connection that is set up.
    pub(super) fn start(conn: Connection, seen: Seen) -> std::io::Result<Self> {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let faults = Arc::new(AtomicU64::new(0));
        let page = conn.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0));
        let thread = Thread {
            conn,
            seen,
            page: page.map_err(std::io::Error::other)?.unsigned_abs(),
            faults: faults.clone(),
            kept: Kept::default(),
            aliases: Known::default(),
        };
        thread.count_free_pages().map_err(std::io::Error::other)?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(|| thread.run(waiting))?;
        Ok(Self {
            queue,
            thread: Some(thread),
            faults,
            proved: AtomicU64::new(0),
        })
    }

    /// Runs `work` inside a transaction and returns once it is synced to disk. `work` may run
    /// twice; only one run counts.
    pub(super) async fn run<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Txn<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let gone = || StoreError::Unavailable("the writing thread has ended".into());
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call {
            work,
            value: None,
            reply,
        });
        self.queue.send(call).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Waits for the end of the thread: while this lives, only a panic ends it.
    pub(super) async fn ended(&self) {
        self.queue.closed().await;
    }

    /// Makes sure that writes work: nothing is to be done while none has failed, else `probe` has to
    /// go well. That others do proves nothing, since a transaction that changes nothing always does.
    pub(super) async fn prove<F>(&self, probe: F) -> Result<(), StoreError>
    where
        F: FnMut(&mut Txn<'_>) -> rusqlite::Result<()> + Send + 'static,
    {
        let faults = self.faults.load(Ordering::Acquire);
        if faults > self.proved.load(Ordering::Acquire) {
            self.run(probe).await?;
            self.proved.fetch_max(faults, Ordering::AcqRel);
        }
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // The thread ends when the last sender is gone, and this is the only one.
        let (closed, _) = mpsc::channel(1);
        self.queue = closed;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// What others see of the last commit.
pub(super) struct Seen {
    pub(super) totals: super::ledger::Totals,
    /// Bytes of free pages of the file.
    pub(super) reusable: Arc<AtomicU64>,
}

struct Thread {
    conn: Connection,
    seen: Seen,
    /// Bytes of a page.
    page: u64,
    faults: Arc<AtomicU64>,
    kept: Kept,
    aliases: Known,
}

impl Thread {
    fn run(mut self, mut waiting: mpsc::Receiver<Box<dyn Work>>) {
        let mut batch = Vec::with_capacity(MOST_TOGETHER);
        while waiting.blocking_recv_many(&mut batch, MOST_TOGETHER) > 0 {
            metrics::histogram!("gateway_store_commit_pieces").record(batch.len() as f64);
            if let Err(error) = self.begin() {
                // Nobody's fault: alone each would wait as long and fail the same way.
                let text = error.to_string();
                let fail =
                    |work: Box<dyn Work>| work.end(Err(StoreError::Unavailable(text.clone())));
                batch.drain(..).for_each(fail);
                continue;
            }
            if self.commit(&mut batch).is_ok() {
                batch.drain(..).for_each(|work| work.end(Ok(())));
                continue;
            }
            for mut work in batch.drain(..) {
                let begun = self.begin().map_err(super::unavailable);
                let result = begun.and_then(|()| self.commit(std::slice::from_mut(&mut work)));
                work.end(result);
            }
        }
    }

    fn begin(&self) -> rusqlite::Result<()> {
        let begun = self
            .conn
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]))
            .map(drop);
        if begun.is_err() {
            self.faults.fetch_add(1, Ordering::AcqRel);
            self.roll_back();
        }
        begun
    }

    fn roll_back(&self) {
        if !self.conn.is_autocommit() {
            // A failed rollback leaves the transaction to the next BEGIN, which then fails too, is
            // reported to its callers, and tries to roll back again.
            let _ = self.conn.execute_batch("ROLLBACK");
        }
    }

    /// Runs the batch in the transaction that has begun, and commits it or takes it back.
    fn commit(&mut self, batch: &mut [Box<dyn Work>]) -> Result<(), StoreError> {
        // A panic in one piece must not end the thread that all the others need.
        let result = catch_unwind(AssertUnwindSafe(|| self.try_commit(batch)))
            .map_err(|_| "a piece of work panicked".to_owned())
            .and_then(|result| result.map_err(|error| error.to_string()));
        result.map_err(|error| {
            self.faults.fetch_add(1, Ordering::AcqRel);
            self.roll_back();
            // What was counted did not come about.
            self.kept = Kept::default();
            self.aliases = Known::default();
            StoreError::Unavailable(error)
        })
    }

    fn try_commit(&mut self, batch: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
        let mut deltas = Deltas::default();
        let mut txn = Txn {
            conn: &self.conn,
            deltas: &mut deltas,
            kept: &mut self.kept,
            aliases: &mut self.aliases,
        };
        for work in batch.iter_mut() {
            work.run(&mut txn)?;
        }
        deltas.write(&self.conn)?;
        self.count_free_pages()?;
        self.conn.prepare_cached("COMMIT")?.execute([])?;
        self.seen.totals.add(&deltas);
        Ok(())
    }

    fn count_free_pages(&self) -> rusqlite::Result<()> {
        let mut count = self.conn.prepare_cached("PRAGMA freelist_count")?;
        let pages: i64 = count.query_row([], |row| row.get(0))?;
        let bytes = pages.unsigned_abs().saturating_mul(self.page);
        self.seen.reusable.store(bytes, Ordering::Release);
        Ok(())
    }
}
