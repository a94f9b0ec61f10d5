//! Real stores for tests of whatever needs one: an embedded one in a throw-away directory, a Redis
//! server of the test's own.

use super::StoreError;
use super::embedded::{Settings, Store};
use super::redis;
use rusqlite::Connection;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Until when events may be begun, where that is not what is tested.
pub(crate) fn in_time() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(3600)
}

/// A store of its own. It lives in the directory, so keep both.
pub(crate) fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

/// The store of this directory.
pub(crate) fn open(dir: &Path) -> Store {
    open_with(&settings(dir))
}

/// The store of these settings, opened again by the process that had it open.
pub(crate) fn open_with(settings: &Settings) -> Store {
    let give_up = Instant::now() + Duration::from_secs(5);
    loop {
        match Store::open(settings) {
            Err(StoreError::InUse(_)) if Instant::now() < give_up => {
                // waits because a test beside this one may just be starting a server: until that
                // has replaced its image, it shares our open files, the lock among them
                std::thread::sleep(Duration::from_millis(1));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// Settings that never run out of disk.
pub(crate) fn settings(dir: &Path) -> Settings {
    Settings {
        data_dir: dir.into(),
        min_free: 0,
        mark_dirty: false,
    }
}

/// A connection beside the store's own, to look into its file or to do it harm.
pub(crate) fn beside(dir: &Path) -> Connection {
    Connection::open(dir.join("gateway.db")).unwrap()
}

/// From now on the store fails to keep tokens, templates and settings.
pub(crate) fn break_kept(dir: &Path) {
    let trigger = |name: &str, step: &str| {
        format!(
            "CREATE TRIGGER {name} BEFORE {step} ON kept BEGIN SELECT RAISE(ABORT, 'broken'); END;"
        )
    };
    let triggers = [
        trigger("no_insert", "INSERT"),
        trigger("no_update", "UPDATE"),
    ];
    beside(dir).execute_batch(&triggers.concat()).unwrap();
}

/// Undoes [`break_kept`].
pub(crate) fn mend_kept(dir: &Path) {
    let mended = "DROP TRIGGER no_insert; DROP TRIGGER no_update;";
    beside(dir).execute_batch(mended).unwrap();
}

/// A Redis server of its own, on a socket in a throw-away directory; killed when dropped.
pub(crate) struct RedisServer {
    child: Mutex<Child>,
    dir: TempDir,
}

impl RedisServer {
    /// Starts one that keeps nothing on disk.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Mutex::new(serve(dir.path()));
        Self { child, dir }
    }

    /// Starts it anew, with nothing of what it had. Callers meet a connection that is broken.
    pub(crate) fn restart(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        *child = serve(self.dir.path());
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("redis.sock")
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// A connection to it.
    pub(crate) fn link(&self) -> redis::Connection {
        link_by(&self.socket())
    }
}

/// A server that keeps nothing on disk.
fn serve(dir: &Path) -> Child {
    let socket = dir.join("redis.sock");
    let _ = std::fs::remove_file(&socket);
    let child = Command::new("redis-server")
        .args(["--port", "0", "--save", "", "--appendonly", "no"])
        .args(["--unixsocket", "redis.sock"])
        .current_dir(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: tests/run.sh prepare");
    let give_up = Instant::now() + Duration::from_secs(10);
    while UnixStream::connect(&socket).is_err() {
        assert!(Instant::now() < give_up, "redis-server does not start");
        // waits because the socket is made by another process; bounded
        std::thread::sleep(Duration::from_millis(2));
    }
    child
}

/// A connection by this socket.
pub(crate) fn link_by(socket: &Path) -> redis::Connection {
    let settings = redis::Settings {
        url: format!("redis+unix://{}", socket.display()).into(),
        wait_replicas: 0,
    };
    redis::Connection::new(&settings).unwrap()
}

impl RedisServer {
    /// Takes its directory away under a schedule of snapshots, and waits until one has failed. No
    /// new connection finds the socket afterwards.
    pub(crate) async fn lose_disk(&self) {
        let link = self.link();
        let ask = async |words: [&str; 4]| {
            let mut command = ::redis::Cmd::new();
            words
                .iter()
                .filter(|word| !word.is_empty())
                .for_each(|word| {
                    command.arg(word);
                });
            flat(&link.command(&command).await.unwrap())
        };
        ask(["CONFIG", "SET", "save", "3600 1"]).await;
        std::fs::remove_dir_all(self.dir.path()).unwrap();
        ask(["BGSAVE", "", "", ""]).await;
        let give_up = Instant::now() + Duration::from_secs(10);
        while !ask(["INFO", "persistence", "", ""])
            .await
            .contains("rdb_last_bgsave_status:err")
        {
            assert!(Instant::now() < give_up, "the snapshot does not fail");
            // waits because the snapshot is made by a child of Redis; bounded
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs a command and gives what it answers as text: nothing for nil, words for a list.
    pub(crate) async fn say(&self, words: &str) -> String {
        let mut command = ::redis::Cmd::new();
        for word in words.split(' ') {
            command.arg(match word {
                "''" => &b""[..],
                // Bytes that are no text.
                "X" => b"\xff\xfe",
                word => word.as_bytes(),
            });
        }
        flat(&self.link().command(&command).await.unwrap())
    }
}

fn flat(value: &::redis::Value) -> String {
    match value {
        ::redis::Value::Array(all) => all.iter().map(flat).collect::<Vec<_>>().join(" "),
        one => ::redis::from_redis_value_ref(one).unwrap_or_default(),
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Ends the leases of a replica now, as if it had been silent for too long.
pub(crate) async fn expire_replica(server: &RedisServer, replica: &str) {
    let link = server.link();
    let mut keys = ::redis::cmd("KEYS");
    keys.arg("gw:*replicas");
    let keys: Vec<String> = link.command(&keys).await.unwrap();
    for key in keys {
        // However slow this machine is, nobody was silent.
        let account = key.trim_end_matches("replicas");
        let mut calm = ::redis::cmd("DEL");
        calm.arg(format!("{account}beat"))
            .arg(format!("{account}calm"));
        let _: u32 = link.command(&calm).await.unwrap();
        let mut expire = ::redis::cmd("ZADD");
        expire.arg(key).arg("XX").arg(1).arg(replica);
        let _: i64 = link.command(&expire).await.unwrap();
    }
}
