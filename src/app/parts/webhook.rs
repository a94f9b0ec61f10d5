//! Who may post a channel's events, and what operators are shown of it.

use crate::config::{self, Config};
use crate::domain::access::Open;
use crate::outbox::Outbox;
use crate::providers::WebhookAddress;
use crate::providers::jumper::webhook::secret::{Wanted, Webhook, Webhooks};
use std::collections::HashMap;

/// Who may post a channel's events. An address without a secret may be registered where this version
/// finds messages of one before it and no secret is configured, and where the gateway begins with an
/// empty store, perhaps in the place of another program.
pub(super) async fn load(
    config: &Config,
    wanted: &config::Channel,
    outbox: &Outbox,
) -> anyhow::Result<Webhook> {
    let ledger = outbox.store.ledger_of(&wanted.account, &wanted.id).await?;
    let accounts = config.accounts.iter();
    let is_told = accounts.filter(|one| one.id == wanted.account).any(|one| {
        config
            .channel_told(one)
            .is_some_and(|leads_to| leads_to.id == wanted.id)
    });
    let secrets = Wanted {
        secrets: wanted.webhook_secret.clone(),
        open: wanted.webhook_open,
        was_open: if ledger.accepted > 0 {
            wanted.webhook_secret.is_empty()
        } else {
            is_told
        },
    };
    let webhook = Webhook::load(wanted.id.clone(), secrets, outbox.store.clone()).await?;
    match webhook.is_open() {
        Open::No => {}
        Open::Wanted => tracing::warn!(channel = %wanted.id,
            event = "webhook_open",
            "WEBHOOK_OPEN is true: anybody who knows the webhook's URL can post statuses, and opt out \
             people you wrote to"),
        Open::ForNow => tracing::info!(channel = %wanted.id,
            event = "webhook_open_until_changed",
            "the gateway takes posts without the webhook secret until Jumper uses the address with it"),
    }
    Ok(webhook)
}

/// The addresses by channel, in neutral words.
pub(super) fn addresses(webhooks: &Webhooks) -> HashMap<String, WebhookAddress> {
    let address = WebhookAddress::Jumper;
    let all = webhooks.iter();
    all.map(|(channel, webhook)| (channel.clone(), address(webhook.clone())))
        .collect()
}
