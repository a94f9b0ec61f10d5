//! Reads the fakes' counts all the time, to see when work went on, and how fast.

use crate::fault::run::TICK;
use crate::kit::harness::Sandbox;
use serde_json::Value;
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// When a harm ended, and whose work it had kept from going on.
pub(crate) struct End {
    pub(crate) at: Instant,
    pub(crate) callbacks: bool,
}

/// Reads until it is stopped.
pub(crate) struct Sampler {
    task: AbortOnDropHandle<Samples>,
    stop: CancellationToken,
}

/// What was counted between two moments.
#[derive(Debug)]
struct Sample {
    from: Instant,
    to: Instant,
    /// Sends that the provider took.
    sends: u64,
    /// Entries that MoEngage received.
    entries: u64,
    /// Calls that count against the rate.
    calls: u64,
}

/// All samples of a run, in their order.
pub(crate) struct Samples(Vec<Sample>);

impl Sampler {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        let stop = CancellationToken::new();
        let (http, url, token) = (sandbox.http.clone(), sandbox.url.clone(), stop.clone());
        let task = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut samples = Vec::new();
            while !token.is_cancelled() {
                let read = async |what: &str| -> Value {
                    let answer = http.get(format!("{url}/_sandbox/{what}")).send().await;
                    let answer = answer.expect("the sandbox lives");
                    answer.json().await.expect("counts")
                };
                let from = Instant::now();
                let calls = read("rate").await["calls"].as_u64().unwrap_or(0);
                let counts = read("counts").await;
                let entries = counts["callback_entries"].as_object();
                let entries = entries.into_iter().flatten();
                samples.push(Sample {
                    from,
                    to: Instant::now(),
                    sends: counts["sends_accepted"].as_u64().unwrap_or(0),
                    entries: entries.filter_map(|(_, count)| count.as_u64()).sum(),
                    calls,
                });
                // waits because it polls another process
                tokio::time::sleep(TICK).await;
            }
            Samples(samples)
        }));
        Self { task, stop }
    }

    pub(crate) async fn stop(self) -> Samples {
        self.stop.cancel();
        self.task.await.expect("the sampler does not panic")
    }
}

impl Samples {
    /// Seconds from the end of a harm until work of its kind went on; nothing if none was left. A
    /// tick more or less, and never too little.
    pub(crate) fn recovery(&self, end: &End) -> Option<f64> {
        let of = |one: &Sample| {
            if end.callbacks {
                one.entries
            } else {
                one.sends
            }
        };
        let mut after = self.0.iter().skip_while(|one| one.from < end.at);
        let at_end = of(after.next()?);
        let next = after.find(|one| of(one) > at_end)?;
        Some((next.to - end.at).as_secs_f64())
    }

    /// How many calls more than `rate` allows were made between any two moments.
    pub(crate) fn over(&self, rate: f64) -> f64 {
        let mut most = 0.0f64;
        for (n, later) in self.0.iter().enumerate() {
            for earlier in &self.0[..n] {
                let calls = later.calls.saturating_sub(earlier.calls) as f64;
                most = most.max(calls - rate * (later.to - earlier.from).as_secs_f64());
            }
        }
        most
    }
}
