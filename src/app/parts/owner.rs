//! Whose messages the store keeps. Two installations with other credentials on one store would send each
//! other's messages, and each would find the other's token dead (cases R-54): the second does not start.

use super::channel_changes;
use crate::config::{self, Config};
use crate::domain::{AccountId, ChannelId};
use crate::store::{self, Owned, Owner, Tokens};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;

/// What a start does about the owner of one account or channel.
#[derive(Debug)]
pub(crate) struct Standing {
    owner: Owner,
    /// The account, where it is about one.
    account: Option<AccountId>,
    pub(crate) verdict: Verdict,
}

/// Whose something is, and whether this installation may go on with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Nobodys,
    Ours,
    /// Another one's, which STORE_TAKE_OVER names.
    TakenOver(String),
    /// Another one's, who never got so far as to use it.
    Unused(String),
    /// Another one's: why it is refused.
    Refused(String),
}

impl Standing {
    /// Whose it is, as the store keeps it, for people.
    pub(crate) async fn shown(&self, store: &store::Outbox) -> Option<String> {
        let print = store.fingerprint(&self.owner).await.ok()??;
        Some(format!("{} {print}", self.owner.subject))
    }
}

/// Finds out whose all accounts and channels are. Writes nothing.
pub(crate) async fn standings(
    config: &Config,
    store: &store::Outbox,
    tokens: &Tokens,
) -> anyhow::Result<Vec<Standing>> {
    let mut all = Vec::new();
    for account in &config.accounts {
        // An account goes with its channels.
        let mut taken_over = false;
        for (channel, owner) in owners_of(config, account) {
            let verdict = match store.owned(&owner).await? {
                Owned::ByNobody => Verdict::Nobodys,
                Owned::ByThis => Verdict::Ours,
                Owned::ByAnother {
                    fingerprints: [theirs, ours],
                    settings,
                } => {
                    let subject = owner.subject.clone();
                    if taken_over || config.store.take_over.contains(&theirs) {
                        taken_over |= channel.is_none();
                        Verdict::TakenOver(subject)
                    } else if is_used(store, tokens, &account.id, channel.as_ref()).await? {
                        Verdict::Refused(another(&subject, &settings, [&theirs, &ours]))
                    } else {
                        Verdict::Unused(subject)
                    }
                }
            };
            let account = channel.is_none().then(|| account.id.clone());
            all.push(Standing {
                owner,
                account,
                verdict,
            });
        }
    }
    Ok(all)
}

/// Makes sure that each account and channel is this installation's, or nobody's, who used it so far.
pub(super) async fn look(
    config: &Config,
    store: &store::Outbox,
    tokens: &Tokens,
) -> anyhow::Result<Vec<Standing>> {
    let all = standings(config, store, tokens).await?;
    let refusals = all.iter().filter_map(|one| match &one.verdict {
        Verdict::Refused(why) => Some(why.as_str()),
        _ => None,
    });
    let refusals: Vec<_> = refusals.collect();
    anyhow::ensure!(refusals.is_empty(), refusals.join("\n"));
    Ok(all)
}

/// Keeps what [`look`] found. Where a later part of the start fails, the next one goes on from here.
pub(super) async fn keep(
    all: Vec<Standing>,
    store: &store::Outbox,
    tokens: &Tokens,
) -> anyhow::Result<()> {
    for one in all {
        match &one.verdict {
            Verdict::Nobodys => anyhow::ensure!(
                store.own(&one.owner).await? == Owned::ByThis,
                "another installation began to use the store at the same moment; start again"
            ),
            Verdict::TakenOver(subject) => {
                // They are the other client's: with them its merchant would send.
                if let Some(account) = &one.account {
                    tokens.forget(account, true).await?;
                }
                store.take_over(&one.owner).await?;
                tracing::warn!(
                    subject,
                    event = "store_taken_over",
                    "STORE_TAKE_OVER: this installation goes on with the messages of another one, with tokens of \
                     its own"
                );
            }
            Verdict::Unused(subject) => {
                // A seed that never worked would go before the one of now.
                if let Some(account) = &one.account {
                    tokens.forget(account, false).await?;
                }
                store.take_over(&one.owner).await?;
                tracing::warn!(
                    subject,
                    event = "settings_of_no_sends_changed",
                    "other settings than at the last start, with which nothing was ever sent; what they \
                     accepted is sent with those of now"
                );
            }
            Verdict::Ours | Verdict::Refused(_) => {}
        }
    }
    Ok(())
}

/// Why a store is refused that another installation used.
fn another(subject: &str, settings: &[&str], [theirs, ours]: [&str; 2]) -> String {
    let differ = match settings {
        [_] => "differs",
        _ => "differ",
    };
    format!(
        "the store is in use by another installation for {subject}: {} {differ}. Its fingerprint is {theirs}, that of \
         this configuration {ours}. Give this installation a store or a Redis database of its own. Only if it is to \
         send the other one's messages too, start it with STORE_TAKE_OVER={theirs}",
        settings.join(" and ")
    )
}

/// Whether an account ever got a token or sent a message, on whatever channel; or whether a channel sent one.
/// What was only accepted binds nobody: the credentials may have been wrong from the first.
async fn is_used(
    store: &store::Outbox,
    tokens: &Tokens,
    account: &AccountId,
    channel: Option<&ChannelId>,
) -> anyhow::Result<bool> {
    let has_sent = async |channel: &ChannelId| -> anyhow::Result<bool> {
        let ledger = store.ledger_of(account, channel).await?;
        Ok(ledger.accepted_by_provider > 0)
    };
    if let Some(channel) = channel {
        return has_sent(channel).await;
    }
    let pair = tokens.load(account).await?;
    if pair.is_some_and(|pair| pair.access.is_some()) {
        return Ok(true);
    }
    for channel in channel_changes::known(store, account).await? {
        if has_sent(&channel).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who all accounts are: what a running process looks for. A number that was corrected on one replica stops
/// no other.
pub(crate) fn owners(config: &Config) -> Vec<Owner> {
    let accounts = config.accounts.iter();
    let owners = accounts.flat_map(|account| owners_of(config, account));
    let of_accounts = owners.filter(|(channel, _)| channel.is_none());
    of_accounts.map(|(_, owner)| owner).collect()
}

/// Which client of which provider an account is, for what is kept beside the store.
pub(super) fn whose(account: &config::Account) -> String {
    let parts = of_account(account).parts.into_iter();
    let parts: Vec<_> = parts.map(|(_, value)| value).collect();
    parts.join(" ")
}

fn of_account(account: &config::Account) -> Owner {
    let client = account.basic_auth.as_ref();
    let client = client.map(|auth| client_of(auth.expose_secret()));
    Owner {
        subject: format!("account {}", account.id),
        parts: vec![
            ("JUMPER_API_URL", host_of(&account.api_url)),
            ("JUMPER_BASIC_AUTH", client.unwrap_or_default()),
        ],
    }
}

/// Who an account and its channels are: what does not change with a secret, a token or a port. The account
/// first.
fn owners_of(config: &Config, account: &config::Account) -> Vec<(Option<ChannelId>, Owner)> {
    let channels = config.channels.iter();
    let of_channels = channels
        .filter(|one| one.account == account.id)
        .filter_map(|channel| {
            let number = channel.waba_number.as_ref()?.phone().digits();
            let owner = Owner {
                subject: format!("channel {}", channel.id),
                parts: vec![("WABA_NUMBER", number)],
            };
            Some((Some(channel.id.clone()), owner))
        });
    [(None, of_account(account))]
        .into_iter()
        .chain(of_channels)
        .collect()
}

/// The host of an address, in lower case; what has none is compared whole.
fn host_of(url: &str) -> String {
    let uri: Option<hyper::Uri> = url.parse().ok();
    let host = uri.as_ref().and_then(hyper::Uri::host).unwrap_or(url);
    host.trim_end_matches('.').to_ascii_lowercase()
}

/// The key of `Basic <base64 of key:secret>`, which is no secret.
fn client_of(auth: &str) -> String {
    let encoded = auth.strip_prefix("Basic ").unwrap_or(auth);
    let pair = STANDARD.decode(encoded).unwrap_or_default();
    let key = pair.split(|byte| *byte == b':').next().unwrap_or_default();
    String::from_utf8_lossy(key).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_ports_are_no_other_installation() {
        for (url, host) in [
            ("https://api.jumper.ai", "api.jumper.ai"),
            ("https://API.Jumper.ai:8443/base", "api.jumper.ai"),
            ("https://api.jumper.ai.", "api.jumper.ai"),
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
