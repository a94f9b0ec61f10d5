//! Logs and numbers: the subscriber, the names of the metrics, what is counted where.
//!
//! Labels are of small closed sets: channel, account, outcome. Never an id, a number, a path.

use crate::domain::AccountId;
use crate::store::Folded;
use governor::clock::MonotonicClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use metrics::counter;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io;
use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Instant;
use tracing_subscriber::EnvFilter;

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
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(|| OneLine(std::io::stderr()))
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}

/// Writes events so that each stays one line and none moves the cursor: ids and texts of others may
/// hold line breaks, terminal escapes or marks that turn the reading direction.
struct OneLine<W>(W);

impl<W: io::Write> io::Write for OneLine<W> {
    /// The subscriber hands over one whole event at a time.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let (line, end) = text
            .strip_suffix('\n')
            .map_or((&*text, ""), |line| (line, "\n"));
        if line.chars().any(is_unsafe) {
            let mut safe = String::with_capacity(line.len() + 16);
            for c in line.chars() {
                if is_unsafe(c) {
                    safe.extend(c.escape_unicode())
                } else {
                    safe.push(c)
                }
            }
            self.0.write_all(safe.as_bytes())?;
            self.0.write_all(end.as_bytes())?;
        } else {
            self.0.write_all(event)?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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

/// Seconds at which histograms are cut.
const BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
];

/// Starts counting. Returns what renders the numbers, or `None` when counting was started before.
pub fn start_metrics() -> Option<PrometheusHandle> {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .ok()?;
    builder.install_recorder().ok()
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

/// Counts what events became.
pub fn count_folded(folded: &Folded) {
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
    for kind in &folded.other {
        counter!("gateway_other_events_total", "kind" => *kind).increment(1);
    }
    let rest = [
        ("gateway_opt_outs_total", folded.opted_out),
        ("gateway_opt_ins_total", folded.opted_in),
        ("gateway_inferred_receipts_total", folded.inferred),
    ];
    for (name, n) in rest {
        if n > 0 {
            counter!(name).increment(n.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn an_event_stays_one_line_whatever_is_in_it() {
        let cases = [
            ("INFO sent msg_id=a\n", "INFO sent msg_id=a\n"),
            ("a\r\nERROR fake\n", "a\\u{d}\\u{a}ERROR fake\n"),
            ("\u{1b}[31mred\u{7}\n", "\\u{1b}[31mred\\u{7}\n"),
            ("\u{202e}x\u{9b}ü", "\\u{202e}x\\u{9b}ü"),
        ];
        for (event, line) in cases {
            let mut out = OneLine(Vec::new());
            assert_eq!(out.write(event.as_bytes()).unwrap(), event.len());
            assert_eq!(String::from_utf8(out.0).unwrap(), line);
        }
    }
}
