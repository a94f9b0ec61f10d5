//! Logs and numbers: the subscriber, the metrics and what they mean (`registry`), what is counted where.

mod lines;
mod panics;
mod registry;
mod writer;

pub use lines::is_unsafe;
pub use panics::{Panicked, caught};
pub use registry::{Kind, METRICS, Metric};

use crate::domain::{AccountId, ChannelId, OptOut};
use crate::store::Folded;
use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use metrics::counter;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Starts logging to standard error. `filter` is in the syntax of `RUST_LOG`. Does nothing when
/// logging was started before.
pub fn start_logs(format: LogFormat, filter: &str) {
    let out = writer::standard_error(format);
    let subscriber = lines::subscriber(format, filter, || out.clone());
    // A second start in one process (tests) keeps the first.
    if tracing::dispatcher::set_global_default(subscriber).is_ok() {
        panics::tell_in(format);
    }
}

/// Writes words of ours to standard error, in their turn among the log lines. Never waits.
pub fn write_line(line: &str) {
    let line = format!("{line}\n").into_bytes();
    writer::standard_error(LogFormat::Text).put(line);
}

/// Waits until the log is written, half a second at the most: for the end of the process.
pub fn flush_logs() {
    writer::flush();
}

/// Lets one line a second pass: for what a stranger or a full disk can bring about without end.
pub struct OncePerSecond(LazyLock<Limiter>);

type Limiter = RateLimiter<NotKeyed, InMemoryState, MonotonicClock, NoOpMiddleware<Instant>>;

impl OncePerSecond {
    /// A gate that is open.
    #[expect(
        clippy::new_without_default,
        reason = "made for statics, which need a constant"
    )]
    pub const fn new() -> Self {
        // governor's own clock may jump between cores; the standard one does not.
        Self(LazyLock::new(|| {
            RateLimiter::direct_with_clock(Quota::per_second(NonZeroU32::MIN), MonotonicClock)
        }))
    }

    /// Whether this line may be written.
    pub fn passes(&self) -> bool {
        self.0.check().is_ok()
    }
}

/// Counts what one line a second tells of.
pub struct Tally {
    gate: OncePerSecond,
    /// What no line has told of yet.
    untold: AtomicU64,
}

impl Tally {
    /// Nothing counted, the gate open.
    #[expect(
        clippy::new_without_default,
        reason = "made like the gate that it holds"
    )]
    pub const fn new() -> Self {
        Self {
            gate: OncePerSecond::new(),
            untold: AtomicU64::new(0),
        }
    }

    /// Counts some more. Returns all that a line may tell of now, if one may.
    pub fn add(&self, more: u64) -> Option<u64> {
        if more == 0 {
            return None;
        }
        self.untold.fetch_add(more, Ordering::Relaxed);
        self.gate
            .passes()
            .then(|| self.untold.swap(0, Ordering::Relaxed))
    }
}

/// Seconds at which histograms are cut.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Starts counting. Returns what renders the numbers, or `None` when counting was started before.
pub fn start_metrics() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .ok()?;
    let metrics = builder.install_recorder().ok();
    registry::describe();
    writer::count();
    metrics
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a receipt.
    Sent,
    /// Back to the queue.
    Retry,
    /// Refused for good.
    Failed,
    /// Nobody knows.
    Unknown,
}

/// Counts the end of an attempt.
pub fn count_attempt(account: &AccountId, outcome: Outcome) {
    let outcome = match outcome {
        Outcome::Sent => "sent",
        Outcome::Retry => "retry",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
    };
    let account = account.as_str().to_owned();
    counter!("gateway_attempts_total", "account" => account, "outcome" => outcome).increment(1);
}

/// Counts what events of an account became.
pub fn count_folded(account: &AccountId, folded: &Folded) {
    let statuses = [
        ("relayed", folded.emitted),
        ("superseded", folded.superseded),
        ("unmatched", folded.unmatched),
    ];
    for (outcome, n) in statuses {
        if n > 0 {
            counter!("gateway_statuses_total", "outcome" => outcome).increment(n.into());
        }
    }
    let replies = [
        ("relayed", folded.replies),
        ("repeated", folded.repeated_replies),
        ("unmatched", folded.unmatched_replies),
    ];
    for (outcome, n) in replies {
        if n > 0 {
            counter!("gateway_replies_total", "outcome" => outcome).increment(n.into());
        }
    }
    for (kind, n) in &folded.other {
        counter!("gateway_other_events_total", "kind" => *kind).increment((*n).into());
    }
    for (scope, n) in opt_outs(folded) {
        if n > 0 {
            counter!("gateway_opt_outs_total", "scope" => scope.as_str()).increment(n.into());
        }
    }
    if folded.alias_conflicts > 0 {
        let account = account.as_str().to_owned();
        counter!("gateway_alias_conflicts_total", "account" => account)
            .increment(folded.alias_conflicts.into());
    }
    let rest = [
        ("gateway_opt_ins_total", folded.opted_in),
        ("gateway_inferred_receipts_total", folded.inferred),
        ("gateway_misdated_events_total", folded.misdated),
        ("gateway_events_crowded_out_total", folded.crowded_out),
    ];
    for (name, n) in rest {
        if n > 0 {
            counter!(name).increment(n.into());
        }
    }
}

fn opt_outs(folded: &Folded) -> [(OptOut, u32); 2] {
    [
        (OptOut::All, folded.opted_out),
        (OptOut::Marketing, folded.opted_out_of_marketing),
    ]
}

/// Logs how many people opted out of what.
pub fn tell_opt_out(channel: &ChannelId, opt_out: OptOut, people: u64) {
    let scope = opt_out.as_str();
    match opt_out {
        OptOut::All => tracing::info!(%channel, people, scope,
            event = "opt_outs_came",
            "people opted out; messages to them are refused with 7003 from now on"),
        OptOut::Marketing => tracing::info!(%channel, people, scope,
            event = "marketing_opt_outs_came",
            "people opted out of marketing messages; MARKETING templates to them are refused with \
             7003 from now on, all other messages go"),
    }
}

/// The same of what was folded, where it is seldom many at once.
pub fn tell_opt_outs(channel: &ChannelId, folded: &Folded) {
    for (scope, people) in opt_outs(folded) {
        if people > 0 {
            tell_opt_out(channel, scope, people.into());
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
