//! A real Redis server of the test's own, on a socket in a throw-away directory, and the harm that
//! can be done to it: killed, stopped in its tracks, read-only, without memory, without scripts.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Whether this build can keep its data in Redis.
const WIRED: bool = true;

/// Ends a test of the gateway on Redis while this build has none.
macro_rules! on_redis_only {
    () => {
        if !$crate::kit::redis_server::wired() {
            return;
        }
    };
}
pub(crate) use on_redis_only;

pub(crate) fn wired() -> bool {
    if !WIRED {
        crate::kit::harness::say_skipped("REDIS_URL is not supported yet");
    }
    WIRED
}

/// How long the server may take to start, loading its data included.
const START: Duration = Duration::from_secs(15);

/// How the server keeps its data. Times of death decide what that is worth (design.md G1).
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// `yes` or `no`.
    appendonly: &'static str,
    /// `always`, `everysec` or `no`.
    appendfsync: &'static str,
}

impl Options {
    /// What survives the death of the process, not of the machine: the usual one.
    pub(crate) fn every_second() -> Self {
        Self {
            appendonly: "yes",
            appendfsync: "everysec",
        }
    }

    /// What survives the death of the machine too.
    pub(crate) fn always() -> Self {
        Self {
            appendonly: "yes",
            appendfsync: "always",
        }
    }

    /// What survives nothing.
    pub(crate) fn forgetful() -> Self {
        Self {
            appendonly: "no",
            appendfsync: "no",
        }
    }
}

/// The server; killed when dropped.
pub(crate) struct Redis {
    child: Mutex<Child>,
    options: Options,
    env: Vec<(String, String)>,
    dir: tempfile::TempDir,
}

impl Redis {
    /// Starts one, empty.
    pub(crate) fn start(options: Options) -> Self {
        Self::start_under(options, &[])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_under(options: Options, env: &[(String, String)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let child = Mutex::new(spawn(&options, env, dir.path()));
        let redis = Self {
            child,
            options,
            env: env.to_vec(),
            dir,
        };
        redis.until_it_answers();
        redis
    }

    /// For `REDIS_URL`.
    pub(crate) fn url(&self) -> String {
        format!("redis+unix://{}", self.socket())
    }

    pub(crate) fn socket(&self) -> String {
        self.dir.path().join("redis.sock").display().to_string()
    }

    /// kill -9, as bad luck would.
    pub(crate) fn kill9(&self) {
        let mut child = self.child.lock().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A new start on the same directory and socket, after [`Self::kill9`]. Returns when the data
    /// are loaded.
    pub(crate) fn restart(&self) {
        let fresh = spawn(&self.options, &self.env, self.dir.path());
        let mut old = std::mem::replace(&mut *self.child.lock().unwrap(), fresh);
        assert!(old.try_wait().unwrap().is_some(), "it was not killed");
        self.until_it_answers();
    }

    /// SIGSTOP: it holds its connections open and answers nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT: it goes on where it stopped.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.lock().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success(), "kill {signal} {pid}");
    }

    /// Asks it something, as `redis-cli` would; the answer, a line for each part of it.
    pub(crate) fn cli(&self, args: &[&str]) -> String {
        let answer = self.try_cli(args);
        assert!(!answer.starts_with("ERR"), "{args:?}: {answer}");
        answer
    }

    fn try_cli(&self, args: &[&str]) -> String {
        let answer = Command::new("redis-cli")
            .args(["-s", &self.socket()])
            .args(args)
            .output()
            .expect("redis-cli comes with redis-server: tests/run.sh prepare");
        let said = if answer.status.success() {
            answer.stdout
        } else {
            answer.stderr
        };
        String::from_utf8(said).unwrap().trim().to_owned()
    }

    /// It forgets every script, as after a restart without its data or on a replica promoted.
    pub(crate) fn flush_scripts(&self) {
        assert_eq!(self.cli(&["SCRIPT", "FLUSH"]), "OK");
    }

    /// It refuses writes with `READONLY`, as a replica does, or takes them again. Keeps its data.
    pub(crate) fn read_only(&self, on: bool) {
        let answer = if on {
            // Nobody listens at that port, so there is no master to copy from.
            self.cli(&["REPLICAOF", "127.0.0.1", "1"])
        } else {
            self.cli(&["REPLICAOF", "NO", "ONE"])
        };
        assert!(answer.starts_with("OK"), "{answer}");
    }

    /// It refuses writes with `NOREPLICAS` until so many replicas follow it; 0 asks for none.
    pub(crate) fn replicas_to_write(&self, least: usize) {
        self.set("min-replicas-to-write", &least.to_string());
    }

    /// It refuses what would need more memory than it has now, or (`false`) takes all again.
    pub(crate) fn out_of_memory(&self, on: bool) {
        self.set("maxmemory", if on { "1" } else { "0" });
    }

    fn set(&self, name: &str, value: &str) {
        assert_eq!(self.cli(&["CONFIG", "SET", name, value]), "OK", "{name}");
    }

    /// It listens at this port of the loopback, for those that copy from it, and lets them in at once.
    pub(crate) fn listen(&self, port: u16) {
        self.set("repl-diskless-sync-delay", "0");
        self.set("port", &port.to_string());
    }

    /// It becomes a copy of the one that listens there.
    pub(crate) fn follow(&self, port: u16) {
        let answer = self.cli(&["REPLICAOF", "127.0.0.1", &port.to_string()]);
        assert!(answer.starts_with("OK"), "{answer}");
    }

    /// All keys, sorted.
    pub(crate) fn keys(&self) -> Vec<String> {
        let mut keys: Vec<_> = self
            .cli(&["KEYS", "*"])
            .lines()
            .map(str::to_owned)
            .collect();
        keys.sort();
        keys
    }

    /// Runs a script on one key.
    pub(crate) fn eval(&self, script: &str, key: &str, args: &[&str]) -> String {
        let mut words = vec!["EVAL", script, "1", key];
        words.extend(args);
        self.cli(&words)
    }

    /// The files it keeps.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let below = self.dir.path().join("appendonlydir");
        let files = std::fs::read_dir(below).into_iter().flatten();
        files.map(|file| file.unwrap().path()).collect()
    }

    /// A copy of its files, as a backup makes it while it runs. With all that was answered: while a sync is under way
    /// Redis puts off the next write, for up to 2 s.
    pub(crate) fn copy(&self) -> tempfile::TempDir {
        let give_up = Instant::now() + START;
        let is_written = |told: &str| {
            let mut lines = told.lines();
            lines.any(|line| line.trim() == "aof_buffer_length:0")
        };
        while !is_written(&self.cli(&["INFO", "persistence"])) {
            assert!(Instant::now() < give_up, "redis-server does not write");
            // waits because the server is another process; bounded by START
            std::thread::sleep(Duration::from_millis(5));
        }
        let copy = tempfile::tempdir().unwrap();
        for file in self.files() {
            std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        }
        copy
    }

    /// A copy is put back in place of its files, and it starts again.
    pub(crate) fn put_back(&self, copy: &tempfile::TempDir) {
        self.kill9();
        let below = self.dir.path().join("appendonlydir");
        std::fs::remove_dir_all(&below).unwrap();
        std::fs::create_dir(&below).unwrap();
        for file in std::fs::read_dir(copy.path()).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), below.join(file.file_name())).unwrap();
        }
        self.restart();
    }

    /// The file that it appends to.
    fn appended(&self) -> PathBuf {
        let mut files = self.files().into_iter();
        let file = files.find(|file| file.display().to_string().ends_with(".incr.aof"));
        file.expect("it keeps an append-only file")
    }

    /// How long that file is.
    pub(crate) fn length(&self) -> u64 {
        self.appended().metadata().unwrap().len()
    }

    /// What came after that length is lost, as when the machine dies before it is on the disk. How many bytes
    /// these were.
    pub(crate) fn cut_to(&self, length: u64) -> u64 {
        self.kill9();
        let file = std::fs::File::options().write(true).open(self.appended());
        let file = file.unwrap();
        let before = file.metadata().unwrap().len();
        assert!(before > length, "nothing is cut");
        file.set_len(length).unwrap();
        self.restart();
        before - length
    }

    fn until_it_answers(&self) {
        let give_up = Instant::now() + START;
        while self.try_cli(&["PING"]) != "PONG" {
            assert!(Instant::now() < give_up, "redis-server does not start");
            // waits because the server is another process; bounded by START
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(options: &Options, env: &[(String, String)], dir: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args(["--port", "0", "--unixsocket", "redis.sock", "--save", ""])
        .args(["--appendonly", options.appendonly])
        .args(["--appendfsync", options.appendfsync])
        .envs(env.iter().cloned())
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server is installed: tests/run.sh prepare")
}

#[test]
fn the_server_does_what_these_tests_ask_of_it() {
    let redis = Redis::start(Options::always());
    redis.cli(&["SET", "a", "1"]);
    redis.kill9();
    redis.restart();
    assert_eq!(redis.cli(&["GET", "a"]), "1", "kept over kill -9");
    let refusals: [(&str, &dyn Fn(bool)); 3] = [
        ("READONLY", &|on| redis.read_only(on)),
        ("OOM", &|on| redis.out_of_memory(on)),
        ("NOREPLICAS", &|on| redis.replicas_to_write(usize::from(on))),
    ];
    for (word, turn) in refusals {
        turn(true);
        let answer = redis.try_cli(&["SET", "a", "2"]);
        assert!(answer.contains(word), "{word}: {answer}");
        turn(false);
        assert_eq!(redis.cli(&["SET", "a", "1"]), "OK");
    }
    let script = redis.cli(&["SCRIPT", "LOAD", "return 1"]);
    redis.flush_scripts();
    assert_eq!(redis.cli(&["SCRIPT", "EXISTS", &script]), "0");
    redis.pause();
    let socket = std::os::unix::net::UnixStream::connect(redis.socket()).unwrap();
    let patience = Duration::from_millis(200);
    socket.set_read_timeout(Some(patience)).unwrap();
    std::io::Write::write_all(&mut &socket, b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    assert!(std::io::Read::read_exact(&mut &socket, &mut answer).is_err());
    redis.resume();
    socket.set_read_timeout(Some(START)).unwrap();
    std::io::Read::read_exact(&mut &socket, &mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    assert!(!redis.files().is_empty());
    let forgetful = Redis::start(Options::forgetful());
    forgetful.cli(&["SET", "a", "1"]);
    forgetful.kill9();
    forgetful.restart();
    assert_eq!(forgetful.cli(&["EXISTS", "a"]), "0");
}
