//! What the fake MoEngage remembers: the newest callbacks as they came, the entries it was given, and counts. It never reads what Jumper's fake
//! knows.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use axum::body::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::verdict::Callback;
use crate::sandbox::{clock::now_ms, dice};

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

impl CallbackRecord {
    /// An entry received now.
    fn new(endpoint: &str, msg_id: String, status: String, raw: Value) -> Self {
        Self {
            at_ms: now_ms(),
            endpoint: endpoint.to_owned(),
            msg_id,
            status,
            raw,
        }
    }
}

/// A callback as it came, whatever it was answered.
#[derive(Debug, Clone, Serialize)]
pub(in crate::sandbox) struct Post {
    at_ms: u64,
    endpoint: String,
    body: String,
}

/// Counters of the fake MoEngage; names as in the inspected counts.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Tally {
    pub(in crate::sandbox) posts: u64,
    pub(in crate::sandbox) entries: BTreeMap<String, u64>,
    pub(in crate::sandbox) inbound: u64,
    pub(in crate::sandbox) duplicates: u64,
    pub(in crate::sandbox) repeated: u64,
    pub(in crate::sandbox) backwards: u64,
    pub(in crate::sandbox) invalid: u64,
    pub(in crate::sandbox) invalid_reasons: VecDeque<String>,
}

/// What the fake MoEngage remembers. Hashes of entries are kept whole: they prove "not twice".
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Receiver {
    pub(in crate::sandbox) tally: Tally,
    records: VecDeque<CallbackRecord>,
    posts: VecDeque<(u64, String, Bytes)>,
    entries: HashSet<u64>,
    /// Statuses seen per message, one bit each.
    seen: HashMap<u64, u8>,
}

/// Callbacks kept as they came.
const POSTS: usize = 200;
/// Reasons of refused callbacks kept.
const REASONS: usize = 20;

impl Receiver {
    /// Counts a callback and keeps it as it came.
    pub(super) fn came(&mut self, endpoint: &str, body: Bytes) {
        self.tally.posts += 1;
        self.posts.push_back((now_ms(), endpoint.to_owned(), body));
        if self.posts.len() > POSTS {
            self.posts.pop_front();
        }
    }

    /// The newest `limit` kept callbacks in the order received.
    pub(in crate::sandbox) fn posts(&self, endpoint: Option<&str>, limit: usize) -> Vec<Post> {
        let matching = self.posts.iter().rev();
        let matching = matching.filter(|(_, to, _)| endpoint.is_none_or(|name| to == name));
        let post = |(at_ms, endpoint, body): &(u64, String, Bytes)| Post {
            at_ms: *at_ms,
            endpoint: endpoint.clone(),
            body: String::from_utf8_lossy(body).into_owned(),
        };
        let mut found: Vec<_> = matching.take(limit).map(post).collect();
        found.reverse();
        found
    }

    /// Counts a refused callback and keeps why.
    pub(super) fn invalid(&mut self, reason: String) {
        self.tally.invalid += 1;
        self.tally.invalid_reasons.push_back(reason);
        if self.tally.invalid_reasons.len() > REASONS {
            self.tally.invalid_reasons.pop_front();
        }
    }

    /// Counts a callback and keeps its entries, the newest `keep` of all.
    pub(super) fn take(&mut self, endpoint: &str, callback: Callback, keep: usize) {
        match callback {
            Callback::Statuses(entries) => {
                for raw in entries {
                    let (msg_id, status) = (text(&raw["msg_id"]), text(&raw["status"]));
                    *self.tally.entries.entry(status.clone()).or_default() += 1;
                    self.rank(endpoint, &msg_id, &status);
                    self.keep(CallbackRecord::new(endpoint, msg_id, status, raw), keep);
                }
            }
            Callback::Inbound(raw) => {
                self.tally.inbound += 1;
                let msg_id = text(&raw["context"]["msg_id"]);
                let status = "inbound".to_owned();
                self.keep(CallbackRecord::new(endpoint, msg_id, status, raw), keep);
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

    fn keep(&mut self, record: CallbackRecord, keep: usize) {
        let same = dice::mix(0, &[&record.endpoint, &record.raw.to_string()], 0);
        if !self.entries.insert(same) {
            self.tally.duplicates += 1;
        }
        self.records.push_back(record);
        while self.records.len() > keep {
            self.records.pop_front();
        }
    }

    /// Messages with at least one status.
    pub(in crate::sandbox) fn messages(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The newest `limit` kept entries in the order received.
    pub(in crate::sandbox) fn find(
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
