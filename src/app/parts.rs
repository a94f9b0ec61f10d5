//! The stations, each made once, from the configuration.

mod account;
mod channel_changes;
mod held;
mod marks;
mod owner;
mod records;
mod stores;
mod webhook;

pub(super) use account::AccountParts;
pub(crate) use marks::words as marks_told;
pub(crate) use owner::{Verdict, owners, standings};

use crate::accounts::{Account, Channel, Channels, Pause, load_pause};
use crate::clock;
use crate::config::{self, Config};
use crate::domain::{AccountId, DoorName, Keywords};
use crate::doors::Door;
use crate::doors::moengage::callback::{CallbackSettings, Callbacks};
use crate::doors::moengage::timestamp::TimestampUnit;
use crate::doors::moengage::{self, SendState};
use crate::intake::Intake;
use crate::ops::{AccountOps, OpsParts, OpsState};
use crate::outbox::Outbox;
use crate::providers::jumper::WantedSubscription;
use crate::providers::jumper::webhook::receive::Receiver;
use crate::providers::jumper::webhook::secret::Webhooks;
use crate::records::{OptOuts, Records};
use crate::relay::{self, Relay};
use crate::send::Sender;
use crate::store::{CallbackQueue, EventRules};
use crate::telemetry;
use crate::worker::{Trials, Worker};
use anyhow::Context;
use marks::Marks;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use stores::Stores;

/// Everything that runs, put together.
pub(super) struct Parts {
    pub(super) outbox: Outbox,
    pub(super) channels: Arc<Channels>,
    webhooks: Webhooks,
    pub(super) accounts: Vec<AccountParts>,
    pub(super) intake: Intake,
    /// The records in Datastore, when that is wanted.
    records: Option<Records>,
    opt_outs: Option<OptOuts>,
    moengage: Door,
    /// Whether MoEngage takes callbacks: told by the relays, shown by the ops listener.
    relayed: relay::Standing,
    pub(super) marks: Marks,
    pub(super) metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

/// Opens the store, reads what it keeps, and makes the stations.
pub(super) async fn assemble(config: &Config) -> anyhow::Result<Parts> {
    let metrics = telemetry::start_metrics();
    // Beside the start, which does not need it.
    tokio::task::spawn_blocking(moengage::accept::warm_up);
    let stores = Stores::open(config).await?;
    let names = config.channels.iter().map(|channel| channel.id.clone());
    let outbox = Outbox::new(stores.outbox.clone(), names);
    let owned = owner::look(config, &outbox.store, &stores.tokens).await?;
    channel_changes::look(config, &outbox).await?;
    owner::keep(owned, &outbox.store, &stores.tokens).await?;
    if config.hold {
        held::hold(config, &outbox).await?;
    }
    let mut accounts = Vec::new();
    for account in &config.accounts {
        let parts = AccountParts::make(config, account, &stores, &outbox).await?;
        recover(config, &parts.account.id, &outbox).await?;
        accounts.push(parts);
    }
    let (mut channels, mut webhooks) = (Vec::new(), HashMap::new());
    for wanted in &config.channels {
        let account = accounts.iter().find(|one| one.account.id == wanted.account);
        let account = account.context("a channel without its account")?;
        let channel = channel(wanted, account.account.clone())?;
        let paused = load_pause(&outbox, &channel).await?;
        channel.set_paused(paused);
        let webhook = webhook::load(config, wanted, &outbox).await?;
        webhooks.insert(wanted.id.to_string(), Arc::new(webhook));
        channels.push(Arc::new(channel));
    }
    let templates = accounts
        .iter()
        .map(|one| (one.account.id.clone(), one.templates.clone()))
        .collect();
    let channels = Arc::new(Channels::new(channels));
    Ok(Parts {
        intake: Intake::new(outbox.clone(), templates),
        records: records::open(config, &channels)?,
        opt_outs: records::opt_outs(config)?,
        channels,
        webhooks: Arc::new(webhooks),
        accounts,
        moengage: moengage(config)?,
        relayed: relay::Standing::default(),
        marks: stores.marks,
        outbox,
        metrics,
    })
}

/// What was being sent when the last process ended is unknown.
async fn recover(config: &Config, account: &AccountId, outbox: &Outbox) -> anyhow::Result<()> {
    // Attempts of all channels are recovered together, so the most patient one decides.
    let of_account = config.channels.iter().filter(|one| one.account == *account);
    let hold = of_account.map(|channel| channel.ambiguous_hold).max();
    let until = clock::now().plus(hold.unwrap_or(Duration::ZERO));
    let lost = outbox.store.recover(account, until, clock::now()).await?;
    if lost > 0 {
        tracing::warn!(%account, messages = lost, event = "sends_of_last_process_unknown",
            "the last process ended during these sends; their outcome is unknown and waits for \
             evidence");
    }
    Ok(())
}

fn channel(wanted: &config::Channel, account: Arc<Account>) -> anyhow::Result<Channel> {
    let missing = || format!("channel {} has no callback URL", wanted.id);
    Ok(Channel {
        id: wanted.id.clone(),
        account,
        tokens: wanted.tokens.clone(),
        callback_url: wanted.callback_url.clone().with_context(missing)?,
        waba_number: wanted.waba_number.clone(),
        policy: wanted.policy(),
        max_queue: wanted.max_queue,
        starts_paused: wanted.paused,
        pause: Pause::default(),
    })
}

fn moengage(config: &Config) -> anyhow::Result<Door> {
    let unit = match config.moengage.timestamp_unit {
        config::TimestampUnit::Seconds => TimestampUnit::Seconds,
        config::TimestampUnit::Millis => TimestampUnit::Milliseconds,
    };
    let callbacks = Callbacks::new(CallbackSettings {
        timeout: config.moengage.callback_timeout,
        timestamp_unit: unit,
        ..CallbackSettings::default()
    })?;
    Ok(Door::Moengage(callbacks))
}

impl Parts {
    /// What the send routes work with.
    pub(super) fn send_state(&self) -> SendState {
        SendState {
            channels: self.channels.clone(),
            intake: self.intake.clone(),
        }
    }

    /// What the webhook works with.
    pub(super) fn receiver(&self, config: &Config) -> Receiver {
        let rules = |channel: &Channel| EventRules {
            channel: channel.id.clone(),
            account: channel.account.id.clone(),
            keywords: Keywords::new(
                &config.inbound.stop_words,
                &config.inbound.stop_marketing_words,
                &config.inbound.start_words,
            ),
            reply_window: config.inbound.reply_window,
            kept: channel.policy.max_age + config.store.retention,
            clock_doubt: Duration::ZERO,
            vouched: true,
            relay_unmatched: config.inbound.relay_unmatched,
            waba_number: channel.waba_number.clone(),
        };
        Receiver::new(
            &self.channels,
            &self.webhooks,
            self.outbox.clone(),
            rules,
            config.paths_told(),
        )
    }

    /// What the ops listener works with.
    pub(super) fn ops_state(&self, config: &Config) -> OpsState {
        let account = |one: &AccountParts| AccountOps {
            account: one.account.clone(),
            holds: one.holds.clone(),
            provider: one.provider.clone(),
            breaker: one.breaker.clone(),
            configured: one.configured.rate(),
        };
        OpsState::new(OpsParts {
            channels: self.channels.clone(),
            webhooks: webhook::addresses(&self.webhooks),
            outbox: self.outbox.clone(),
            intake: self.intake.clone(),
            accounts: self.accounts.iter().map(account).collect(),
            records: self.records.clone(),
            relayed: self.relayed.clone(),
            metrics: self.metrics.clone(),
            token: config.ops.token.clone(),
        })
    }

    /// The worker of an account, and the trials of what is held there.
    pub(super) fn worker(&self, parts: &AccountParts) -> (Worker, Trials) {
        let sender = Arc::new(Sender {
            account: parts.account.clone(),
            holds: parts.holds.clone(),
            provider: parts.provider.clone(),
            templates: parts.templates.clone(),
            breaker: parts.breaker.clone(),
            retry: parts.retry,
        });
        let of_account = |channel: &&Arc<Channel>| channel.account.id == parts.account.id;
        let channels: Vec<_> = self.channels.iter().filter(of_account).cloned().collect();
        let trials = Trials::new(channels.clone(), self.outbox.clone(), sender.clone());
        (Worker::new(channels, self.outbox.clone(), sender), trials)
    }

    /// A relay for each queue of callbacks.
    pub(super) fn relays(&self, config: &Config) -> Vec<Relay> {
        let settings = relay::Settings {
            concurrency: config.moengage.callback_concurrency,
            batch_entries: config.moengage.batch_entries,
            batch_bytes: config.moengage.batch_bytes,
            retry_for: config.moengage.retry_for,
            longest_pause: config.moengage.max_pause,
        };
        let relay = |(url, queue): (&String, CallbackQueue)| {
            let door = match queue.door {
                DoorName::Moengage => self.moengage.clone(),
            };
            Relay::new(queue, url, self.outbox.clone(), door, settings)
                .shown_in(self.relayed.clone())
        };
        let queues = self.channels.iter().flat_map(|channel| {
            let url = &channel.callback_url;
            CallbackQueue::all_of(&channel.id).map(move |queue| (url, queue))
        });
        queues.map(relay).collect()
    }

    /// What is to be subscribed at Jumper for an account, when that is wanted.
    pub(super) fn subscription(
        &self,
        config: &Config,
        of: &AccountParts,
    ) -> Option<WantedSubscription> {
        let url = of.configured.subscribed_callback_url.as_ref()?;
        let leads_to = config.channel_told(&of.configured)?;
        Some(WantedSubscription {
            account: of.account.id.clone(),
            every: of.configured.subscription_check,
            url: url.clone(),
            webhook: self.webhooks.get(leads_to.id.as_str())?.clone(),
        })
    }
}
