//! A way to Redis on which an answer gets lost when a test wants it.

use super::*;
use crate::store::redis::Connection;
use crate::store::testing::{self, RedisServer};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tempfile::TempDir;

/// The way of one process. Its connections end with their process, the threads with them.
pub(super) struct Road {
    dir: TempDir,
    /// The next answer is lost, and the connection with it.
    lose: Arc<AtomicBool>,
    /// New connections are closed at once.
    shut: Arc<AtomicBool>,
    closed: Arc<AtomicBool>,
}

impl Road {
    pub(super) fn to(server: &RedisServer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("road.sock")).unwrap();
        let [lose, shut, closed] = [(); 3].map(|()| Arc::<AtomicBool>::default());
        let (doom, is_shut, end) = (lose.clone(), shut.clone(), closed.clone());
        let socket = server.socket();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Acquire) {
                    return;
                }
                if !is_shut.load(Ordering::Acquire) {
                    join(&client, &socket, &doom);
                }
            }
        });
        Self {
            dir,
            lose,
            shut,
            closed,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("road.sock")
    }

    pub(super) fn link(&self) -> Connection {
        testing::link_by(&self.socket())
    }

    /// The next answer is lost.
    pub(super) fn lose_next(&self) {
        self.lose.store(true, Ordering::Release);
    }

    /// Whether there is no new connection to be had, so that nothing is asked again.
    pub(super) fn shut(&self, on: bool) {
        self.shut.store(on, Ordering::Release);
    }

    /// Whether no answer is to be lost any more.
    pub(super) fn has_lost(&self) -> bool {
        !self.lose.load(Ordering::Acquire)
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Release);
        // The listener is waiting for somebody.
        let _ = UnixStream::connect(self.socket());
    }
}

fn join(client: &UnixStream, socket: &PathBuf, lose: &Arc<AtomicBool>) {
    let Ok(redis) = UnixStream::connect(socket) else {
        return;
    };
    let pair = || (client.try_clone().unwrap(), redis.try_clone().unwrap());
    let (mut from, mut to) = pair();
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let ((mut to, mut from), lose) = (pair(), lose.clone());
    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let lost = lose.swap(false, Ordering::AcqRel);
            if lost || to.write_all(&bytes[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    });
}
