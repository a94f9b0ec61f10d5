//! A gateway's front door over a real store, for the tests of sends.

use crate::accounts::{Account, Channel, Channels, Pause};
use crate::domain::policy::Policy;
use crate::domain::{AccountId, BusinessNumber, ChannelId};
use crate::doors::moengage::{SendState, routes};
use crate::http::testing::{Answer, Server};
use crate::http::{Limits, finish};
use crate::intake::Intake;
use crate::limit::{Limiter, Rate};
use crate::outbox::Outbox;
use crate::store::embedded::{Settings, Store};
use crate::store::{self, Search, testing};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(super) fn open_channel(id: &str, tokens: &[&str], waba_number: Option<&str>) -> Channel {
    let rate = Rate {
        per_second: None,
        concurrency: 1,
    };
    let account = Account::new(
        AccountId::parse("default").unwrap(),
        Limiter::new(rate, Duration::ZERO),
    );
    Channel {
        id: ChannelId::parse(id).unwrap(),
        account: Arc::new(account),
        tokens: tokens.iter().map(|token| (*token).into()).collect(),
        callback_url: "http://127.0.0.1:9/".into(),
        waba_number: waba_number.map(|number| BusinessNumber::parse(number).unwrap()),
        policy: Policy::default(),
        max_queue: None,
        starts_paused: false,
        pause: Pause::default(),
    }
}

pub(super) fn channel(id: &str, tokens: &[&str], waba_number: Option<&str>) -> Arc<Channel> {
    Arc::new(open_channel(id, tokens, waba_number))
}

pub(super) struct Gateway {
    pub(super) server: Server,
    pub(super) intake: Intake,
    channels: Arc<Channels>,
    pub(super) store: Store,
    _dir: TempDir,
}

pub(super) const AUTH: &str = "authorization: Bearer tok_example";

impl Gateway {
    pub(super) async fn start(channels: Vec<Arc<Channel>>) -> Self {
        Self::with(channels, |_| {}).await
    }

    /// A gateway over a real store with changed settings.
    pub(super) async fn with(channels: Vec<Arc<Channel>>, change: fn(&mut Settings)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = testing::settings(dir.path());
        change(&mut settings);
        let store = Store::open(&settings).unwrap();
        let channels = Arc::new(Channels::new(channels));
        let ids = channels.iter().map(|channel| channel.id.clone());
        let outbox = Outbox::new(store::Outbox::Embedded(store.clone()), ids);
        // Without a template list every template may enter, as while Jumper cannot be reached.
        let intake = Intake::new(outbox, HashMap::new());
        let state = SendState {
            channels: channels.clone(),
            intake: intake.clone(),
        };
        let router = finish(routes(state), crate::doors::moengage::paths());
        let limits = Limits {
            body_limit: 200_000,
            ..Limits::default()
        };
        Self {
            server: Server::start(router, limits, Duration::ZERO).await,
            intake,
            channels,
            store,
            _dir: dir,
        }
    }

    pub(super) async fn single() -> Self {
        Self::start(vec![channel("default", &["tok_example", "tok_next"], None)]).await
    }

    pub(super) async fn post(&self, path: &str, header: &str, body: &[u8]) -> Answer {
        let head = format!("POST {path} HTTP/1.1\r\ncontent-type: application/json\r\n{header}");
        self.server.ask(head.trim_end(), body).await
    }

    pub(super) async fn send(&self, send: &Value) -> Answer {
        let body = send.to_string();
        self.post("/jumper_send_whatsapp", AUTH, body.as_bytes())
            .await
    }

    /// How many messages are kept.
    pub(super) fn kept(&self) -> i64 {
        let ledgers = self.channels.iter().map(|one| self.store.ledger(&one.id));
        ledgers.map(|ledger| ledger.accepted).sum()
    }

    /// The channels and the campaigns of the messages kept under this id.
    pub(super) async fn seen(&self, msg_id: &str) -> Vec<(String, Option<String>)> {
        let mut seen = Vec::new();
        for channel in self.channels.iter() {
            let search = Search::MsgId(channel.id.clone(), msg_id.into());
            for record in self.store.find(search, 10).await.unwrap() {
                let campaign = record.message.campaign.map(|id| id.to_string());
                seen.push((record.channel.to_string(), campaign));
            }
        }
        seen
    }
}

/// A send with another id.
pub(super) fn named(mut send: Value, msg_id: &str) -> Value {
    send["msg_id"] = json!(msg_id);
    send
}
