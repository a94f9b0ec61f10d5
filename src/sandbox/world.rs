//! What all handlers share: the merchants with their fakes' state, the knobs, the script, the token desk and
//! the fake MoEngage. Locks are standard mutexes held for a few lines and never across an await.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Options,
    account::{Account, Door, Merchant, lock},
    dice,
    knobs::Knobs,
    moengage::Receiver,
    outcome::Outcome,
    rules::{Asked, Rules},
    template,
    token::Desk,
};

/// Everything shared.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) webhook_url: Option<String>,
    started: Instant,
    /// Swapped whole, so that a call sees one consistent set.
    knobs: RwLock<Arc<Knobs>>,
    accounts: RwLock<Vec<Arc<Account>>>,
    pub(super) desk: Mutex<Desk>,
    pub(super) rules: Mutex<Rules>,
    /// Door of calls nobody could be found for, and pace over all merchants.
    pub(super) door: Mutex<Door>,
    pub(super) moengage: Mutex<Receiver>,
    /// Calls so far, naming the dice of things that belong to no message.
    calls: AtomicUsize,
    /// Connections so far that carried a send.
    pub(super) send_connections: AtomicUsize,
    pub(super) client: reqwest::Client,
    /// Places for webhook posts; replaced when the knob changes.
    slots: RwLock<Arc<Semaphore>>,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl World {
    pub(super) fn new(options: Options, client: reqwest::Client) -> Result<Self, String> {
        let slots = Semaphore::new(options.knobs.webhook_parallel);
        let world = Self {
            seed: options.seed,
            webhook_url: options.webhook_url,
            started: Instant::now(),
            knobs: RwLock::new(Arc::new(options.knobs)),
            accounts: RwLock::default(),
            desk: Mutex::default(),
            rules: Mutex::default(),
            door: Mutex::default(),
            moengage: Mutex::default(),
            calls: AtomicUsize::new(0),
            send_connections: AtomicUsize::new(0),
            client,
            slots: RwLock::new(Arc::new(slots)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        for merchant in options.merchants {
            world.add(merchant)?;
        }
        Ok(world)
    }

    /// Adds a merchant, whose id must be new.
    pub(super) fn add(&self, mut merchant: Merchant) -> Result<Arc<Account>, String> {
        let templates = match merchant.templates.take() {
            Some(templates) => templates,
            None => template::catalogue().map_err(|error| error.to_string())?,
        };
        let mut accounts = self
            .accounts
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if accounts
            .iter()
            .any(|one| one.merchant.merchant_id == merchant.merchant_id)
        {
            return Err(format!(
                "merchant {} is there already",
                merchant.merchant_id
            ));
        }
        let account = Arc::new(Account::new(accounts.len(), merchant, templates));
        lock(&self.desk).seed(account.index, &account.merchant.refresh_token);
        accounts.push(Arc::clone(&account));
        Ok(account)
    }

    /// One merchant by id, or all; an unknown id is an error.
    pub(super) fn accounts(&self, merchant_id: Option<&str>) -> Result<Vec<Arc<Account>>, String> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            |one: &&Arc<Account>| merchant_id.is_none_or(|id| one.merchant.merchant_id == id);
        let found: Vec<_> = accounts.iter().filter(wanted).cloned().collect();
        match (found.is_empty(), merchant_id) {
            (true, Some(id)) => Err(format!("no such merchant: {id}")),
            (true, None) => Err("there is no merchant".to_owned()),
            _ => Ok(found),
        }
    }

    pub(super) fn account(&self, index: usize) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.get(index).cloned()
    }

    pub(super) fn knobs(&self) -> Arc<Knobs> {
        Arc::clone(&self.knobs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the knobs under their lock, so that concurrent changes do not undo each other.
    pub(super) fn turn<T>(&self, change: impl FnOnce(&mut Knobs) -> T) -> T {
        let mut current = self.knobs.write().unwrap_or_else(PoisonError::into_inner);
        let before = current.webhook_parallel;
        let result = change(Arc::make_mut(&mut current));
        if current.webhook_parallel != before {
            let slots = Arc::new(Semaphore::new(current.webhook_parallel));
            *self.slots.write().unwrap_or_else(PoisonError::into_inner) = slots;
        }
        result
    }

    pub(super) fn slots(&self) -> Arc<Semaphore> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// What a rule says becomes of a call; the name of the template is looked up at its merchant, if
    /// the caller is known.
    pub(super) fn ruled(&self, asked: &Asked<'_>, account: Option<&Account>) -> Option<Outcome> {
        if lock(&self.rules).is_empty() {
            return None;
        }
        let templates = account.map(Account::templates);
        let name = templates.as_ref().and_then(|all| all.find(asked.variant));
        let name = name.map(|(template, _)| template.name.as_str());
        lock(&self.rules).take(asked, name)
    }

    /// Dice for the next thing that belongs to no message.
    pub(super) fn loose_dice(&self) -> fastrand::Rng {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        dice::rng(self.seed, &["call"], call as u64)
    }

    /// Nanoseconds since the sandbox started.
    pub(super) fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Wall-clock milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
