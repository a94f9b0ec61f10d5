//! Whose messages the store keeps. Two installations with other credentials on one store would send each
//! other's messages, and each would find the other's token dead (cases R-54): the second does not start.

use crate::config::{self, Config};
use crate::domain::AccountId;
use crate::outbox::Outbox;
use crate::store::{Owned, Owner};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

/// Makes sure that each account and channel is this installation's, or nobody's, who used it so far.
pub(super) async fn look(config: &Config, outbox: &Outbox) -> anyhow::Result<()> {
    let mut refusals = Vec::new();
    for account in &config.accounts {
        let mut taken_over = false;
        for owner in owners_of(config, account) {
            let Owned::ByAnother {
                fingerprints: [theirs, ours],
                settings,
            } = outbox.store.own(&owner).await?
            else {
                continue;
            };
            let subject = &owner.subject;
            // An account goes with its channels.
            taken_over |= config.store.take_over.as_ref() == Some(&theirs);
            if taken_over {
                tracing::warn!(
                    subject,
                    "STORE_TAKE_OVER: this installation goes on with the messages of another one"
                );
            } else if !has_accepted(config, outbox, &account.id).await? {
                // Nobody's message can be sent by the wrong one; mostly somebody mends the first settings.
                tracing::info!(
                    subject,
                    "other settings than at the last start; no message was accepted with those"
                );
            } else {
                refusals.push(another(subject, &settings, [&theirs, &ours]));
                continue;
            }
            outbox.store.take_over(&owner).await?;
        }
    }
    anyhow::ensure!(refusals.is_empty(), refusals.join("\n"));
    Ok(())
}

/// Why a store is refused that another installation used.
pub(crate) fn another(subject: &str, settings: &[&str], [theirs, ours]: [&str; 2]) -> String {
    let differ = if settings.len() == 1 {
        "differs"
    } else {
        "differ"
    };
    format!(
        "the store keeps messages of another installation for {subject}: {} {differ}. Its fingerprint is {theirs}, \
         that of this configuration {ours}. Give this installation a store or a Redis database of its own. Only if \
         it is to send those messages too, start it with STORE_TAKE_OVER={theirs}",
        settings.join(" and ")
    )
}

/// Who all accounts and channels are.
pub(crate) fn owners(config: &Config) -> Vec<Owner> {
    let accounts = config.accounts.iter();
    accounts
        .flat_map(|account| owners_of(config, account))
        .collect()
}

/// Who an account and its channels are: what does not change with a secret, a token or a port.
fn owners_of(config: &Config, account: &config::Account) -> Vec<Owner> {
    let client = account
        .basic_auth
        .as_ref()
        .map(|auth| client_of(auth.expose_secret()));
    let of_account = Owner {
        subject: format!("account {}", account.id),
        parts: vec![
            ("JUMPER_API_URL", host_of(&account.api_url)),
            ("JUMPER_BASIC_AUTH", client.unwrap_or_default()),
        ],
    };
    let channels = config
        .channels
        .iter()
        .filter(|one| one.account == account.id);
    let of_channels = channels.filter_map(|channel| {
        let number = channel.waba_number.as_ref()?;
        Some(Owner {
            subject: format!("channel {}", channel.id),
            parts: vec![("WABA_NUMBER", number.phone().digits())],
        })
    });
    [of_account].into_iter().chain(of_channels).collect()
}

/// The host of an address, in lower case.
fn host_of(url: &str) -> String {
    let uri: Option<hyper::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(hyper::Uri::host);
    host.unwrap_or_default().to_ascii_lowercase()
}

/// The key of `Basic <base64 of key:secret>`, which is no secret.
fn client_of(auth: &str) -> String {
    let encoded = auth.strip_prefix("Basic ").unwrap_or(auth);
    let pair = STANDARD.decode(encoded).unwrap_or_default();
    let key = pair.split(|byte| *byte == b':').next().unwrap_or_default();
    String::from_utf8_lossy(key).into_owned()
}

async fn has_accepted(
    config: &Config,
    outbox: &Outbox,
    account: &AccountId,
) -> anyhow::Result<bool> {
    for channel in config.channels.iter().filter(|one| one.account == *account) {
        if outbox.store.ledger_of(account, &channel.id).await?.accepted > 0 {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_ports_are_no_other_installation() {
        for (url, host) in [
            ("https://api.jumper.ai", "api.jumper.ai"),
            ("https://API.Jumper.ai:8443/base", "api.jumper.ai"),
            ("http://127.0.0.1:4100", "127.0.0.1"),
            ("http://[::1]:4100", "[::1]"),
        ] {
            assert_eq!(host_of(url), host);
        }
        let auth = |pair: &str| client_of(&format!("Basic {}", STANDARD.encode(pair)));
        assert_eq!(auth("key:secret"), "key");
        assert_eq!(auth("key:other:secret"), "key");
        assert_ne!(auth("key:secret"), auth("Key:secret"));
    }
}
