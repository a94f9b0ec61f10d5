//! Holds, stored and told: what the answers of the provider brought about stays when the process ends,
//! and holds for all that share the store.
//!
//! What is held is decided in [`crate::domain::circumstance`] and kept in memory by
//! [`super::Holding`]; trials are made by the worker. Each scope is one setting of the store,
//! written whole. A store that cannot be written is tried again; the hold stands meanwhile.

mod back;
mod operator;
mod stored;

pub use back::BackError;
pub use operator::HoldError;

use super::account::Account;
use crate::alert;
use crate::clock;
use crate::domain::ChannelId;
use crate::domain::circumstance::{Cause, Hold, Scope};
use crate::outbox::Outbox;
use crate::store::{self, Locked, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often what other processes stored is looked at, and what could not be stored is tried again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The holds of one account. Clones share it.
#[derive(Debug, Clone)]
pub struct Holds {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    account: Arc<Account>,
    /// The account's channels.
    channels: Vec<ChannelId>,
    outbox: Outbox,
    /// For the one replica that makes a trial.
    locks: store::Tokens,
    /// The longest pause between two trials.
    longest: Duration,
    /// Held while holds are written, so that an older one never overwrites a newer one.
    writing: tokio::sync::Mutex<()>,
}

impl Holds {
    /// The holds of an account with these channels; `longest` is the longest pause between two trials.
    pub fn new(
        account: Arc<Account>,
        channels: Vec<ChannelId>,
        outbox: Outbox,
        locks: store::Tokens,
        longest: Duration,
    ) -> Self {
        let shared = Shared {
            account,
            channels,
            outbox,
            locks,
            longest,
            writing: tokio::sync::Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The account.
    pub fn account(&self) -> &Arc<Account> {
        &self.shared.account
    }

    /// The longest pause between two trials.
    pub fn longest_pause(&self) -> Duration {
        self.shared.longest
    }

    /// Every scope of the account, the account itself first.
    fn scopes(&self) -> impl Iterator<Item = Scope> {
        let account = Scope::Account(self.shared.account.id.clone());
        let channels = self.shared.channels.iter().cloned().map(Scope::Channel);
        std::iter::once(account).chain(channels)
    }

    /// The channels of a scope.
    pub fn channels_of(&self, scope: &Scope) -> Vec<ChannelId> {
        match scope {
            Scope::Account(_) => self.shared.channels.clone(),
            Scope::Channel(id) => vec![id.clone()],
        }
    }

    /// How many messages wait in a scope.
    pub fn waiting(&self, scope: &Scope) -> usize {
        let queued = |channel: &ChannelId| self.shared.outbox.store.ledger(channel).queued;
        let channels = self.channels_of(scope);
        let waiting: i64 = channels.iter().map(queued).sum();
        usize::try_from(waiting).unwrap_or_default()
    }

    /// Takes over what earlier processes stored. Called once, before anything is sent.
    pub async fn load(&self) -> Result<(), StoreError> {
        for scope in self.scopes() {
            let stored = self.stored(&scope).await?;
            let Some(hold) = stored else { continue };
            if hold.is_held() {
                tracing::warn!(hold = %scope, reason = hold.words,
                    event = "hold_kept",
                    "messages are held as before the restart; a trial will end that");
            }
            self.shared.account.holding.load(hold);
        }
        Ok(())
    }

    async fn stored(&self, scope: &Scope) -> Result<Option<Hold>, StoreError> {
        let store = &self.shared.outbox.store;
        let text = store.load_setting(&stored::name(scope)).await?;
        let hold = text.and_then(|text| stored::read(scope, &text));
        Ok(hold.filter(|hold| !hold.is_over(clock::now())))
    }

    /// A hold began: it is stored, and a person is told.
    pub async fn begun(&self, hold: &Hold) {
        self.save().await;
        self.shared.account.work.notify_one();
        let (subject, waiting) = (subject(&hold.scope), self.waiting(&hold.scope));
        let text = format!(
            "The provider answers alike to several messages of {subject}: {}. All {waiting} messages \
             there wait, and new ones are accepted. The gateway tries one message in 5 s and goes on by \
             itself when the provider takes it. GET /api/holds at the ops listener shows what you can do.",
            hold.words,
        );
        alert::raise(alert::Code::MessagesHeld, &subject, &text);
    }

    /// One recipient is accused for a minute, and nobody else.
    pub fn tell_of_one_recipient(&self, scope: &Scope, cause: &Cause) {
        let subject = subject(scope);
        let text = format!(
            "For a minute the provider has refused messages of {subject} to one recipient: {}. It answers \
             other calls, so only these messages wait; the gateway tries them every 5 minutes.",
            cause.words,
        );
        alert::raise(alert::Code::OneRecipientRefused, &subject, &text);
    }

    /// Puts in what a scope's hold is now, and stores it.
    pub async fn put(&self, hold: Hold) {
        self.shared
            .account
            .holding
            .put(&hold.scope.clone(), Some(hold));
        self.save().await;
    }

    /// The hold ends, by a trial or by an operator: the scope is on probation, and with an account its
    /// channels that were held for the same reason.
    pub async fn release(&self, hold: Hold) {
        let holding = &self.shared.account.holding;
        let now = clock::now();
        if let Scope::Account(_) = hold.scope {
            let narrower = holding.holds().into_iter();
            let narrower =
                narrower.filter(|one| one.scope != hold.scope && one.reason == hold.reason);
            narrower.for_each(|one| holding.put(&one.scope.clone(), Some(one.released(now))));
        }
        let subject = subject(&hold.scope);
        self.put(hold.released(now)).await;
        self.shared.account.work.notify_one();
        alert::over(alert::Code::MessagesHeld, &subject);
    }

    /// Becomes the one process that makes a trial now. `None`: another one does.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn trial_lock(&self) -> Result<Option<store::Guard>, StoreError> {
        let account = &self.shared.account.id;
        Ok(
            match self.shared.locks.lock(account, "trial", true).await? {
                Locked::Ours(guard) => Some(guard),
                Locked::Busy | Locked::PutOff(_) => None,
            },
        )
    }

    /// Stores what is not stored yet. What cannot be stored now is tried again by [`Holds::keep`].
    async fn save(&self) {
        let _writing = self.shared.writing.lock().await;
        let (holding, store) = (&self.shared.account.holding, &self.shared.outbox.store);
        for (scope, change, hold) in holding.unsaved() {
            let value = hold.as_ref().map(stored::write);
            match store.save_setting(&stored::name(&scope), value).await {
                Ok(()) => holding.saved(&scope, change),
                Err(error) => {
                    tracing::warn!(hold = %scope, %error,
                        event = "hold_not_stored",
                        "a hold could not be stored; it stands in this process and is stored later");
                    return;
                }
            }
        }
    }

    /// Follows what other processes stored.
    pub async fn follow(&self) -> Result<(), StoreError> {
        let holding = &self.shared.account.holding;
        for scope in self.scopes() {
            let seen = holding.seen(&scope);
            let stored = self.stored(&scope).await?;
            match holding.follow(&scope, seen, stored) {
                Some(true) => tracing::warn!(hold = %scope,
                    event = "hold_of_other_process",
                    "another gateway process holds these messages; this one holds them too"),
                Some(false) => {
                    alert::over(alert::Code::MessagesHeld, &subject(&scope));
                    tracing::info!(
                        hold = %scope, event = "hold_ended_elsewhere",
                        "another gateway process released the messages"
                    );
                    self.shared.account.work.notify_one();
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Stores what could not be stored, forgets probations that are over, and follows the others,
    /// until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK_EVERY) => {}
            }
            let holding = &self.shared.account.holding;
            for scope in self.scopes() {
                let over = holding
                    .hold(&scope)
                    .is_some_and(|hold| hold.is_over(clock::now()));
                if over {
                    holding.put(&scope, None);
                }
                if !holding.one_is_refused(&scope) {
                    alert::over(alert::Code::OneRecipientRefused, &subject(&scope));
                }
            }
            if !holding.unsaved().is_empty() {
                self.save().await;
            }
            if self.shared.outbox.store.is_shared() {
                // The store's own trouble is told elsewhere; what holds goes on holding.
                let _ = self.follow().await;
            }
        }
    }
}

/// Whom an alert is about.
fn subject(scope: &Scope) -> String {
    format!("{} {}", scope.kind(), scope.name())
}
