//! What this process took in lately, for a Redis that went back (`roll`): events, which are taken once more, so that
//! no status or reply is lost that its sender was told is stored; and messages, which are counted where nobody sent
//! them and Redis does not know them any more.

use super::events;
use super::gather::Which;
use super::scripts::rank;
use super::{AccountKeys, Store};
use crate::domain::{AccountId, Incoming, ProviderId, UnixMs};
use crate::store::{EventRules, StoreError};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    events: VecDeque<Taken>,
    bytes: usize,
    /// Their numbers grow.
    messages: VecDeque<(Instant, i64)>,
    /// The last claim that Redis knew when the roll was called that is not over yet. Messages and claims are numbered
    /// by one clock, so it knew all messages before that.
    cut: Option<i64>,
    /// Messages that are lost, and were not told yet.
    lost: usize,
    /// How often all events were taken once more.
    retakes: u64,
}

/// What a webhook brought.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    rules: Arc<EventRules>,
    events: Arc<[Incoming]>,
    now: UnixMs,
    bytes: usize,
    at: Instant,
}

/// The room that it takes, roughly (bytes).
fn size(event: &Incoming) -> usize {
    let text = match event {
        Incoming::Status(_) => 0,
        Incoming::Reply(reply) => reply.text.len(),
        Incoming::Other { raw, .. } => raw.len(),
    };
    size_of::<Incoming>() + text + 64
}

/// Of the statuses of a message the last one: MoEngage may have heard of it, and is not to hear of those before it
/// after it.
fn without_earlier(mut all: Vec<Taken>) -> Vec<Taken> {
    let mut last: HashMap<ProviderId, usize> = HashMap::new();
    for event in all.iter().flat_map(|taken| taken.events.iter()) {
        if let Incoming::Status(status) = event {
            let rank = rank(Some(status.status));
            let known = last.entry(status.provider_id.clone()).or_default();
            *known = rank.max(*known);
        }
    }
    let is_last = |event: &Incoming| match event {
        Incoming::Status(status) => {
            last.get(&status.provider_id) == Some(&rank(Some(status.status)))
        }
        _ => true,
    };
    for taken in &mut all {
        if !taken.events.iter().all(is_last) {
            taken.events = taken
                .events
                .iter()
                .filter(|one| is_last(one))
                .cloned()
                .collect();
        }
    }
    all.retain(|taken| !taken.events.is_empty());
    all
}

impl Recent {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often all that is remembered was taken once more. Where that grows while events are stored, they may have
    /// gone to the server that was left, after the others were taken.
    pub(super) fn retakes(&self) -> u64 {
        self.kept().retakes
    }

    /// These were stored. Answers what is remembered of them.
    pub(super) fn took(
        &self,
        rules: &Arc<EventRules>,
        events: &Arc<[Incoming]>,
        now: UnixMs,
    ) -> Taken {
        // Only people look at the others.
        let is_other = |event: &Incoming| matches!(event, Incoming::Other { .. });
        let events = if events.iter().any(is_other) {
            events
                .iter()
                .filter(|event| !is_other(event))
                .cloned()
                .collect()
        } else {
            events.clone()
        };
        let bytes = events.iter().map(size).sum();
        let taken = Taken {
            rules: rules.clone(),
            events,
            now,
            bytes,
            at: Instant::now(),
        };
        let mut kept = self.kept();
        kept.bytes += bytes;
        kept.events.push_back(taken.clone());
        while let Some(first) = kept.events.front() {
            let bytes = first.bytes;
            if first.at.elapsed() <= KEPT && kept.bytes <= MOST_BYTES {
                break;
            }
            kept.events.pop_front();
            kept.bytes -= bytes;
        }
        drop(kept);
        taken
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

    /// A roll is called on a server that knew claims up to this one.
    pub(super) fn called(&self, cut: i64) {
        let mut kept = self.kept();
        // The lowest of calls that follow each other.
        kept.cut = Some(kept.cut.map_or(cut, |known| known.min(cut)));
    }

    /// What is to be taken once more, in the order it came.
    fn begin_retake(&self) -> Vec<Taken> {
        let mut kept = self.kept();
        kept.retakes += 1;
        let all = kept.events.iter().cloned().collect();
        drop(kept);
        without_earlier(all)
    }

    /// The messages that came after those that the server surely knew, once; and up to where that was.
    fn in_doubt(&self) -> Option<(i64, Vec<i64>)> {
        let mut kept = self.kept();
        let cut = kept.cut.take()?;
        let numbers = kept.messages.iter().map(|(_, number)| *number);
        Some((cut, numbers.filter(|number| *number > cut).collect()))
    }

    /// All of them were looked at, and these are lost.
    fn counted(&self, lost: &HashSet<i64>) {
        let mut kept = self.kept();
        kept.messages.retain(|(_, number)| !lost.contains(number));
        kept.lost += lost.len();
    }
}

impl Store {
    /// Takes once more what webhooks brought lately. What Redis knows still says nothing new to it.
    pub(super) async fn take_again(&self, home: &AccountKeys) {
        for taken in home.recent.begin_retake() {
            self.take_once_more(home, &taken).await;
        }
        for channel in self.channels_of(home) {
            self.shared.ledgers.wake(channel);
        }
    }

    /// Takes once more what was stored while all else was taken once more. Beside everything else: whoever posted it
    /// has its answer.
    pub(super) fn take_late(&self, home: &AccountKeys, taken: Taken) {
        let (store, home) = (self.clone(), home.clone());
        home.standing.ending.clone().spawn(async move {
            for taken in without_earlier(vec![taken]) {
                store.take_once_more(&home, &taken).await;
            }
        });
    }

    /// Takes events once more until Redis has them.
    async fn take_once_more(&self, home: &AccountKeys, taken: &Taken) {
        let which: Which = |store, home| (&home.gathers.events, &store.shared.scripts.events);
        let Ok(part) = events::part(&taken.rules, &taken.events, taken.now, true) else {
            return;
        };
        while let Err(error) = self.gather::<redis::Value>(which, home, part.clone()).await {
            tracing::debug!(account = %home.account, %error, "events that Redis may have forgotten wait for it");
            // waits because Redis may be on its way back
            sleep(AGAIN).await;
        }
        self.shared.ledgers.wake(&taken.rules.channel);
    }

    /// Work is handed out again: counts what was accepted here, and is neither known any more nor was it sent. Beside
    /// everything else.
    pub(super) fn count_lost(&self, home: &AccountKeys) {
        let Some((cut, in_doubt)) = home.recent.in_doubt() else {
            return;
        };
        let (store, home) = (self.clone(), home.clone());
        tokio::spawn(async move {
            match store.missing(&home, in_doubt).await {
                Ok(lost) => home.recent.counted(&lost),
                // The next renewal tries again.
                Err(_) => home.recent.called(cut),
            }
        });
    }

    /// Which of these Redis does not know.
    async fn missing(&self, home: &AccountKeys, all: Vec<i64>) -> Result<HashSet<i64>, StoreError> {
        let mut lost = HashSet::new();
        let mut looked: Vec<&[i64]> = all.chunks(AT_ONCE).collect();
        while let Some(some) = looked.pop() {
            match self.how_many_exist(home, some).await? {
                0 => lost.extend(some),
                known if known == some.len() => {}
                _ => looked.extend(<[_; 2]>::from(some.split_at(some.len() / 2))),
            }
        }
        Ok(lost)
    }

    async fn how_many_exist(
        &self,
        home: &AccountKeys,
        numbers: &[i64],
    ) -> Result<usize, StoreError> {
        let mut ask = redis::cmd("EXISTS");
        for number in numbers {
            // One that was put back may have another number.
            let now = self.shared.memory.number(&home.account, *number);
            ask.arg(format!("{}m:{now}", home.prefix));
        }
        self.shared.connection.command_beside(&ask).await
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Status;
    use crate::store::tests::words::{event, rules};

    #[test]
    fn r_55_what_is_stored_while_all_else_is_taken_once_more_is_noticed() {
        let recent = Recent::default();
        let before = recent.retakes();
        assert_eq!(recent.retakes(), before, "looking changes nothing");
        recent.called(7);
        assert_eq!(recent.retakes(), before, "nor does a roll that is called");
        assert!(recent.begin_retake().is_empty());
        assert_ne!(recent.retakes(), before);
    }

    /// Of what is taken once more MoEngage hears no earlier status after a later one, and people look at nothing twice.
    #[test]
    fn r_55_of_the_statuses_of_a_message_only_the_last_is_taken_once_more() {
        let other = Incoming::Other {
            kind: "bot",
            raw: "{}".into(),
            times: 1,
        };
        let [sent, read] = [Status::Sent, Status::Read].map(|status| event("P1", status, None));
        let events: Arc<[Incoming]> =
            [sent, other, read.clone(), event("P2", Status::Sent, None)].into();
        let recent = Recent::default();
        let taken = recent.took(&Arc::new(rules("a")), &events, UnixMs(1));
        let again = without_earlier(vec![taken]);
        let again: Vec<_> = again.iter().flat_map(|taken| taken.events.iter()).collect();
        assert_eq!(
            format!("{again:?}"),
            format!("{:?}", [&read, &event("P2", Status::Sent, None)])
        );
    }
}
