//! `gateway demo`: the whole path on this machine, with nothing but this binary.
//!
//! Starts the fakes and the gateway, plays a campaign with answers and mistakes, shows it live,
//! then holds the gateway's ledger against what the fakes counted. The gateway is the real one and
//! everything goes over real HTTP, on loopback.

mod caller;
mod campaign;
mod people;
mod stage;
mod verdict;
mod watch;

use super::{say, trace};
use crate::telemetry;
use caller::Caller;
use people::People;
use stage::{RATE, Stage};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use verdict::Facts;
use watch::{Snapshot, View};

/// Between two looks.
const TICK: Duration = Duration::from_millis(200);
/// How long the campaign may take beyond what the rate allows.
const SLACK: Duration = Duration::from_secs(90);

/// What the command line wishes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// End after the campaign.
    pub(super) exit: bool,
    /// Messages to send.
    pub(super) messages: u32,
    /// Show the gateway's warnings.
    pub(super) verbose: bool,
}

/// Plays the demo. Succeeds when nothing was lost and everything agrees.
pub(super) async fn run(wish: Wish) -> anyhow::Result<ExitCode> {
    let stop = super::stop_signal()?;
    if wish.verbose {
        telemetry::start_logs(telemetry::LogFormat::Text, "warn");
    }
    say::line(&opening(wish.messages));
    let stage = tokio::select! {
        stage = Stage::set() => stage?,
        () = stop.cancelled() => return Ok(interrupted()),
    };
    let facts = tokio::select! {
        facts = play(&stage, wish) => Some(facts?),
        () = stop.cancelled() => None,
    };
    let Some(facts) = facts else {
        stage.strike().await?;
        return Ok(interrupted());
    };
    say::line(&facts.story());
    say::line(&sample(&stage, wish.messages).await?);
    say::line(&facts.ledger());
    say::line(&facts.equation());
    if !wish.exit {
        say::line(&serving(&stage));
        stop.cancelled().await;
    }
    stage.strike().await?;
    Ok(if facts.good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn interrupted() -> ExitCode {
    say::fault("the demo was interrupted");
    ExitCode::FAILURE
}

fn opening(messages: u32) -> String {
    let seconds = messages / RATE + 6;
    format!(
        "Sends {messages} WhatsApp messages through the real gateway, between a fake MoEngage and a \
         fake Jumper\non this machine: no account, no configuration, nothing leaves it. About \
         {seconds} s.\n\nMoEngage posts {} a second, Jumper takes {RATE} calls per second: the gateway \
         stores, keeps the rate, reports back.\n",
        caller::PER_SECOND
    )
}

/// Sends the campaign and watches until nothing is on its way any more.
async fn play(stage: &Stage, wish: Wish) -> anyhow::Result<Facts> {
    let caller = Caller::new(format!("http://{}/jumper_send_whatsapp", stage.public))?;
    let mut people = People::of(wish.messages);
    // Log lines would tear the bars apart.
    let on_terminal = std::io::stdout().is_terminal() && !wish.verbose;
    let mut view = View::new(wish.messages, on_terminal);
    let mut posting = caller.start(wish.messages);
    let due = Duration::from_secs((wish.messages / RATE * 3 / 2).into()) + SLACK;
    let deadline = Instant::now() + due;
    // What looks empty once may be between two places; twice it is empty.
    let mut empty = 0;
    while empty < 2 && Instant::now() < deadline {
        anyhow::ensure!(stage.is_up(), "the gateway ended by itself");
        while posting.try_join_next().is_some() {}
        let now = look(stage).await?;
        view.show(&now);
        let drained = posting.is_empty() && now.is_empty() && stage.sandbox.idle();
        people.act(&stage.sandbox, drained).await;
        empty = if drained && people.done() {
            empty + 1
        } else {
            0
        };
        sleep(TICK).await;
    }
    view.end(&look(stage).await?);
    finish(stage, &caller, people, empty == 2).await
}

async fn look(stage: &Stage) -> anyhow::Result<Snapshot> {
    let (ledger, accounts) =
        tokio::join!(stage.ops.get("/api/ledger"), stage.ops.get("/api/accounts"));
    Ok(Snapshot::of(&ledger?, &accounts?, &stage.sandbox.counts()))
}

/// One more send to the person who wrote STOP, then the facts.
async fn finish(
    stage: &Stage,
    caller: &Caller,
    people: People,
    drained: bool,
) -> anyhow::Result<Facts> {
    let mut stop_respected = None;
    if people.stopped {
        let before = caller.answers();
        caller
            .send(&campaign::after_stop(people::STOPS), false)
            .await;
        stop_respected = Some(caller.answers().wrong == before.wrong);
    }
    let metrics = stage.ops.text("/metrics").await?;
    let arrivals: serde_json::Value = super::reach::client(SLACK)?
        .get(format!("{}/_sandbox/rate", stage.sandbox.url()))
        .send()
        .await?
        .json()
        .await?;
    Ok(Facts {
        answers: caller.answers(),
        ledger: stage.ops.get("/api/ledger").await?,
        counts: stage.sandbox.counts(),
        most_in_a_second: arrivals["max_in_any_second"].as_u64().unwrap_or(u64::MAX),
        superseded: verdict::metric(&metrics, "gateway_statuses_total{outcome=\"superseded\"}"),
        inferred: verdict::metric(&metrics, "gateway_inferred_receipts_total"),
        replies: (people.replied, people.refused),
        stop_respected,
        drained,
    })
}

/// The timeline of one message, as `gateway trace` shows it.
async fn sample(stage: &Stage, messages: u32) -> anyhow::Result<String> {
    let n = people::TAPS.min(messages - 1);
    let (found, _) = stage.ops.search(&campaign::msg_id(n)).await?;
    let shown = found.first().map(trace::timeline).unwrap_or_default();
    Ok(format!("One message, as `gateway trace` tells it\n{shown}"))
}

/// What can be tried now.
fn serving(stage: &Stage) -> String {
    let (public, ops, fakes) = (stage.public, stage.ops.addr(), stage.sandbox.url());
    let (token, body) = (campaign::TOKEN, campaign::by_hand());
    let (webhook, program) = (&stage.webhook, crate::config::program());
    format!(
        "
The gateway keeps serving; Ctrl-C ends it and removes its data.

  send      http://{public}/jumper_send_whatsapp
  webhook   {webhook}
  ops       http://{ops}/api/ledger
  metrics   http://{ops}/metrics
  fakes     {fakes}/_sandbox/counts  (and /sends, /callbacks, /knobs)

Send a message of your own, then look at what became of it:

  curl -s http://{public}/jumper_send_whatsapp -H 'Authorization: Bearer {token}' \\
    -H 'Content-Type: application/json' -d '{body}'

  OPS_ADDR={ops} {program} trace hello-1
"
    )
}
