//! One account's trouble is its own: neither the rate nor the latency of another account's channel
//! changes. `BACKLOG` says how much the busy accounts have waiting (2,000; 100,000 takes minutes).

use crate::it::account_files::*;
use crate::it::rate::keeps_to;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Calls a second of the account that is watched.
const RATE: u64 = 40;
/// Messages of one measurement of the rate.
const MANY: usize = 80;
/// Accounts with a backlog: so many that whoever shared something with them would see it, however
/// busy the machine is.
const BUSY: usize = 4;
/// Messages of one measurement of the latency.
const SINGLES: usize = 11;

fn backlog() -> usize {
    let wished = std::env::var("BACKLOG").ok();
    wished.and_then(|text| text.parse().ok()).unwrap_or(2_000)
}

/// What the watched channel does.
#[derive(Debug)]
struct Seen {
    rate: Value,
    /// Medians: from the POST to its answer, and to the provider's acceptance.
    answered: Duration,
    accepted: Duration,
}

struct Watch {
    house: House,
    steady: Sandbox,
    /// Numbers nobody had yet.
    next: usize,
}

impl Watch {
    async fn look(&mut self) -> Seen {
        let first = self.next;
        self.next += MANY + SINGLES;
        let house = &self.house;
        house.channel("steady", "pause").await;
        house.load("steady", first, MANY).await;
        self.steady.post("reset", json!({})).await;
        house.channel("steady", "resume").await;
        until("the watched queue is sent", async || {
            let sent = self.steady.counts().await["sends_accepted"].as_u64();
            (sent == Some(MANY as u64)).then_some(())
        })
        .await;
        let rate = self.steady.get("rate").await;
        let (mut answered, mut accepted) = (Vec::new(), Vec::new());
        for n in first + MANY..first + MANY + SINGLES {
            let id = format!("single-{n}");
            let began = Instant::now();
            let answer = house.send("token-of-channel-steady", &id, n).await;
            answered.push(began.elapsed());
            assert_eq!(answer.1["status"], "success");
            house.gateway.until_sent(&id).await;
            accepted.push(began.elapsed());
        }
        Seen {
            rate,
            answered: median(answered),
            accepted: median(accepted),
        }
    }

    /// The watched account works as before, and keeps to its rate. How fast depends on the machine.
    async fn same_as(&mut self, before: &Seen, trouble: &str) {
        let seen = self.look().await;
        tell(&format!(
            "{trouble}: answered in {:?} (before {:?}), accepted in {:?} ({:?})",
            seen.answered, before.answered, seen.accepted, before.accepted
        ));
        keeps_to(RATE, &seen.rate);
    }
}

/// Shows figures to whoever asked for a backlog of their own.
fn tell(line: &str) {
    if std::env::var_os("BACKLOG").is_some() {
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one trouble after the other, each on top"
)]
async fn one_accounts_outage_pause_backlog_or_dead_token_changes_nothing_for_another() {
    let quiet = || json!({ "event_mode": "none" });
    let steady = Sandbox::start(quiet()).await;
    let out = Sandbox::start(quiet()).await;
    let dead = Sandbox::start(quiet()).await;
    let busy = Sandbox::start(quiet()).await;
    let token = |id: &str| format!("auth_against = \"token-of-channel-{id}\"");
    let mut tables = account("steady", &steady.url, &format!("rate_per_second = {RATE}"));
    tables += &account("out", &out.url, "");
    let gone = account("gone", &format!("http://{}", nowhere()), "");
    tables += &gone.replace("sandbox-refresh-token", "a-token-of-gone");
    tables += &account("dead", &dead.url, "");
    tables += &merchants(&busy, BUSY, "rate_per_second = 5").await;
    for id in ["steady", "out", "gone", "dead"] {
        tables += &channel(id, id, &steady.url, &token(id));
    }
    tables += &channel("stood", "m0", &steady.url, &token("stood"));
    let house = House::open(&steady, &tables).await;
    let mut watch = Watch {
        house,
        steady,
        next: 1000,
    };
    for id in ["steady", "out", "dead"] {
        let warm = format!("warm-{id}");
        watch
            .house
            .send(&format!("token-of-channel-{id}"), &warm, 1)
            .await;
        watch.house.gateway.until_sent(&warm).await;
    }
    let before = watch.look().await;

    // Jumper must say it twice, a minute apart; meanwhile come the others.
    dead.post("token/kill-refresh", json!({})).await;
    dead.post("token/revoke-access", json!({})).await;
    watch.house.load("dead", 1, 200).await;

    out.knobs(json!({ "share_503": 0.5, "share_500_before": 0.5 }))
        .await;
    watch.house.load("out", 1, 200).await;
    watch.same_as(&before, "an outage").await;

    watch.house.load("gone", 1, 200).await;
    watch.same_as(&before, "nobody listens").await;

    watch.house.channel("stood", "pause").await;
    watch.house.load("stood", 1, 200).await;
    watch.same_as(&before, "a pause").await;

    let busy = (0..BUSY).map(|n| format!("m{n}"));
    let busy: Vec<_> = busy.collect();
    for id in &busy {
        watch.house.channel(id, "pause").await;
        watch.house.load(id, 1000, backlog() / BUSY).await;
    }
    for id in &busy {
        watch.house.channel(id, "resume").await;
    }
    let trouble = format!("a backlog of {}", backlog());
    watch.same_as(&before, &trouble).await;
    for id in &busy {
        assert!(
            watch.house.queued(id).await > 0,
            "it was there all the time"
        );
    }

    until_within(
        Duration::from_secs(150),
        "the account with the dead token is held",
        async || {
            let accounts = watch.house.gateway.ops_get("/api/accounts").await.1;
            let mut all = accounts["accounts"].as_array().unwrap().iter();
            let dead = all.find(|one| one["account"] == "dead").unwrap();
            (!dead["held"].is_null()).then_some(())
        },
    )
    .await;
    watch.same_as(&before, "a dead token").await;

    for (id, most_sent) in [("gone", 0), ("stood", 0)] {
        let sent = &watch.house.ledger(id).await["accepted_by_provider"];
        assert_eq!(sent, most_sent, "{id}");
    }
    let total = watch.house.gateway.ledger().await;
    assert_eq!(total["lost"], 0, "{total}");
}
