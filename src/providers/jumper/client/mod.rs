//! The calls to Jumper's API, one HTTP client an account.
//!
//! Every call consumes a permit and ends within the deadline; every answer is reduced to
//! [`Answer`], which the failure policy judges. Never retries, never follows a redirect, never
//! keeps a token.

mod form;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;

use super::exchange::{BuildError, address, exchange, plain};
use super::token::Access;
use super::wire::Subscription;
use crate::domain::template::Outgoing;
use crate::domain::{Answer, Transport};
use crate::http::outgoing::header::{AUTHORIZATION, CONTENT_TYPE};
use crate::http::outgoing::{self, RequestBuilder, Url};
use crate::json::Tree;
use crate::limit::Permit;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The most of an answer that is read.
const LONGEST_ANSWER: usize = 256 * 1024;
/// The most of a list of templates that is read: it holds every template of a merchant.
const LONGEST_LIST: usize = 32 * 1024 * 1024;

/// How an account's calls are made.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// The address of the API, without a path.
    pub api_url: String,
    /// From the start of a call to the end of its answer.
    pub request_timeout: Duration,
    /// Until there is a connection.
    pub connect_timeout: Duration,
    /// Calls at once.
    pub max_sockets: usize,
    /// Connections kept open for the next call at least. Fewer than calls at once are never kept:
    /// else a busy account would open one for nearly every call.
    pub max_free_sockets: usize,
    /// How long they are kept.
    pub free_socket_keepalive: Duration,
}

/// A call that is not a send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question<'a> {
    /// The templates, `limit` of them or `all` (contracts/jumper.md section 4.2).
    Templates { limit: &'a str },
    /// What one variant wants (section 4.3).
    Template { id: &'a str },
    /// Where events go (section 4.6).
    Subscriptions,
    /// Where events shall go: the whole list (section 4.5).
    Subscribe { entries: &'a [Subscription] },
}

/// The calls of one account.
#[derive(Debug)]
pub struct Client {
    http: outgoing::Client,
    /// Calls at once, whatever the limiter allows.
    sockets: Semaphore,
    send: Url,
    templates: Url,
    template: Url,
    subscriptions: Url,
    subscribe: Url,
}

impl Client {
    /// A client without connections.
    pub fn new(settings: &ClientSettings) -> Result<Self, BuildError> {
        let http = plain(
            settings.connect_timeout.min(settings.request_timeout / 2),
            settings.request_timeout,
        )
        // As many as there may ever be: calls at once change at run time, the pool cannot. What is
        // idle never is more than was busy within the keepalive.
        .pool_max_idle_per_host(settings.max_free_sockets.max(settings.max_sockets))
        .pool_idle_timeout(settings.free_socket_keepalive)
        .build()
        .map_err(|_| BuildError::Http)?;
        let at = |path| address(&settings.api_url, path);
        Ok(Self {
            http,
            sockets: Semaphore::new(settings.max_sockets.clamp(1, Semaphore::MAX_PERMITS)),
            send: at("/chat/send-message")?,
            templates: at("/chat/fetch-whatsapp-templates")?,
            template: at("/chat/get-whatsapp-template")?,
            subscriptions: at("/app/list-subscription")?,
            subscribe: at("/app/add-subscription")?,
        })
    }

    /// Sends one template message (contracts/jumper.md section 4.1).
    pub(super) async fn send(
        &self,
        permit: Permit,
        access: &Access,
        outgoing: &Outgoing,
    ) -> Answer {
        let (content_type, body) = form::multipart(&form::fields(outgoing));
        let request = self
            .http
            .post(self.send.clone())
            .header(CONTENT_TYPE, content_type)
            .body(body);
        let request = request.header(AUTHORIZATION, access.bearer());
        // Before the permit starts, so that nothing but the wire lies between its slot and the call.
        let socket = self.socket().await;
        let ready = Ready { permit, socket };
        call(ready, request, LONGEST_ANSWER, "send").await.0
    }

    /// Waits for a socket.
    pub(super) async fn socket(&self) -> Option<SemaphorePermit<'_>> {
        self.sockets.acquire().await.ok()
    }

    /// Makes one call that is not a send. An answer that is no success comes back as the error.
    pub(super) async fn ask(
        &self,
        ready: Ready<'_>,
        access: &Access,
        question: Question<'_>,
    ) -> Result<Tree, Answer> {
        let get = |url: &Url| self.http.get(url.clone());
        let (request, limit, name) = match question {
            Question::Templates { limit } => {
                let request = get(&self.templates).query(&[("limit", limit)]);
                (request, LONGEST_LIST, "templates")
            }
            Question::Template { id } => (
                get(&self.template).query(&[("id", id)]),
                LONGEST_ANSWER,
                "template",
            ),
            Question::Subscriptions => (get(&self.subscriptions), LONGEST_ANSWER, "subscriptions"),
            Question::Subscribe { entries } => {
                let form = [("data", form::subscription_list(entries))];
                let request = self.http.post(self.subscribe.clone()).form(&form);
                (request, LONGEST_ANSWER, "subscribe")
            }
        };
        let request = request.header(AUTHORIZATION, access.bearer());
        let (answer, body) = call(ready, request, limit, name).await;
        let fine = matches!(answer.http, Some(200..=299))
            && answer.transport.is_none()
            && answer.fault.is_none()
            && answer.success != Some(false)
            && body.value.is_object();
        if fine { Ok(body) } else { Err(answer) }
    }
}

/// What a call needs before it is made, and keeps until it has ended.
#[derive(Debug)]
pub(super) struct Ready<'a> {
    /// Its slot.
    pub(super) permit: Permit,
    /// Its socket.
    pub(super) socket: Option<SemaphorePermit<'a>>,
}

async fn call(
    ready: Ready<'_>,
    request: RequestBuilder,
    limit: usize,
    name: &'static str,
) -> (Answer, Tree) {
    let Ready {
        mut permit,
        socket: _socket,
    } = ready;
    if !permit.start().await {
        let transport = Some(Transport::NotStarted);
        return (
            Answer {
                transport,
                ..Answer::default()
            },
            Tree::default(),
        );
    }
    exchange(request, limit, name).await
}
