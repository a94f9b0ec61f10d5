//! A server of a few lines that answers as a test tells it, also by breaking off.

use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// One request, as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    /// Method and path with query: `GET /a?b=c`.
    pub(crate) line: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What the server does.
pub(crate) enum Reaction {
    Json(u16, Value),
    /// Status, header lines, body.
    Raw(u16, &'static str, String),
    /// Promises a body and breaks off in it.
    Cut(u16, &'static str),
    /// Closes without a word.
    Close,
    /// Waits first.
    After(Duration, Box<Reaction>),
}

type React = Box<dyn Fn(usize, &Seen) -> Reaction + Send + Sync>;

struct Shared {
    react: React,
    seen: Mutex<Vec<Seen>>,
    busy: AtomicUsize,
    most_busy: AtomicUsize,
}

/// The server; ends with the test's runtime.
pub(crate) struct Fake {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Fake {
    /// A server whose reaction gets the number of the request, from 0, and the request.
    pub(crate) async fn start(
        react: impl Fn(usize, &Seen) -> Reaction + Send + Sync + 'static,
    ) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            react: Box::new(react),
            seen: Mutex::default(),
            busy: AtomicUsize::new(0),
            most_busy: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, serving.clone()));
            }
        });
        Self { url, shared }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    pub(crate) fn calls(&self) -> usize {
        self.seen().len()
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.shared.most_busy.load(Ordering::SeqCst)
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    while let Some(seen) = request(&mut stream).await {
        let busy = shared.busy.fetch_add(1, Ordering::SeqCst) + 1;
        shared.most_busy.fetch_max(busy, Ordering::SeqCst);
        let number = {
            let mut all = shared.seen.lock().unwrap();
            all.push(seen.clone());
            all.len() - 1
        };
        let mut reaction = (shared.react)(number, &seen);
        while let Reaction::After(pause, then) = reaction {
            // waits because a slow answer is what this reaction plays
            tokio::time::sleep(pause).await;
            reaction = *then;
        }
        shared.busy.fetch_sub(1, Ordering::SeqCst);
        let (answer, goes_on) = match reaction {
            Reaction::Json(status, body) => (
                whole(
                    status,
                    "content-type: application/json\r\n",
                    &body.to_string(),
                ),
                true,
            ),
            Reaction::Raw(status, head, body) => (whole(status, head, &body), true),
            Reaction::Cut(status, body) => (
                format!("HTTP/1.1 {status} X\r\ncontent-length: 9999\r\n\r\n{body}"),
                false,
            ),
            Reaction::Close | Reaction::After(..) => (String::new(), false),
        };
        if stream.write_all(answer.as_bytes()).await.is_err() || !goes_on {
            return;
        }
    }
}

fn whole(status: u16, head: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\n{head}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn request(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .map_or(0, |(_, length)| length.parse().unwrap());
        if body.len() >= length {
            let line = head
                .lines()
                .next()
                .unwrap()
                .trim_end_matches(" HTTP/1.1")
                .to_string();
            return Some(Seen {
                line,
                head: head.to_string(),
                body: body.to_string(),
            });
        }
    }
}
