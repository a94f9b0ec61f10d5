//! What this process took to send in the last ten minutes, and how it ended. Redis may go back to an older
//! state (a copy that is put back, a lost end of its file, a replica that lagged); what it forgot is put back
//! from here before anybody sends (`roll`). Bounded: the oldest goes first.

use super::standing::Mark;
use crate::domain::{AccountId, ChannelId, UnixMs};
use crate::store::Settlement;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an attempt is remembered, from its claim.
const KEPT: Duration = Duration::from_secs(600);
/// The most that all of it may take.
const MOST_BYTES: usize = 32 << 20;
/// What an entry takes beside its texts, about.
const ENTRY: usize = 400;

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) struct End {
    /// What is made of it.
    pub(super) settlement: Settlement,
    /// What was answered.
    pub(super) answer: String,
    /// When it ended.
    pub(super) at: UnixMs,
}

/// What an attempt is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct AttemptKey {
    /// The number of the claim that began it.
    pub(super) claim: u64,
    /// The number of its message, as the claim knew it.
    pub(super) handle: i64,
}

/// An attempt: what `recall.lua` needs to put it back.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) handle: i64,
    pub(super) claim: u64,
    /// The step of the claim.
    pub(super) step: Arc<str>,
    pub(super) channel: ChannelId,
    pub(super) msg_id: String,
    pub(super) to: String,
    pub(super) row: String,
    pub(super) accepted_at: String,
    pub(super) number: i64,
}

impl Attempt {
    /// What it is known by.
    pub(super) fn key(&self) -> AttemptKey {
        AttemptKey {
            claim: self.claim,
            handle: self.handle,
        }
    }

    fn bytes(&self) -> usize {
        ENTRY + self.msg_id.len() + self.row.len()
    }
}

#[derive(Debug)]
struct Entry {
    attempt: Attempt,
    account: AccountId,
    at: Instant,
    end: Option<End>,
    /// The first renewal that was begun after the end was stored: a state of Redis that knows the renewal
    /// knows the end.
    stored_by: Option<u64>,
}

impl Entry {
    fn bytes(&self) -> usize {
        let answer = self.end.as_ref().map_or(0, |end| end.answer.len());
        self.attempt.bytes() + answer
    }

    /// Whether a state of Redis that came so far knows all of it.
    fn is_in(&self, mark: &Mark) -> bool {
        let is_ended = self.stored_by.is_some_and(|by| by <= mark.renewal);
        is_ended && *self.attempt.step <= *mark.own
    }
}

/// Attempts by claim and message. Written by claims and ends, read when Redis went back.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    entries: HashMap<AttemptKey, Entry>,
    /// In the order they came.
    order: VecDeque<AttemptKey>,
    bytes: usize,
    /// Messages that got another number when they were put back.
    moved: HashMap<(AccountId, i64), i64>,
    /// The last claim of each account of which something was forgotten.
    forgotten: HashMap<AccountId, Arc<str>>,
}

impl Kept {
    fn forget(&mut self) {
        while let Some(key) = self.order.front() {
            let old = self
                .entries
                .get(key)
                .is_none_or(|entry| entry.at.elapsed() > KEPT);
            if !old && self.bytes <= MOST_BYTES {
                return;
            }
            if let Some(entry) = self
                .order
                .pop_front()
                .and_then(|key| self.entries.remove(&key))
            {
                self.bytes -= entry.bytes();
                let step = entry.attempt.step;
                let last = self
                    .forgotten
                    .entry(entry.account)
                    .or_insert_with(|| step.clone());
                if *step > **last {
                    *last = step;
                }
            }
        }
        self.moved.clear();
    }
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It was taken, and is about to be sent.
    pub(super) fn took(&self, account: &AccountId, attempt: Attempt) {
        let mut kept = self.kept();
        let key = attempt.key();
        let entry = Entry {
            attempt,
            account: account.clone(),
            at: Instant::now(),
            end: None,
            stored_by: None,
        };
        kept.bytes += entry.bytes();
        kept.order.push_back(key);
        kept.entries.insert(key, entry);
        kept.forget();
    }

    /// It ended so; Redis is about to be told. A second end is none.
    pub(super) fn ended(&self, key: AttemptKey, end: impl FnOnce() -> End) {
        let mut kept = self.kept();
        let entry = kept.entries.get_mut(&key);
        if let Some(entry) = entry.filter(|entry| entry.end.is_none()) {
            let end = end();
            let more = end.answer.len();
            entry.end = Some(end);
            kept.bytes += more;
        }
    }

    /// How it ended, if it did.
    pub(super) fn end_of(&self, key: AttemptKey) -> Option<End> {
        let kept = self.kept();
        kept.entries.get(&key)?.end.clone()
    }

    /// Redis was told of the end before this renewal was begun.
    pub(super) fn stored(&self, key: AttemptKey, by: u64) {
        if let Some(entry) = self.kept().entries.get_mut(&key) {
            entry.stored_by = Some(by);
        }
    }

    /// What a state of Redis that came so far may not know, in the order of the claims; with the ends.
    pub(super) fn missing(&self, account: &AccountId, mark: &Mark) -> Vec<(Attempt, Option<End>)> {
        let mut kept = self.kept();
        kept.forget();
        let Kept { entries, order, .. } = &mut *kept;
        let mut missing = Vec::new();
        for key in order {
            let entry = entries.get_mut(key);
            if let Some(entry) = entry.filter(|one| one.account == *account && !one.is_in(mark)) {
                entry.stored_by = None;
                missing.push((entry.attempt.clone(), entry.end.clone()));
            }
        }
        missing.sort_by(|(one, _), (other, _)| one.step.cmp(&other.step));
        missing
    }

    /// Whether all is remembered that a state of Redis that came so far may not know.
    pub(super) fn reaches(&self, account: &AccountId, mark: &Mark) -> bool {
        let kept = self.kept();
        let forgotten = kept.forgotten.get(account);
        forgotten.is_none_or(|step| **step <= *mark.own)
    }

    /// It has another number now.
    pub(super) fn moved(&self, account: &AccountId, from: i64, to: i64) {
        self.kept().moved.insert((account.clone(), from), to);
    }

    /// The number of a message, as Redis knows it now.
    pub(super) fn number(&self, account: &AccountId, handle: i64) -> i64 {
        let kept = self.kept();
        if kept.moved.is_empty() {
            return handle;
        }
        let moved = kept.moved.get(&(account.clone(), handle));
        moved.copied().unwrap_or(handle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::proof::LastProof;

    fn account() -> AccountId {
        AccountId::parse("a").unwrap()
    }

    fn attempt(handle: i64, step: &str, row: usize) -> Attempt {
        Attempt {
            handle,
            claim: 7,
            step: step.into(),
            channel: ChannelId::parse("c").unwrap(),
            msg_id: format!("m{handle}"),
            to: "12025550001".into(),
            row: "x".repeat(row),
            accepted_at: "1".into(),
            number: 1,
        }
    }

    fn retry() -> End {
        let settlement = Settlement::Retry {
            due: UnixMs(1),
            aside: false,
            proof: LastProof::NotTaken,
        };
        End {
            settlement,
            answer: "503".into(),
            at: UnixMs(1),
        }
    }

    fn key(handle: i64) -> AttemptKey {
        AttemptKey { claim: 7, handle }
    }

    fn mark(own: &str, renewal: u64) -> Mark {
        Mark {
            own: own.into(),
            renewal,
        }
    }

    fn missing(memory: &Memory, mark: &Mark) -> Vec<i64> {
        let missing = memory.missing(&account(), mark);
        missing
            .into_iter()
            .map(|(attempt, _)| attempt.handle)
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_state_knows_is_not_put_back() {
        let memory = Memory::default();
        for (handle, step) in [(1, "10"), (2, "20"), (3, "30")] {
            memory.took(&account(), attempt(handle, step, 10));
        }
        memory.ended(key(1), retry);
        memory.stored(key(1), 4);
        memory.ended(key(2), retry);
        memory.stored(key(2), 5);
        // In flight it may end at any time.
        assert_eq!(missing(&memory, &mark("30", 9)), [3]);
        memory.stored(key(1), 4);
        memory.stored(key(2), 5);
        assert_eq!(
            missing(&memory, &mark("30", 4)),
            [2, 3],
            "its end came after that renewal"
        );
        memory.stored(key(2), 5);
        assert_eq!(
            missing(&memory, &mark("10", 9)),
            [2, 3],
            "claimed later than that"
        );
        assert_eq!(
            missing(&memory, &mark("", 0)),
            [1, 2, 3],
            "it knows nothing"
        );
        assert_eq!(
            missing(&memory, &mark("30", 9)),
            [1, 2, 3],
            "nobody stored it anew"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_bounded_by_time_and_by_room() {
        let memory = Memory::default();
        memory.took(&account(), attempt(1, "10", 10));
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        memory.took(&account(), attempt(2, "20", 10));
        assert_eq!(missing(&memory, &mark("", 0)), [1, 2]);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(missing(&memory, &mark("", 0)), [2]);
        for handle in 3..6 {
            memory.took(&account(), attempt(handle, "30", MOST_BYTES / 3));
        }
        assert_eq!(missing(&memory, &mark("", 0)), [4, 5]);
        assert!(memory.kept().bytes <= MOST_BYTES);
        tokio::time::advance(2 * KEPT).await;
        assert!(missing(&memory, &mark("", 0)).is_empty());
        assert_eq!(memory.kept().bytes, 0);
        assert!(memory.reaches(&account(), &mark("30", 0)));
        assert!(!memory.reaches(&account(), &mark("29", 0)));
    }
}
