//! The work queue as the stations use it: accept, claim, settle exactly once.
//!
//! Wakes those who wait for what a step brought, and keeps trying to write what must
//! not be lost. Decides nothing about messages; that is `domain`'s and the stations' part.

mod claimed;
mod strangers;

pub use claimed::Claimed;

use crate::alert::{self, Code};
use crate::clock;
use crate::domain::{ChannelId, Incoming};
use crate::store::{self, CallbackQueue, EventRules, Folded, StoreError};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// Who is concerned when the store fails.
const STORE: &str = "store";
/// How long a webhook waits for a store that is down before it is answered 503 (design.md G4).
const EVENTS_WAIT: Duration = Duration::from_secs(3);
/// The pause before a store that failed is asked again.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Events that the store takes at once.
const MOST_TOGETHER: usize = 64;

/// The outbox. Clones share it.
#[derive(Debug, Clone)]
pub struct Outbox {
    /// What is durable.
    pub store: store::Outbox,
    /// One wakeup per queue: given when it has something to relay.
    wakeups: Arc<HashMap<CallbackQueue, Arc<Notify>>>,
}

impl Outbox {
    /// The outbox of these channels.
    pub fn new(store: store::Outbox, channels: impl IntoIterator<Item = ChannelId>) -> Self {
        let channels = channels.into_iter();
        let queues =
            channels.flat_map(|channel| CallbackQueue::all_of(&channel).collect::<Vec<_>>());
        let wakeups = queues.map(|queue| (queue, Arc::default())).collect();
        Self {
            store,
            wakeups: Arc::new(wakeups),
        }
    }

    /// The store failed somebody. A person is told of a full disk at once, of everything else when it
    /// lasts; [`Self::prove`] ends it.
    pub fn failed(&self, error: &StoreError) {
        let sends = match error {
            StoreError::DiskLow { .. } => "what is queued is sent while there is room for it",
            _ => "nothing is sent",
        };
        let text = format!(
            "Messages are answered 503 and wait at MoEngage, {sends}: {error}. The gateway tries again by \
             itself; `gateway check` looks at the store."
        );
        match error {
            StoreError::DiskFull { .. } | StoreError::DiskLow { .. } => {
                alert::raise(Code::StoreUnreachable, STORE, &text)
            }
            StoreError::Unavailable(_) => alert::trouble(Code::StoreUnreachable, STORE, &text),
            StoreError::InUse(_) => alert::raise(
                Code::StoreTakenOver,
                STORE,
                &format!(
                    "This gateway sends nothing any more and answers messages 503: {error}. Stop it, or give it \
                     a Redis database of its own. To take the messages back, start it with STORE_TAKE_OVER, \
                     that fingerprint, and a new SEED_REFRESH_TOKEN."
                ),
            ),
            // About one row.
            StoreError::Unreadable(_) => {}
        }
    }

    /// No other installation goes on with what is stored.
    pub fn is_ours(&self) {
        alert::over(Code::StoreTakenOver, STORE);
    }

    /// Whether the store failed somebody and has not been proved since.
    pub fn is_in_doubt(&self) -> bool {
        alert::is_open(Code::StoreUnreachable, STORE)
    }

    /// Makes sure that the store writes again.
    pub async fn prove(&self) {
        match self.store.writable().await {
            Ok(()) => alert::over(Code::StoreUnreachable, STORE),
            Err(error) => self.failed(&error),
        }
    }

    /// The wakeup of a queue.
    pub fn wakeup(&self, queue: &CallbackQueue) -> Arc<Notify> {
        self.wakeups.get(queue).cloned().unwrap_or_default()
    }

    /// Wakes the relays of a channel.
    pub fn wake(&self, channel: &ChannelId) {
        for queue in CallbackQueue::all_of(channel) {
            if let Some(wakeup) = self.wakeups.get(&queue) {
                wakeup.notify_one();
            }
        }
    }

    /// Stores events, trying for up to three seconds while the store is down. They are stored a few at
    /// once, as everybody else waits meanwhile; when some cannot be stored the caller sends all of them
    /// again, and those that are stored say nothing new then. After that time nothing is begun; what was
    /// begun and ends later still wakes them: it runs in a task of its own.
    pub async fn take_events(
        &self,
        rules: &Arc<EventRules>,
        events: Vec<Incoming>,
    ) -> Result<Folded, StoreError> {
        let give_up = Instant::now() + EVENTS_WAIT;
        let store = self.clone().store_events(rules.clone(), events, give_up);
        match timeout_at(give_up, tokio::spawn(store)).await {
            Ok(stored) => stored.map_err(|_| self.too_slow())?,
            Err(_) => Err(self.too_slow()),
        }
    }

    fn too_slow(&self) -> StoreError {
        StoreError::Unavailable(format!(
            "{} did not write within {} s",
            self.store.name(),
            EVENTS_WAIT.as_secs()
        ))
    }

    async fn store_events(
        self,
        rules: Arc<EventRules>,
        mut events: Vec<Incoming>,
        give_up: Instant,
    ) -> Result<Folded, StoreError> {
        let mut all = Folded {
            misdated: Incoming::forget_odd_times(&mut events, rules.kept, clock::moment()),
            ..Folded::default()
        };
        if !rules.vouched {
            self.of_strangers(&rules, &mut events, give_up).await?;
        }
        let mut rest = events.into_iter();
        while rest.len() > 0 {
            let together = rest.by_ref().take(MOST_TOGETHER).collect();
            let folded = self.store_together(&rules, &together, give_up).await?;
            folded.wake.iter().for_each(|channel| self.wake(channel));
            all.add(folded);
        }
        Ok(all)
    }

    async fn store_together(
        &self,
        rules: &Arc<EventRules>,
        events: &Arc<[Incoming]>,
        give_up: Instant,
    ) -> Result<Folded, StoreError> {
        loop {
            let moment = clock::moment();
            let rules = EventRules::by(rules, moment);
            match self
                .store
                .take_events(rules, events.clone(), moment.latest, give_up)
                .await
            {
                Ok(folded) => return Ok(folded),
                Err(error) if Instant::now() >= give_up => return Err(error),
                Err(_) => sleep(TRY_AGAIN).await,
            }
        }
    }
}

/// How long to wait before try `attempt + 1`: exponential with full jitter. `dice` is in [0, 1).
pub fn retry_delay(attempt: u32, base: Duration, most: Duration, dice: f64) -> Duration {
    let doubled = 2u32.saturating_pow(attempt.saturating_sub(1).min(31));
    base.saturating_mul(doubled)
        .min(most)
        .mul_f64(dice.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::proof::LastProof;
    use crate::domain::{
        AccountId, BusinessNumber, Message, MsgId, Names, Phone, Template, UnixMs,
    };
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_delay_stays_within_its_bounds(attempt in any::<u32>(), dice in 0.0..1.0f64) {
            let (base, most) = (Duration::from_secs(1), Duration::from_secs(300));
            let delay = retry_delay(attempt, base, most, dice);
            prop_assert!(delay <= most);
            prop_assert!(delay <= retry_delay(attempt.saturating_add(1), base, most, dice));
        }
    }

    fn channel() -> ChannelId {
        ChannelId::parse("a").unwrap()
    }

    fn message() -> Message {
        Message {
            msg_id: MsgId::parse("m1").unwrap(),
            from: BusinessNumber::parse("+1 202-555-0999").unwrap(),
            to: Phone::from_number(12_025_550_001).unwrap(),
            template: Template {
                name: "order_update".into(),
                language: "en".into(),
                header: None,
                body: Vec::new(),
                buttons: Vec::new(),
                names: Names::default(),
            },
            is_damaged: false,
            campaign: None,
        }
    }

    #[tokio::test]
    async fn r_03_a_send_that_panics_is_unknown_at_once_unless_it_was_settled() {
        for settled in [false, true] {
            let (_dir, store) = store::testing::store();
            let outbox = Outbox::new(store::Outbox::Embedded(store.clone()), [channel()]);
            let account = AccountId::parse("acc").unwrap();
            let (channel, message) = (channel(), message());
            let accepted = store.accept(&channel, &account, &message, clock::now());
            accepted.await.unwrap();
            let queue = store::ClaimFrom {
                channel: channel.clone(),
                ages: UnixMs(0).into(),
                retries: 1,
                aside: 1,
            };
            let claims = store.claim(vec![queue], 1, clock::now()).await;
            let claimed = claims.unwrap().taken.pop().unwrap();
            let step = async |claimed: Claimed| {
                if settled {
                    let proof = LastProof::NotTaken;
                    claimed.retry(UnixMs(0), false, proof, "503".into()).await;
                }
                panic!("as the test wants it");
            };
            let claimed = outbox.claimed(claimed);
            claimed.guarded(Duration::from_secs(60), step).await;
            let ledger = store.ledger(&channel);
            let counted = (ledger.queued, ledger.attempting, ledger.unknown);
            let expected = if settled { (1, 0, 0) } else { (0, 0, 1) };
            assert_eq!(counted, expected);
        }
    }

    #[test]
    fn delays_double() {
        let delay = |attempt| {
            retry_delay(
                attempt,
                Duration::from_secs(1),
                Duration::from_secs(300),
                1.0,
            )
            .as_secs()
        };
        assert_eq!(
            [1, 2, 3, 4, 9, 10, 40].map(delay),
            [1, 2, 4, 8, 256, 300, 300]
        );
    }
}
