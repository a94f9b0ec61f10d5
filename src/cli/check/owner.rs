//! Whose messages a shared store keeps: two installations on one would send each other's.

use super::{DEADLINE, Finding, Mark, finding};
use crate::app::{another, owners};
use crate::config::Config;
use crate::store::redis::{Link, Settings, Store};
use crate::store::{Outbox, Owned};
use tokio::time::timeout;

const ITEM: &str = "installation";

/// What the store says of each account and channel. Nothing where it cannot be asked, which is told elsewhere.
pub(super) async fn look(config: &Config, settings: &Settings) -> Vec<Finding> {
    let Ok(link) = Link::new(settings) else {
        return Vec::new();
    };
    let store = Outbox::Redis(Store::open(link, Vec::new(), false));
    let mut findings = Vec::new();
    let mut known = false;
    for owner in owners(config) {
        match timeout(DEADLINE, store.owned(&owner)).await {
            Ok(Ok(Owned::ByThis)) => known = true,
            Ok(Ok(Owned::ByNobody)) => {}
            Ok(Ok(Owned::ByAnother {
                fingerprints: [theirs, ours],
                settings,
            })) => {
                let is_taken = config.store.take_over.as_ref() == Some(&theirs);
                let words = match is_taken {
                    true => format!(
                        "STORE_TAKE_OVER names what keeps {}: the next start takes it over",
                        owner.subject
                    ),
                    false => another(&owner.subject, &settings, [&theirs, &ours]),
                };
                let mark = if is_taken { Mark::Warn } else { Mark::Fault };
                findings.push(finding(ITEM, mark, words));
            }
            Ok(Err(_)) | Err(_) => return findings,
        }
    }
    if findings.is_empty() {
        let words = match known {
            true => "this one has used the store before",
            false => "none has used the store before",
        };
        findings.push(finding(ITEM, Mark::Ok, words));
    }
    findings
}
