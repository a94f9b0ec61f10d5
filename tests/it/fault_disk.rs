//! The embedded store on a disk that is full to the last byte, slow, or failing (design.md section 6):
//! nothing that was answered 200 is lost, nothing is sent twice, and all goes on afterwards.

use crate::it::crash::fold_or_unknown;
use crate::it::fault_parts::{in_a_namespace, with_shim};
use crate::kit::disk::Disk;
use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use crate::kit::shim::Shim;
use rustix::io::Errno;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What `m0`, `m1`, ... were answered, and how long that took; 0 for no answer.
type Answers = BTreeMap<usize, (u16, Duration)>;

/// Callers that post `m0`, `m1`, ... with a pause after each answer.
struct Callers {
    stop: CancellationToken,
    /// How many were answered 200 until now.
    taken: Arc<AtomicUsize>,
    answers: JoinSet<Answers>,
}

impl Callers {
    fn start(gateway: &Gateway, callers: usize, pause: Duration) -> Self {
        let (stop, next) = (CancellationToken::new(), Arc::new(AtomicUsize::new(0)));
        let taken = Arc::new(AtomicUsize::new(0));
        let mut answers = JoinSet::new();
        for _ in 0..callers {
            let (stop, next, http) = (stop.clone(), next.clone(), gateway.http.clone());
            let taken = taken.clone();
            let url = format!("{}/jumper_send_whatsapp", gateway.url);
            answers.spawn(async move {
                let mut answers = Answers::new();
                while !stop.is_cancelled() {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let body = order_update(&format!("m{n}"), &number(n)).to_string();
                    let request = http.post(&url).bearer_auth(TOKEN).body(body);
                    let began = Instant::now();
                    let answer = request.send().await;
                    let code = answer.map_or(0, |answer| answer.status().as_u16());
                    answers.insert(n, (code, began.elapsed()));
                    taken.fetch_add(usize::from(code == 200), Ordering::Relaxed);
                    // waits because callers have a pace
                    tokio::time::sleep(pause).await;
                }
                answers
            });
        }
        Self {
            stop,
            taken,
            answers,
        }
    }

    /// Waits until so many more were answered 200, however slow the machine is.
    async fn some_are_taken(&self, more: usize) {
        let enough = self.taken.load(Ordering::Relaxed) + more;
        until("callers are answered 200", async || {
            (self.taken.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await;
    }

    async fn stop(self) -> Answers {
        self.stop.cancel();
        self.answers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// So long each harm lasts.
const HARM: Duration = Duration::from_millis(1500);

async fn while_harmed() {
    // waits because the harm is to last for so long
    tokio::time::sleep(HARM).await;
}

/// Fakes whose answers and events are under way all the time, and which repeat what is not taken: sooner
/// than `AMBIGUOUS_HOLD` is over, however long a start takes.
async fn lively() -> Sandbox {
    Sandbox::start(json!({
        "latency_ms": 60, "latency_jitter_ms": 50, "share_read": 0.7, "event_delay_ms": 150,
        "event_jitter_ms": 100, "event_first": 0.3, "webhook_retries": 600, "webhook_retry_ms": 50,
        "webhook_retry_max_ms": 100, "moengage_latency_ms": 10,
    }))
    .await
}

/// The balance after the harm: what was answered 200 is known, sent once, and told as it was.
async fn assert_nothing_lost(sandbox: &Sandbox, gateway: &Gateway, answers: &Answers) {
    let ledger = settled(gateway, sandbox).await;
    let taken: Vec<usize> = answers
        .iter()
        .filter(|(_, (code, _))| *code == 200)
        .map(|(n, _)| *n)
        .collect();
    for n in &taken {
        let message = gateway.message(&format!("m{n}")).await;
        assert!(is_sent(&message), "m{n} was answered 200: {message}");
    }
    assert_eq!(ledger["lost"], 0, "{ledger}");
    assert_eq!(ledger["accepted"], taken.len(), "{ledger}");
    let counts = sandbox.counts().await;
    assert_eq!(counts["recipients_repeated"], 0, "something was sent twice");
    assert_eq!(counts["sends_accepted"], taken.len(), "{counts}");
    assert_eq!(counts["events_failed"], 0, "{counts}");
    assert_eq!(counts["callback_backwards"], 0);
    assert_eq!(counts["callback_repeated"], counts["callback_duplicates"]);
    fold_or_unknown(sandbox, gateway, answers.len()).await;
    let counted = gateway.ops_get("/api/ledger").await.1["counted"].clone();
    assert_eq!(
        counted,
        json!({ "queued": 0, "in_flight": 0, "unknown": 0 })
    );
}

fn times(answers: &Answers, code: u16) -> usize {
    answers.values().filter(|(one, _)| *one == code).count()
}

/// It says that nothing can be stored, and goes on saying so, and is alive all the while.
async fn assert_not_ready(gateway: &Gateway, time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        let (code, ready) = gateway.ready().await;
        assert_eq!(code, 503, "ready although nothing can be stored: {ready}");
        let alive = gateway.http.get(format!("{}/healthz", gateway.url));
        assert_eq!(alive.send().await.unwrap().status(), 200);
        // waits because the harm is to last for a while
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A status of an id that nobody sent.
fn strange_status() -> Value {
    status("nobody-sent-this", "delivered", 1_930_000_000)
}

async fn until_ready(gateway: &Gateway) {
    until("it is ready again", async || {
        (gateway.ready().await.0 == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_disk_full_to_the_last_byte_loses_nothing_that_was_answered_200() {
    embedded_only!("the disk under DATA_DIR is filled");
    let name = "it::fault_disk::a_disk_full_to_the_last_byte_loses_nothing_that_was_answered_200";
    if !in_a_namespace(name).await {
        return;
    }
    // With 0 even accepts and claims reach SQLite on the full disk; with 1 only what must.
    for min_free in [0, 1] {
        let sandbox = lively().await;
        // Larger than the log of SQLite, which must not fill it by itself.
        let disk = Disk::new(48).unwrap();
        let setup = Setup::towards(&sandbox)
            .env("DATA_DIR", &disk.path().join("data").display().to_string())
            .env("CONCURRENT_API_CALLS", "4")
            .set(&format!("store.min_free={min_free}"))
            .set("moengage.max_pause=200ms");
        let gateway = Gateway::start(&sandbox, setup).await;
        let callers = Callers::start(&gateway, 2, Duration::from_millis(10));
        // Some pages are left at first, so that it is full at another place each time. The first time
        // is longer than a webhook waits: its event cannot be stored in time.
        for (leave, time, event) in [(0, Duration::from_secs(5), Some(503)), (20, HARM, None)] {
            callers.some_are_taken(20).await;
            disk.fill(leave * 4096);
            until("nothing can be stored", async || {
                (gateway.ready().await.0 == 503).then_some(())
            })
            .await;
            disk.fill(0);
            let told = async {
                if let Some(code) = event {
                    assert_eq!(gateway.event_once(&strange_status()).await, code);
                }
            };
            tokio::join!(assert_not_ready(&gateway, time), told);
            disk.empty();
            until_ready(&gateway).await;
        }
        let answers = callers.stop().await;
        let (taken, refused) = (times(&answers, 200), times(&answers, 503));
        assert_eq!(taken + refused, answers.len(), "{answers:?}");
        assert!(taken > 20 && refused > 5, "{taken} and {refused}");
        let said = gateway.process.output();
        // With 1 it is luck whether something that must be written comes to SQLite meanwhile.
        assert!(
            min_free > 0 || said.contains("database or disk is full"),
            "SQLite never met the full disk"
        );
        assert_nothing_lost(&sandbox, &gateway, &answers).await;
    }
}

#[tokio::test]
async fn a_gateway_killed_on_a_full_disk_goes_on_when_there_is_room_again() {
    embedded_only!("the disk under DATA_DIR is filled");
    let name = "it::fault_disk::a_gateway_killed_on_a_full_disk_goes_on_when_there_is_room_again";
    if !in_a_namespace(name).await {
        return;
    }
    let sandbox = lively().await;
    let disk = Disk::new(48).unwrap();
    let setup = Setup::towards(&sandbox)
        .env("DATA_DIR", &disk.path().join("data").display().to_string())
        .env("CONCURRENT_API_CALLS", "4")
        .env("AMBIGUOUS_HOLD", "3s")
        .set(&format!("http.port={}", own_port()))
        .set("store.min_free=0")
        .set("moengage.max_pause=200ms");
    let mut gateway = Gateway::start(&sandbox, setup.clone()).await;
    let callers = Callers::start(&gateway, 2, Duration::from_millis(10));
    while_harmed().await;
    callers.some_are_taken(20).await;
    disk.fill(0);
    until("nothing can be stored", async || {
        (gateway.ready().await.0 == 503).then_some(())
    })
    .await;
    disk.fill(0);
    let answers = callers.stop().await;
    assert!(times(&answers, 200) > 10);
    gateway.process.kill();
    // What it had in hand may have left a little room.
    disk.fill(0);
    // It ends and says why; or, where SQLite's own log has room for a start, it serves and says so.
    let args: Vec<&str> = setup.set.iter().flat_map(|pair| ["--set", pair]).collect();
    let mut full = Process::start(&[&["serve"], &args[..]].concat(), &setup.env, disk.path());
    until("it says that the disk is full", async || {
        let said = full.output().contains("database or disk is full");
        said.then_some(())
    })
    .await;
    full.kill();
    let fresh = disk.path().join("fresh").display().to_string();
    let setup = setup.env("DATA_DIR", &fresh);
    let (code, said) = run_to_end(&["serve"], &setup, disk.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("full") || said.contains("No space"), "{said}");
    disk.empty();
    let gateway = gateway.restart(&sandbox).await;
    assert_nothing_lost(&sandbox, &gateway, &answers).await;
}

#[tokio::test]
async fn a_slow_disk_makes_accepts_slower_and_loses_nothing() {
    embedded_only!("the syncs of SQLite are delayed");
    // The second is longer than a webhook waits: it is answered 503, and stored all the same.
    for (delay, callers) in [(200, 16), (3_500, 4)] {
        let sandbox = lively().await;
        let shim = Shim::build();
        let setup = Setup::towards(&sandbox).set("moengage.max_pause=200ms");
        let gateway = Gateway::start(&sandbox, with_shim(setup, &shim)).await;
        let callers = Callers::start(&gateway, callers, Duration::from_millis(10));
        while_harmed().await;
        shim.sync_delay(delay);
        let delay = Duration::from_millis(delay.unsigned_abs());
        // waits because the disk is to be slow for a while
        let meanwhile = tokio::time::sleep(2 * delay + HARM);
        let event = strange_status();
        let (code, ()) = tokio::join!(gateway.event_once(&event), meanwhile);
        let long = delay > Duration::from_secs(3);
        assert_eq!(code, if long { 503 } else { 200 });
        let answers = callers.stop().await;
        shim.sync_delay(0);
        assert_eq!(times(&answers, 200), answers.len(), "{answers:?}");
        let slowest = answers.values().map(|(_, took)| *took).max().unwrap();
        assert!(slowest > delay, "{slowest:?}");
        assert_nothing_lost(&sandbox, &gateway, &answers).await;
    }
}

#[tokio::test]
async fn a_disk_that_fails_now_and_then_loses_nothing() {
    embedded_only!("writes and syncs of SQLite fail");
    for (seed, errno) in [(1, Errno::NOSPC), (2, Errno::IO)] {
        let sandbox = lively().await;
        let shim = Shim::build();
        let setup = Setup::towards(&sandbox).set("moengage.max_pause=200ms");
        let gateway = Gateway::start(&sandbox, with_shim(setup, &shim)).await;
        let callers = Callers::start(&gateway, 4, Duration::from_millis(5));
        let mut dice = fastrand::Rng::with_seed(seed);
        for _ in 0..30 {
            let errno = Some(errno.raw_os_error());
            if dice.bool() {
                shim.fail_writes(errno);
            } else {
                shim.fail_syncs(errno);
            }
            // waits because the disk is to fail for a moment
            tokio::time::sleep(Duration::from_millis(dice.u64(1..100))).await;
            shim.fail_writes(None);
            shim.fail_syncs(None);
            // waits because it is to work for a moment
            tokio::time::sleep(Duration::from_millis(dice.u64(1..100))).await;
        }
        let answers = callers.stop().await;
        let (taken, refused) = (times(&answers, 200), times(&answers, 503));
        assert_eq!(taken + refused, answers.len(), "{answers:?}");
        assert!(taken > 0 && refused > 0, "{taken} and {refused}");
        until_ready(&gateway).await;
        assert_nothing_lost(&sandbox, &gateway, &answers).await;
    }
}

#[tokio::test]
async fn while_nothing_can_be_stored_no_token_is_renewed_and_a_kill_costs_none() {
    embedded_only!("at Redis the lock of a refresh is a write already");
    // A refresh token lives longer.
    const LIFE: u64 = 8;
    let sandbox = Sandbox::start(json!({ "event_mode": "none", "token_ttl_s": LIFE })).await;
    let shim = Shim::build();
    // A send may be under way when the disk fails; what became of it is unknown then.
    let setup = Setup::towards(&sandbox)
        .env("RATE_PER_SECOND", "1")
        .env("AMBIGUOUS_HOLD", "1s");
    let mut gateway = Gateway::start(&sandbox, with_shim(setup, &shim)).await;
    accept_many(&gateway, 4).await;
    gateway.until_sent("m0").await;
    shim.fail_writes(Some(Errno::NOSPC.raw_os_error()));
    let refreshes = sandbox.counts().await["refreshes"].clone();
    // waits because the access token is to end meanwhile, and sends want a new one
    tokio::time::sleep(Duration::from_secs(LIFE + 1)).await;
    assert_eq!(sandbox.counts().await["refreshes"], refreshes);
    gateway.process.kill();
    shim.fail_writes(None);
    let gateway = gateway.restart(&sandbox).await;
    let ledger = gateway.drained().await;
    assert!(gateway.account().await["held"].is_null());
    assert_eq!(ledger["accepted"], 4, "{ledger}");
}
