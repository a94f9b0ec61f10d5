//! All that knows MoEngage, both directions (contracts/moengage.md).
//!
//! In: `caller` (who), `accept` (what), then one call to intake, then `reply`. Out: `batch` and
//! `inbound` render statuses and replies, `timestamp` their moments, `callback` posts them. `wire` holds the
//! JSON and stays private. Knows no provider.

pub mod accept;
pub mod batch;
pub mod callback;
pub mod caller;
mod code;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod inbound;
pub mod reply;
#[cfg(any(test, fuzzing))]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
pub mod timestamp;
mod wire;

use crate::accounts::Channels;
use crate::domain::phone::mask_digits;
use crate::domain::{MsgId, Refusal};
use crate::http::{Payload, read_apart};
use crate::intake::{Entry, Intake};
use accept::Rejected;
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRef, Path, Query, State};
use axum::routing::post;
use caller::Caller;
use reply::Reply;
use serde::Deserialize;
use std::sync::Arc;

/// Characters of a campaign's id; a longer one is left out of the record.
pub const MAX_CAMPAIGN: usize = 256;

/// What the send routes work with.
#[derive(Clone)]
pub struct SendState {
    /// Who may send, and from where.
    pub channels: Arc<Channels>,
    /// Where messages go.
    pub intake: Intake,
}

impl FromRef<SendState> for Arc<Channels> {
    fn from_ref(state: &SendState) -> Self {
        state.channels.clone()
    }
}

/// Where messages are sent to without a channel: the old connector's addresses.
const SENDS: [&str; 4] = [
    "/jumper_send_whatsapp",
    "/send_whatsapp",
    "/send_whatsapp_task_queue",
    "/chat/send-message",
];
const SEND_ON: &str = "/channels/{id}/send";

/// The paths of [`routes`].
pub fn paths() -> Vec<&'static str> {
    [&SENDS[..], &[SEND_ON]].concat()
}

/// The routes that MoEngage sends to.
pub fn routes(state: SendState) -> Router {
    SENDS
        .iter()
        .fold(Router::new(), |router, path| router.route(path, post(send)))
        .route(SEND_ON, post(send_on))
        .with_state(state)
}

#[derive(Deserialize)]
struct Campaign {
    campaign_id: Option<String>,
}

/// The query of a send: whatever is wrong with it, the message still counts.
type CampaignQuery = Result<Query<Campaign>, QueryRejection>;

async fn send(
    caller: Caller,
    State(state): State<SendState>,
    query: CampaignQuery,
    Payload(body): Payload,
) -> Reply {
    enter(&caller, &state.intake, query, body).await
}

async fn send_on(
    caller: Caller,
    id: Result<Path<String>, PathRejection>,
    State(state): State<SendState>,
    query: CampaignQuery,
    Payload(body): Payload,
) -> Reply {
    // A name that is not even text names no channel.
    match caller.on(id.as_deref().map_or("", |id| id)) {
        Ok(caller) => enter(&caller, &state.intake, query, body).await,
        Err(refusal) => Reply::Failure(refusal),
    }
}

async fn enter(caller: &Caller, intake: &Intake, query: CampaignQuery, body: Bytes) -> Reply {
    let campaign = query.ok().and_then(|Query(query)| query.campaign_id);
    let campaign = campaign.filter(|id| !id.is_empty() && id.chars().count() <= MAX_CAMPAIGN);
    let read = move |body: &[u8]| accept::read(body, campaign.as_deref());
    let message = match read_apart(body, read).await {
        Ok(message) => message,
        Err(rejected) => return reject(caller, intake, rejected).await,
    };
    let msg_id = message.msg_id.clone();
    let entry = match caller.sending_from(&message.from) {
        Ok(channel) => intake.accept(channel, message).await,
        Err(refusal) => Entry::Refused(refusal),
    };
    if let Entry::Refused(refusal) = &entry {
        tell(&msg_id, refusal);
    }
    entry.into()
}

/// A repeat of an accepted id is a success, even when its content would be refused now (design.md G3).
async fn reject(caller: &Caller, intake: &Intake, rejected: Rejected) -> Reply {
    let (msg_id, from, refusal) = match rejected {
        Rejected::Malformed { status, message } => return Reply::Malformed { status, message },
        Rejected::Refused {
            msg_id,
            from,
            refusal,
        } => (msg_id, from, refusal),
    };
    let refused = Entry::Refused(refusal);
    let entry = match from.map(|from| caller.sending_from(&from)) {
        Some(Ok(channel)) => intake.unless_repeat(channel, &msg_id, refused).await,
        _ => refused,
    };
    match &entry {
        Entry::Repeat => tracing::info!(
            msg_id = mask_digits(msg_id.as_str()),
            event = "repeat_would_be_refused",
            "a repeat of an accepted message came with content that would be refused"
        ),
        Entry::Refused(refusal) => tell(&msg_id, refusal),
        _ => {}
    }
    entry.into()
}

/// The one event of a refused send.
fn tell(msg_id: &MsgId, refusal: &Refusal) {
    tracing::info!(
        msg_id = mask_digits(msg_id.as_str()),
        code = code::code(refusal.kind),
        reason = refusal.reason,
        event = "send_refused",
        "refused a send"
    );
}
