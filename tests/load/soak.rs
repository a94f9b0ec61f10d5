//! The gateway under load for a long time, far above what the provider takes, and what remains of it:
//! memory, files, latency, the ledger; then the backlog is sent. Starts gateway and sandbox itself.
//!
//! `cargo bench --bench soak -- --rate 1000 --seconds 1800 --drain` is the long one,
//! `cargo bench --bench soak -- burst --drain` is 200,000 messages in a minute,
//! `cargo bench --bench soak -- million` is ten minutes beside a million messages that are kept and a
//! million that are queued, `cargo bench --bench soak -- attacks` is what others get while somebody does
//! harm (`attacks`). Ends with a table of what has to hold; exit code 1 if something does not.

mod attacks;
mod calls;
mod pair;
mod sample;
mod strike;

use calls::Calls;
use pair::{Before, Ledger, Pair};
use sample::{Sample, Samples};
use serde_json::{Value, json};
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Memory that the gateway may have with a million messages queued, kilobytes (design.md section 10).
const MOST_RSS_KB: f64 = 150.0 * 1024.0;
/// What anybody may wait for beside a million messages, milliseconds: a caller, the provider with an
/// event, a claim, the receipt of a send.
const MOST_MS: f64 = 250.0;
/// Events a second that come beside the sends and their statuses.
const EVENTS: f64 = 20.0;
/// How long what is under way may take to end when nothing new is begun.
const QUIET: Duration = Duration::from_secs(60);

struct Args {
    /// Messages a second, and for how long.
    rate: f64,
    seconds: u64,
    connections: usize,
    /// What the provider takes a second.
    provider: f64,
    /// Between two samples.
    every: Duration,
    /// Whether the backlog is sent afterwards, how fast (`off`: no limit), and for how long at the most.
    drain: bool,
    drain_rate: Value,
    drain_seconds: u64,
    /// Whether the messages that are sent then have statuses.
    drain_events: bool,
    /// What is in the store before.
    before: Before,
}

fn args() -> Args {
    let mut args = Args {
        rate: 1000.0,
        seconds: 1800,
        connections: 128,
        provider: 80.0,
        every: Duration::from_secs(10),
        drain: false,
        drain_rate: json!("off"),
        drain_seconds: 1800,
        drain_events: false,
        before: Before::default(),
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next();
            value.unwrap_or_else(|| panic!("{word} wants a value"))
        };
        let seconds = |text: String| text.parse().expect("seconds");
        match word.as_str() {
            "burst" => (args.rate, args.seconds) = (10_000.0 / 3.0, 60),
            "million" => {
                (args.rate, args.seconds) = (200.0, 600);
                (args.before.kept, args.before.queued) = (1_000_000, 1_000_000);
            }
            "--kept" => args.before.kept = value().parse().expect("a number"),
            "--queued" => args.before.queued = value().parse().expect("a number"),
            "--rate" => args.rate = value().parse().expect("a rate"),
            "--seconds" => args.seconds = seconds(value()),
            "--connections" => args.connections = value().parse().expect("a number"),
            "--provider" => args.provider = value().parse().expect("a rate"),
            "--every" => args.every = Duration::from_secs(seconds(value())),
            "--drain" => args.drain = true,
            "--drain-rate" => {
                args.drain_rate = json!(value().parse::<f64>().expect("a rate"));
            }
            "--drain-seconds" => args.drain_seconds = seconds(value()),
            "--drain-events" => args.drain_events = true,
            _ => panic!("no option {word}"),
        }
    }
    args
}

/// What has to hold, whether it does, and by which figures.
#[derive(Default)]
struct Verdict(Vec<(&'static str, Option<bool>, String)>);

impl Verdict {
    fn add(&mut self, what: &'static str, holds: bool, figures: String) {
        self.0.push((what, Some(holds), figures));
    }

    /// What is told and not judged.
    fn tell(&mut self, what: &'static str, figures: String) {
        self.0.push((what, None, figures));
    }

    fn print(&self) -> io::Result<ExitCode> {
        let mut out = io::stdout();
        writeln!(out, "\n| | holds | figures |\n|---|---|---|")?;
        for (what, holds, figures) in &self.0 {
            let holds = holds.map_or("", |holds| if holds { "yes" } else { "NO" });
            writeln!(out, "| {what} | {holds} | {figures} |")?;
        }
        let all = self.0.iter().all(|(_, holds, _)| *holds != Some(false));
        Ok(if all {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> io::Result<ExitCode> {
    let words = || std::env::args().skip(2).filter(|word| word != "--bench");
    match std::env::args().nth(1).as_deref() {
        Some("attacks") => return attacks::run(words()).await,
        Some(strike::WORD) => return strike::run(words()).await,
        _ => {}
    }
    let args = args();
    let mut pair = Pair::start(args.provider, args.before).await;
    let before = Books::of(&pair).await;
    pair.resume().await;
    let mut verdict = Verdict::default();
    let (samples, successes) = load(&args, &pair, &mut verdict).await?;
    waited(&args, &pair, &mut verdict).await;
    grown(&args, &samples, &mut verdict);
    paced(&args, &pair, &mut verdict).await;
    quiet(&pair, &mut verdict).await;
    told(&pair, &mut verdict).await;
    if args.drain {
        drain(&args, &pair, &mut verdict).await?;
        quiet(&pair, &mut verdict).await;
    }
    if args.drain && args.drain_events {
        told(&pair, &mut verdict).await;
    }
    settled(&before, successes, &pair, &mut verdict).await;
    let code = pair.stop();
    verdict.add(
        "it stops in order",
        code == Some(0),
        format!("exit code {code:?}"),
    );
    verdict.print()
}

/// Posts at the rate, and samples meanwhile. How many were answered success is told too.
#[expect(clippy::too_many_lines, reason = "one step after another")]
async fn load(args: &Args, pair: &Pair, verdict: &mut Verdict) -> io::Result<(Samples, i64)> {
    let done = Arc::new(AtomicU64::new(0));
    let calls = Calls {
        addr: pair.addr(),
        path: "/jumper_send_whatsapp".into(),
        token: pair::TOKEN.into(),
        rate: args.rate,
        length: Duration::from_secs(args.seconds),
        connections: args.connections,
    };
    let events = Calls {
        path: pair::webhook(),
        rate: EVENTS,
        connections: 4,
        ..calls.clone()
    };
    let mut samples = Samples::default();
    let status = |n| calls::status("nobody", n);
    let events = tokio::spawn(calls::make(events, status, Arc::default()));
    let mut calls = tokio::spawn(calls::make(calls, |n| calls::send("soak", n), done));
    let mut clock = interval(args.every);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    writeln!(io::stdout(), "{}", Sample::HEAD)?;
    let done = loop {
        tokio::select! {
            done = &mut calls => break done.expect("the calls end"),
            _ = clock.tick() => samples.take(pair, start).await?,
        }
    };
    samples.take(pair, start).await?;
    let events = events.await.expect("the events end");
    for (what, most) in [("accept", done.ms(1.0)), ("webhook", events.ms(1.0))] {
        let figures = format!("{most:.0} ms");
        match what {
            _ if args.before.kept == 0 => verdict.tell(what, figures),
            _ => verdict.add(what, most <= MOST_MS, figures),
        }
    }
    writeln!(
        io::stdout(),
        "\n{} requests in {:.1} s, {} without success; ms p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.2}",
        done.requests(),
        done.took.as_secs_f64(),
        done.failed,
        done.ms(0.5),
        done.ms(0.99),
        done.ms(0.999),
        done.ms(1.0),
    )?;
    let planned = (args.rate * args.seconds as f64).round();
    verdict.add(
        "every request is answered success",
        done.failed == 0 && (done.requests() as f64 - planned).abs() <= 1.0,
        format!("{} of {planned}, {} failed", done.requests(), done.failed),
    );
    let took = done.took.as_secs_f64();
    verdict.add(
        "the load came as planned",
        took < args.seconds as f64 * 1.01 + 1.0,
        format!("{took:.1} s for {}", args.seconds),
    );
    Ok((samples, done.requests() as i64 - done.failed as i64))
}

/// How long the store took at most for a claim, and for the end of an attempt, as the gateway measured.
async fn waited(args: &Args, pair: &Pair, verdict: &mut Verdict) {
    let metrics = pair.metrics().await;
    for (what, step) in [("claim", "claim"), ("receipt", "settle")] {
        let head = format!("gateway_store_seconds_bucket{{step=\"{step}\",le=\"");
        let buckets = metrics.lines().filter_map(|line| {
            let (bound, count) = line.strip_prefix(&head)?.split_once("\"} ")?;
            Some((bound.parse::<f64>().ok()?, count.parse::<u64>().ok()?))
        });
        let buckets: Vec<_> = buckets.collect();
        let all = buckets.last().expect("it was measured").1;
        let most = buckets.iter().find(|(_, count)| *count == all);
        let most = most.expect("the last has all").0 * 1e3;
        let figures = format!("none of {all} above {most:.0} ms");
        match args.before.kept {
            0 => verdict.tell(what, figures),
            _ => verdict.add(what, most <= MOST_MS, figures),
        }
    }
}

/// What the samples show: the ledger adds up at each, the backlog grows as it must, memory and open
/// files do not.
fn grown(args: &Args, samples: &Samples, verdict: &mut Verdict) {
    let wrong = samples.all.iter().filter(|one| !one.ledger.adds_up());
    let wrong = wrong.count();
    verdict.add(
        "the ledger adds up at every sample, lost 0",
        wrong == 0,
        format!("{wrong} of {} do not", samples.all.len()),
    );
    let expected = args.rate - args.provider;
    let backlog = samples.slope(|one| one.at, |one| one.ledger.waiting() as f64);
    verdict.add(
        "the backlog grows by what the provider does not take",
        (backlog - expected).abs() <= (0.02 * expected).max(2.0),
        format!("{backlog:.1} a second, {expected:.1} expected"),
    );
    let (first, last) = (samples.settled(), samples.last());
    let minute = samples.slope(|one| one.at / 60.0, |one| one.rss_kb);
    let queued = samples.slope(|one| one.ledger.waiting() as f64 / 1e3, |one| one.rss_kb);
    verdict.add(
        "memory stays below 150 MB",
        samples.all.iter().all(|one| one.rss_kb < MOST_RSS_KB),
        format!(
            "{:.1} MB at 10 % of the time, {:.1} MB at its end with {} queued; {minute:.0} KB a \
             minute, {queued:.2} KB per 1,000 queued",
            first.rss_kb / 1024.0,
            last.rss_kb / 1024.0,
            last.ledger.waiting(),
        ),
    );
    let most = samples.all.iter().map(|one| one.files).max().unwrap_or(0);
    verdict.add(
        "open files stay as they are",
        most <= first.files + 16,
        format!(
            "{} at 10 % of the time, never more than {most}",
            first.files
        ),
    );
    let bytes = last.disk as f64 / last.ledger.accepted.max(1) as f64;
    verdict.tell(
        "disk",
        format!(
            "{:.0} MB, {bytes:.0} bytes a message",
            last.disk as f64 / 1e6
        ),
    );
}

/// The provider's view of the rate.
async fn paced(args: &Args, pair: &Pair, verdict: &mut Verdict) {
    let rate = pair.shown("rate").await;
    let number = |name: &str| rate[name].as_f64().unwrap_or(f64::NAN);
    let seconds = (number("last_ms") - number("first_ms")) / 1e3;
    let (most, limited) = (number("max_in_any_second"), number("limited"));
    // The gateway spaces starts; the provider counts arrivals. One that is held up on its way comes
    // closer to those behind it, so now and then there is one too many, and it is sent later.
    verdict.add(
        "calls arrive at the provider's rate, give or take one that was held up on its way",
        most <= args.provider + 1.0 && limited <= number("calls") / 1e4,
        format!(
            "{most} calls in the fullest second, {:.2} on average, {limited} refused of {}",
            number("calls") / seconds,
            number("calls"),
        ),
    );
}

/// Stops sending, and waits until everything under way has ended.
async fn quiet(pair: &Pair, verdict: &mut Verdict) {
    pair.pause().await;
    let ended = timeout(QUIET, async {
        while !pair.is_quiet().await {
            // waits because other processes are at work; bounded by QUIET
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let ended = ended.await.is_ok();
    verdict.add(
        "paused, everything under way ends",
        ended,
        format!("within {} s: {ended}", QUIET.as_secs()),
    );
}

/// Every message that was sent so far has a `sent` and a `delivered` (the sandbox leaves out none of
/// these), told once each and in order.
async fn told(pair: &Pair, verdict: &mut Verdict) {
    let counts = pair.shown("counts").await;
    let count = |name: &str| counts[name].as_i64().unwrap_or(-1);
    let sends = count("sends_accepted");
    let entries = |name: &str| counts["callback_entries"][name].as_i64().unwrap_or(0);
    verdict.add(
        "every status was told, once, in order",
        entries("sent") == sends
            && entries("delivered") == sends
            && count("events_failed") == 0
            && count("callback_repeated") == 0
            && count("callback_backwards") == 0
            && count("callback_invalid") == 0,
        format!(
            "{sends} sends, {} callbacks, {} repeated, {} backwards, {} events refused",
            counts["callback_entries"],
            count("callback_repeated"),
            count("callback_backwards"),
            count("events_failed"),
        ),
    );
}

/// Lifts the limits and waits until the backlog is sent.
async fn drain(args: &Args, pair: &Pair, verdict: &mut Verdict) -> io::Result<()> {
    let mode = if args.drain_events { "auto" } else { "none" };
    pair.knobs(json!({ "rate_per_second": 0, "event_mode": mode }))
        .await;
    let before = pair.ledger().await;
    let (start, mut samples) = (Instant::now(), Samples::default());
    writeln!(io::stdout(), "\nthe limit is lifted\n{}", Sample::HEAD)?;
    pair.rate(json!({ "per_second": args.drain_rate, "concurrency": 128 }))
        .await;
    pair.resume().await;
    let mut clock = interval(args.every.min(Duration::from_secs(5)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while start.elapsed() < Duration::from_secs(args.drain_seconds) {
        clock.tick().await;
        samples.take(pair, start).await?;
        if samples.last().ledger.waiting() == 0 {
            break;
        }
    }
    let took = start.elapsed().as_secs_f64();
    let (sent, left) = (
        samples.last().ledger.accepted_by_provider - before.accepted_by_provider,
        samples.last().ledger.waiting(),
    );
    verdict.add(
        "the backlog is sent",
        left == 0,
        format!(
            "{sent} in {took:.1} s, {:.0} a second; {left} left",
            sent as f64 / took
        ),
    );
    let per_1000 = |cpu: fn(&Sample) -> f64| {
        let used = cpu(samples.last()) - samples.all.first().map_or(0.0, cpu);
        used * 1e3 / sent as f64
    };
    verdict.tell(
        "processor time of 1,000 sends",
        format!(
            "gateway {:.3} s, sandbox {:.3} s",
            per_1000(|one| one.cpu),
            per_1000(|one| one.sandbox_cpu)
        ),
    );
    let wrong = samples.all.iter().filter(|one| !one.ledger.adds_up());
    verdict.add(
        "the ledger adds up meanwhile",
        samples.all.iter().all(|one| one.ledger.adds_up()),
        format!("{} of {} samples do not", wrong.count(), samples.all.len()),
    );
    Ok(())
}

/// What both sides count.
struct Books {
    ledger: Ledger,
    /// Sends that the provider took, and people whom it was asked to send to more than once.
    sends: i64,
    repeated: i64,
}

impl Books {
    async fn of(pair: &Pair) -> Self {
        let counts = pair.shown("counts").await;
        let count = |name: &str| counts[name].as_i64().expect("the sandbox counts it");
        Self {
            ledger: pair.ledger().await,
            sends: count("sends_accepted"),
            repeated: count("recipients_repeated"),
        }
    }
}

/// Compares the books of both sides, once nothing is under way, with what was in them `before`. What was
/// queued before may be for somebody to whom the load writes as well; a message that is sent twice shows
/// in the numbers of sends.
async fn settled(before: &Books, successes: i64, pair: &Pair, verdict: &mut Verdict) {
    let after = Books::of(pair).await;
    let ledger = &after.ledger;
    let successes = before.ledger.accepted + successes;
    let sent = ledger.accepted_by_provider - before.ledger.accepted_by_provider;
    let (taken, repeated) = (after.sends - before.sends, after.repeated - before.repeated);
    let was_empty = before.ledger.accepted == 0;
    verdict.add(
        "lost 0, failed 0, unknown 0",
        ledger.adds_up() && ledger.failed == 0 && ledger.unknown == 0,
        format!("{ledger:?}"),
    );
    verdict.add(
        "what was answered success was accepted",
        ledger.accepted == successes,
        format!("{} of {successes}", ledger.accepted),
    );
    verdict.add(
        "both sides count the same sends, none twice",
        taken == sent && (!was_empty || repeated == 0),
        format!("provider {taken}, gateway {sent}, {repeated} people twice"),
    );
}
