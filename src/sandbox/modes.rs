//! The choices among which some knobs choose. Plain words, no behaviour.

use serde::{Deserialize, Serialize};

/// How calls over the rate are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateMode {
    /// At most R calls in any sliding second.
    Bucket,
    /// One call per 1/R second, as Apigee's SpikeArrest smooths it (contracts/jumper.md 3.4).
    Spaced,
}

/// Whether accepted messages get status events by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventMode {
    /// Planned by the dice and posted.
    Auto,
    /// Only events asked for through the control API.
    None,
}

/// The generations of status webhooks (contracts/jumper.md 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Chat-message shaped; knows `delivered` only.
    Gen1,
    /// Vonage Messages callback passed through.
    Gen2,
    /// Meta webhook passed through.
    Gen3,
    /// Meta webhook with several statuses in one payload.
    Gen3Batch,
}

/// What `add-subscription` does to entries already there; the real answer is unknown (contracts/jumper.md 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionMode {
    /// The new list replaces the old one.
    Replace,
    /// New entries are added.
    Append,
}

/// Which member names an entry of `list-subscription` shows beside `webhook` (contracts/jumper.md 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionMember {
    /// `permission`.
    Permission,
    /// `subscription_type`.
    SubscriptionType,
    /// Both.
    All,
}
