//! `serve --hold`: the first start over a store that was put back from a copy.

use crate::clock;
use crate::config::Config;
use crate::outbox::Outbox;

/// What waits may have been sent, as an operator says who put a copy back.
pub(super) async fn hold(config: &Config, outbox: &Outbox) -> anyhow::Result<()> {
    for account in config.accounts.iter().map(|account| &account.id) {
        let of_account = config.channels.iter().filter(|one| one.account == *account);
        let channels: Vec<_> = of_account.map(|channel| channel.id.clone()).collect();
        let held = outbox.store.hold_back(account, &channels, clock::now());
        match held.await? {
            0 => {
                tracing::info!(
                    %account, event = "hold_at_start_empty",
                    "nothing waits, so --hold holds nothing anew"
                )
            }
            messages => tracing::warn!(%account, messages,
                event = "hold_at_start",
                "started with --hold: no gateway sends anything of this account until an operator decides \
                 (/api/holds/store:{account}). Start every process without --hold from now on: each start with it \
                 holds anew what waits then"),
        }
    }
    outbox.store.renew().await?;
    Ok(())
}
