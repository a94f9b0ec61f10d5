//! What belongs to one account: its rate, its provider, its templates, its breaker. None of
//! it is shared, so one account's trouble stays its own.

use super::owner;
use super::stores::Stores;
use crate::accounts::{Account, Holds, load_rate};
use crate::breaker::{self, Breaker};
use crate::config::{self, Config};
use crate::limit::Limiter;
use crate::outbox::Outbox;
use crate::providers::jumper;
use crate::providers::jumper::client::{Client, ClientSettings};
use crate::providers::jumper::token::{TokenSettings, Tokens};
use crate::providers::{Provider, ProviderName};
use crate::send::RetrySettings;
use crate::store::Aside;
use crate::templates::Templates;
use anyhow::Context;
use std::sync::Arc;
use std::time::Duration;

/// The deadline of one refresh of the tokens.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(30);

/// What belongs to one account.
pub(in crate::app) struct AccountParts {
    pub(in crate::app) account: Arc<Account>,
    pub(in crate::app) holds: Holds,
    pub(in crate::app) provider: Arc<Provider>,
    pub(in crate::app) templates: Arc<Templates>,
    pub(in crate::app) breaker: Arc<Breaker>,
    pub(in crate::app) retry: RetrySettings,
    /// What it was made from.
    pub(in crate::app) configured: config::Account,
}

impl AccountParts {
    /// Makes the parts of an account, with what the store keeps of them. Makes no call.
    pub(super) async fn make(
        config: &Config,
        wanted: &config::Account,
        stores: &Stores,
        outbox: &Outbox,
    ) -> anyhow::Result<Self> {
        let id = &wanted.id;
        let rate = load_rate(outbox, id).await?;
        let rate = rate.unwrap_or(wanted.rate());
        let limiter = match &stores.connection {
            Some(connection) => {
                Limiter::shared(connection.clone(), id.clone(), rate, wanted.rate_tolerance)
            }
            None => Limiter::new(rate, wanted.rate_tolerance),
        };
        let provider = Arc::new(provider(config, wanted, stores, &limiter)?);
        provider.start().await?;
        let cache = stores.cache.clone();
        let templates = Arc::new(Templates::new(provider.clone(), cache, id.clone()));
        templates.load().await?;
        let breaker = Breaker::new(breaker::Settings {
            failures: config.breaker.failures,
            first_pause: config.breaker.open_min,
            longest_pause: config.breaker.open_max,
        });
        let account = Arc::new(Account::new(id.clone(), limiter));
        let own = config
            .channels
            .iter()
            .filter(|channel| channel.account == *id);
        let holds = Holds::new(
            account.clone(),
            own.map(|channel| channel.id.clone()).collect(),
            outbox.clone(),
            stores.tokens.clone(),
            config.policy.hold_probe,
        );
        holds.load().await?;
        Ok(Self {
            account,
            holds,
            provider,
            templates,
            breaker: Arc::new(breaker),
            retry: RetrySettings {
                base: config.policy.retry_base,
                most: config.policy.retry_max,
            },
            configured: wanted.clone(),
        })
    }
}

fn provider(
    config: &Config,
    wanted: &config::Account,
    stores: &Stores,
    limiter: &Limiter,
) -> anyhow::Result<Provider> {
    match wanted.provider {
        ProviderName::Jumper => {
            let client = Client::new(&client_settings(wanted))?;
            let settings = token_settings(config, wanted)?;
            let tokens = Tokens::new(settings, stores.tokens.clone(), limiter.clone())?;
            let account = jumper::Account::new(client, tokens, limiter.clone());
            Ok(Provider::Jumper(account))
        }
    }
}

fn token_settings(config: &Config, wanted: &config::Account) -> anyhow::Result<TokenSettings> {
    let missing = || format!("account {} has no credentials (basic_auth)", wanted.id);
    Ok(TokenSettings {
        account: wanted.id.clone(),
        api_url: wanted.api_url.clone(),
        basic: wanted.basic_auth.clone().with_context(missing)?,
        seed: wanted.seed_refresh_token.clone(),
        refresh_timeout: REFRESH_TIMEOUT,
        longest_probe: Some(config.policy.hold_probe),
        owner: owner::whose(wanted),
        aside: Aside::of(&config.store.data_dir),
    })
}

fn client_settings(wanted: &config::Account) -> ClientSettings {
    ClientSettings {
        api_url: wanted.api_url.clone(),
        request_timeout: wanted.socket_timeout,
        connect_timeout: wanted.connect_timeout,
        max_sockets: wanted.max_sockets,
        max_free_sockets: wanted.max_free_sockets,
        free_socket_keepalive: wanted.free_socket_keepalive,
    }
}
