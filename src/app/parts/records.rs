//! The records in Datastore, from the configuration.

use super::{AccountParts, Parts};
use crate::accounts::Channels;
use crate::clock;
use crate::config::{Config, Datastore};
use crate::datastore::{Client, Settings};
use crate::records::{Late, OptOutSync, OptOuts, Records, Writer};
use std::sync::Arc;

/// The records in Datastore, when that is wanted.
pub(super) fn open(config: &Config, channels: &Arc<Channels>) -> anyhow::Result<Option<Records>> {
    let Some(settings) = config.datastore.as_ref().and_then(Datastore::settings) else {
        return Ok(None);
    };
    let records = Records::new(&settings, channels.clone())?;
    // The start waits for nobody; what is wrong is told again when records wait.
    tokio::spawn(tell(settings));
    Ok(Some(records))
}

/// The opt-outs there.
pub(super) fn opt_outs(config: &Config) -> anyhow::Result<Option<OptOuts>> {
    let settings = config.datastore.as_ref().and_then(Datastore::settings);
    let made = settings.map(|settings| OptOuts::new(&settings));
    Ok(made.transpose()?)
}

/// Says once where records go, and whether they can be read and written there.
async fn tell(settings: Settings) {
    let place = settings.place();
    let proof = match Client::new(&settings) {
        Ok(client) => client.prove(clock::now().0).await,
        Err(error) => {
            tracing::warn!(
                place,
                error = error.with_advice(),
                event = "datastore_unusable",
                "Datastore cannot be used"
            );
            return;
        }
    };
    let found = proof.words();
    if proof.is_good() {
        tracing::info!(
            place,
            found,
            event = "datastore_in_use",
            "records go to Datastore"
        );
    } else if proof.may_heal() {
        // In the first seconds of a pod its metadata server is often not there yet.
        tracing::warn!(
            place,
            found,
            event = "datastore_not_ready",
            "Datastore takes no records yet; the gateway writes them as soon as it does"
        );
    } else {
        tracing::warn!(
            place,
            found,
            event = "datastore_needs_cure",
            "records wait for Datastore until this is put right"
        );
    }
}

impl Parts {
    /// What writes an account's records into Datastore, and what asks it for late statuses.
    pub(in crate::app) fn record_writers(
        &self,
        config: &Config,
        parts: &AccountParts,
    ) -> Option<(Writer, Late)> {
        let (records, datastore) = (self.records.clone()?, config.datastore.as_ref()?);
        let (outbox, account) = (self.outbox.clone(), parts.account.id.clone());
        let late = Late {
            records: records.clone(),
            outbox: outbox.clone(),
            account: account.clone(),
            ask_after: datastore.ask_after,
        };
        Some((Writer::new(records, outbox, account), late))
    }

    /// What keeps an account's opt-outs in Datastore too, where records go there.
    pub(in crate::app) fn opt_out_sync(&self, parts: &AccountParts) -> OptOutSync {
        let datastore = self.opt_outs.clone();
        if datastore.is_some() {
            parts.account.opt_outs.want();
        }
        let of_account = self
            .channels
            .iter()
            .filter(|one| one.account.id == parts.account.id);
        OptOutSync {
            account: parts.account.clone(),
            channels: of_account.map(|channel| channel.id.clone()).collect(),
            outbox: self.outbox.clone(),
            datastore,
        }
    }
}
