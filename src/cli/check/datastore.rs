//! Can records be read and written in Datastore? Proved with one scratch entity under a kind of its own, which is
//! removed again.

use super::{DEADLINE, Finding, Mark, finding};
use crate::clock;
use crate::config::Config;
use crate::datastore::{Client, Error, Proof, Settings, own_kind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::time::sleep;

/// The finding; none without Datastore.
pub(super) async fn look(config: &Config) -> Option<Finding> {
    let settings = config.datastore.as_ref()?.settings()?;
    let (mark, words) = match Client::new(&settings) {
        Ok(client) => match client.prove_until(clock::now().0, sleep(DEADLINE)).await {
            Ok(proof) => judged(&proof, &settings),
            Err(left) => (Mark::Warn, late(left, &settings)),
        },
        Err(error) => (Mark::Warn, error.with_advice()),
    };
    // Messages are sent without it, so it hinders nothing.
    let end = match mark == Mark::Ok || words.starts_with("reads and writes") {
        true => "",
        false if words.ends_with('?') => " Records would wait",
        false => ". Records would wait",
    };
    let words = format!("{}: {words}{end}", settings.place());
    Some(finding("Datastore", mark, words))
}

/// No answer came in time; `left` is the scratch entity that could not be removed.
fn late(left: Option<(String, Error)>, settings: &Settings) -> String {
    let Some((name, error)) = left else {
        return "no answer in time: is a firewall in between?".to_owned();
    };
    let kind = own_kind(&settings.kind);
    format!(
        "no answer in time; the scratch entity {name} of kind {kind} may still be there: {}",
        error.with_advice()
    )
}

fn judged(proof: &Proof, settings: &Settings) -> (Mark, String) {
    let mut words = proof.words();
    let mut is_good = proof.is_good() && proof.left.is_none();
    if settings.credentials.as_deref().is_some_and(is_open) {
        words += "; every user of this machine can read its key: chmod 600";
        is_good = false;
    }
    (if is_good { Mark::Ok } else { Mark::Warn }, words)
}

/// Whether everybody may read the key file.
fn is_open(key: &Path) -> bool {
    std::fs::metadata(key).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
}
