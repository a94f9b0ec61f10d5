//! Load on a running gateway: a fixed arrival rate or as fast as it goes, and percentiles.
//!
//! `cargo bench --bench load -- accept --rate 12500 --seconds 20 --url http://127.0.0.1:3001`
//! Latency counts from the moment a request was due, not from when it could be written, so a stall
//! of the gateway is not hidden by a stalled generator.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

struct Args {
    kind: String,
    addr: SocketAddr,
    path: String,
    token: String,
    rate: f64,
    seconds: u64,
    connections: usize,
    prefix: String,
}

fn args() -> Args {
    let mut args = Args {
        kind: "accept".into(),
        addr: ([127, 0, 0, 1], 3001).into(),
        path: String::new(),
        token: "tok".into(),
        rate: 0.0,
        seconds: 10,
        connections: 64,
        prefix: format!("{:x}", std::process::id()),
    };
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        let mut value = || {
            words
                .next()
                .unwrap_or_else(|| panic!("{word} wants a value"))
        };
        match word.as_str() {
            "--addr" => args.addr = value().parse().expect("an address"),
            "--path" => args.path = value(),
            "--token" => args.token = value(),
            "--rate" => args.rate = value().parse().expect("a rate"),
            "--seconds" => args.seconds = value().parse().expect("seconds"),
            "--connections" => args.connections = value().parse().expect("a number"),
            "--prefix" => args.prefix = value(),
            kind => args.kind = kind.into(),
        }
    }
    if args.path.is_empty() {
        let path = if args.kind == "accept" {
            "/jumper_send_whatsapp"
        } else {
            "/jumper_callback"
        };
        args.path = path.into();
    }
    args
}

/// The body of request `n`: a new message, or a status of an id that nobody sent.
fn body(args: &Args, n: u64) -> String {
    if args.kind == "accept" {
        format!(
            r#"{{"msg_id":"{}_{n:09}","from":"12025550100","to":"+1202{:07}","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"Ana"}},{{"type":"text","text":"A-1042"}}]}}]}}}}"#,
            args.prefix,
            2_000_000 + n % 7_999_999,
        )
    } else {
        format!(
            r#"{{"event":{{"type":"UPDATE","subscription_type":"livechat","data":{{"message_uuid":"{}-{n:09}","status":"delivered","timestamp":"2024-01-01T00:00:00Z","channel":"whatsapp","to":"1202{:07}"}}}}}}"#,
            args.prefix,
            2_000_000 + n % 7_999_999,
        )
    }
}

fn request(args: &Args, n: u64) -> Vec<u8> {
    let body = body(args, n);
    format!(
        "POST {} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        args.path, args.token, body.len()
    )
    .into_bytes()
}

/// Sends one request and reads its answer; whether it was a success.
async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        if buffer.len() >= end + 4 + length.unwrap_or(0) {
            let body = String::from_utf8_lossy(&buffer[end + 4..]);
            return Ok(head.starts_with("http/1.1 200") && body.contains("success"));
        }
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> io::Result<()> {
    let args = Arc::new(args());
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..args.connections {
        let (args, next) = (args.clone(), next.clone());
        lanes.spawn(async move { lane(&args, &next, start).await });
    }
    let (mut times, mut failed) = (Vec::new(), 0);
    while let Some(lane) = lanes.join_next().await {
        let (lane_times, lane_failed) = lane.expect("a lane ends")?;
        times.extend(lane_times);
        failed += lane_failed;
    }
    let took = start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times
            .get(place)
            .map_or(0.0, |t: &Duration| t.as_secs_f64() * 1e3)
    };
    writeln!(
        io::stdout(),
        "{}: {} done, {failed} failed, {:.0}/s; ms p50 {:.2} p90 {:.2} p99 {:.2} p99.9 {:.2} max {:.2}",
        args.kind,
        times.len(),
        times.len() as f64 / took,
        at(0.5),
        at(0.9),
        at(0.99),
        at(0.999),
        at(1.0),
    )?;
    Ok(())
}

async fn lane(args: &Args, next: &AtomicU64, start: Instant) -> io::Result<(Vec<Duration>, u64)> {
    let mut stream = TcpStream::connect(args.addr).await?;
    stream.set_nodelay(true)?;
    let (mut times, mut failed, mut buffer) = (Vec::new(), 0, Vec::with_capacity(4096));
    let length = Duration::from_secs(args.seconds);
    loop {
        let n = next.fetch_add(1, Ordering::Relaxed);
        let due = if args.rate > 0.0 {
            let due = start + Duration::from_secs_f64(n as f64 / args.rate);
            tokio::time::sleep_until(due.into()).await;
            due
        } else {
            Instant::now()
        };
        if due.duration_since(start) >= length {
            return Ok((times, failed));
        }
        if !exchange(&mut stream, &request(args, n), &mut buffer).await? {
            failed += 1;
        }
        times.push(due.elapsed());
    }
}
