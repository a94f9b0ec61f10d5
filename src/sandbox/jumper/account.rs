//! A merchant: what the sandbox is told of it, and its fake's state, apart from every other merchant's
//! (contracts/jumper.md 7, point 14). Locks are held for a few lines and never across an await.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    ledger::Ledger,
    limiter::{Arrivals, Limiter},
    template::{Set, Template},
};
use crate::sandbox::lock::lock;

/// A Jumper merchant to serve.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// Key of the application.
    pub client_key: String,
    /// Secret of the application.
    pub client_secret: String,
    /// Refresh token good from the start.
    pub refresh_token: String,
    /// Merchant id, digits.
    pub merchant_id: String,
    /// Templates; absent = the built-in set.
    #[serde(default)]
    pub templates: Option<Vec<Template>>,
    /// Where events go besides subscribed URLs; absent = the sandbox's `webhook_url`.
    #[serde(default)]
    pub webhook_url: Option<String>,
}

impl Default for Merchant {
    fn default() -> Self {
        Self {
            client_key: "sandbox-key".to_owned(),
            client_secret: "sandbox-secret".to_owned(),
            refresh_token: "sandbox-refresh-token".to_owned(),
            merchant_id: "5000000000000000".to_owned(),
            templates: None,
            webhook_url: None,
        }
    }
}

/// A webhook subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Subscription {
    #[serde(alias = "subscription_type", default = "livechat")]
    pub(super) permission: String,
    pub(super) webhook: String,
    /// Whether events are really posted there; seeded foreign entries are only listed.
    #[serde(default)]
    pub(super) deliver: bool,
}

fn livechat() -> String {
    "livechat".to_owned()
}

/// How many do something at once, and the most there were.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Gauge {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Gauge {
    pub(super) fn enter(self: &Arc<Self>) -> Inside {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.most.fetch_max(now, Ordering::Relaxed);
        Inside(Arc::clone(self))
    }

    pub(in crate::sandbox) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    fn reset(&self) {
        self.most
            .store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// Held while inside a gauge, also when the caller goes away.
#[derive(Debug)]
pub(super) struct Inside(Arc<Gauge>);

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The gate's own state: taken once per call.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Door {
    pub(super) limiter: Limiter,
    pub(in crate::sandbox) arrivals: Arrivals,
    pub(in crate::sandbox) calls: BTreeMap<&'static str, u64>,
}

/// One merchant at work.
#[derive(Debug)]
pub(in crate::sandbox) struct Account {
    pub(in crate::sandbox) index: usize,
    pub(in crate::sandbox) merchant: Merchant,
    pub(in crate::sandbox) door: Mutex<Door>,
    pub(super) ledger: Mutex<Ledger>,
    /// Replaced whole by the control API, read by every send.
    pub(super) templates: RwLock<Arc<Set>>,
    pub(in crate::sandbox) subscriptions: Mutex<Vec<Subscription>>,
    pub(in crate::sandbox) in_flight: Arc<Gauge>,
    pub(in crate::sandbox) refreshing: Arc<Gauge>,
    /// Events planned but neither answered nor given up.
    pub(in crate::sandbox) pending: AtomicUsize,
}

impl Account {
    pub(super) fn new(index: usize, merchant: Merchant, templates: Vec<Template>) -> Self {
        let account = Self {
            index,
            merchant,
            door: Mutex::default(),
            ledger: Mutex::default(),
            templates: RwLock::default(),
            subscriptions: Mutex::default(),
            in_flight: Arc::default(),
            refreshing: Arc::default(),
            pending: AtomicUsize::new(0),
        };
        account.put_templates(templates);
        account
    }

    pub(in crate::sandbox) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(in crate::sandbox) fn templates(&self) -> Arc<Set> {
        Arc::clone(
            &self
                .templates
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    pub(in crate::sandbox) fn put_templates(&self, templates: Vec<Template>) {
        let set = Arc::new(Set::new(templates, self.first_id()));
        *self
            .templates
            .write()
            .unwrap_or_else(PoisonError::into_inner) = set;
    }

    /// First id given to templates: another thousand for each merchant, so that ids are nobody else's.
    fn first_id(&self) -> u64 {
        5_000_000_000_000_001 + self.index as u64 * 1000
    }

    pub(super) fn reset(&self) {
        *lock(&self.door) = Door::default();
        self.ledger().reset();
        self.in_flight.reset();
        self.refreshing.reset();
    }
}
