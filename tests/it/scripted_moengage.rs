//! A MoEngage of a few lines whose every answer a test writes byte by byte: what the sandbox's
//! does not say (Retry-After, a cut connection at a chosen moment), and the bodies as they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the peer does with one request.
#[derive(Clone)]
pub(crate) enum Say {
    /// Writes these bytes and closes.
    Raw(String),
    /// The same, after a while.
    Slow(Duration, String),
    /// Closes without a byte.
    Cut,
    /// Never answers.
    Nothing,
}

impl Say {
    pub(crate) fn status(status: &str, headers: &str, body: &str) -> Self {
        let length = body.len();
        Self::Raw(format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
        ))
    }

    pub(crate) fn taken() -> Self {
        Self::status("200 OK", "", r#"{"status":"success"}"#)
    }
}

/// One request as it came.
#[derive(Clone)]
pub(crate) struct Post {
    pub(crate) at: Instant,
    pub(crate) body: String,
}

#[derive(Default)]
struct Shared {
    says: Mutex<VecDeque<Say>>,
    posts: Mutex<Vec<Post>>,
}

/// Listens while it lives.
pub(crate) struct Peer {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// A peer that takes everything once what it was told to `say` is used up.
    pub(crate) async fn start(says: impl IntoIterator<Item = Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/dlr", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        shared.says.lock().unwrap().extend(says);
        let site = shared.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, site.clone()));
            }
        });
        Self { url, shared, task }
    }

    /// The requests so far.
    pub(crate) fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, site: Arc<Shared>) {
    let Some(body) = request(&mut stream).await else {
        return;
    };
    let at = Instant::now();
    site.posts.lock().unwrap().push(Post { at, body });
    let say = site.says.lock().unwrap().pop_front();
    match say.unwrap_or_else(Say::taken) {
        Say::Raw(text) => {
            // A caller that hung up is the caller's business.
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Say::Slow(time, text) => {
            // waits because slowness is what the test asked for
            tokio::time::sleep(time).await;
            let _ = stream.write_all(text.as_bytes()).await;
        }
        Say::Cut => {}
        Say::Nothing => std::future::pending().await,
    }
}

/// Reads head and body of one request.
async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))?;
            if body.len() >= length.parse().ok()? {
                return Some(body.to_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}
