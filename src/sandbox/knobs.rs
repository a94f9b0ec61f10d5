//! The knobs: everything the fakes can be told to do differently, as one flat record that is also the body
//! of `GET` and `PATCH /_sandbox/knobs` and of `--knob name=value`. A share is a probability between 0 and 1.
//! Knobs only describe; nothing here acts.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::jumper::modes::{
    EventMode, RateMode, Shape, SubscriptionMember, SubscriptionMode, SubscriptionUrl,
};

/// Every knob, with its unit; see the field for its meaning.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knobs {
    /// Calls per second allowed to one merchant over all routes; 0 = no limit.
    pub rate_per_second: f64,
    /// How the limit is measured.
    pub rate_mode: RateMode,
    /// Milliseconds a call may come early (spaced), or the sliding second is shortened by (bucket).
    pub rate_grace_ms: u64,
    /// HTTP status of a limited call: 429, or 500 as on an Apigee organisation without the flag.
    pub rate_status: u16,
    /// Seconds in a `Retry-After` header on limited calls; absent by default, as with Apigee.
    pub retry_after_s: Option<u64>,
    /// Whether `/oauth/refresh` and `/oauth/token` count against the rate and in `/_sandbox/rate`.
    pub rate_counts_refresh: bool,

    /// Middle of the answering time of Jumper's routes, milliseconds; spent after the effect.
    pub latency_ms: u64,
    /// Greatest deviation from `latency_ms`, milliseconds.
    pub latency_jitter_ms: u64,
    /// Share of calls answered after `slow_ms` instead.
    pub slow_share: f64,
    /// Milliseconds a slow call takes.
    pub slow_ms: u64,

    /// Life of an access token, seconds; its refresh token lives twice as long and 10 minutes.
    pub token_ttl_s: u64,
    /// Seconds a used refresh token is still good for.
    pub refresh_grace_s: u64,
    /// Whether access tokens issued before a refresh stay good.
    pub old_access_survives: bool,
    /// How many of the next refreshes rotate and then lose their answer; counts down.
    pub refresh_lost_answer: u32,
    /// Milliseconds a refresh takes before it rotates.
    pub refresh_slow_ms: u64,

    /// Share of sends accepted, then the connection is closed without an answer.
    pub share_accept_then_close: f64,
    /// Share of sends accepted and answered only after `accept_slow_s`.
    pub share_accept_then_slow: f64,
    /// Seconds for the one above.
    pub accept_slow_s: f64,
    /// Share of sends accepted and answered 502 with an HTML page.
    pub share_accept_then_502_html: f64,
    /// Share of sends accepted whose answer stops halfway.
    pub share_accept_then_truncated: f64,
    /// Share of sends accepted and answered 200 with something that is no JSON.
    pub share_accept_non_json: f64,
    /// Share of sends refused by `success:false` under 200.
    pub share_refuse_200: f64,
    /// Share of sends refused by `success:false` under 400.
    pub share_refuse_400: f64,
    /// Share of sends answered 503 without effect.
    pub share_503: f64,
    /// Share of sends answered 500 with an HTML page without effect.
    pub share_500_before: f64,
    /// Whether template, page and conversation ids are JSON numbers instead of texts.
    pub ids_as_numbers: bool,

    /// Whether accepted messages get events by themselves.
    pub event_mode: EventMode,
    /// Share of sends whose first event is posted before the send is answered.
    pub event_first: f64,
    /// Milliseconds between the events of one message.
    pub event_delay_ms: u64,
    /// Greatest deviation from `event_delay_ms`, milliseconds.
    pub event_jitter_ms: u64,
    /// Share of messages that reach the phone.
    pub share_delivered: f64,
    /// Share of delivered messages that are read.
    pub share_read: f64,
    /// Share of messages that fail instead of being sent.
    pub share_failed: f64,
    /// Share of read messages without a `delivered` event.
    pub share_skip_delivered: f64,
    /// Share of messages whose events come in reverse.
    pub share_out_of_order: f64,
    /// Share of messages with one event repeated, byte-equal or with another timestamp.
    pub share_duplicate: f64,
    /// Share of messages without any event.
    pub share_never: f64,
    /// Share of delivered messages that are reported failed afterwards.
    pub share_late_failed: f64,
    /// Share of messages followed by an odd event (empty statuses, unknown status or type, missing data, a number for a text, an id nobody sent).
    pub share_odd: f64,
    /// The shapes to pick from; a shape listed twice is picked twice as often.
    pub event_shapes: Vec<Shape>,

    /// Most webhook posts at once; a change applies to posts queued afterwards.
    pub webhook_parallel: usize,
    /// Deadline of one webhook post, milliseconds.
    pub webhook_timeout_ms: u64,
    /// Repeats of a post that timed out or was not answered 2xx.
    pub webhook_retries: u32,
    /// First pause before a repeat, milliseconds; doubles each time.
    pub webhook_retry_ms: u64,
    /// The longest pause before a repeat, milliseconds.
    pub webhook_retry_max_ms: u64,
    /// Whether a webhook post leaves its connection open for the next.
    pub webhook_keep_alive: bool,

    /// Whether `add-subscription` replaces or appends.
    pub subscription_mode: SubscriptionMode,
    /// Member names in `list-subscription`.
    pub subscription_member: SubscriptionMember,
    /// How a subscribed URL is kept.
    pub subscription_url: SubscriptionUrl,

    /// HTTP status MoEngage answers a valid callback with; other than 2xx stores nothing.
    pub moengage_status: u16,
    /// Milliseconds MoEngage takes to answer.
    pub moengage_latency_ms: u64,
    /// Share of callbacks answered 500, nothing stored.
    pub moengage_fail_share: f64,
    /// Whether MoEngage answers 200 with `{"status":"failure"}` (stored all the same).
    pub moengage_lying: bool,
    /// A batch with an entry of one of these `msg_id`s is answered 400, nothing stored.
    pub moengage_reject_msg_ids: Vec<String>,
    /// Share of callbacks stored, then the connection is closed without an answer.
    pub moengage_lose_answer_share: f64,
    /// The `moengage_` knobs above apply to this endpoint name only; absent = to all.
    pub moengage_only: Option<String>,

    /// Most sends, and most callback entries, kept for inspection; counts are never dropped.
    pub keep: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            rate_per_second: 10.0,
            rate_mode: RateMode::Bucket,
            rate_grace_ms: 5,
            rate_status: 429,
            retry_after_s: None,
            rate_counts_refresh: false,
            latency_ms: 0,
            latency_jitter_ms: 0,
            slow_share: 0.0,
            slow_ms: 0,
            token_ttl_s: 7_776_000,
            refresh_grace_s: 0,
            old_access_survives: false,
            refresh_lost_answer: 0,
            refresh_slow_ms: 0,
            share_accept_then_close: 0.0,
            share_accept_then_slow: 0.0,
            accept_slow_s: 35.0,
            share_accept_then_502_html: 0.0,
            share_accept_then_truncated: 0.0,
            share_accept_non_json: 0.0,
            share_refuse_200: 0.0,
            share_refuse_400: 0.0,
            share_503: 0.0,
            share_500_before: 0.0,
            ids_as_numbers: false,
            event_mode: EventMode::Auto,
            event_first: 0.0,
            event_delay_ms: 50,
            event_jitter_ms: 0,
            share_delivered: 1.0,
            share_read: 0.5,
            share_failed: 0.0,
            share_skip_delivered: 0.0,
            share_out_of_order: 0.0,
            share_duplicate: 0.0,
            share_never: 0.0,
            share_late_failed: 0.0,
            share_odd: 0.0,
            event_shapes: vec![Shape::Gen1, Shape::Gen2, Shape::Gen3, Shape::Gen3Batch],
            webhook_parallel: 16,
            webhook_timeout_ms: 5_000,
            webhook_retries: 0,
            webhook_retry_ms: 1_000,
            webhook_retry_max_ms: 3_600_000,
            webhook_keep_alive: true,
            subscription_mode: SubscriptionMode::Replace,
            subscription_member: SubscriptionMember::SubscriptionType,
            subscription_url: SubscriptionUrl::AsGiven,
            moengage_status: 200,
            moengage_latency_ms: 0,
            moengage_fail_share: 0.0,
            moengage_lying: false,
            moengage_reject_msg_ids: Vec::new(),
            moengage_lose_answer_share: 0.0,
            moengage_only: None,
            keep: 200_000,
        }
    }
}

impl Knobs {
    /// These knobs with the fields named in `patch` changed; `null` puts a field back to its default.
    ///
    /// # Errors
    /// Names the field that is unknown, of a wrong type or out of range.
    pub fn patched(&self, patch: &Value) -> Result<Self, String> {
        let Value::Object(changes) = patch else {
            return Err("a patch of knobs is a JSON object".to_owned());
        };
        let mut merged = serde_json::to_value(self).map_err(|error| error.to_string())?;
        let defaults = serde_json::to_value(Self::default()).map_err(|error| error.to_string())?;
        for (name, value) in changes {
            merged[name] = match (value, defaults.get(name)) {
                (Value::Null, Some(default)) => default.clone(),
                _ => value.clone(),
            };
            // One field at a time, so that the message can name the field at fault.
            Self::deserialize(&merged).map_err(|error| format!("knob {name}: {error}"))?;
        }
        let knobs = Self::deserialize(&merged).map_err(|error| error.to_string())?;
        check(&merged)?;
        Ok(knobs)
    }
}

/// Refuses numbers that make no sense, naming the knob.
fn check(merged: &Value) -> Result<(), String> {
    let Value::Object(fields) = merged else {
        return Ok(());
    };
    for (name, value) in fields {
        let fault = match (name.as_str(), value.as_f64()) {
            (_, Some(number)) if number < 0.0 => Some("must not be negative"),
            // Three centuries in seconds; keeps the arithmetic on milliseconds far from its end.
            (_, Some(number)) if number > 1e10 => Some("is too large"),
            ("event_first", Some(number)) if number > 1.0 => Some("is a share between 0 and 1"),
            (share, Some(number))
                if (share.starts_with("share_") || share.ends_with("_share")) && number > 1.0 =>
            {
                Some("is a share between 0 and 1")
            }
            ("rate_status" | "moengage_status", Some(number))
                if !(200.0..=599.0).contains(&number) =>
            {
                Some("is an HTTP status between 200 and 599")
            }
            ("webhook_parallel" | "keep", Some(number)) if number < 1.0 => {
                Some("must be at least 1")
            }
            _ => None,
        };
        if let Some(fault) = fault {
            return Err(format!("knob {name}: {fault}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_changes_what_it_names_and_null_restores_the_default() {
        let knobs = Knobs::default();
        let patched = knobs
            .patched(&json!({"rate_mode": "spaced", "share_503": 0.5, "retry_after_s": 3}))
            .unwrap();
        assert_eq!(patched.rate_mode, RateMode::Spaced);
        assert_eq!(patched.retry_after_s, Some(3));
        let back = patched
            .patched(&json!({"rate_mode": null, "share_503": null, "retry_after_s": null}))
            .unwrap();
        assert_eq!(back, knobs);
    }

    #[test]
    fn a_bad_patch_names_its_field() {
        let knobs = Knobs::default();
        for (patch, name) in [
            (json!({"no_such_knob": 1}), "no_such_knob"),
            (json!({"latency_ms": "x"}), "latency_ms"),
            (json!({"share_503": 1.5}), "share_503"),
            (json!({"slow_share": -0.1}), "slow_share"),
            (json!({"rate_status": 42}), "rate_status"),
            (json!({"token_ttl_s": 99_999_999_999_u64}), "token_ttl_s"),
        ] {
            let error = knobs.patched(&patch).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
    }
}
