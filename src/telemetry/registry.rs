//! Every number that the gateway shows: what it is called, what kind it is, what it is split by, what it means.
//!
//! Labels are of small closed sets: channel, account, outcome. Never an id, a number, a path.
//! docs/metrics.md has the same table.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// How a number moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from 0 at each start of the process.
    Counter,
    /// It is what it is at the moment of asking.
    Gauge,
    /// How many were how large.
    Histogram,
}

/// One number.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// What it is called.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it is split by.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    let kind = Kind::Counter;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    let kind = Kind::Gauge;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

const fn histogram(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    let kind = Kind::Histogram;
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// All numbers, by the way of a message.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    counter("gateway_http_requests_total", &["route", "status"], "Requests to the public listener that were answered."),
    histogram("gateway_http_request_seconds", &["route"], "How long an answer of the public listener took, in seconds."),
    counter("gateway_http_timeouts_total", &[], "Requests that found no answer within RESPONSE_TIMEOUT."),
    counter("gateway_http_panics_total", &[], "Requests that met a bug and were answered 500."),
    counter("gateway_http_bad_host_total", &[], "Requests with a Host header that is missing, double or not ASCII."),
    counter("gateway_http_gave_way_total", &[], "Connections that were closed for others, as nearly all were in use."),
    counter("gateway_http_accept_errors_total", &[], "Connections that the system could not hand over."),
    counter("gateway_callers_refused_total", &[], "Calls of the send route without a token, or with a wrong one."),
    counter("gateway_ops_refused_total", &["reason"], "Calls of the ops listener that were refused."),
    counter("gateway_send_replies_total", &["outcome"], "Answers to MoEngage's sends."),
    counter("gateway_accepted_total", &["channel"], "Messages that were stored and answered success."),
    counter("gateway_refused_total", &["channel", "kind"], "Messages that were refused, by what is wrong."),
    counter("gateway_repeats_total", &["channel", "content"], "Repeats of an accepted msg_id, with the same or other content."),
    counter("gateway_unavailable_total", &["channel"], "Messages that were answered 503, as nothing could be stored."),
    gauge("gateway_messages", &["channel", "state"], "Messages by state, as the ledger has them."),
    gauge("gateway_blocked", &["account", "reason"], "1 for the reason why the account sends nothing, or less than it is set to."),
    gauge("gateway_account_held", &["account"], "1 while the account sends nothing until its hold ends: tokens, credentials, answers or the store."),
    gauge("gateway_channel_held", &["channel"], "1 while the answers of the provider hold the channel."),
    gauge("gateway_channel_paused", &["channel"], "1 while an operator has paused the channel."),
    gauge("gateway_breaker_open", &["account"], "1 while the provider does not work and nothing is claimed."),
    gauge("gateway_rate_per_second", &["account"], "Calls per second that may start now; 0: no limit."),
    gauge("gateway_asked_to_wait_seconds", &["account"], "What is left of a pause that the provider asked for, in seconds."),
    counter("gateway_calls_started_total", &["account"], "Calls to the provider that this process has started."),
    gauge("gateway_calls_in_flight", &["account"], "Calls to the provider that are under way."),
    histogram("gateway_send_seconds", &["account"], "How long the provider took to answer a send, in seconds."),
    counter("gateway_attempts_total", &["account", "outcome"], "How attempts to send ended: sent, retry, failed, unknown."),
    counter("gateway_inferred_receipts_total", &[], "Messages with an unknown outcome that a status proved to be sent."),
    counter("gateway_provider_calls_total", &["call", "result"], "Calls to the provider by what was asked and how it ended."),
    histogram("gateway_provider_call_seconds", &["call"], "How long a call to the provider took, in seconds."),
    gauge("gateway_token_seconds_left", &["account"], "How long the access token is good for, in seconds; 0: there is none."),
    gauge("gateway_token_expiry_timestamp_seconds", &["account"], "When the access token ends, in seconds since 1970."),
    counter("gateway_token_refreshes_total", &["account", "result"], "Renewals of the tokens."),
    counter("gateway_webhooks_total", &["channel", "outcome"], "Webhooks of the provider by how they were answered."),
    counter("gateway_statuses_total", &["outcome"], "Statuses: relayed, superseded, or unmatched when they came."),
    counter("gateway_replies_total", &["outcome"], "Replies of people: relayed, repeated, or unmatched."),
    counter("gateway_other_events_total", &["kind"], "Events that are neither a status nor a reply."),
    counter("gateway_misdated_events_total", &[], "Events whose time cannot be right; MoEngage is told when they came."),
    counter("gateway_events_crowded_out_total", &[], "Events that matched nothing and were dropped for newer ones."),
    counter("gateway_expired_statuses_total", &[], "Statuses that matched no message for store.event_retention."),
    counter("gateway_opt_outs_total", &["scope"], "People who opted out of all messages or of marketing."),
    counter("gateway_opt_ins_total", &[], "People who lifted their opt-out."),
    counter("gateway_alias_conflicts_total", &["account"], "Names of people that contradict what is known, and are not linked."),
    gauge("gateway_callbacks", &["channel", "state"], "Callbacks to MoEngage: waiting, taken by a relay, dead letters."),
    gauge("gateway_callbacks_failing", &["channel"], "1 while MoEngage takes no callbacks of the channel."),
    counter("gateway_callback_posts_total", &["channel", "lane", "outcome"], "Posts to MoEngage by how they ended."),
    histogram("gateway_callback_seconds", &["channel"], "How long MoEngage took to answer a callback, in seconds."),
    gauge("gateway_store_has_room", &[], "1 while new messages can be stored."),
    histogram("gateway_store_seconds", &["step"], "How long a write of the embedded store took, in seconds."),
    histogram("gateway_store_commit_pieces", &[], "Writes of the embedded store that went to the disk together."),
    gauge("gateway_datastore_waiting", &["account"], "Records that wait for Datastore."),
    gauge("gateway_datastore_failing", &["account"], "1 while Datastore takes no records."),
    gauge("gateway_datastore_behind", &["account"], "1 while more unknown ids come than Datastore is asked for."),
    counter("gateway_datastore_records_total", &["outcome"], "Records by what Datastore did with them."),
    counter("gateway_datastore_asked_total", &["outcome"], "Unknown ids that Datastore was asked for."),
    counter("gateway_alerts_total", &[], "Alerts that were raised."),
    counter("gateway_log_lines_lost_total", &[], "Lines of the log that nobody took in time."),
];

/// Says what each number is, for the lines HELP and TYPE.
pub(super) fn describe() {
    for metric in METRICS {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}
