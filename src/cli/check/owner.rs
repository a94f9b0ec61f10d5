//! Whose messages a shared store keeps: two installations on one would send each other's.

use super::{DEADLINE, Finding, Mark, finding};
use crate::app::{Verdict, standings};
use crate::config::Config;
use crate::store::redis::{Connection, Settings, Store};
use crate::store::{Outbox, Tokens};
use tokio::time::timeout;

const ITEM: &str = "installation";

/// What a start would say of each account and channel. Nothing where the store cannot be asked, which is told
/// elsewhere.
pub(super) async fn look(config: &Config, settings: &Settings) -> Vec<Finding> {
    let Ok(connection) = Connection::new(settings) else {
        return Vec::new();
    };
    let store = Outbox::Redis(Store::open(connection.clone(), Vec::new(), false));
    let tokens = Tokens::Redis(connection);
    let Ok(Ok(all)) = timeout(DEADLINE, standings(config, &store, &tokens)).await else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for one in &all {
        match &one.verdict {
            Verdict::TakenOver(subject) => {
                let words = format!("the next start takes {subject} over, as STORE_TAKE_OVER says");
                findings.push(finding(ITEM, Mark::Warn, words));
            }
            Verdict::Refused(why) => findings.push(finding(ITEM, Mark::Fault, why)),
            Verdict::Nobodys | Verdict::Ours | Verdict::Unused(_) => {}
        }
    }
    if findings.is_empty() {
        let mut prints = Vec::new();
        for one in all.iter().filter(|one| one.verdict == Verdict::Ours) {
            prints.extend(timeout(DEADLINE, one.shown(&store)).await.ok().flatten());
        }
        let words = match prints.as_slice() {
            [] => "no other one has sent from the store".to_owned(),
            prints => format!(
                "this one has used the store before; fingerprints: {}",
                prints.join(", ")
            ),
        };
        findings.push(finding(ITEM, Mark::Ok, words));
    }
    findings
}
