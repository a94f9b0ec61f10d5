//! A store with what a story does to it, whatever keeps the rows.

use super::*;
use std::pin::Pin;
use std::rc::Rc;

/// Makes a fresh world of one backend.
pub(in crate::store) type NewWorld = fn() -> World;

/// The channels of every world, all of [`account`]; `x` belongs to another.
pub(in crate::store) const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// What each backend does in its own way.
pub(in crate::store) trait Home {
    /// A new process opens the store.
    fn open(&self) -> Outbox;

    /// From the next opening on, changes are marked for Datastore, or not.
    fn mark(&self, on: bool);

    /// Lets the leases of dead processes end. Where there is one process, its start does what is
    /// left to do; where there are several, the next sweep of any of them.
    fn end_leases<'a>(
        &'a self,
        store: &'a Outbox,
        seconds: i64,
        hold: i64,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

    /// Compares the ledgers with the rows as they are kept.
    fn look_inside(&self, ledgers: &[(ChannelId, Ledger)]);
}

/// A store of its own, with channel `a` where no other is named.
pub(in crate::store) struct World {
    pub(in crate::store) store: Outbox,
    pub(in crate::store) home: Rc<dyn Home>,
}

impl World {
    pub(in crate::store) fn new(store: Outbox, home: impl Home + 'static) -> Self {
        let home = Rc::new(home);
        Self { store, home }
    }

    /// The process ends and starts again.
    pub(in crate::store) fn reopened(self) -> Self {
        let Self { store, home } = self;
        // One process at a time may have the embedded store open.
        drop(store);
        let store = home.open();
        Self { store, home }
    }

    /// The same with marks for Datastore.
    pub(in crate::store) fn marking(self) -> Self {
        self.home.mark(true);
        self.reopened()
    }

    /// Datastore was switched off.
    pub(in crate::store) fn marking_no_more(self) -> Self {
        self.home.mark(false);
        self.reopened()
    }

    /// The process is killed, its leases are over, another goes on: what was being sent is unknown
    /// until `hold` seconds from now.
    pub(in crate::store) async fn died(self, seconds: i64, hold: i64) -> Self {
        let next = self.reopened();
        next.take_over(seconds, hold).await;
        next
    }

    /// The leases of all processes before this one are over, and this one notices.
    pub(in crate::store) async fn take_over(&self, seconds: i64, hold: i64) {
        self.home.end_leases(&self.store, seconds, hold).await;
        let rules = CHANNELS.map(|name| SweepRule {
            hold: Duration::from_secs(u64::try_from(hold).unwrap()),
            ..sweep_rule(name, seconds)
        });
        loop {
            let swept = self
                .store
                .sweep(rules.to_vec(), SweepScope::Holds, at(seconds))
                .await;
            if !swept.unwrap().more {
                return;
            }
        }
    }

    pub(in crate::store) async fn accept(&self, id: &str, to: u64, seconds: i64) -> Accepted {
        self.accept_on("a", &message(id, to), seconds).await
    }

    pub(in crate::store) async fn accept_on(
        &self,
        name: &str,
        message: &Message,
        seconds: i64,
    ) -> Accepted {
        let (channel, account) = (channel(name), account());
        let accepted = self.store.accept(&channel, &account, message, at(seconds));
        accepted.await.unwrap()
    }

    pub(in crate::store) async fn claims(
        &self,
        names: &[&str],
        most: usize,
        seconds: i64,
    ) -> Claims {
        let queue = |name: &&str| ClaimFrom {
            channel: channel(name),
            ages: at(seconds - DAY).into(),
            retries: usize::MAX,
            aside: usize::MAX,
        };
        let queues = names.iter().map(queue).collect();
        self.store.claim(queues, most, at(seconds)).await.unwrap()
    }

    pub(in crate::store) async fn claim(&self, seconds: i64) -> Vec<ClaimedMessage> {
        self.claims(&["a"], 1000, seconds).await.taken
    }

    /// Accepts and claims one message.
    pub(in crate::store) async fn attempt(
        &self,
        id: &str,
        to: u64,
        seconds: i64,
    ) -> ClaimedMessage {
        self.accept(id, to, seconds).await;
        let mut claimed = self.claim(seconds).await;
        assert_eq!(claimed.len(), 1);
        claimed.remove(0)
    }

    /// A message that the provider took.
    pub(in crate::store) async fn sent(&self, id: &str, to: u64, provider_id: &str, seconds: i64) {
        let claimed = self.attempt(id, to, seconds).await;
        self.settle(&claimed, receipt(provider_id), seconds).await;
    }

    /// A message whose outcome nobody knows until `until`.
    pub(in crate::store) async fn lost(&self, id: &str, to: u64, seconds: i64, until: i64) {
        let claimed = self.attempt(id, to, seconds).await;
        self.settle(&claimed, unknown_until(until), seconds).await;
    }

    pub(in crate::store) async fn settle(
        &self,
        claimed: &ClaimedMessage,
        end: Settlement,
        seconds: i64,
    ) -> Folded {
        let answer = "HTTP 200".into();
        let settled = self.store.settle(claimed, end, answer, at(seconds));
        settled.await.unwrap()
    }

    pub(in crate::store) async fn events(&self, events: Vec<Incoming>, seconds: i64) -> Folded {
        self.events_with(rules("a"), events, seconds).await
    }

    pub(in crate::store) async fn events_with(
        &self,
        rules: EventRules,
        events: Vec<Incoming>,
        seconds: i64,
    ) -> Folded {
        let taken = self
            .store
            .take_events(Arc::new(rules), events, at(seconds), in_time());
        taken.await.unwrap()
    }

    pub(in crate::store) async fn event(
        &self,
        id: &str,
        status: Status,
        to: Option<u64>,
        seconds: i64,
    ) -> Folded {
        self.events(vec![event(id, status, to)], seconds).await
    }

    /// What is done right after the clock was set back to this time.
    pub(in crate::store) async fn set_back(&self, seconds: i64) {
        loop {
            let rules = ["a", "b"].map(|name| sweep_rule(name, seconds));
            let swept = self
                .store
                .sweep(rules.to_vec(), SweepScope::SetBack, at(seconds));
            if !swept.await.unwrap().more {
                return;
            }
        }
    }

    pub(in crate::store) async fn sweep(&self, resend: bool, seconds: i64) -> Swept {
        self.resend_by(resend, at(seconds).into()).await
    }

    /// A sweep at a moment at which the clocks may disagree.
    pub(in crate::store) async fn sweep_by(&self, now: Moment) -> Swept {
        self.resend_by(false, now).await
    }

    pub(in crate::store) async fn resend_by(&self, resend: bool, now: Moment) -> Swept {
        let rules = ["a", "b"].map(|name| SweepRule {
            resend,
            expired_before: now.ages(secs(DAY)).failed_before,
            ..sweep_rule(name, 0)
        });
        let swept = self.store.sweep(rules.to_vec(), SweepScope::Ages, now);
        swept.await.unwrap()
    }

    pub(in crate::store) async fn record(&self, id: &str) -> Record {
        let search = Search::MsgId(channel("a"), id.into());
        self.store.find(search, 10).await.unwrap().remove(0)
    }

    /// The history tells that it was failed, in words that begin so: with the code that the row has.
    pub(in crate::store) async fn failed_with(&self, id: &str, words: &str) {
        let history = self.record(id).await.history;
        let failed = history.iter().rfind(|line| line.what == "failed");
        let detail = &failed.expect("a failure").detail;
        assert!(detail.starts_with(words), "{detail}");
    }

    pub(in crate::store) async fn state(&self, id: &str) -> State {
        self.record(id).await.state
    }

    pub(in crate::store) async fn callbacks(
        &self,
        queue: &CallbackQueue,
        seconds: i64,
    ) -> Vec<PendingCallback> {
        let taken = self.store.take_callbacks(queue, 1000, at(seconds));
        taken.await.unwrap()
    }

    pub(in crate::store) async fn end(
        &self,
        queue: &CallbackQueue,
        handle: CallbackLease,
        end: RelayOutcome,
        seconds: i64,
    ) {
        let ends = vec![(handle, end)];
        let settled = self.store.settle_callbacks(queue, ends, at(seconds));
        settled.await.unwrap();
    }

    /// Relays all that is due, as MoEngage would see it.
    pub(in crate::store) async fn relayed(
        &self,
        queue: &CallbackQueue,
        seconds: i64,
    ) -> Vec<Callback> {
        let mut relayed = Vec::new();
        loop {
            let due = self.callbacks(queue, seconds).await;
            if due.is_empty() {
                return relayed;
            }
            for one in due {
                self.end(queue, one.handle, taken(), seconds).await;
                relayed.push(one.callback);
            }
        }
    }

    /// The statuses that are due on channel `a`, as words.
    pub(in crate::store) async fn statuses(&self, seconds: i64) -> Vec<String> {
        let relayed = self.relayed(&lane("a", Destination::Status), seconds).await;
        let word = |callback| match callback {
            Callback::Status(entry) => format!("{} {}", entry.msg_id, entry.status),
            Callback::Inbound(entry) => format!("reply {}", entry.text),
        };
        relayed.into_iter().map(word).collect()
    }

    pub(in crate::store) async fn ledger(&self) -> Ledger {
        self.ledger_of("a").await
    }

    pub(in crate::store) async fn ledger_of(&self, name: &str) -> Ledger {
        self.store.look().await.unwrap();
        self.store.ledger(&channel(name))
    }

    /// The promise of design.md G2: the ledger adds up, and is what the rows say.
    pub(in crate::store) async fn check(&self) {
        let mut ledgers = Vec::new();
        let mut open = [0; 3];
        for name in CHANNELS {
            let ledger = self.ledger_of(name).await;
            assert_eq!(ledger.lost(), 0, "{name}: {ledger:?}");
            open[0] += ledger.queued;
            open[1] += ledger.attempting;
            open[2] += ledger.unknown;
            ledgers.push((channel(name), ledger));
        }
        let rows = self.store.count_open().await.unwrap();
        assert_eq!(open, rows, "the ledger is not what the rows say");
        self.home.look_inside(&ledgers);
    }
}
