//! A peer of a few lines that answers every request alike and keeps the bodies: for those beside the path
//! whom nobody plays, Slack and the token endpoint of Google.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Listens while it lives.
pub(crate) struct Peer {
    pub(crate) url: String,
    bodies: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Peer {
    /// A peer that answers this status, such as `200 OK`, with this body.
    pub(crate) async fn start(status: &str, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let length = body.len();
        let said = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let kept = bodies.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, said.clone(), kept.clone()));
            }
        });
        Self { url, bodies, task }
    }

    /// The bodies so far.
    pub(crate) fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, said: String, kept: Arc<Mutex<Vec<String>>>) {
    let Some(body) = request(&mut stream).await else {
        return;
    };
    kept.lock().unwrap().push(body);
    // A caller that hung up is the caller's business.
    let _ = stream.write_all(said.as_bytes()).await;
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
