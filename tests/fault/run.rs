//! One run: traffic and harm side by side, then everything is drained and the books compared.

use crate::plan::{Class, Harm, Party, Plan};
use crate::stage::Stage;
use crate::table::Figures;
use crate::traffic::post_all;
use crate::verdict::Evidence;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// How long all work may take to end after the last harm.
const DRAIN: Duration = Duration::from_secs(90);
/// How often callers are led to another replica, and books are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long idle connections may take to close.
const CLOSE: Duration = Duration::from_secs(15);
/// File handles that may come and go.
const SLACK: usize = 4;
/// Resident memory that a run of some thousand messages may add to a gateway, in MB.
const MOST_GROWN: f64 = 64.0;

/// Runs a plan; the logs of a run that was not clean are kept below `keep`.
pub(crate) async fn run(plan: Plan, keep: PathBuf) -> Figures {
    let mut stage = Stage::build(plan).await;
    let before = usage(&stage);
    let sampler = Sampler::start(&stage);
    let posts = tokio::spawn({
        let (plan, door) = (stage.plan.clone(), stage.door.addr());
        async move { post_all(&plan, door).await }
    });
    let ends = blows(&mut stage).await;
    stage.all_started().await;
    let posted = posts.await.expect("the traffic does not panic");
    let ledger = drained(&stage).await;
    let evidence = Evidence {
        stage: &stage,
        posted: &posted,
        ledger,
    };
    let mut figures = evidence.judge().await;
    let samples = sampler.stop().await;
    let times = ends.iter().filter_map(|end| samples.recovery(end));
    figures.recoveries = times.collect();
    settle_down(&stage, before, &mut figures).await;
    if !figures.is_clean() {
        let _ = std::fs::create_dir_all(&keep);
        for (n, log) in stage.logs().iter().enumerate() {
            let _ = std::fs::write(keep.join(format!("gateway-{n}.log")), log);
        }
    }
    figures
}

/// When a harm ended, and whose work it had kept from going on.
struct End {
    at: Instant,
    callbacks: bool,
}

/// Does all harm at its time. Callers are led to another replica all the time.
async fn blows(stage: &mut Stage) -> Vec<End> {
    let blows = stage.plan.blows.clone();
    let mut steps: Vec<(u64, bool, usize)> = Vec::new();
    for (n, blow) in blows.iter().enumerate() {
        steps.push((blow.at_ms, false, n));
        steps.push((blow.end_ms(), true, n));
    }
    steps.sort_unstable();
    let started = Instant::now();
    let mut ends = Vec::new();
    let mut turn = 0;
    for (ms, is_end, n) in steps {
        let due = started + Duration::from_millis(ms);
        while Instant::now() < due {
            turn += 1;
            stage.rotate(turn);
            // waits because the plan says when
            tokio::time::sleep(TICK.min(due - Instant::now().min(due))).await;
        }
        let harm = &blows[n].harm;
        match is_end {
            false => stage.begin(harm).await,
            true => {
                stage.end(harm).await;
                ends.push(End {
                    at: Instant::now(),
                    callbacks: stops_callbacks(harm),
                });
            }
        }
    }
    ends
}

fn stops_callbacks(harm: &Harm) -> bool {
    match harm {
        Harm::Road(party, _) => *party == Party::Moengage,
        Harm::Knobs(knobs) => knobs.to_string().contains("moengage_"),
        _ => false,
    }
}

/// Waits until nothing waits any more; the ledger then, or when patience is over.
async fn drained(stage: &Stage) -> Value {
    let give_up = Instant::now() + DRAIN;
    loop {
        let idle = stage.sandbox.get("idle").await["idle"] == true;
        let ledger = stage.ledger().await;
        let total = &ledger["total"];
        let open = ["queued", "in_flight", "held", "unknown"];
        let open = open.iter().any(|name| total[*name] != 0);
        let waiting = total["callbacks"]["waiting"] != 0;
        if (idle && !open && !waiting) || Instant::now() > give_up {
            return ledger;
        }
        // waits because it polls other processes; bounded
        tokio::time::sleep(TICK).await;
    }
}

/// File handles and resident memory (MB) of each gateway.
fn usage(stage: &Stage) -> Vec<(usize, f64)> {
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
async fn settle_down(stage: &Stage, before: Vec<(usize, f64)>, figures: &mut Figures) {
    let most = before.iter().map(|one| one.0).max().unwrap_or(0) + SLACK;
    let base = before.iter().map(|one| one.1).fold(f64::MAX, f64::min);
    stage.close_roads();
    let give_up = Instant::now() + CLOSE;
    let now = loop {
        let now = usage(stage);
        if now.iter().all(|one| one.0 <= most) {
            break now;
        }
        if Instant::now() > give_up {
            figures.fault(format!(
                "file handles stay open: {now:?}, before {before:?}"
            ));
            break now;
        }
        // waits because idle connections close by themselves; bounded
        tokio::time::sleep(TICK).await;
    };
    if now.len() != stage.plan.replicas {
        figures.fault(format!("{} gateways of {}", now.len(), stage.plan.replicas));
    }
    figures.grown_mb = now.iter().map(|one| one.1 - base).fold(0.0, f64::max);
    if figures.grown_mb > MOST_GROWN {
        figures.fault(format!("{:.0} MB more than at the start", figures.grown_mb));
    }
}

/// Reads the fakes' counts all the time, to see when work went on.
struct Sampler {
    task: JoinHandle<Samples>,
    stop: tokio_util::sync::CancellationToken,
}

/// Sends taken and callback entries received, at moments.
struct Samples(Vec<(Instant, u64, u64)>);

impl Sampler {
    fn start(stage: &Stage) -> Self {
        let stop = tokio_util::sync::CancellationToken::new();
        let (http, url) = (stage.sandbox.http.clone(), stage.sandbox.url.clone());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let mut samples = Vec::new();
            while !token.is_cancelled() {
                let answer = http.get(format!("{url}/_sandbox/counts")).send().await;
                if let Ok(counts) = answer.expect("the sandbox lives").json::<Value>().await {
                    let entries = counts["callback_entries"].as_object();
                    let entries = entries.into_iter().flatten();
                    let entries = entries.filter_map(|(_, count)| count.as_u64()).sum();
                    let sends = counts["sends_accepted"].as_u64().unwrap_or(0);
                    samples.push((Instant::now(), sends, entries));
                }
                // waits because it polls another process
                tokio::time::sleep(TICK).await;
            }
            Samples(samples)
        });
        Self { task, stop }
    }

    async fn stop(self) -> Samples {
        self.stop.cancel();
        self.task.await.expect("the sampler does not panic")
    }
}

impl Samples {
    /// Seconds from the end of a harm until work of its kind went on; nothing if none was left.
    fn recovery(&self, end: &End) -> Option<f64> {
        let of = |sample: &(Instant, u64, u64)| if end.callbacks { sample.2 } else { sample.1 };
        let at_end = self.0.iter().rev().find(|one| one.0 <= end.at).map(of)?;
        let next = self
            .0
            .iter()
            .find(|one| one.0 > end.at && of(one) > at_end)?;
        Some((next.0 - end.at).as_secs_f64())
    }
}

/// What a class needs of the machine, and is missing.
pub(crate) fn missing(class: Class) -> Option<String> {
    match class {
        Class::DiskFull => crate::disk::Disk::new(1).err(),
        _ => None,
    }
}
