//! What others get while somebody does harm: for each kind of body, seat, path and header, at the public
//! and at the ops listener, with the webhook's secret and without.
//!
//! `cargo bench --bench soak -- attacks` starts gateway and sandbox itself, accepts 200 messages a second and
//! strikes for `--seconds 5` with each row of the table, twice. Who strikes is a process of its own, nice to
//! all others, since in real life it has a machine of its own. Ends with exit code 1 if accepts took longer
//! than 250 ms at p99 or were refused, or memory or disk went on growing. `--only TEXT` picks rows.

use crate::calls::{self, Calls};
use crate::pair::{self, Before, Pair};
use crate::strike::{self, ROWS, Row, Way};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Accepts a second beside each row.
const RATE: f64 = 200.0;
/// What an accept may take at p99, milliseconds.
const MOST_MS: f64 = 250.0;
/// By how much a row that comes for the second time may still grow the gateway's memory and its store.
const MOST_RSS_KB: f64 = 16.0 * 1024.0;
const MOST_DISK: f64 = 64e6;
/// How long what a row left behind may take to end.
const QUIET: Duration = Duration::from_secs(15);

struct Args {
    seconds: u64,
    only: String,
}

fn args(mut words: impl Iterator<Item = String>) -> Args {
    let mut args = Args {
        seconds: 5,
        only: String::new(),
    };
    while let Some(word) = words.next() {
        let value = words.next();
        let value = value.unwrap_or_else(|| panic!("{word} wants a value"));
        match word.as_str() {
            "--seconds" => args.seconds = value.parse().expect("a number"),
            "--only" => args.only = value,
            _ => panic!("--seconds or --only, not {word}"),
        }
    }
    args
}

/// What the gateway takes of the machine.
#[derive(Debug, Clone, Copy)]
struct Cost {
    rss_kb: f64,
    disk: f64,
}

impl Cost {
    fn of(pair: &Pair) -> io::Result<Self> {
        let status = Path::new("/proc").join(pair.ids()[0].to_string());
        let status = std::fs::read_to_string(status.join("status"))?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let rss = rss.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
        let mut disk = 0;
        for file in std::fs::read_dir(pair.data())? {
            disk += file?.metadata()?.len();
        }
        Ok(Self {
            rss_kb: rss.ok_or_else(|| io::Error::other("no VmRSS"))?,
            disk: disk as f64,
        })
    }
}

/// Goes through the table; `words` are the options.
pub(crate) async fn run(words: impl Iterator<Item = String>) -> io::Result<ExitCode> {
    let args = args(words);
    let pair = Pair::start(1000.0, Before::default()).await;
    let mut out = io::stdout();
    writeln!(
        out,
        "| at | who | what | strikes/s | accepts: p50 ms | p99 | max | refused | memory MB, first and second time | disk MB | holds |\n\
         |---|---|---|---|---|---|---|---|---|---|---|"
    )?;
    let mut all = true;
    // Everything has been used once before anything is compared.
    strike_with(&pair, &ROWS[0], 1, &mut 0).await?;
    let mut next = 1_000_000;
    for row in ROWS.iter().filter(|row| row.name().contains(&args.only)) {
        let first = strike_with(&pair, row, args.seconds, &mut next).await?;
        let second = strike_with(&pair, row, args.seconds, &mut next).await?;
        let worst = |share| first.accepts.ms(share).max(second.accepts.ms(share));
        let failed = first.accepts.failed + second.accepts.failed;
        let more_kb = second.after.rss_kb - first.after.rss_kb;
        let more_disk = second.after.disk - first.after.disk;
        let holds = worst(0.99) <= MOST_MS
            && failed == 0
            && more_kb <= MOST_RSS_KB
            && more_disk <= MOST_DISK;
        all &= holds;
        writeln!(
            out,
            "| {} | {:.0} | {:.1} | {:.1} | {:.0} | {failed} | {:.0}, {:.0}, {:.0} | {:.0}, {:.0}, {:.0} | {} |",
            row.name(),
            second.strikes,
            worst(0.5),
            worst(0.99),
            worst(1.0),
            first.before.rss_kb / 1024.0,
            first.after.rss_kb / 1024.0,
            second.after.rss_kb / 1024.0,
            first.before.disk / 1e6,
            first.after.disk / 1e6,
            second.after.disk / 1e6,
            if holds { "yes" } else { "NO" },
        )?;
        out.flush()?;
    }
    Ok(if all {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Struck {
    before: Cost,
    after: Cost,
    accepts: calls::Done,
    /// Strikes a second.
    strikes: f64,
}

/// Strikes for so long while messages are accepted.
async fn strike_with(pair: &Pair, row: &Row, seconds: u64, next: &mut u64) -> io::Result<Struck> {
    let before = Cost::of(pair)?;
    let addr = match row.way {
        Way::Ops(_) => pair.ops_addr(),
        _ => pair.addr(),
    };
    let striker = Command::new("nice")
        .args(["-n", "19"])
        .arg(std::env::current_exe()?)
        .args([
            strike::WORD,
            &row.name(),
            &addr.to_string(),
            &seconds.to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()?;
    let first = *next;
    *next += RATE as u64 * seconds;
    let calls = Calls {
        addr: pair.addr(),
        path: "/jumper_send_whatsapp".into(),
        token: pair::TOKEN.into(),
        rate: RATE,
        length: Duration::from_secs(seconds),
        connections: 32,
    };
    let body = move |n| calls::send("struck", first + n);
    let accepts = calls::make(calls, body, Arc::default()).await;
    let said = tokio::task::spawn_blocking(|| striker.wait_with_output());
    let said = said.await.map_err(io::Error::other)??;
    assert!(said.status.success(), "the striker: {}", said.status);
    let strikes: f64 = String::from_utf8_lossy(&said.stdout)
        .trim()
        .parse()
        .unwrap_or(0.0);
    let ended = tokio::time::timeout(QUIET, async {
        while !pair.is_quiet().await {
            // waits because other processes are at work; bounded by QUIET
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    assert!(
        ended.await.is_ok(),
        "{}: what was under way does not end",
        row.name()
    );
    Ok(Struck {
        before,
        after: Cost::of(pair)?,
        accepts,
        strikes: strikes / seconds as f64,
    })
}
