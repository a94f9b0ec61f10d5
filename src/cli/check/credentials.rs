//! Does Jumper take the application's key and secret? Proved by a refresh with a refresh token that
//! nobody has; the real one is never used for a check.

use super::{DEADLINE, Finding, Mark, finding};
use crate::config::{Account, Config};
use crate::providers::jumper::token::{Proof, prove};
use std::sync::Arc;

/// The finding; `None` where no credentials are configured, which is told elsewhere.
pub(super) async fn look(config: Arc<Config>, account: Account) -> Option<Finding> {
    let basic = account.basic_auth.as_ref()?;
    let (item, name) = if config.has_tables() {
        let item = format!("Jumper credentials of {}", account.id);
        (item, "basic_auth of the account")
    } else {
        ("Jumper credentials".to_owned(), "JUMPER_BASIC_AUTH")
    };
    let proof = match prove(&account.api_url, basic, DEADLINE).await {
        Ok(proof) => proof,
        Err(error) => return Some(finding(item, Mark::Fault, format!("{name}: {error}"))),
    };
    Some(match proof {
        Proof::Right => finding(item, Mark::Ok, format!("Jumper takes {name}")),
        Proof::Wrong(text) => {
            let words = format!(
                "Jumper refuses the key and secret of {name} ({text}): no token can be renewed. Set \
                 it to \"Basic \" and the base64 of KEY:SECRET, as the developer portal shows them"
            );
            finding(item, Mark::Fault, words)
        }
        Proof::Unknown(text) => {
            let words = format!("{name} could not be proved: {text}");
            finding(item, Mark::Unknown, words)
        }
    })
}
