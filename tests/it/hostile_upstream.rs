//! An upstream of a few lines that is hostile: it sends callers elsewhere or talks without end. And a
//! trap that sees whoever comes there.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Listens and keeps whatever comes, a bare connection too. Nobody should come.
pub(crate) struct Trap {
    pub(crate) url: String,
    came: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Trap {
    pub(crate) async fn set() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let came = Arc::new(Mutex::new(Vec::new()));
        let kept = came.clone();
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let at = {
                    let mut came = kept.lock().unwrap();
                    came.push(String::new());
                    came.len() - 1
                };
                let kept = kept.clone();
                tokio::spawn(async move {
                    let mut piece = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut piece).await {
                        let text = String::from_utf8_lossy(&piece[..length]).into_owned();
                        kept.lock().unwrap()[at].push_str(&text);
                    }
                });
            }
        });
        Self { url, came, task }
    }

    /// Shows that it would have seen anybody, and that nobody came.
    pub(crate) async fn assert_empty(&self) {
        let addr = self.url.trim_start_matches("http://");
        let mut probe = TcpStream::connect(addr).await.unwrap();
        probe.write_all(b"probe").await.unwrap();
        crate::kit::harness::until("the trap sees its probe", async || {
            let came = self.came.lock().unwrap();
            came.iter().any(|said| said == "probe").then_some(())
        })
        .await;
        assert_eq!(*self.came.lock().unwrap(), ["probe"]);
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What an upstream does with a request.
#[derive(Clone)]
pub(crate) enum Does {
    /// 307, to this address and the same path.
    Moves(String),
    /// 200, and a body that goes on until the caller has enough.
    Pours,
    /// 200 with this JSON.
    Says(String),
}

#[derive(Default)]
struct Seen {
    heads: Vec<String>,
    /// Bodies that came to an end, by the beginning of their path.
    poured: Vec<(&'static str, usize)>,
}

/// Listens while it lives.
pub(crate) struct Upstream {
    pub(crate) url: String,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Upstream {
    /// The first of `routes` that a path begins with decides.
    pub(crate) async fn start(routes: &[(&'static str, Does)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (kept, routes) = (seen.clone(), routes.to_vec());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, routes.clone(), kept.clone()));
            }
        });
        Self { url, seen, task }
    }

    pub(crate) fn host(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The first head that has this in it.
    pub(crate) fn head_with(&self, part: &str) -> Option<String> {
        let seen = self.seen.lock().unwrap();
        seen.heads.iter().find(|head| head.contains(part)).cloned()
    }

    /// What was written of a body of this route until the caller had enough.
    pub(crate) fn poured(&self, route: &str) -> Option<usize> {
        let seen = self.seen.lock().unwrap();
        let found = seen.poured.iter().find(|(path, _)| *path == route);
        found.map(|(_, bytes)| *bytes)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads the head of a request, and its body as far as it has come.
async fn head_of(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase().lines().find_map(|line| {
                let length = line.strip_prefix("content-length:")?;
                length.trim().parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(head.to_owned());
            }
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn answer(mut stream: TcpStream, routes: Vec<(&'static str, Does)>, seen: Arc<Mutex<Seen>>) {
    let Some(head) = head_of(&mut stream).await else {
        return;
    };
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().heads.push(head);
    let route = routes.iter().find(|(route, _)| path.starts_with(route));
    let (route, does) = route.cloned().expect("a route for every path");
    let said = match does {
        Does::Moves(to) => format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}{path}\r\ncontent-length: 0\r\n\
             connection: close\r\n\r\n"
        ),
        Does::Says(json) => format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{json}",
            json.len()
        ),
        Does::Pours => {
            let bytes = pour(&mut stream).await;
            seen.lock().unwrap().poured.push((route, bytes));
            return;
        }
    };
    // A caller that hung up is the caller's business.
    let _ = stream.write_all(said.as_bytes()).await;
}

/// White space, which no reader of JSON would stop at.
async fn pour(stream: &mut TcpStream) -> usize {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    let piece = [b' '; 65_536];
    let mut bytes = 0;
    if stream.write_all(head.as_bytes()).await.is_ok() {
        while let Ok(written @ 1..) = stream.write(&piece).await {
            bytes += written;
        }
    }
    bytes
}
