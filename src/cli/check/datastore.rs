//! Can records be read and written in Datastore? Reads one name that nobody has, writes nothing.

use super::{DEADLINE, Finding, Mark, finding};
use crate::config::Config;
use crate::datastore::{Client, Error, Settings};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::time::timeout;

/// The finding; none without Datastore.
pub(super) async fn look(config: &Config) -> Option<Finding> {
    let settings = config.datastore.as_ref()?.settings();
    let place = format!("project {}, kind {}", settings.project_id, settings.kind);
    let told = match timeout(DEADLINE, ask(&settings)).await {
        Ok(Ok(())) => {
            let (mark, note) = match settings.credentials.as_deref().is_some_and(is_open) {
                true => (
                    Mark::Warn,
                    "; every user of this machine can read its key: chmod 600",
                ),
                false => (Mark::Ok, ""),
            };
            return Some(finding(
                "Datastore",
                mark,
                format!("{place}: answers{note}"),
            ));
        }
        Ok(Err(error)) => format!("{error}. {}", error.advice()),
        Err(_) => "no answer in time: is a firewall in between?".to_owned(),
    };
    // Messages are sent without it, so it hinders nothing.
    let words = format!(
        "{place}: {}. Records would wait",
        told.trim_end_matches(['.', ' '])
    );
    Some(finding("Datastore", Mark::Warn, words))
}

/// Whether everybody may read the key file.
fn is_open(key: &Path) -> bool {
    std::fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}

async fn ask(settings: &Settings) -> Result<(), Error> {
    let name = "gateway-check".to_owned();
    Client::new(settings)?.lookup(&[name], None).await.map(drop)
}
