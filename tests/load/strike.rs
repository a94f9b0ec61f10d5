//! Who does harm: many connections that sit there, or say the same again and again.

use crate::pair::{TOKEN, webhook};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The first argument of a striker.
pub(crate) const WORD: &str = "--strike";
/// Connections that sit there, and those that ask.
const SEATS: usize = 2000;
const ASKING: usize = 16;
/// Bytes of a large body: the most that is taken.
const LARGE: usize = 1 << 20;

/// Where it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The public listener, without a secret or token, or with it.
    Stranger(What),
    Holder(What),
    /// The ops listener, which is open by default to whoever reaches it.
    Ops(What),
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Connections that stay: nothing said, half a head, a body that comes byte by byte, asked once.
    Silent,
    HalfHead,
    Drips,
    Idle,
    /// Bodies at the webhook.
    Nested,
    LongString,
    LongNumber,
    NotUnicode,
    ManyEmpty,
    MadeUpStatuses,
    MadeUpReplies,
    Elements,
    /// Bodies of a send.
    ManyComponents,
    HugeText,
    /// Paths.
    Guesses,
    LongPath,
    Escapes,
    Unknown,
    Search,
    Metrics,
    /// Heads.
    ManyHeaders,
    LongHeader,
    Chunks,
    BadLength,
    Compressed,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) way: Way,
}

impl Row {
    /// The first three cells.
    pub(crate) fn name(&self) -> String {
        let (at, who, what) = match self.way {
            Way::Stranger(what) => ("public", "stranger", what),
            Way::Holder(what) => ("public", "holder", what),
            Way::Ops(what) => ("ops", "operator", what),
        };
        format!("{at} | {who} | {what:?}")
    }
}

const fn row(way: Way) -> Row {
    Row { way }
}

use Way::{Holder, Ops, Stranger};
use What::*;

pub(crate) const ROWS: [Row; 46] = [
    row(Stranger(Idle)),
    row(Stranger(Silent)),
    row(Stranger(HalfHead)),
    row(Stranger(Drips)),
    row(Stranger(Nested)),
    row(Stranger(LongString)),
    row(Stranger(MadeUpStatuses)),
    row(Stranger(MadeUpReplies)),
    row(Stranger(HugeText)),
    row(Stranger(Guesses)),
    row(Stranger(LongPath)),
    row(Stranger(Escapes)),
    row(Stranger(Unknown)),
    row(Stranger(ManyHeaders)),
    row(Stranger(LongHeader)),
    row(Stranger(Chunks)),
    row(Stranger(BadLength)),
    row(Stranger(Compressed)),
    row(Holder(Drips)),
    row(Holder(Nested)),
    row(Holder(LongString)),
    row(Holder(LongNumber)),
    row(Holder(NotUnicode)),
    row(Holder(ManyEmpty)),
    row(Holder(MadeUpStatuses)),
    row(Holder(MadeUpReplies)),
    row(Holder(Elements)),
    row(Holder(ManyComponents)),
    row(Holder(HugeText)),
    row(Holder(ManyHeaders)),
    row(Holder(LongHeader)),
    row(Holder(Chunks)),
    row(Holder(BadLength)),
    row(Holder(Compressed)),
    row(Ops(Idle)),
    row(Ops(Silent)),
    row(Ops(HalfHead)),
    row(Ops(Drips)),
    row(Ops(LongPath)),
    row(Ops(Escapes)),
    row(Ops(Unknown)),
    row(Ops(Search)),
    row(Ops(Metrics)),
    row(Ops(ManyHeaders)),
    row(Ops(LongHeader)),
    row(Ops(Chunks)),
];

/// Strikes: the name of the row, the address, for how many seconds. Prints how often.
pub(crate) async fn run(mut words: impl Iterator<Item = String>) -> io::Result<ExitCode> {
    let mut word = || words.next().expect("a row, an address, seconds");
    let (name, addr, seconds) = (word(), word(), word());
    let row = ROWS.iter().find(|row| row.name() == name).expect("a row");
    let addr: SocketAddr = addr.parse().expect("an address");
    let end = Instant::now() + Duration::from_secs(seconds.parse().expect("seconds"));
    let (way, done) = (row.way, Arc::new(AtomicU64::new(0)));
    let seats = match what(way) {
        Idle | Silent | HalfHead | Drips => SEATS,
        _ => ASKING,
    };
    let tasks = (0..seats).map(|seat| {
        let done = done.clone();
        tokio::spawn(async move {
            let mut n = 0;
            while Instant::now() < end {
                n += 1;
                let turn = strike(way, addr, end, (seat as u64) << 32 | n);
                if turn.await.is_err() {
                    // waits because whoever is turned away comes again
                    sleep(Duration::from_millis(20)).await;
                }
                done.fetch_add(1, Relaxed);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await?;
    }
    writeln!(io::stdout(), "{}", done.load(Relaxed))?;
    Ok(ExitCode::SUCCESS)
}

fn what(way: Way) -> What {
    match way {
        Stranger(what) | Holder(what) | Ops(what) => what,
    }
}

/// One connection, until it is answered, closed, or time is up.
async fn strike(way: Way, addr: SocketAddr, end: Instant, n: u64) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    let turn = async {
        let mut stream = TcpStream::connect(addr).await?;
        let sits = matches!(what(way), Idle | Silent | HalfHead | Drips);
        stream.write_all(&said(way, n)).await?;
        let mut buffer = [0; 4096];
        if sits {
            loop {
                let closed = timeout(Duration::from_millis(500), stream.read(&mut buffer)).await;
                match closed {
                    Ok(Ok(0) | Err(_)) => return Ok(()),
                    Ok(Ok(_)) => {}
                    Err(_) if what(way) == Drips => stream.write_all(b"1").await?,
                    Err(_) => {}
                }
            }
        }
        // Each says `connection: close`, so the answer ends with the connection.
        while stream.read(&mut buffer).await? > 0 {}
        Ok(())
    };
    timeout(left, turn).await.unwrap_or(Ok(()))
}

/// What is said at first.
#[expect(clippy::too_many_lines, reason = "a table")]
fn said(way: Way, n: u64) -> Vec<u8> {
    let what = what(way);
    let is_send = matches!(what, ManyComponents | HugeText);
    let path = match (way, is_send) {
        (_, true) => "/jumper_send_whatsapp".to_owned(),
        (Holder(_), false) => webhook(),
        (Stranger(_), false) => "/jumper_callback".to_owned(),
        (Ops(_), false) => "/api/search".to_owned(),
    };
    let token = match way {
        Holder(_) => format!("authorization: Bearer {TOKEN}\r\n"),
        _ => String::new(),
    };
    let post = |path: &str, more: &str, body: &[u8]| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\n{more}content-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    };
    let get = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\n{more}\r\n")
            .into_bytes()
    };
    match what {
        Silent => Vec::new(),
        HalfHead => b"POST /jumper_callback HTTP/1.1\r\nhost: x\r\nx-hal".to_vec(),
        Idle => b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(),
        Drips => {
            format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-length: 100000\r\n\r\n{{")
                .into_bytes()
        }
        Nested => post(&path, "", &b"[".repeat(LARGE)),
        LongString => post(
            &path,
            "",
            &[b"{\"a\":\"", &b"\\u0041".repeat(LARGE / 6 - 4)[..], b"\"}"].concat(),
        ),
        LongNumber => post(
            &path,
            "",
            &[b"{\"a\":1", &b"9".repeat(LARGE - 16)[..], b"}"].concat(),
        ),
        NotUnicode => post(
            &path,
            "",
            &[b"{\"a\":\"", &b"\xff\xfe".repeat(LARGE / 2 - 8)[..], b"\"}"].concat(),
        ),
        ManyEmpty => post(
            &path,
            "",
            &[b"[{}", &b",{}".repeat(LARGE / 3 - 4)[..], b"]"].concat(),
        ),
        MadeUpStatuses => post(&path, "", &statuses(n, 2000)),
        MadeUpReplies => post(&path, "", &replies(n, 2000)),
        Elements => post(&path, "", &statuses(n, 5000)),
        ManyComponents => post(&path, "", &components(n)),
        HugeText => post(
            &path,
            "",
            &[b"{\"msg_id\":\"", &b"a".repeat(LARGE - 32)[..], b"\"}"].concat(),
        ),
        Guesses => post(&format!("/jumper_callback/guess-{n}"), "", b"{}"),
        LongPath => get(&format!("/{}", "a".repeat(16_000)), ""),
        Escapes => get(&format!("/%2e%2e/{}", "%41%zz".repeat(1000)), ""),
        Unknown => get(&format!("/api/messages/unknown-{n}"), ""),
        Search => post(
            "/api/search",
            "content-type: application/json\r\n",
            br#"{"to":"+12025550143"}"#,
        ),
        Metrics => get("/metrics", ""),
        ManyHeaders => {
            let more: String = (0..90).map(|k| format!("x-{k}: {n}\r\n")).collect();
            post(&path, &more, b"{}")
        }
        LongHeader => post(&path, &format!("x-long: {}\r\n", "a".repeat(60_000)), b"{}"),
        Chunks => {
            let head = format!(
                "POST {path} HTTP/1.1\r\nhost: x\r\n{token}connection: close\r\ntransfer-encoding: chunked\r\n\r\n"
            );
            [
                head.as_bytes(),
                &b"1\r\n[\r\n".repeat(20_000)[..],
                b"0\r\n\r\n",
            ]
            .concat()
        }
        BadLength => {
            format!("POST {path} HTTP/1.1\r\nhost: x\r\n{token}content-length: 5, 6\r\n\r\n{{}}")
                .into_bytes()
        }
        Compressed => post(&path, "content-encoding: gzip\r\n", &[0x1f; 10_000]),
    }
}

/// A body of statuses of messages that nobody sent, others each time.
fn statuses(n: u64, count: usize) -> Vec<u8> {
    let one = |k| {
        format!(
            r#"{{"id":"made-up-{n:x}-{k}","status":"sent","timestamp":"1930000000","recipient_id":"1213{:07}"}}"#,
            k + 2_000_000
        )
    };
    let all: Vec<String> = (0..count).map(one).collect();
    format!(r#"{{"event":{{"type":"UPDATE","data":{{"entry":[{{"changes":[{{"value":{{"statuses":[{}]}}}}]}}]}}}}}}"#, all.join(",")).into_bytes()
}

/// A body of replies of people to whom nobody wrote, who want no messages.
fn replies(n: u64, count: usize) -> Vec<u8> {
    let one = |k| {
        format!(
            r#"{{"event":{{"type":"NEW","data":{{"messageid":"{n:x}-{k}","mobile":"1213{:07}","message":"STOP"}}}}}}"#,
            k + 2_000_000
        )
    };
    let all: Vec<String> = (0..count).map(one).collect();
    format!("[{}]", all.join(",")).into_bytes()
}

/// A send with more components than any template has.
fn components(n: u64) -> Vec<u8> {
    let one = r#"{"type":"body","parameters":[{"type":"text","text":"a"}]}"#;
    let all = vec![one; 15_000].join(",");
    format!(r#"{{"msg_id":"c{n:x}","from":"12025550100","to":"+12025550143","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{all}]}}}}"#).into_bytes()
}
