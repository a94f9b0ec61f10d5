//! The ledger: counters that change in the same transaction as the state they count (design.md G2).

use crate::domain::{ChannelId, State};
use crate::store::Ledger;
use rusqlite::{Connection, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Names as stored, in the order of [`Counter`].
const NAMES: [&str; COUNTERS] = [
    "accepted",
    "queued",
    "attempting",
    "accepted_by_provider",
    "unknown",
    "failed",
    "callbacks_waiting",
    "callbacks_taken",
    "dead_letters",
    "events",
    "expired_events",
    "claims",
];
const COUNTERS: usize = 12;

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Counter {
    Accepted,
    Queued,
    Attempting,
    AcceptedByProvider,
    Unknown,
    Failed,
    CallbacksWaiting,
    CallbacksTaken,
    DeadLetters,
    Events,
    ExpiredEvents,
    /// Never goes down: how far the store has come.
    Claims,
}

impl Counter {
    fn of(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Attempting => Self::Attempting,
            State::Accepted => Self::AcceptedByProvider,
            State::Unknown => Self::Unknown,
            State::Failed => Self::Failed,
        }
    }
}

/// Changes of one transaction.
#[derive(Debug, Default)]
pub(super) struct Deltas(BTreeMap<ChannelId, [i64; COUNTERS]>);

impl Deltas {
    /// Adds `n` to a counter.
    pub(super) fn add(&mut self, channel: &ChannelId, counter: Counter, n: i64) {
        if !self.0.contains_key(channel) {
            self.0.insert(channel.clone(), [0; COUNTERS]);
        }
        if let Some(counts) = self.0.get_mut(channel) {
            counts[counter as usize] += n;
        }
    }

    /// A message went from one state to another.
    pub(super) fn moved(&mut self, channel: &ChannelId, from: State, to: State) {
        self.add(channel, Counter::of(from), -1);
        self.add(channel, Counter::of(to), 1);
        if to == State::Attempting {
            self.add(channel, Counter::Claims, 1);
        }
    }

    /// Writes the changes in the open transaction.
    pub(super) fn write(&self, conn: &Connection) -> Result<()> {
        let mut upsert = conn.prepare_cached(
            "INSERT INTO ledger (channel, name, n) VALUES (?1, ?2, ?3)
             ON CONFLICT (channel, name) DO UPDATE SET n = n + excluded.n",
        )?;
        for (channel, counts) in &self.0 {
            for (name, n) in NAMES.iter().zip(counts).filter(|(_, n)| **n != 0) {
                upsert.execute((channel.as_str(), name, n))?;
            }
        }
        Ok(())
    }
}

/// The committed totals in memory, for `/metrics` and the queue limit. Written by the writing
/// thread after each commit; read by anyone.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals(Arc<Mutex<BTreeMap<ChannelId, [i64; COUNTERS]>>>);

impl Totals {
    /// Reads the stored totals.
    pub(super) fn load(conn: &Connection) -> Result<Self> {
        let mut select = conn.prepare("SELECT channel, name, n FROM ledger")?;
        let rows = select.query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        let mut totals = BTreeMap::new();
        for row in rows {
            let (channel, name, n) = row?;
            let index = NAMES.iter().position(|known| *known == name);
            if let (Ok(channel), Some(index)) = (ChannelId::parse(&channel), index) {
                totals.entry(channel).or_insert([0; COUNTERS])[index] = n;
            }
        }
        Ok(Self(Arc::new(Mutex::new(totals))))
    }

    /// Adds the changes of a commit.
    pub(super) fn add(&self, deltas: &Deltas) {
        let mut totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (channel, changes) in &deltas.0 {
            let counts = totals.entry(channel.clone()).or_insert([0; COUNTERS]);
            counts
                .iter_mut()
                .zip(changes)
                .for_each(|(count, change)| *count += change);
        }
    }

    /// How many messages of a channel were ever claimed.
    pub(super) fn claims(&self, channel: &ChannelId) -> i64 {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        totals
            .get(channel)
            .map_or(0, |counts| counts[Counter::Claims as usize])
    }

    /// The totals of a channel.
    pub(super) fn of(&self, channel: &ChannelId) -> Ledger {
        let totals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = totals.get(channel).copied().unwrap_or_default();
        let n = |counter: Counter| counts[counter as usize];
        Ledger {
            accepted: n(Counter::Accepted),
            queued: n(Counter::Queued),
            attempting: n(Counter::Attempting),
            unknown: n(Counter::Unknown),
            accepted_by_provider: n(Counter::AcceptedByProvider),
            failed: n(Counter::Failed),
            callbacks_waiting: n(Counter::CallbacksWaiting),
            callbacks_taken: n(Counter::CallbacksTaken),
            dead_letters: n(Counter::DeadLetters),
            events: n(Counter::Events),
            expired_events: n(Counter::ExpiredEvents),
            uncounted: None,
        }
    }
}
