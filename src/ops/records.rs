//! Datastore as the ops listener sees it: how many records wait, and messages that only it still knows.

use super::standing::Standing;
use super::{OpsState, view};
use crate::clock;
use crate::domain::phone::mask_digits;
use crate::domain::{AccountId, BusinessNumber};
use crate::records::Kept;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// How long Datastore may take to answer a person.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the store may take to count what waits.
const COUNTING: Duration = Duration::from_millis(500);

/// What Datastore knows, and what is to be said when it could not be asked.
#[derive(Default)]
pub(super) struct Found {
    pub(super) messages: Vec<Kept>,
    pub(super) note: Option<String>,
}

/// Looks for an id that the outbox does not know. Without Datastore nothing is found.
pub(super) async fn find(ops: &OpsState, id: &str) -> Found {
    let Some(records) = &ops.shared.records else {
        return Found::default();
    };
    let because = match timeout(PATIENCE, records.find(id)).await {
        Ok(Ok(found)) => {
            return Found {
                messages: found,
                note: None,
            };
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it did not answer within {} s", PATIENCE.as_secs()),
    };
    Found {
        messages: Vec::new(),
        note: Some(format!(
            "Datastore could not be asked, and may know more: {because}"
        )),
    }
}

/// A message as Datastore has it, in the form of one of the outbox's.
pub(super) fn record(kept: &Kept) -> Value {
    let from = BusinessNumber::parse(&kept.from);
    json!({
        "source": "Datastore",
        "channel": named(&kept.channel),
        "account": named(&kept.account),
        "msg_id": kept.msg_id.to_string(),
        "state": Standing::of(kept.state, kept.status).as_str(),
        "status": kept.status.map(|status| status.as_str()),
        "means": if kept.ours {
            "a record from Datastore; the gateway itself does not keep this message any more"
        } else {
            "a record from Datastore, written by the old connector"
        },
        "to": kept.to.map(|to| to.to_string()),
        "from": from.map(|from| from.to_string()).ok(),
        "template": kept.template,
        "language": kept.language,
        "campaign_id": kept.campaign.as_deref().map(mask_digits),
        "accepted_at": view::time(kept.accepted_at),
        "due": null,
        "attempts": kept.attempts,
        "provider_id": kept.provider_id.as_deref().map(mask_digits),
        "receipt_inferred": kept.inferred,
        "history": view::history(&kept.history),
        "callbacks": [],
    })
}

fn named(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// How the records of each account stand, for `/readyz`; null without Datastore.
pub(super) async fn standing(ops: &OpsState) -> Value {
    let Some(records) = &ops.shared.records else {
        return Value::Null;
    };
    let mut accounts = Vec::new();
    for account in ops.shared.accounts.iter().map(|one| &one.account.id) {
        let trouble = records.trouble(account).map(|trouble| {
            let since = clock::now().since(trouble.since).as_secs();
            json!({ "reason": trouble.reason, "since": view::time(trouble.since), "seconds": since })
        });
        accounts.push(json!({
            "account": account.as_str(),
            "state": if trouble.is_none() { "ok" } else { "records wait" },
            "waiting": waiting(ops, account).await,
            "trouble": trouble,
        }));
    }
    accounts.into()
}

/// How many messages of an account wait for Datastore; `None` when the store cannot say now.
pub(super) async fn waiting(ops: &OpsState, account: &AccountId) -> Option<u64> {
    let count = ops.shared.outbox.store.dirty_waiting(account);
    timeout(COUNTING, count).await.ok()?.ok()
}
