//! Requests at a fixed arrival rate, or as fast as they go, over bare sockets.
//!
//! Latency counts from the moment a request was due, not from when it could be written, so a stall
//! of the gateway is not hidden by a stalled generator.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Between two tries to connect.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// What is called, how often and for how long.
#[derive(Debug, Clone)]
pub(crate) struct Calls {
    pub(crate) addr: SocketAddr,
    pub(crate) path: String,
    pub(crate) token: String,
    /// Requests a second; 0 is as fast as they go.
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) connections: usize,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Done {
    /// From due to answered, in microseconds, sorted.
    times: Vec<u32>,
    /// Requests that were not answered with a success.
    pub(crate) failed: u64,
    pub(crate) took: Duration,
}

impl Done {
    pub(crate) fn requests(&self) -> usize {
        self.times.len()
    }

    /// Milliseconds that this share of the requests took at the most.
    pub(crate) fn ms(&self, share: f64) -> f64 {
        let place = (self.times.len() as f64 * share) as usize;
        let place = place.min(self.times.len().saturating_sub(1));
        self.times
            .get(place)
            .map_or(0.0, |time| f64::from(*time) / 1e3)
    }
}

/// The body of a send of a new message: `n` tells its id and its recipient, whom nobody else has
/// while `n` is under eight million. Neither rises with `n`, as in real life.
pub(crate) fn send(prefix: &str, n: u64) -> String {
    format!(
        r#"{{"msg_id":"{prefix}_{:016x}","from":"12025550100","to":"+1202{:07}","template":{{"name":"order_update","language":{{"code":"en_US"}},"components":[{{"type":"body","parameters":[{{"type":"text","text":"Ana"}},{{"type":"text","text":"A-1042"}}]}}]}}}}"#,
        scattered(n),
        number(n)
    )
}

/// A status of an id that nobody sent, about somebody else.
pub(crate) fn status(prefix: &str, n: u64) -> String {
    format!(
        r#"{{"event":{{"type":"UPDATE","subscription_type":"livechat","data":{{"message_uuid":"{prefix}-{:016x}","status":"delivered","timestamp":"2024-01-01T00:00:00Z","channel":"whatsapp","to":"1213{:07}"}}}}}}"#,
        scattered(n),
        number(n)
    )
}

/// Another number for each, in no order.
fn scattered(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The last digits of a recipient: a prime scatters them.
pub(crate) fn number(n: u64) -> u64 {
    2_000_000 + n * 4_999_999 % 7_999_999
}

/// Makes the calls, `body(n)` each; `done` counts those that were answered.
pub(crate) async fn make(
    calls: Calls,
    body: impl Fn(u64) -> String + Clone + Send + 'static,
    done: Arc<AtomicU64>,
) -> Done {
    let next = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..calls.connections {
        let lane = Lane {
            calls: calls.clone(),
            next: next.clone(),
            done: done.clone(),
            start,
            stream: None,
            buffer: Vec::with_capacity(4096),
        };
        lanes.spawn(lane.run(body.clone()));
    }
    let mut all = Done::default();
    while let Some(lane) = lanes.join_next().await {
        let (times, failed) = lane.expect("a lane ends");
        all.times.extend(times);
        all.failed += failed;
    }
    all.took = start.elapsed();
    all.times.sort_unstable();
    all
}

struct Lane {
    calls: Calls,
    next: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    start: Instant,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Lane {
    async fn run(mut self, body: impl Fn(u64) -> String) -> (Vec<u32>, u64) {
        let (mut times, mut failed) = (Vec::new(), 0);
        loop {
            let n = self.next.fetch_add(1, Ordering::Relaxed);
            let due = if self.calls.rate > 0.0 {
                self.start + Duration::from_secs_f64(n as f64 / self.calls.rate)
            } else {
                Instant::now()
            };
            if due.duration_since(self.start) >= self.calls.length {
                return (times, failed);
            }
            // waits because the request is not due yet
            tokio::time::sleep_until(due.into()).await;
            if !self.exchange(&body(n)).await.unwrap_or(false) {
                failed += 1;
            }
            self.done.fetch_add(1, Ordering::Relaxed);
            times.push(u32::try_from(due.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }

    /// Sends one request and reads its answer; whether it was a success.
    async fn exchange(&mut self, body: &str) -> io::Result<bool> {
        let Calls { path, token, .. } = &self.calls;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect().await?,
        };
        stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        loop {
            if stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
            let length = head
                .split("content-length: ")
                .nth(1)
                .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
            if self.buffer.len() >= end + 4 + length.unwrap_or(0) {
                let body = String::from_utf8_lossy(&self.buffer[end + 4..]);
                self.stream = Some(stream);
                return Ok(head.starts_with("http/1.1 200") && body.contains("success"));
            }
        }
    }

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.calls.addr).await;
        if stream.is_err() {
            // waits because a gateway that is away should not be asked a million times
            tokio::time::sleep(CONNECT_AGAIN).await;
        }
        let stream = stream?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
