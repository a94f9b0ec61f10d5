//! The stations, each made once, from the configuration.

use crate::breaker::{self, Breaker};
use crate::channel::{Account, Channel, Channels, Pause};
use crate::clock;
use crate::config::{self, Config};
use crate::domain::{AccountId, ChannelId, Keywords, Lane};
use crate::intake::Intake;
use crate::jumper;
use crate::jumper::client::{Client, ClientSettings};
use crate::jumper::token::{TokenSettings, Tokens};
use crate::jumper::webhook::receive::Receiver;
use crate::keeper::Subscription;
use crate::limit::Limiter;
use crate::moengage::batch::TimestampUnit;
use crate::moengage::callback::{CallbackSettings, Callbacks};
use crate::moengage::{self, SendState};
use crate::ops::{self, AccountDesk, Desk, DeskParts};
use crate::outbox::Outbox;
use crate::provider::Provider;
use crate::relay::{self, Relay};
use crate::send::{RetrySettings, Sender};
use crate::store::{self, EventRules, LaneOf, embedded};
use crate::telemetry;
use crate::templates::Templates;
use crate::worker::Worker;
use anyhow::Context;
use secrecy::ExposeSecret;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that runs, put together.
pub(super) struct Parts {
    pub(super) outbox: Outbox,
    pub(super) channels: Arc<Channels>,
    pub(super) accounts: Vec<AccountParts>,
    pub(super) intake: Intake,
    callbacks: Callbacks,
    pub(super) metrics: Option<metrics_exporter_prometheus::PrometheusHandle>,
}

/// What belongs to one account.
pub(super) struct AccountParts {
    pub(super) account: Arc<Account>,
    pub(super) provider: Arc<Provider>,
    pub(super) tokens: Tokens,
    pub(super) templates: Arc<Templates>,
    breaker: Arc<Breaker>,
    retry: RetrySettings,
}

/// Opens the store, reads what it keeps, and makes the stations.
pub(super) async fn assemble(config: &Config) -> anyhow::Result<Parts> {
    let metrics = telemetry::start_metrics();
    // Beside the start, which does not need it.
    tokio::task::spawn_blocking(moengage::accept::warm_up);
    let settings = embedded::Settings {
        data_dir: config.store.data_dir.clone(),
        min_free: config.store.min_free,
        mark_dirty: false,
    };
    let embedded = embedded::Store::open(&settings)?;
    let store = store::Outbox::Embedded(embedded.clone());
    // The environment defines one account and one channel, both `default`.
    let channel_id = ChannelId::parse("default")?;
    let outbox = Outbox::new(store, [channel_id.clone()]);
    let account = account(config, &embedded, &outbox).await?;
    let channel = channel(config, channel_id, account.account.clone())?;
    channel.set_paused(outbox.store.load_setting("paused:default").await?.is_some());
    let until = clock::now().plus(config.policy.failure.ambiguous_hold);
    let lost = outbox
        .store
        .recover(&account.account.id, until, clock::now())
        .await?;
    if lost > 0 {
        tracing::warn!(
            messages = lost,
            "the last process ended during these sends; their outcome \
            is unknown and waits for evidence"
        );
    }
    let templates = HashMap::from([(account.account.id.clone(), account.templates.clone())]);
    Ok(Parts {
        intake: Intake::new(outbox.clone(), templates),
        channels: Arc::new(Channels::new(vec![Arc::new(channel)])),
        accounts: vec![account],
        callbacks: callbacks(config)?,
        outbox,
        metrics,
    })
}

async fn account(
    config: &Config,
    embedded: &embedded::Store,
    outbox: &Outbox,
) -> anyhow::Result<AccountParts> {
    let id = AccountId::parse("default")?;
    let pace = ops::stored_pace(outbox, id.as_str())
        .await?
        .unwrap_or(config.jumper.pace);
    let limiter = Limiter::new(pace, config.jumper.rate_tolerance);
    let tokens = tokens(config, id.clone(), embedded, &limiter)?;
    tokens.start().await?;
    let client = Client::new(&client_settings(config))?;
    let jumper = jumper::Account::new(client, tokens.clone(), limiter.clone());
    let provider = Arc::new(Provider::Jumper(jumper));
    let cache = store::Cache::Embedded(embedded.clone());
    let templates = Arc::new(Templates::new(provider.clone(), cache, id.clone()));
    templates.load().await?;
    let breaker = Breaker::new(breaker::Settings {
        failures: config.breaker.failures,
        first_pause: config.breaker.open_min,
        longest_pause: config.breaker.open_max,
    });
    Ok(AccountParts {
        account: Arc::new(Account::new(id, limiter)),
        provider,
        tokens,
        templates,
        breaker: Arc::new(breaker),
        retry: RetrySettings {
            base: config.policy.retry_base,
            most: config.policy.retry_max,
        },
    })
}

fn tokens(
    config: &Config,
    account: AccountId,
    embedded: &embedded::Store,
    limiter: &Limiter,
) -> anyhow::Result<Tokens> {
    let settings = TokenSettings {
        account,
        api_url: config.jumper.api_url.clone(),
        basic: config
            .jumper
            .basic_auth
            .clone()
            .context("JUMPER_BASIC_AUTH is not set")?,
        seed: config.jumper.seed_refresh_token.clone(),
        refresh_timeout: Duration::from_secs(30),
    };
    Ok(Tokens::new(
        settings,
        store::Tokens::Embedded(embedded.clone()),
        limiter.clone(),
    )?)
}

fn client_settings(config: &Config) -> ClientSettings {
    ClientSettings {
        api_url: config.jumper.api_url.clone(),
        request_timeout: config.jumper.socket_timeout,
        connect_timeout: config.jumper.connect_timeout,
        max_sockets: config.jumper.max_sockets,
        max_free_sockets: config.jumper.max_free_sockets,
        free_socket_keepalive: config.jumper.free_socket_keepalive,
    }
}

fn channel(config: &Config, id: ChannelId, account: Arc<Account>) -> anyhow::Result<Channel> {
    Ok(Channel {
        id,
        account,
        tokens: config.moengage.tokens.clone(),
        callback_url: config
            .moengage
            .callback_url
            .clone()
            .context("MOENGAGE_CALLBACK_URL is not set")?,
        waba_number: config.jumper.waba_number.clone(),
        webhook_secret: config.jumper.webhook_secret.clone(),
        policy: config.policy.failure.clone(),
        max_queue: config.policy.max_queue,
        pause: Pause::default(),
    })
}

fn callbacks(config: &Config) -> anyhow::Result<Callbacks> {
    let unit = match config.moengage.timestamp_unit {
        config::TimestampUnit::Seconds => TimestampUnit::Seconds,
        config::TimestampUnit::Millis => TimestampUnit::Milliseconds,
    };
    Ok(Callbacks::new(CallbackSettings {
        timeout: config.moengage.callback_timeout,
        timestamp_unit: unit,
        ..CallbackSettings::default()
    })?)
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
        Receiver::new(&self.channels, self.outbox.clone(), |channel| EventRules {
            channel: channel.id.clone(),
            account: channel.account.id.clone(),
            keywords: Keywords::new(&config.inbound.stop_words, &config.inbound.start_words),
            reply_window: config.inbound.reply_window,
            relay_unmatched: config.inbound.relay_unmatched,
            waba_number: channel.waba_number.clone(),
        })
    }

    /// What the ops listener works with.
    pub(super) fn desk(&self, config: &Config) -> Desk {
        let desk = |one: &AccountParts| AccountDesk {
            account: one.account.clone(),
            provider: one.provider.clone(),
            breaker: one.breaker.clone(),
            configured: config.jumper.pace,
        };
        Desk::new(DeskParts {
            channels: self.channels.clone(),
            outbox: self.outbox.clone(),
            intake: self.intake.clone(),
            accounts: self.accounts.iter().map(desk).collect(),
            metrics: self.metrics.clone(),
            token: config.ops.token.clone(),
        })
    }

    /// The worker of an account.
    pub(super) fn worker(&self, parts: &AccountParts) -> Worker {
        let sender = Sender {
            account: parts.account.clone(),
            provider: parts.provider.clone(),
            templates: parts.templates.clone(),
            breaker: parts.breaker.clone(),
            retry: parts.retry,
        };
        let of_account = |channel: &&Arc<Channel>| channel.account.id == parts.account.id;
        let channels = self.channels.iter().filter(of_account).cloned().collect();
        Worker::new(channels, self.outbox.clone(), Arc::new(sender))
    }

    /// A relay for each lane of each channel.
    pub(super) fn relays(&self, config: &Config) -> Vec<Relay> {
        let settings = relay::Settings {
            concurrency: config.moengage.callback_concurrency,
            batch_entries: config.moengage.batch_entries,
            batch_bytes: config.moengage.batch_bytes,
            retry_for: config.moengage.retry_for,
            longest_pause: config.moengage.max_pause,
        };
        let relay = |channel: &Arc<Channel>, lane| {
            let queue = LaneOf {
                channel: channel.id.clone(),
                lane,
            };
            let url = &channel.callback_url;
            Relay::new(
                queue,
                url,
                self.outbox.clone(),
                self.callbacks.clone(),
                settings,
            )
        };
        self.channels
            .iter()
            .flat_map(|channel| Lane::ALL.map(|lane| relay(channel, lane)))
            .collect()
    }

    /// What is to be subscribed at the provider, when that is wanted.
    pub(super) fn subscription(&self, config: &Config) -> Option<Subscription> {
        let url = config.jumper.subscribed_callback_url.as_ref()?;
        Some(Subscription {
            url: url.expose_secret().to_owned(),
            secret: config.jumper.webhook_secret.clone(),
        })
    }
}
