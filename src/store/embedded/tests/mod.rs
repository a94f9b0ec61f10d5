//! The contract of the store, told by driving its public interface by hand. Time is an argument
//! everywhere, so nothing here sleeps.

mod accept;
mod callbacks;
mod claim;
mod evidence;
mod fold;
mod model;
mod opening;
mod plans;
mod replies;
mod retention;
mod settle;
mod sweep;

use super::Store;
use crate::domain::{
    AccountId, BusinessNumber, Callback, ChannelId, Code, Incoming, Keywords, Lane, Message, MsgId,
    Phone, ProviderId, Receipt, Refusal, Reply, State, Status, StatusEvent, Template, UnixMs,
};
use crate::store::{
    Accepted, ClaimedMessage, Claims, EventRules, Folded, LaneOf, Ledger, PendingCallback, Record,
    RelayOutcome, Search, Settlement, SweepRule, Swept, Turn, testing,
};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

const DAY: i64 = 86_400;

/// A moment, in seconds after the beginning of the story.
fn at(seconds: i64) -> UnixMs {
    UnixMs(1_900_000_000_000 + seconds * 1000)
}

fn channel(name: &str) -> ChannelId {
    ChannelId::parse(name).unwrap()
}

fn account() -> AccountId {
    AccountId::parse("acc").unwrap()
}

/// The nth person.
fn phone(n: u64) -> Phone {
    Phone::from_number(12_025_550_000 + n).unwrap()
}

fn provider_id(id: &str) -> ProviderId {
    ProviderId::parse(id).unwrap()
}

/// A message to the nth person.
fn message(id: &str, to: u64) -> Message {
    Message {
        msg_id: MsgId::parse(id).unwrap(),
        from: BusinessNumber::parse("+1 202-555-0999").unwrap(),
        to: phone(to),
        template: Template {
            name: "order_update".into(),
            language: "en".into(),
            header: None,
            body: vec!["Ana".into()],
            buttons: Vec::new(),
        },
        campaign: None,
    }
}

fn receipt(id: &str) -> Settlement {
    Settlement::Accepted {
        receipt: Receipt {
            provider_id: provider_id(id),
            conversation: None,
        },
        taps: Vec::new(),
    }
}

fn refusal() -> Refusal {
    Refusal::new(Code::Other, "Template paused")
}

fn unknown_until(seconds: i64) -> Settlement {
    Settlement::Unknown {
        until: at(seconds),
        taps: Vec::new(),
    }
}

fn event(id: &str, status: Status, to: Option<u64>) -> Incoming {
    Incoming::Status(StatusEvent {
        provider_id: provider_id(id),
        status,
        at: None,
        recipient: to.map(phone),
        error: (status == Status::Failed).then(|| "1013 not on WhatsApp".into()),
    })
}

fn reply(from: u64, text: &str) -> Reply {
    Reply {
        id: None,
        from: phone(from),
        context: None,
        text: text.into(),
        at: None,
    }
}

fn rules(name: &str) -> EventRules {
    EventRules {
        channel: channel(name),
        account: account(),
        keywords: Keywords::new(&["STOP"], &["START"]),
        reply_window: Duration::from_secs(7 * 86_400),
        relay_unmatched: false,
        waba_number: None,
    }
}

fn lane(name: &str, lane: Lane) -> LaneOf {
    LaneOf {
        channel: channel(name),
        lane,
    }
}

fn taken() -> RelayOutcome {
    RelayOutcome::Taken {
        summary: "HTTP 200".into(),
    }
}

/// A store in a directory of its own, with channel `a` where no other is named.
struct Rig {
    store: Store,
    dir: TempDir,
}

impl Rig {
    fn new() -> Self {
        let (dir, store) = testing::store();
        Self { store, dir }
    }

    /// The process ends and starts again.
    fn reopened(self) -> Self {
        let Self { store, dir } = self;
        drop(store);
        let store = testing::open(dir.path());
        Self { store, dir }
    }

    async fn accept(&self, id: &str, to: u64, seconds: i64) -> Accepted {
        self.accept_on("a", &message(id, to), seconds).await
    }

    async fn accept_on(&self, name: &str, message: &Message, seconds: i64) -> Accepted {
        let (channel, account) = (channel(name), account());
        let accepted = self.store.accept(&channel, &account, message, at(seconds));
        accepted.await.unwrap()
    }

    async fn claims(&self, names: &[&str], most: usize, seconds: i64) -> Claims {
        let turn = |name: &&str| Turn {
            channel: channel(name),
            expired_before: at(seconds - DAY),
        };
        let turns = names.iter().map(turn).collect();
        self.store.claim(turns, most, at(seconds)).await.unwrap()
    }

    async fn claim(&self, seconds: i64) -> Vec<ClaimedMessage> {
        self.claims(&["a"], 1000, seconds).await.taken
    }

    /// Accepts and claims one message; its handle.
    async fn attempt(&self, id: &str, to: u64, seconds: i64) -> i64 {
        self.accept(id, to, seconds).await;
        let claimed = self.claim(seconds).await;
        assert_eq!(claimed.len(), 1);
        claimed[0].handle
    }

    /// A message that the provider took.
    async fn sent(&self, id: &str, to: u64, provider_id: &str, seconds: i64) {
        let handle = self.attempt(id, to, seconds).await;
        self.settle(handle, receipt(provider_id), seconds).await;
    }

    /// A message whose outcome nobody knows until `until`.
    async fn lost(&self, id: &str, to: u64, seconds: i64, until: i64) -> i64 {
        let handle = self.attempt(id, to, seconds).await;
        self.settle(handle, unknown_until(until), seconds).await;
        handle
    }

    async fn settle(&self, handle: i64, end: Settlement, seconds: i64) -> Folded {
        let settled = self
            .store
            .settle(handle, end, "HTTP 200".into(), at(seconds));
        settled.await.unwrap()
    }

    async fn events(&self, events: Vec<Incoming>, seconds: i64) -> Folded {
        self.events_with(rules("a"), events, seconds).await
    }

    async fn events_with(&self, rules: EventRules, events: Vec<Incoming>, seconds: i64) -> Folded {
        let taken = self.store.take_events(Arc::new(rules), events, at(seconds));
        taken.await.unwrap()
    }

    async fn event(&self, id: &str, status: Status, to: Option<u64>, seconds: i64) -> Folded {
        self.events(vec![event(id, status, to)], seconds).await
    }

    async fn sweep(&self, resend: bool, seconds: i64) -> Swept {
        let rule = |name| SweepRule {
            hold: std::time::Duration::from_secs(600),
            channel: channel(name),
            resend,
            expired_before: at(seconds - DAY),
        };
        let rules = vec![rule("a"), rule("b")];
        self.store.sweep(rules, true, at(seconds)).await.unwrap()
    }

    async fn record(&self, id: &str) -> Record {
        let search = Search::MsgId(channel("a"), id.into());
        self.store.find(search, 10).await.unwrap().remove(0)
    }

    async fn state(&self, id: &str) -> State {
        self.record(id).await.state
    }

    async fn callbacks(&self, queue: &LaneOf, seconds: i64) -> Vec<PendingCallback> {
        let taken = self.store.take_callbacks(queue, 1000, at(seconds));
        taken.await.unwrap()
    }

    async fn end(&self, queue: &LaneOf, handle: i64, end: RelayOutcome, seconds: i64) {
        let ends = vec![(handle, end)];
        let settled = self.store.settle_callbacks(queue, ends, at(seconds));
        settled.await.unwrap();
    }

    /// Relays all that is due, as MoEngage would see it.
    async fn relayed(&self, queue: &LaneOf, seconds: i64) -> Vec<Callback> {
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
    async fn statuses(&self, seconds: i64) -> Vec<String> {
        let relayed = self.relayed(&lane("a", Lane::Status), seconds).await;
        let word = |callback| match callback {
            Callback::Status(entry) => format!("{} {}", entry.msg_id, entry.status),
            Callback::Inbound(entry) => format!("reply {}", entry.text),
        };
        relayed.into_iter().map(word).collect()
    }

    fn ledger(&self) -> Ledger {
        self.store.ledger(&channel("a"))
    }

    /// The promise of DESIGN G2: the ledger adds up, and is what the rows say.
    #[track_caller]
    fn check(&self, names: &[&str]) {
        let beside = testing::beside(self.dir.path());
        let count = |sql: &str, name: &str| -> i64 {
            beside.query_row(sql, [name], |row| row.get(0)).unwrap()
        };
        for name in names {
            let ledger = self.store.ledger(&channel(name));
            let rows = |state: i64| {
                let sql = "SELECT count(*) FROM message WHERE channel = ?1 AND state = ";
                count(&format!("{sql}{state}"), name)
            };
            assert_eq!(ledger.lost(), 0, "{name}: {ledger:?}");
            let counted = [ledger.queued, ledger.attempting, ledger.unknown];
            assert_eq!(counted, [rows(0), rows(1), rows(3)], "{name}: {ledger:?}");
            assert!(ledger.accepted_by_provider >= rows(2), "{name}: {ledger:?}");
            assert!(ledger.failed >= rows(4), "{name}: {ledger:?}");
            let waiting = "SELECT count(*) FROM callback WHERE channel = ?1 AND ready < 2";
            assert_eq!(ledger.callbacks_waiting, count(waiting, name));
            let twice =
                "SELECT count(*) FROM (SELECT 1 FROM callback WHERE channel = ?1 AND ready = 1
                         GROUP BY lane, ord HAVING count(*) > 1)";
            assert_eq!(
                count(twice, name),
                0,
                "two callbacks of one message are ready"
            );
            let stuck =
                "SELECT count(*) FROM (SELECT 1 FROM callback WHERE channel = ?1 AND ready < 2
                         GROUP BY lane, ord HAVING sum(ready) = 0)";
            assert_eq!(count(stuck, name), 0, "callbacks wait for one that is gone");
        }
    }
}
