//! One run: traffic and harm side by side, then everything is drained and the books compared.

use crate::fault::lost_answers::doubts;
use crate::fault::people;
use crate::fault::plan::{Class, Harm, Party, Plan, Store};
use crate::fault::sampler::{End, Sampler};
use crate::fault::stage::Stage;
use crate::fault::table::Figures;
use crate::fault::traffic::post_all;
use crate::fault::upset::Lapse;
use crate::fault::verdict::Evidence;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// How often books are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How long idle connections may take to close.
const CLOSE: Duration = Duration::from_secs(15);
/// File handles that may come and go.
const SLACK: usize = 4;
/// Resident memory that a run of some thousand messages may add to a gateway, in MB.
const MOST_GROWN: f64 = 64.0;

/// Runs a plan; the logs of a run that was not clean are kept below `keep`. Until all work has ended,
/// nothing may stand still for longer than `patience`.
pub(crate) async fn run(plan: Plan, keep: PathBuf, patience: Duration) -> Figures {
    let plan = Arc::new(plan);
    let mut stage = Stage::build(plan.clone()).await;
    let before = usage(&stage);
    let sampler = Sampler::start(&stage.sandbox);
    let callers = stage.rotate();
    let operator = stage.plan.forgets().then(|| stage.operator());
    let (door, fakes) = (stage.door.addr(), stage.sandbox.url.clone());
    let posts = AbortOnDropHandle::new(tokio::spawn({
        let (plan, fakes, posted) = (plan.clone(), fakes.clone(), stage.posted.clone());
        async move { post_all(&plan, door, &fakes, &posted).await }
    }));
    let all_sent = CancellationToken::new();
    let people = AbortOnDropHandle::new(tokio::spawn({
        let (http, all_sent) = (stage.sandbox.http.clone(), all_sent.clone());
        async move { people::answer(&http, &plan, &fakes, all_sent).await }
    }));
    let done = blows(&mut stage).await;
    stage.all_started().await;
    posts.await.expect("the traffic does not panic");
    let last = Instant::now();
    let mut patience = Patience::new(patience);
    until_all_are_sent(&stage, &mut patience).await;
    all_sent.cancel();
    let said = people.await.expect("people do not panic");
    let ledger = drained(&stage, &mut patience).await;
    let drained = last.elapsed().as_secs_f64();
    let samples = sampler.stop().await;
    let times = done
        .iter()
        .map(|one| (&stage.plan.blows[one.n].harm, one.from_ms, one.to_ms));
    let times: Vec<_> = times.collect();
    let lapses = done.iter().filter_map(|one| one.lapse(&stage.plan));
    let evidence = Evidence {
        stage: &stage,
        doubts: doubts(&times),
        times: &times,
        lapses: lapses.collect(),
        said: &said,
        ledger,
        samples: &samples,
    };
    let mut figures = evidence.judge().await;
    if !figures.is_clean() && !evidence.lapses.is_empty() {
        figures.fault(format!("Redis may have forgotten: {:?}", evidence.lapses));
    }
    let times = done.iter().filter_map(|one| samples.recovery(&one.end));
    figures.recoveries = times.collect();
    (figures.settings, figures.drains) = (stage.settings(), vec![drained]);
    judge_harm(&stage.plan, &done, &mut figures);
    drop((callers, operator));
    settle_down(&stage, before, &mut figures).await;
    if !figures.is_clean() {
        let _ = std::fs::create_dir_all(&keep);
        for (n, log) in stage.logs().iter().enumerate() {
            let _ = std::fs::write(keep.join(format!("gateway-{n}.log")), log);
        }
    }
    figures
}

/// What was done, and whether it hit.
fn judge_harm(plan: &Plan, done: &[Done], figures: &mut Figures) {
    figures.harms += done.len();
    figures.bit += done.iter().filter(|one| one.bit).count();
    if Class::OF_UPSETS.contains(&plan.class) && figures.bit == 0 {
        figures.fault("its harm hit nothing".to_owned());
    }
}

/// A harm that was done.
struct Done {
    /// Its place in the plan.
    n: usize,
    /// When it began, had begun and was over, in milliseconds since 1970.
    from_ms: i64,
    begun_ms: i64,
    to_ms: i64,
    end: End,
    /// Whether anything shows that it hit something.
    bit: bool,
}

impl Done {
    /// Of when Redis may have forgotten something by it.
    fn lapse(&self, plan: &Plan) -> Option<Lapse> {
        let times = [self.from_ms, self.begun_ms, self.to_ms];
        Lapse::of(plan, &plan.blows[self.n].harm, times)
    }
}

/// Does all harm at its time.
async fn blows(stage: &mut Stage) -> Vec<Done> {
    let plan = stage.plan.clone();
    let mut steps: Vec<(u64, bool, usize)> = Vec::new();
    for (n, blow) in plan.blows.iter().enumerate() {
        steps.push((blow.at_ms, false, n));
        steps.push((blow.end_ms(), true, n));
    }
    steps.sort_unstable();
    let started = Instant::now();
    let mut before = vec![(0, 0, 0); plan.blows.len()];
    let mut done = Vec::new();
    for (ms, is_end, n) in steps {
        let due = started + Duration::from_millis(ms);
        // waits because the plan says when
        tokio::time::sleep_until(due.into()).await;
        let harm = &plan.blows[n].harm;
        match is_end {
            false => {
                let (shown, from_ms) = (stage.shown(harm).await, now_ms());
                stage.begin(harm).await;
                before[n] = (shown, from_ms, now_ms());
            }
            true => {
                let (shown, from_ms, begun_ms) = before[n];
                let mut bit = stage.shown(harm).await > shown;
                stage.end(harm).await;
                if matches!(harm, Harm::Upset(upset) if upset.hits_at_its_end()) {
                    bit = stage.shown(harm).await > shown;
                }
                let end = End {
                    at: Instant::now(),
                    callbacks: stops_callbacks(harm),
                };
                done.push(Done {
                    n,
                    from_ms,
                    begun_ms,
                    to_ms: now_ms(),
                    end,
                    bit,
                });
            }
        }
    }
    done
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn stops_callbacks(harm: &Harm) -> bool {
    match harm {
        Harm::Road(party, _) => *party == Party::Moengage,
        Harm::Knobs(knobs) => knobs.to_string().contains("moengage_"),
        _ => false,
    }
}

/// What is not done yet, by the ledger.
const OPEN: [&str; 4] = ["queued", "in_flight", "held", "unknown"];

/// How long nothing may change. A slow machine takes long for everything, so the whole is not timed.
struct Patience {
    most: Duration,
    last: Value,
    since: Instant,
}

impl Patience {
    fn new(most: Duration) -> Self {
        Self {
            most,
            last: Value::Null,
            since: Instant::now(),
        }
    }

    /// Whether nothing has changed for too long. Told what the ledger and the fakes show now.
    fn is_over(&mut self, total: &Value, pending: &Value) -> bool {
        let open: Vec<&Value> = OPEN.iter().map(|name| &total[*name]).collect();
        let now = json!([open, total["callbacks"], pending]);
        if now != self.last {
            (self.last, self.since) = (now, Instant::now());
        }
        self.since.elapsed() > self.most
    }
}

/// Waits until no message is to be sent any more.
async fn until_all_are_sent(stage: &Stage, patience: &mut Patience) {
    loop {
        let total = &stage.ledger().await["total"];
        if !has_open(total) || patience.is_over(total, &Value::Null) {
            return;
        }
        // waits because it polls other processes; bounded
        tokio::time::sleep(TICK).await;
    }
}

fn has_open(total: &Value) -> bool {
    OPEN.iter().any(|name| total[*name] != 0)
}

/// Waits until nothing waits any more; the ledger then, or when patience is over.
async fn drained(stage: &Stage, patience: &mut Patience) -> Value {
    loop {
        let fakes = stage.sandbox.get("idle").await;
        let idle = fakes["idle"] == true;
        let ledger = stage.ledger().await;
        let total = &ledger["total"];
        let waiting = total["callbacks"]["waiting"] != 0;
        let done = idle && !has_open(total) && !waiting;
        if done || patience.is_over(total, &fakes["pending"]) {
            return ledger;
        }
        // waits because it polls other processes; bounded
        tokio::time::sleep(TICK).await;
    }
}

/// File handles and resident memory (MB) of a gateway.
pub(crate) type Usage = (usize, f64);

/// What each gateway has.
fn usage(stage: &Stage) -> Vec<Usage> {
    let of = |pid: u32| {
        let handles = std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = rss.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok());
        (handles, kb.unwrap_or(0.0) / 1024.0)
    };
    stage.processes().into_iter().map(of).collect()
}

/// Without callers and without work the gateways hold no more than at their start.
async fn settle_down(stage: &Stage, before: Vec<Usage>, figures: &mut Figures) {
    stage.close_roads();
    let give_up = Instant::now() + CLOSE;
    let now = loop {
        let now = usage(stage);
        if are_closed(&before, &now) || Instant::now() > give_up {
            break now;
        }
        // waits because idle connections close by themselves; bounded
        tokio::time::sleep(TICK).await;
    };
    judge_usage(&before, &now, figures);
}

fn are_closed(before: &[Usage], now: &[Usage]) -> bool {
    let most = before.iter().map(|one| one.0).max().unwrap_or(0) + SLACK;
    now.iter().all(|one| one.0 <= most)
}

/// As many gateways as before, and none that holds on to files or memory.
pub(crate) fn judge_usage(before: &[Usage], now: &[Usage], figures: &mut Figures) {
    if !are_closed(before, now) {
        figures.fault(format!(
            "file handles stay open: {now:?}, before {before:?}"
        ));
    }
    if now.len() != before.len() {
        figures.fault(format!("{} gateways of {}", now.len(), before.len()));
    }
    let base = before.iter().map(|one| one.1).fold(f64::MAX, f64::min);
    figures.grown_mb = now.iter().map(|one| one.1 - base).fold(0.0, f64::max);
    if figures.grown_mb > MOST_GROWN {
        figures.fault(format!("{:.0} MB more than at the start", figures.grown_mb));
    }
}

/// What a plan needs of the machine, and is missing.
pub(crate) fn missing(plan: &Plan) -> Option<String> {
    match (plan.class, plan.store) {
        (Class::DiskFull, Store::Embedded) | (Class::LogFull, _) => {
            crate::kit::disk::Disk::new(1).err()
        }
        _ => None,
    }
}
