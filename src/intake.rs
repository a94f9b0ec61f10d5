//! May this message enter? Opt-out and template are checked, then comes the one durable write.
//!
//! Answers fast: the only call it may wait for is one refetch of the template list on a miss, at
//! most two seconds. What cannot be decided now is accepted and decided at send time.

use crate::accounts::Channel;
use crate::clock;
use crate::domain::{AccountId, Message, MsgId, Refusal, RefusalKind};
use crate::outbox::Outbox;
use crate::store::{Accepted, Arrival, StoreError};
use crate::telemetry::OncePerSecond;
use crate::templates::{Lookup, Templates, fit};
use metrics::counter;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Lines about what cannot be stored.
static LOG: OncePerSecond = OncePerSecond::new();

/// How long a caller waits for a template list on a miss (design.md section 4).
const LIST_WAIT: Duration = Duration::from_secs(2);
/// What a caller is told to wait when the queue is full.
const FULL_WAIT: Duration = Duration::from_secs(10);

/// The door. Clones share it.
#[derive(Debug, Clone)]
pub struct Intake {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    outbox: Outbox,
    templates: HashMap<AccountId, Arc<Templates>>,
    /// Set once, when the process is about to stop.
    draining: AtomicBool,
}

/// What became of a message at the door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It is kept and synced.
    Accepted,
    /// It was accepted before; nothing is sent again.
    Repeat,
    /// It may not enter.
    Refused(Refusal),
    /// Too many wait already.
    Full {
        /// When to come again.
        retry_after: Duration,
    },
    /// It cannot be stored now.
    Unavailable {
        /// Why, for the log; the caller is told to come again.
        reason: String,
    },
    /// The process is about to stop.
    Draining,
}

impl Intake {
    /// The door of these accounts.
    pub fn new(outbox: Outbox, templates: HashMap<AccountId, Arc<Templates>>) -> Self {
        let shared = Shared {
            outbox,
            templates,
            draining: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes nothing more.
    pub fn close(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// Whether it takes nothing more.
    pub fn is_closed(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Lets a message in, or says why not.
    #[tracing::instrument(name = "accept", level = "debug", skip_all, fields(channel = %channel.id, msg_id = %message.msg_id))]
    pub async fn accept(&self, channel: &Arc<Channel>, message: Message) -> Entry {
        let message = Arc::new(message);
        let entry = self.decide(channel, &message).await;
        count(channel, &message, &entry);
        entry
    }

    async fn decide(&self, channel: &Arc<Channel>, message: &Arc<Message>) -> Entry {
        if self.is_closed() {
            return Entry::Draining;
        }
        let outbox = &self.shared.outbox;
        let waiting = outbox.store.ledger(&channel.id).queued;
        if channel
            .max_queue
            .is_some_and(|most| waiting >= i64::try_from(most).unwrap_or(i64::MAX))
        {
            let full = Entry::Full {
                retry_after: FULL_WAIT,
            };
            return self.unless_repeat(channel, &message.msg_id, full).await;
        }
        let is_marketing = match self.check_template(channel, message).await {
            Ok(is_marketing) => is_marketing,
            Err(refusal) => {
                let refused = Entry::Refused(refusal);
                return self.unless_repeat(channel, &message.msg_id, refused).await;
            }
        };
        let (outbox, to) = (outbox.clone(), channel.clone());
        let stored = store(outbox, to, message.clone(), is_marketing).await;
        match stored {
            Ok(Accepted::Stored) => Entry::Accepted,
            Ok(Accepted::Repeat { same }) => {
                note_repeat(channel, message, same);
                Entry::Repeat
            }
            Ok(Accepted::OptedOut(scope)) => Entry::Refused(scope.refusal()),
            Err(error) => self.unavailable(channel, &error),
        }
    }

    /// This end of a message that may not enter, unless its id was accepted before: then it is a
    /// repeat, whatever it says now (design.md G3). While the store cannot tell, neither can be said.
    pub async fn unless_repeat(&self, channel: &Channel, msg_id: &MsgId, end: Entry) -> Entry {
        let store = &self.shared.outbox.store;
        match store.is_accepted(&channel.id, msg_id).await {
            Ok(true) => Entry::Repeat,
            Ok(false) => end,
            Err(error) => self.unavailable(channel, &error),
        }
    }

    /// Whether its template is a promotion, or why it cannot be sent.
    async fn check_template(&self, channel: &Channel, message: &Message) -> Result<bool, Refusal> {
        let Some(templates) = self.shared.templates.get(&channel.account.id) else {
            return Ok(false);
        };
        let (name, language) = (&message.template.name, &message.template.language);
        let found = match templates.find(name, language) {
            Lookup::Found(variant) => Lookup::Found(variant),
            _ => {
                templates
                    .resolve_or_refetch(name, language, LIST_WAIT)
                    .await
            }
        };
        match found {
            Lookup::Found(variant) => {
                if let Some(detail) = templates.current_detail(&variant)
                    && templates.is_fresh(clock::now())
                {
                    fit(&message.template, &variant, &detail)?;
                }
                Ok(variant.is_marketing)
            }
            Lookup::Missing => Err(Refusal::new(
                RefusalKind::Template,
                format!("Template {name} ({language}) is not approved at the provider"),
            )),
            // Nobody can tell now: accepted, and decided when it is sent.
            Lookup::Unknown => Ok(false),
        }
    }
}

/// The one durable write, in a task of its own: a caller who goes away must not leave a stored
/// message without its wakeup.
async fn store(
    outbox: Outbox,
    channel: Arc<Channel>,
    message: Arc<Message>,
    is_marketing: bool,
) -> Result<Accepted, StoreError> {
    let write = tokio::spawn(async move {
        let account = &channel.account;
        let now = clock::now();
        let arrival = Arrival {
            message: &message,
            is_marketing,
        };
        let stored = outbox
            .store
            .accept(&channel.id, &account.id, arrival, now)
            .await;
        if matches!(stored, Ok(Accepted::Stored)) {
            account.work.notify_one();
        }
        stored
    });
    let cut = |_| StoreError::Unavailable("the write was cut short".into());
    write.await.map_err(cut)?
}

impl Intake {
    fn unavailable(&self, channel: &Channel, error: &StoreError) -> Entry {
        counter!("gateway_unavailable_total", "channel" => channel.id.as_str().to_owned())
            .increment(1);
        // Thousands a second may come while the disk is full, and the log may be on that disk.
        if LOG.passes() {
            tracing::warn!(channel = %channel.id, %error,
                event = "intake_unavailable",
                "messages are answered 503, because they cannot be stored or looked up; MoEngage is \
                 asked to come again");
            self.shared.outbox.failed(error);
        }
        Entry::Unavailable {
            reason: error.to_string(),
        }
    }
}

fn note_repeat(channel: &Channel, message: &Message, same: bool) {
    if !same {
        tracing::warn!(channel = %channel.id, msg_id = %message.msg_id,
            event = "repeat_differs",
            "a repeated msg_id came with other content; the first one counts, nothing is sent");
    }
    let same = if same { "same" } else { "other" };
    counter!("gateway_repeats_total", "channel" => channel.id.as_str().to_owned(), "content" => same)
        .increment(1);
}

fn count(channel: &Channel, message: &Message, entry: &Entry) {
    let label = || channel.id.as_str().to_owned();
    match entry {
        Entry::Accepted => {
            tracing::debug!(channel = %channel.id, msg_id = %message.msg_id, "accepted");
            counter!("gateway_accepted_total", "channel" => label()).increment(1);
        }
        Entry::Refused(refusal) => {
            counter!("gateway_refused_total", "channel" => label(), "kind" => refusal.kind.as_str())
                .increment(1);
        }
        Entry::Repeat | Entry::Full { .. } | Entry::Unavailable { .. } | Entry::Draining => {}
    }
}
