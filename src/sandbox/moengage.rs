//! The fake MoEngage: takes callbacks at `/moengage/dlr` and `/moengage/dlr/{name}`, checks them against the
//! contract and keeps them for inspection. It never reads what Jumper's fake knows.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{Path, State},
    response::Response,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    account::lock,
    dice,
    knobs::Knobs,
    outcome::Outcome,
    reply,
    rules::{Asked, Route},
    verdict::{self, Callback},
    world::{World, now_ms},
};

/// One entry received: a status, or an inbound message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallbackRecord {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Name of the endpoint; empty for the unnamed one.
    pub endpoint: String,
    /// Message the entry speaks of.
    pub msg_id: String,
    /// Its status; `inbound` for a reply.
    pub status: String,
    /// The entry as received.
    pub raw: Value,
}

/// Counters of the fake MoEngage; names as in the inspected counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) posts: u64,
    pub(super) entries: BTreeMap<String, u64>,
    pub(super) inbound: u64,
    pub(super) duplicates: u64,
    pub(super) repeated: u64,
    pub(super) backwards: u64,
    pub(super) invalid: u64,
    pub(super) invalid_reasons: VecDeque<String>,
}

/// What the fake MoEngage remembers. Hashes of entries are kept whole: they prove "not twice".
#[derive(Debug, Default)]
pub(super) struct Receiver {
    pub(super) tally: Tally,
    records: VecDeque<CallbackRecord>,
    entries: HashSet<u64>,
    /// Statuses seen per message, one bit each.
    seen: HashMap<u64, u8>,
}

/// Reasons of refused callbacks kept.
const REASONS: usize = 20;

impl Receiver {
    fn invalid(&mut self, reason: String) {
        self.tally.invalid += 1;
        self.tally.invalid_reasons.push_back(reason);
        if self.tally.invalid_reasons.len() > REASONS {
            self.tally.invalid_reasons.pop_front();
        }
    }

    fn take(&mut self, endpoint: &str, callback: Callback, keep: usize) {
        match callback {
            Callback::Statuses(entries) => {
                for raw in entries {
                    let (msg_id, status) = (text(&raw["msg_id"]), text(&raw["status"]));
                    *self.tally.entries.entry(status.clone()).or_default() += 1;
                    self.rank(endpoint, &msg_id, &status);
                    self.keep(endpoint, (msg_id, status), raw, keep);
                }
            }
            Callback::Inbound(raw) => {
                self.tally.inbound += 1;
                let msg_id = text(&raw["context"]["msg_id"]);
                self.keep(endpoint, (msg_id, "inbound".to_owned()), raw, keep);
            }
        }
    }

    /// Counts a status repeated, and one of lower rank than one already received for the message.
    fn rank(&mut self, endpoint: &str, msg_id: &str, status: &str) {
        let bit = match status {
            "sent" => 1,
            "failed" => 2,
            "delivered" => 4,
            _ => 8,
        };
        let seen = self
            .seen
            .entry(dice::mix(0, &[endpoint, msg_id], 0))
            .or_default();
        self.tally.repeated += u64::from(*seen & bit != 0);
        self.tally.backwards += u64::from(*seen > bit * 2 - 1);
        *seen |= bit;
    }

    fn keep(
        &mut self,
        endpoint: &str,
        (msg_id, status): (String, String),
        raw: Value,
        keep: usize,
    ) {
        if !self
            .entries
            .insert(dice::mix(0, &[endpoint, &raw.to_string()], 0))
        {
            self.tally.duplicates += 1;
        }
        let endpoint = endpoint.to_owned();
        self.records.push_back(CallbackRecord {
            at_ms: now_ms(),
            endpoint,
            msg_id,
            status,
            raw,
        });
        while self.records.len() > keep {
            self.records.pop_front();
        }
    }

    /// Messages with at least one status.
    pub(super) fn messages(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The newest `limit` kept entries in the order received.
    pub(super) fn find(
        &self,
        msg_id: Option<&str>,
        endpoint: Option<&str>,
        limit: usize,
    ) -> Vec<CallbackRecord> {
        let matching = self.records.iter().rev().filter(|one| {
            msg_id.is_none_or(|id| one.msg_id == id)
                && endpoint.is_none_or(|name| one.endpoint == name)
        });
        let mut found: Vec<_> = matching.take(limit).cloned().collect();
        found.reverse();
        found
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// `POST /moengage/dlr`.
pub(super) async fn unnamed(state: State<Arc<World>>, body: Bytes) -> Response {
    receive(&state, "", &body).await
}

/// `POST /moengage/dlr/{name}`.
pub(super) async fn named(
    state: State<Arc<World>>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response {
    receive(&state, &name, &body).await
}

async fn receive(world: &World, endpoint: &str, body: &[u8]) -> Response {
    let knobs = world.knobs();
    lock(&world.moengage).tally.posts += 1;
    let concerned = knobs
        .moengage_only
        .as_deref()
        .is_none_or(|name| name == endpoint);
    if concerned && knobs.moengage_latency_ms > 0 {
        sleep(Duration::from_millis(knobs.moengage_latency_ms)).await;
    }
    let callback = match verdict::read(body) {
        Ok(callback) => callback,
        Err(reason) => {
            lock(&world.moengage).invalid(reason.clone());
            return reply::json(400, json!({"status": "failure", "message": reason}));
        }
    };
    let outcome = match world.ruled(&Asked::of(Route::Dlr), None) {
        Some(outcome) => outcome,
        None if concerned => roll(world, &knobs, &callback),
        None => Outcome::Ok,
    };
    if let Some(early) = outcome.before().await {
        return early;
    }
    lock(&world.moengage).take(endpoint, callback, knobs.keep);
    let answer = match concerned && knobs.moengage_lying {
        true => json!({"status": "failure", "message": "not today"}),
        false => json!({"status": "success"}),
    };
    let status = if concerned {
        knobs.moengage_status
    } else {
        200
    };
    outcome.after(reply::json(status, answer)).await
}

fn roll(world: &World, knobs: &Knobs, callback: &Callback) -> Outcome {
    if !(200..300).contains(&knobs.moengage_status) {
        return Outcome::Status(knobs.moengage_status);
    }
    let rejected = |entry: &Value| {
        let id = entry["msg_id"].as_str().unwrap_or_default();
        knobs.moengage_reject_msg_ids.iter().any(|one| one == id)
    };
    if matches!(callback, Callback::Statuses(entries) if entries.iter().any(rejected)) {
        return Outcome::Status(400);
    }
    let mut rng = world.loose_dice();
    match () {
        () if dice::chance(&mut rng, knobs.moengage_fail_share) => Outcome::Status(500),
        () if dice::chance(&mut rng, knobs.moengage_lose_answer_share) => Outcome::AcceptThenClose,
        () => Outcome::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(status: &str, at: &str) -> Callback {
        Callback::Statuses(vec![
            json!({"msg_id": "m", "status": status, "timestamp": at}),
        ])
    }

    #[test]
    fn identical_repeated_and_backward_entries_are_told_apart() {
        let mut receiver = Receiver::default();
        for (status, at) in [
            ("sent", "1"),
            ("sent", "1"),
            ("read", "2"),
            ("read", "3"),
            ("delivered", "4"),
        ] {
            receiver.take("", entry(status, at), 3);
        }
        receiver.take("other", entry("sent", "1"), 3);
        assert_eq!(receiver.tally.duplicates, 1);
        assert_eq!(receiver.tally.repeated, 2);
        assert_eq!(receiver.tally.backwards, 1);
        assert_eq!(receiver.messages(), 2);
        assert_eq!(receiver.find(None, None, 9).len(), 3);
        assert_eq!(receiver.find(Some("m"), Some("other"), 9).len(), 1);
    }
}
