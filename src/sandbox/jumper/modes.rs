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

/// How a subscribed URL is kept; the real spelling is unknown (contracts/jumper.md 4.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubscriptionUrl {
    /// As it was given.
    AsGiven,
    /// Scheme and host in lower case, a slash at the end of the path.
    Rewritten,
}

impl SubscriptionUrl {
    /// A URL as it is kept.
    pub(super) fn of(self, url: String) -> String {
        let Some((scheme, rest)) = url.split_once("://").filter(|_| self == Self::Rewritten) else {
            return url;
        };
        let (place, query) = match rest.find(['?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let place = place.strip_suffix('/').unwrap_or(place);
        let (host, path) = match place.find('/') {
            Some(at) => place.split_at(at),
            None => (place, ""),
        };
        let (scheme, host) = (scheme.to_lowercase(), host.to_lowercase());
        format!("{scheme}://{host}{path}/{query}")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_kept_in_another_spelling() {
        for (given, kept) in [
            (
                "HTTPS://Hook.Example/In/Abc",
                "https://hook.example/In/Abc/",
            ),
            (
                "https://hook.example/in/?Key=1",
                "https://hook.example/in/?Key=1",
            ),
            ("https://Hook.example", "https://hook.example/"),
            ("no url", "no url"),
        ] {
            assert_eq!(SubscriptionUrl::Rewritten.of(given.to_owned()), kept);
            assert_eq!(SubscriptionUrl::AsGiven.of(given.to_owned()), given);
        }
    }
}
