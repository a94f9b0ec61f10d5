//! The second home of the records, from the configuration.

use super::parts::{AccountParts, Parts};
use crate::archive::{Archive, Late, Writer};
use crate::channel::Channels;
use crate::config::Config;
use std::sync::Arc;

/// The records in Datastore, when that is wanted.
pub(super) fn archive(
    config: &Config,
    channels: &Arc<Channels>,
) -> anyhow::Result<Option<Archive>> {
    let Some(datastore) = &config.datastore else {
        return Ok(None);
    };
    let archive = Archive::new(&datastore.settings(), channels.clone())?;
    Ok(Some(archive))
}

impl Parts {
    /// What writes an account's records into Datastore, and what asks it for late statuses.
    pub(super) fn archivists(
        &self,
        config: &Config,
        parts: &AccountParts,
    ) -> Option<(Writer, Late)> {
        let (archive, datastore) = (self.archive.clone()?, config.datastore.as_ref()?);
        let (outbox, account) = (self.outbox.clone(), parts.account.id.clone());
        let late = Late {
            archive: archive.clone(),
            outbox: outbox.clone(),
            account: account.clone(),
            ask_after: datastore.ask_after,
        };
        Some((Writer::new(archive, outbox, account), late))
    }
}
