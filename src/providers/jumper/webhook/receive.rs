//! Who may post to a channel's inbox. `routes` says where.
//!
//! Jumper does not sign (contracts/jumper.md section 6.1), so the path carries a secret; it is
//! compared in constant time and never logged.

use super::secret::{Caller, Webhook, Webhooks};
use crate::accounts::{Channel, Channels};
use crate::alert::{Code, Many};
use crate::domain::{ChannelId, Incoming};
use crate::http::{because, no_such_route, vouch};
use crate::outbox::Outbox;
use crate::providers::inbox::{Inbox, Unread, count_turned_away};
use crate::store::EventRules;
use axum::extract::Request;
use axum::response::Response;
use secrecy::SecretString;
use std::collections::HashMap;
use std::sync::Arc;

static GUESSES: Many = Many::of(
    Code::SecretsGuessed,
    "webhook",
    100,
    "requests had no secret or a wrong one in their path. Somebody guesses it, or Jumper posts to an old \
     address (`gateway check` compares them). They are answered no.",
);

/// What the webhook works with. Clones share it.
#[derive(Clone)]
pub struct Receiver {
    shared: Arc<Shared>,
}

struct Shared {
    outbox: Outbox,
    /// By channel; the first of the configuration answers the routes without a channel.
    doors: HashMap<String, Door>,
    first: String,
    /// Paths that Jumper is told and that are no route of ours, and whose they are.
    elsewhere: Vec<(String, ChannelId)>,
}

struct Door {
    webhook: Arc<Webhook>,
    inbox: Inbox,
}

/// A door that was opened, and how.
pub(super) struct Entered<'a> {
    door: &'a Door,
    caller: Caller,
    /// The secret, where nobody posted with it before.
    news: Option<SecretString>,
}

impl Receiver {
    /// A receiver for these channels; `rules` tells how the events of each are read, `elsewhere` which paths
    /// that are no routes are a channel's.
    pub fn new(
        channels: &Channels,
        webhooks: &Webhooks,
        outbox: Outbox,
        rules: impl Fn(&Channel) -> EventRules,
        elsewhere: Vec<(String, ChannelId)>,
    ) -> Self {
        let door = |channel: &Arc<Channel>| {
            let door = Door {
                webhook: webhooks.get(channel.id.as_str())?.clone(),
                inbox: Inbox::new(rules(channel), read),
            };
            Some((channel.id.to_string(), door))
        };
        let shared = Shared {
            outbox,
            doors: channels.iter().filter_map(door).collect(),
            first: channels
                .iter()
                .next()
                .map(|channel| channel.id.to_string())
                .unwrap_or_default(),
            elsewhere,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The channel of the routes that name none.
    pub(super) fn first(&self) -> &str {
        &self.shared.first
    }

    /// Whose path this is, of those that are no route of ours, and the secret that it carries.
    pub(super) fn named_by(&self, path: &str) -> Option<(&str, Option<String>)> {
        let path = path.trim_end_matches('/');
        let whose = |path| {
            let mut all = self.shared.elsewhere.iter();
            let (_, channel) = all.find(|(known, _)| known == path)?;
            self.shared.doors.get(channel.as_str())
        };
        if let Some(door) = whose(path) {
            let opens = |part: &&str| {
                let admitted = door.webhook.admit(Some(part));
                matches!(admitted, Ok(Caller::Holder | Caller::OfBefore))
            };
            let secret = path.split('/').find(opens).map(str::to_owned);
            return Some((door.inbox.channel().as_str(), secret));
        }
        let (head, secret) = path.rsplit_once('/')?;
        let door = whose(head)?;
        Some((door.inbox.channel().as_str(), Some(secret.to_owned())))
    }

    /// The door of a channel, if what was presented opens it; else why not. Another process may have
    /// changed the secret: before a no it is looked up, if it was not a moment ago.
    pub(super) async fn open(
        &self,
        channel: &str,
        presented: Option<&str>,
    ) -> Result<Entered<'_>, &'static str> {
        let door = self.shared.doors.get(channel);
        let door = door.ok_or("the path names no channel of this gateway")?;
        let webhook = &door.webhook;
        let mut caller = webhook.admit(presented);
        if caller.is_err() && presented.is_some() {
            webhook.look_again().await;
            caller = webhook.admit(presented);
        }
        let caller = caller?;
        let is_news = caller == Caller::Holder && webhook.awaits_confirmation();
        Ok(Entered {
            door,
            caller,
            news: presented.filter(|_| is_news).map(SecretString::from),
        })
    }

    /// The secret first: a stranger's body is not even read.
    #[tracing::instrument(name = "webhook", level = "debug", skip_all)]
    pub(super) async fn receive(
        &self,
        entered: Result<Entered<'_>, &'static str>,
        request: Request,
    ) -> Response {
        let entered = match entered {
            Ok(entered) => entered,
            Err(reason) => return turned_away(reason),
        };
        let (inbox, trusted) = (&entered.door.inbox, entered.caller != Caller::Anybody);
        if trusted {
            vouch(request.extensions());
        }
        let body = match inbox.body(request).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let answer = inbox.store(&self.shared.outbox, body, trusted).await;
        if let Some(secret) = entered.news.filter(|_| answer.status().is_success()) {
            confirm(entered.door.webhook.clone(), secret);
        }
        answer
    }
}

/// Reads a body of Jumper's.
fn read(body: &[u8]) -> Result<Vec<Incoming>, Unread> {
    let body = crate::json::read(body).map_err(|_| Unread::NotJson)?;
    super::parse(&body).map_err(|fault| Unread::TooMuch(fault.to_string()))
}

/// A post by this address proves that Jumper uses it. Stored beside the answer, which waits for nothing.
fn confirm(webhook: Arc<Webhook>, secret: SecretString) {
    tokio::spawn(async move {
        // Where it cannot be stored, the next post does it.
        let _ = webhook.confirmed(Some(&secret), false).await;
    });
}

/// The answer to who has no secret or a wrong one, whatever the method.
pub(super) fn turned_away(reason: &'static str) -> Response {
    count_turned_away("no_secret");
    GUESSES.more(1);
    because(no_such_route(), reason)
}
