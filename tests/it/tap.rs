//! A wire between the gateway and the sandbox that keeps what the gateway says, and that can be
//! cut and mended at one address.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The wire; cut when dropped.
pub(crate) struct Tap {
    pub(crate) addr: SocketAddr,
    said: Arc<Mutex<Vec<u8>>>,
    task: JoinHandle<()>,
}

impl Tap {
    /// Listens at `addr` and passes everything on to the sandbox at `url`.
    pub(crate) async fn open(addr: SocketAddr, url: &str) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let behind = url.trim_start_matches("http://").to_owned();
        let said = Arc::new(Mutex::new(Vec::new()));
        let kept = said.clone();
        let task = tokio::spawn(async move {
            // Dropped with this task, so that a cut wire is cut for every connection.
            let mut wires = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let (behind, kept) = (behind.clone(), kept.clone());
                wires.spawn(async move {
                    let far = TcpStream::connect(behind).await.unwrap();
                    pass(near, far, kept).await;
                });
            }
        });
        Self { addr, said, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Everything the gateway said, as text.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.said.lock().unwrap()).into_owned()
    }

    /// Cuts every connection; nobody listens any more when this returns.
    pub(crate) async fn cut(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(near: TcpStream, far: TcpStream, kept: Arc<Mutex<Vec<u8>>>) {
    let (mut from_near, mut to_near) = near.into_split();
    let (mut from_far, mut to_far) = far.into_split();
    let up = async {
        let mut piece = [0; 16384];
        while let Ok(length @ 1..) = from_near.read(&mut piece).await {
            kept.lock().unwrap().extend_from_slice(&piece[..length]);
            if to_far.write_all(&piece[..length]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = up => {}
        _ = copy(&mut from_far, &mut to_near) => {}
    }
}
