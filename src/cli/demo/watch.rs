//! The demo's eyes: what stands where at a moment, and the view of it that moves.
//!
//! On a terminal bars that are drawn over; otherwise a plain line every two seconds.

use super::super::say;
use super::stage::RATE;
use crate::sandbox::Counts;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(2);
/// The rate is measured over at least this.
const MEASURED_OVER: Duration = Duration::from_secs(1);

/// Numbers of a moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Snapshot {
    pub(super) accepted: u64,
    /// Taken by the provider.
    pub(super) sent: u64,
    /// Statuses at MoEngage.
    pub(super) delivered: u64,
    pub(super) read: u64,
    /// Taken by the provider, and not delivered by WhatsApp.
    pub(super) undelivered: u64,
    /// Messages that wait or are under way.
    pub(super) open: u64,
    pub(super) callbacks_waiting: u64,
    /// Calls to the provider so far.
    pub(super) calls: u64,
    /// Why the account sends nothing or less, as the gateway says.
    pub(super) why: Option<String>,
}

impl Snapshot {
    /// Reads the ledger and the accounts of the gateway, and the counts of the sandbox.
    pub(super) fn of(ledger: &Value, accounts: &Value, counts: &Counts) -> Self {
        let total = &ledger["total"];
        let number = |value: &Value| value.as_u64().unwrap_or(0);
        let status = |name: &str| counts.callback_entries.get(name).copied().unwrap_or(0);
        let open = ["queued", "in_flight", "held", "unknown"];
        Self {
            accepted: number(&total["accepted"]),
            sent: number(&total["accepted_by_provider"]),
            delivered: status("delivered"),
            read: status("read"),
            // What the gateway gave up itself is told as failed too.
            undelivered: status("failed").saturating_sub(number(&total["failed"])),
            open: open.iter().map(|name| number(&total[name])).sum(),
            callbacks_waiting: number(&total["callbacks"]["waiting"]),
            calls: number(&accounts["accounts"][0]["rate"]["started"]),
            why: accounts["accounts"][0]["why"]["words"]
                .as_str()
                .map(str::to_owned),
        }
    }

    /// Whether nothing is on its way at the gateway.
    pub(super) fn is_empty(&self) -> bool {
        self.open == 0 && self.callbacks_waiting == 0
    }
}

/// Shows snapshots.
pub(super) struct View {
    began: Instant,
    form: Form,
    /// When the rate was measured last, the calls by then, and what it was.
    measured: (Instant, u64, f64),
}

enum Form {
    Bars(Box<Bars>),
    Lines { last: Instant },
}

struct Bars {
    accepted: ProgressBar,
    sent: ProgressBar,
    delivered: ProgressBar,
    read: ProgressBar,
    undelivered: ProgressBar,
    foot: ProgressBar,
    all: MultiProgress,
}

impl View {
    /// A view of a campaign of so many messages.
    pub(super) fn new(messages: u32, on_terminal: bool) -> Self {
        let now = Instant::now();
        let form = match Bars::new(messages).filter(|_| on_terminal) {
            Some(bars) => Form::Bars(Box::new(bars)),
            None => Form::Lines { last: now },
        };
        Self {
            began: now,
            form,
            measured: (now, 0, 0.0),
        }
    }

    /// Shows where things stand now.
    pub(super) fn show(&mut self, snapshot: &Snapshot) {
        let now = Instant::now();
        let rate = self.rate(snapshot.calls, now);
        match &mut self.form {
            Form::Bars(bars) => bars.show(snapshot, rate),
            Form::Lines { last } if now - *last >= LINE_EVERY => {
                *last = now;
                say::line(&line(now - self.began, snapshot, rate));
            }
            Form::Lines { .. } => {}
        }
    }

    /// Shows the last snapshot and leaves it standing.
    pub(super) fn end(mut self, snapshot: &Snapshot) {
        let rate = self.rate(snapshot.calls, Instant::now());
        match self.form {
            Form::Bars(bars) => {
                bars.show(snapshot, rate);
                bars.leave();
            }
            Form::Lines { .. } => say::line(&line(self.began.elapsed(), snapshot, rate)),
        }
    }

    fn rate(&mut self, calls: u64, now: Instant) -> f64 {
        let (then, before, _) = self.measured;
        if now - then >= MEASURED_OVER {
            let rate = calls.saturating_sub(before) as f64 / (now - then).as_secs_f64();
            self.measured = (now, calls, rate);
        }
        self.measured.2
    }
}

impl Bars {
    /// `None` when a template of the bars is not understood, which their test rules out.
    fn new(messages: u32) -> Option<Self> {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10));
        let style = ProgressStyle::with_template("  {prefix:<18} {bar:40} {pos:>6}").ok()?;
        let style = style.progress_chars("━╸ ");
        let bar = |name: &'static str| {
            let bar = ProgressBar::new(messages.into()).with_style(style.clone());
            all.add(bar.with_prefix(name))
        };
        let (accepted, sent) = (bar("accepted"), bar("sent"));
        let (delivered, read) = (bar("delivered"), bar("read"));
        let undelivered = bar("failed at WhatsApp");
        let foot = ProgressStyle::with_template("  {msg}").ok()?;
        let foot = all.add(ProgressBar::new(1).with_style(foot));
        Some(Self {
            accepted,
            sent,
            delivered,
            read,
            undelivered,
            foot,
            all,
        })
    }

    fn show(&self, snapshot: &Snapshot, rate: f64) {
        for (bar, number) in [
            (&self.accepted, snapshot.accepted),
            (&self.sent, snapshot.sent),
            (&self.delivered, snapshot.delivered),
            (&self.read, snapshot.read),
            (&self.undelivered, snapshot.undelivered),
        ] {
            bar.set_position(number);
        }
        self.foot.set_message(foot(snapshot, rate));
    }

    fn leave(&self) {
        self.foot.set_message(String::new());
        for bar in [
            &self.accepted,
            &self.sent,
            &self.delivered,
            &self.read,
            &self.undelivered,
            &self.foot,
        ] {
            bar.abandon();
        }
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

fn foot(snapshot: &Snapshot, rate: f64) -> String {
    let why = snapshot.why.as_deref();
    let why = why.map_or(String::new(), |why| format!("   {why}"));
    format!(
        "{rate:.1} of {RATE} calls/s   {} queued   {} callbacks waiting{why}",
        snapshot.open, snapshot.callbacks_waiting
    )
}

fn line(after: Duration, snapshot: &Snapshot, rate: f64) -> String {
    let Snapshot {
        accepted,
        sent,
        delivered,
        read,
        undelivered,
        ..
    } = snapshot;
    format!(
        "  {:>3}s  accepted {accepted}  sent {sent}  delivered {delivered}  read {read}  failed at \
         WhatsApp {undelivered}  |  {}",
        after.as_secs(),
        foot(snapshot, rate)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn snapshot() -> Snapshot {
        let ledger = json!({ "total": {
            "accepted": 9, "accepted_by_provider": 4, "queued": 2, "in_flight": 1, "held": 0,
            "unknown": 1, "failed": 1, "callbacks": { "waiting": 3 } } });
        let accounts = json!({ "accounts": [ {
            "rate": { "started": 7 }, "why": { "words": "the provider waits" },
        } ] });
        let entries = [("delivered".to_owned(), 3), ("failed".to_owned(), 3)];
        let counts = Counts {
            callback_entries: entries.into(),
            ..Counts::default()
        };
        Snapshot::of(&ledger, &accounts, &counts)
    }

    #[test]
    fn a_snapshot_is_read_from_both_sides() {
        let now = snapshot();
        let statuses = (now.delivered, now.read, now.undelivered);
        assert_eq!((now.accepted, now.sent, statuses), (9, 4, (3, 0, 2)));
        assert_eq!((now.open, now.callbacks_waiting, now.calls), (4, 3, 7));
        assert!(!now.is_empty());
        assert!(Snapshot::default().is_empty());
    }

    #[test]
    fn a_line_tells_all_numbers() {
        assert_eq!(
            line(Duration::from_millis(4_200), &snapshot(), 19.96),
            "    4s  accepted 9  sent 4  delivered 3  read 0  failed at WhatsApp 2  |  20.0 of \
             20 calls/s   4 queued   3 callbacks waiting   the provider waits"
        );
    }

    #[test]
    fn the_bars_can_be_built() {
        assert!(Bars::new(10).is_some());
    }
}
