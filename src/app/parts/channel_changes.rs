//! Channels that were configured at the last start and are not as they were. Nothing vanishes: what
//! a removed channel keeps is told, and a channel with open messages does not change its account.

use crate::alert;
use crate::config::Config;
use crate::domain::{AccountId, ChannelId};
use crate::outbox::Outbox;
use crate::store;
use std::collections::BTreeMap;

/// Under which name the store keeps the account of every channel.
const SETTING: &str = "channels";
/// What a store without that entry was used with.
const BEFORE: (&str, &str) = ("default", "default");

/// Compares the channels with those of the last start and keeps the new ones.
pub(super) async fn look(config: &Config, outbox: &Outbox) -> anyhow::Result<()> {
    let known = read(outbox.store.load_setting(SETTING).await?);
    let mut now: BTreeMap<String, String> = config
        .channels
        .iter()
        .map(|one| (one.id.to_string(), one.account.to_string()))
        .collect();
    for (channel, account) in known {
        let open = open(outbox, &account, &channel).await?;
        match now.get(&channel) {
            Some(new) => anyhow::ensure!(
                *new == account || open == 0,
                "channel {channel} is on account {new} now and keeps {open} unsettled messages and \
                 callbacks of account {account}: put it back until they are settled, or give the \
                 new channel another id"
            ),
            None if open > 0 => {
                let text = format!(
                    "Channel {channel} is not configured any more and keeps {open} unsettled \
                     messages and callbacks. They are neither sent nor told; configure it again to \
                     go on with them."
                );
                let subject = format!("channel {channel}");
                alert::raise(alert::Code::ChannelRemoved, &subject, &text);
                now.insert(channel, account);
            }
            None => {}
        }
    }
    let text = serde_json::to_string(&now)?;
    outbox.store.save_setting(SETTING, Some(text)).await?;
    Ok(())
}

/// The channels of an account that the store knows.
pub(super) async fn known(
    store: &store::Outbox,
    account: &AccountId,
) -> anyhow::Result<Vec<ChannelId>> {
    let known = read(store.load_setting(SETTING).await?);
    let of_account = known.into_iter().filter(|(_, of)| of == account.as_str());
    Ok(of_account
        .filter_map(|(channel, _)| ChannelId::parse(&channel).ok())
        .collect())
}

/// Channels, each with its account.
fn read(kept: Option<String>) -> BTreeMap<String, String> {
    let known = kept.and_then(|text| serde_json::from_str(&text).ok());
    known.unwrap_or_else(|| BTreeMap::from([(BEFORE.0.to_owned(), BEFORE.1.to_owned())]))
}

/// Messages without an end, and callbacks that wait.
async fn open(outbox: &Outbox, account: &str, channel: &str) -> anyhow::Result<i64> {
    let (Ok(account), Ok(channel)) = (AccountId::parse(account), ChannelId::parse(channel)) else {
        return Ok(0);
    };
    let ledger = outbox.store.ledger_of(&account, &channel).await?;
    Ok(ledger.queued + ledger.attempting + ledger.unknown + ledger.callbacks_waiting)
}
