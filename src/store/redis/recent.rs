//! What this process took in lately, for a Redis that went back (`roll`): events, which are taken once more, so that
//! no status or reply is lost that its sender was told is stored; and messages, which are counted where nobody sent
//! them and Redis does not know them any more.

use super::gather::{Part, Which};
use super::{Home, Store};
use crate::domain::AccountId;
use crate::store::StoreError;
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long it is remembered.
const KEPT: Duration = Duration::from_secs(600);
/// The most room that events take (bytes).
const MOST_BYTES: usize = 8 << 20;
/// The most messages that are remembered.
const MOST_MESSAGES: usize = 200_000;
/// Messages asked about at once.
const AT_ONCE: usize = 500;
/// The pause before Redis is asked again.
const AGAIN: Duration = Duration::from_secs(1);

/// Written by whatever is taken in, read when Redis went back.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<(Instant, Part)>,
    bytes: usize,
    /// Their numbers grow.
    messages: VecDeque<(Instant, i64)>,
    /// Up to where Redis knew messages when the roll was called that is not over yet.
    cut: Option<i64>,
    /// Messages that are lost, and were not told yet.
    lost: usize,
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These were stored.
    pub(super) fn took(&self, events: Part) {
        let mut kept = self.kept();
        kept.bytes += events.bytes();
        kept.events.push_back((Instant::now(), events));
        while let Some((at, first)) = kept.events.front() {
            let bytes = first.bytes();
            if at.elapsed() <= KEPT && kept.bytes <= MOST_BYTES {
                break;
            }
            kept.events.pop_front();
            kept.bytes -= bytes;
        }
    }

    /// This message was stored.
    pub(super) fn accepted(&self, number: i64) {
        let mut kept = self.kept();
        kept.messages.push_back((Instant::now(), number));
        while let Some((at, _)) = kept.messages.front() {
            if at.elapsed() <= KEPT && kept.messages.len() <= MOST_MESSAGES {
                break;
            }
            kept.messages.pop_front();
        }
    }

    /// A roll is called on a server that knew messages up to this one.
    pub(super) fn called(&self, cut: i64) {
        let mut kept = self.kept();
        // The lowest of calls that follow each other.
        kept.cut = Some(kept.cut.map_or(cut, |known| known.min(cut)));
    }

    fn events(&self) -> Vec<Part> {
        self.kept()
            .events
            .iter()
            .map(|(_, part)| part.clone())
            .collect()
    }

    /// The messages that came after those that the server knew, and up to where that was.
    fn in_doubt(&self) -> Option<(i64, Vec<i64>)> {
        let kept = self.kept();
        let cut = kept.cut?;
        let numbers = kept.messages.iter().map(|(_, number)| *number);
        Some((cut, numbers.filter(|number| *number > cut).collect()))
    }

    /// All of them were looked at, and these are lost.
    fn counted(&self, cut: i64, lost: &HashSet<i64>) {
        let mut kept = self.kept();
        kept.cut = kept.cut.filter(|now| *now != cut);
        kept.messages.retain(|(_, number)| !lost.contains(number));
        kept.lost += lost.len();
    }
}

impl Store {
    /// Takes once more what webhooks brought lately. What Redis knows still says nothing new to it.
    pub(super) async fn take_again(&self, home: &Home) {
        let which: Which = |store, home| (&home.gathers.events, &store.shared.scripts.events);
        for part in home.recent.events() {
            while let Err(error) = self.gather::<redis::Value>(which, home, part.clone()).await {
                tracing::debug!(account = %home.account, %error, "events that Redis may have forgotten wait for it");
                // waits because Redis may be on its way back
                sleep(AGAIN).await;
            }
        }
        for channel in self.channels_of(home) {
            self.shared.ledgers.ring(channel);
        }
    }

    /// Work is handed out again: counts what was accepted here, and is neither known any more nor was it sent.
    pub(super) async fn count_lost(&self, home: &Home) -> Result<(), StoreError> {
        let Some((cut, in_doubt)) = home.recent.in_doubt() else {
            return Ok(());
        };
        let mut lost = HashSet::new();
        for some in in_doubt.chunks(AT_ONCE) {
            if self.how_many_exist(home, some).await? == some.len() {
                continue;
            }
            for number in some {
                if self.how_many_exist(home, &[*number]).await? == 0 {
                    lost.insert(*number);
                }
            }
        }
        home.recent.counted(cut, &lost);
        Ok(())
    }

    async fn how_many_exist(&self, home: &Home, numbers: &[i64]) -> Result<usize, StoreError> {
        let mut ask = redis::cmd("EXISTS");
        for number in numbers {
            // One that was put back may have another number.
            let now = self.shared.memory.number(&home.account, *number);
            ask.arg(format!("{}m:{now}", home.prefix));
        }
        self.shared.link.command_beside(&ask).await
    }

    /// How many messages of an account were lost by Redis that this process had accepted, since this was last asked.
    pub fn lost(&self, account: &AccountId) -> usize {
        let home = self
            .shared
            .accounts
            .iter()
            .find(|home| home.account == *account);
        home.map_or(0, |home| std::mem::take(&mut home.recent.kept().lost))
    }
}
