//! `POST /chat/send-message` (contracts/jumper.md 4.1): flat answer, a new id every time, no deduplication,
//! and the known weak validation (parameters that do not fit are accepted and rejected later).

use std::sync::Arc;

use axum::{body::Bytes, extract::State, http::HeaderMap, response::Response};
use fastrand::Rng;
use serde_json::{Value, json};

use super::{
    account::Account,
    courier::{self, Journey},
    form::Fields,
    gate,
    plan::plan,
    record::{SendRecord, SpoiledSend},
    roll::roll,
    template,
};
use crate::sandbox::{
    clock::now_ms,
    dice,
    knobs::Knobs,
    notation::digits,
    outcome::Outcome,
    reply,
    route::{Asked, Route},
    world::World,
};

const TEMPLATE_MARK: &str = "s3ndt3mpl4te_";

/// Handles one send.
pub(super) async fn message(
    State(world): State<Arc<World>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let fields = Fields::read(&headers, &body);
    // Until September 2023 the recipient was given as `conversationid`.
    let to = fields.get("to").or_else(|| fields.get("conversationid"));
    let to = digits(to.unwrap_or_default());
    let message = fields.get("message").unwrap_or_default();
    let asked = Asked {
        recipient: &to,
        variant: message.strip_prefix(TEMPLATE_MARK).unwrap_or_default(),
        ..Asked::of(Route::Send)
    };
    let mut call = match gate::enter(&world, &headers, &asked).await {
        Ok(call) => call,
        Err(answer) => return answer,
    };
    let account = Arc::clone(&call.account);
    let knobs = Arc::clone(&call.knobs);
    let ordinal = account.ledger().attempt(&to);
    let mut rng = dice::rng(world.seed, &[&account.merchant.merchant_id, &to], ordinal);
    let rolled = roll(&knobs, &mut rng);
    let outcome = call.outcome.get_or_insert(rolled);
    let name = outcome.name();
    if *outcome != Outcome::Ok {
        let spoiled = SpoiledSend {
            at_ms: now_ms(),
            to: to.clone(),
            params: fields.get("message_params").map(str::to_owned),
            outcome: name,
        };
        account.ledger().spoil(spoiled, knobs.keep);
    }
    let effect = async {
        let draft = compose(&world, &account, &fields, to);
        match draft {
            Ok(draft) => {
                let record = SendRecord {
                    outcome: name,
                    ..draft
                };
                accept(&world, &account, record, rng, &knobs).await
            }
            Err(refusal) => {
                account.ledger().tally.refused += 1;
                refusal
            }
        }
    };
    gate::carry(&world, call, effect).await
}

fn refused(reason: impl Into<String>) -> Response {
    reply::json(
        200,
        json!({"success": false, "errorMessage": reason.into()}),
    )
}

/// Reads what is to be sent, or gives Jumper's refusal.
#[expect(clippy::result_large_err, reason = "the error is the answer to write")]
fn compose(
    world: &World,
    account: &Account,
    fields: &Fields<'_>,
    to: String,
) -> Result<SendRecord, Response> {
    let text = |name: &str| fields.get(name).map(str::to_owned);
    let message = fields
        .get("message")
        .ok_or_else(|| refused("message is required"))?;
    if to.is_empty() {
        return Err(refused("to is required"));
    }
    let mut draft = SendRecord {
        to,
        from: text("from").or_else(|| text("pageid")),
        source: text("source"),
        channel: text("channel"),
        params: text("message_params"),
        ..SendRecord::default()
    };
    let Some(id) = message.strip_prefix(TEMPLATE_MARK) else {
        draft.text = Some(message.to_owned());
        return Ok(draft);
    };
    let params = fields.get("message_params").unwrap_or("{}");
    let params: Value =
        serde_json::from_str(params).map_err(|_| refused("message_params is not valid JSON"))?;
    let templates = account.templates();
    let Some((template, variant)) = templates.find(id) else {
        return Err(unknown_template(world, id));
    };
    if variant.status != "APPROVED" {
        return Err(refused("Template is not approved"));
    }
    draft.mismatch = variant.mismatch(&params);
    draft.template_id = variant.id.clone();
    draft.template_name = Some(template.name.clone());
    draft.language = Some(variant.language.clone());
    Ok(draft)
}

/// Nobody's template is refused; another merchant's is not ours to touch (contracts/jumper.md 7, point 2).
pub(super) fn unknown_template(world: &World, id: &str) -> Response {
    let all = world.jumper.accounts(None).unwrap_or_default();
    match all.iter().any(|one| one.templates().find(id).is_some()) {
        true => reply::fault(401, "oauth.v2.InvalidAccessToken", "Invalid access token"),
        false => refused("Template not found"),
    }
}

/// Takes a message over: keeps it, starts its events and answers with its new id.
async fn accept(
    world: &Arc<World>,
    account: &Arc<Account>,
    mut record: SendRecord,
    mut rng: Rng,
    knobs: &Knobs,
) -> Response {
    record.at_ms = now_ms();
    record.message_id = dice::uuid(&mut rng);
    record.conversationid = conversation(world.seed, account, &record.to);
    let journey = Journey {
        subject: record.subject(),
        accepted_ms: record.at_ms,
        plan: plan(knobs, &mut rng, record.mismatch.is_some()),
    };
    let answer = json!({
        "success": true,
        "message_id": record.message_id,
        "conversationid": template::id(&record.conversationid, knobs.ids_as_numbers),
        "message": "Message sent",
        "errorMessage": null,
    });
    account.ledger().accept(record, knobs.keep);
    if let Some(first) = courier::dispatch(world, account, journey) {
        // The sender is dropped when the sandbox stops; then there is no event to wait for.
        let _ = first.await;
    }
    reply::json(200, answer)
}

/// The contact's conversation: the same for every message to the same number (contracts/jumper.md 4.1).
pub(super) fn conversation(seed: u64, account: &Account, to: &str) -> String {
    let parts = ["conversation", &account.merchant.merchant_id, to];
    let spread = dice::mix(seed, &parts, 0) % 1_000_000_000_000;
    (5_100_000_000_000_000 + spread).to_string()
}
