//! What all handlers share: the state of each counterparty's fake, the knobs and the rules. Locks are standard
//! mutexes held for a few lines and never across an await.

use std::{
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Options, dice,
    jumper::{account::Account, state::Jumper},
    knobs::Knobs,
    lock::lock,
    moengage::receiver::Receiver,
    outcome::Outcome,
    route::Asked,
    rules::Rules,
};

/// Everything shared.
#[derive(Debug)]
pub(super) struct World {
    pub(super) seed: u64,
    started: Instant,
    /// Swapped whole, so that a call sees one consistent set.
    knobs: RwLock<Arc<Knobs>>,
    pub(super) rules: Mutex<Rules>,
    /// State of the fake Jumper.
    pub(super) jumper: Jumper,
    /// What the fake MoEngage remembers.
    pub(super) moengage: Mutex<Receiver>,
    /// Calls so far, naming the dice of things that belong to no message.
    calls: AtomicUsize,
    pub(super) client: reqwest::Client,
    pub(super) stop: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl World {
    pub(super) fn new(options: Options, client: reqwest::Client) -> Result<Self, String> {
        let jumper = Jumper::new(options.webhook_url, options.knobs.webhook_parallel);
        for merchant in options.merchants {
            jumper.add(merchant)?;
        }
        Ok(Self {
            seed: options.seed,
            started: Instant::now(),
            knobs: RwLock::new(Arc::new(options.knobs)),
            rules: Mutex::default(),
            jumper,
            moengage: Mutex::default(),
            calls: AtomicUsize::new(0),
            client,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
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
            self.jumper.set_slots(current.webhook_parallel);
        }
        result
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
