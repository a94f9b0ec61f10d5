//! The counts shown by `GET /_sandbox/counts`, summed over merchants or for one. Only reads.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use serde::{Deserialize, Serialize};

use super::{jumper::account::Account, lock::lock, world::World};

/// What has happened since the start or the last reset.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// Sends that had their effect, whatever was answered.
    pub sends_accepted: u64,
    /// Different message ids given out.
    pub message_ids: u64,
    /// Different recipients of accepted sends.
    pub recipients: u64,
    /// Recipients with more than one accepted send.
    pub recipients_repeated: u64,
    /// Sends refused by `success:false`.
    pub refused: u64,
    /// Calls per route; `unauthorized` are those without a good bearer token (in the sum over merchants only).
    pub calls: BTreeMap<String, u64>,
    /// Connections that carried a send, since the start (in the sum over merchants only).
    pub send_connections: usize,
    /// Calls over the rate.
    pub limited: u64,
    /// Outcomes other than `ok`, rolled or scripted.
    pub outcomes: BTreeMap<String, u64>,
    /// Most Jumper calls at once.
    pub max_in_flight: usize,
    /// Successful refreshes.
    pub refreshes: u64,
    /// Refreshes with a dead refresh token.
    pub refreshes_denied: u64,
    /// Refreshes with a refresh token that nobody was given: proofs of the credentials.
    pub refreshes_unknown: u64,
    /// Most refreshes at once.
    pub max_refreshes_at_once: usize,
    /// Events planned by the dice.
    pub events_planned: u64,
    /// Webhook posts made, repeats included.
    pub events_posted: u64,
    /// Events answered 2xx.
    pub events_acknowledged: u64,
    /// Events given up, or without anyone to post to.
    pub events_failed: u64,
    /// Events planned and not yet done.
    pub events_pending: usize,
    /// Callbacks received by MoEngage, refused ones included.
    pub callback_posts: u64,
    /// Status entries stored, by status.
    pub callback_entries: BTreeMap<String, u64>,
    /// Messages with at least one status entry.
    pub callback_messages: u64,
    /// Replies stored.
    pub callback_inbound: u64,
    /// Stored entries identical to an earlier one.
    pub callback_duplicates: u64,
    /// Stored status entries whose message had that status before, identical or not.
    pub callback_repeated: u64,
    /// Stored status entries of lower rank than an earlier one of their message.
    pub callback_backwards: u64,
    /// Callbacks against the contract.
    pub callback_invalid: u64,
    /// Why, the last few.
    pub invalid_reasons: Vec<String>,
}

impl Counts {
    /// Counts of the given merchants, with those of the one MoEngage.
    pub(super) fn of(world: &World, accounts: &[Arc<Account>], whole: bool) -> Self {
        let mut counts = Self::default();
        for account in accounts {
            counts.add(account);
        }
        if whole {
            counts.send_connections = world.jumper.send_connections.load(Ordering::Relaxed);
            counts.add_calls(&lock(&world.jumper.door).calls);
        }
        counts.add_callbacks(world);
        counts
    }

    fn add(&mut self, account: &Account) {
        {
            let door = lock(&account.door);
            self.limited += door.arrivals.limited;
            self.add_calls(&door.calls);
        }
        self.max_in_flight = self.max_in_flight.max(account.in_flight.most());
        self.max_refreshes_at_once = self.max_refreshes_at_once.max(account.refreshing.most());
        self.events_pending += account.pending.load(Ordering::Relaxed);
        let ledger = account.ledger();
        let tally = &ledger.tally;
        for (name, count) in &tally.outcomes {
            *self.outcomes.entry((*name).to_owned()).or_default() += count;
        }
        self.sends_accepted += tally.sends_accepted;
        self.message_ids += tally.message_ids;
        self.recipients += tally.recipients;
        self.recipients_repeated += tally.recipients_repeated;
        self.refused += tally.refused;
        self.refreshes += tally.refreshes;
        self.refreshes_denied += tally.refreshes_denied;
        self.refreshes_unknown += tally.refreshes_unknown;
        self.events_planned += tally.events_planned;
        self.events_posted += tally.events_posted;
        self.events_acknowledged += tally.events_acknowledged;
        self.events_failed += tally.events_failed;
    }

    fn add_calls(&mut self, calls: &BTreeMap<&'static str, u64>) {
        for (route, count) in calls {
            *self.calls.entry((*route).to_owned()).or_default() += count;
        }
    }

    fn add_callbacks(&mut self, world: &World) {
        let receiver = lock(&world.moengage);
        let tally = receiver.tally.clone();
        self.callback_messages = receiver.messages();
        drop(receiver);
        self.callback_posts = tally.posts;
        self.callback_entries = tally.entries;
        self.callback_inbound = tally.inbound;
        self.callback_duplicates = tally.duplicates;
        self.callback_repeated = tally.repeated;
        self.callback_backwards = tally.backwards;
        self.callback_invalid = tally.invalid;
        self.invalid_reasons = tally.invalid_reasons.into();
    }
}
