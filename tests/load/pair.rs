//! A gateway with an embedded store of its own and a sandbox, as processes, and what they tell.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What callers present.
pub(crate) const TOKEN: &str = "tok-for-the-soak-0000";
const SECRET: &str = "webhook-secret-of-the-soak";
/// What a message that is queued or kept before the start is copied from.
const SAMPLE: &str = "sample";
/// Rows written in one transaction.
const ROWS: u64 = 100_000;
/// How long a process may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process; killed when dropped.
struct Process {
    child: Child,
}

impl Process {
    /// Starts the binary and returns what it prints behind each of these words.
    fn start(
        args: &[&str],
        env: &BTreeMap<&str, String>,
        dir: &Path,
        words: &[&str],
    ) -> (Self, Vec<String>) {
        let mut child = Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(args)
            .env_clear()
            .envs(env)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let (sender, lines) = std::sync::mpsc::channel();
        let outs: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("a pipe")),
            Box::new(child.stderr.take().expect("a pipe")),
        ];
        for out in outs {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(out).lines().map_while(Result::ok) {
                    // Nobody listens once it has started.
                    let _ = sender.send(line);
                }
            });
        }
        let (process, give_up) = (Self { child }, Instant::now() + PATIENCE);
        let mut said = String::new();
        loop {
            let left = give_up.saturating_duration_since(Instant::now());
            let line = lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("it does not start:\n{said}"));
            said = format!("{said}{line}\n");
            let behind = words.iter().map(|word| {
                let rest = said.split_once(word)?.1;
                rest.split_whitespace().next().map(str::to_owned)
            });
            if let Some(found) = behind.collect() {
                return (process, found);
            }
        }
    }

    /// SIGTERM; the exit code.
    fn stop(&mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()), "kill {pid}");
        let give_up = Instant::now() + PATIENCE;
        while Instant::now() < give_up {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            // waits because the end comes from another process; bounded
            std::thread::sleep(Duration::from_millis(20));
        }
        None
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ledger of all channels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ledger {
    pub(crate) accepted: i64,
    pub(crate) queued: i64,
    pub(crate) in_flight: i64,
    pub(crate) held: i64,
    pub(crate) unknown: i64,
    pub(crate) accepted_by_provider: i64,
    pub(crate) failed: i64,
    pub(crate) lost: i64,
    pub(crate) callbacks_waiting: i64,
}

impl Ledger {
    fn read(ledger: &Value) -> Self {
        let number = |name: &str| ledger[name].as_i64().expect("a number of the ledger");
        Self {
            accepted: number("accepted"),
            queued: number("queued"),
            in_flight: number("in_flight"),
            held: number("held"),
            unknown: number("unknown"),
            accepted_by_provider: number("accepted_by_provider"),
            failed: number("failed"),
            lost: number("lost"),
            callbacks_waiting: ledger["callbacks"]["waiting"].as_i64().expect("a number"),
        }
    }

    /// What has not been sent yet.
    pub(crate) fn waiting(&self) -> i64 {
        self.queued + self.in_flight + self.held
    }

    pub(crate) fn adds_up(&self) -> bool {
        let ends = self.unknown + self.accepted_by_provider + self.failed;
        self.lost == 0 && self.accepted == self.waiting() + ends
    }
}

/// What is in the store before the load comes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Before {
    /// Messages that the provider took.
    pub(crate) kept: u64,
    pub(crate) queued: u64,
}

/// Copies the samples.
fn copy(conn: &rusqlite::Connection, before: Before) -> rusqlite::Result<()> {
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144;")?;
    let columns = "channel, account, state, accepted_at, attempts, seen, resent, lost, progress,
                   conversation, inferred, body, taps, history, version";
    for (name, count, due, settled, provider, person) in [
        (
            "sent",
            before.kept,
            "due",
            "settled_at",
            "lower(hex(randomblob(12)))",
            1203,
        ),
        ("queued", before.queued, "accepted_at", "NULL", "NULL", 1212),
    ] {
        for from in (0..count).step_by(usize::try_from(ROWS).expect("a number")) {
            let to = count.min(from + ROWS);
            conn.execute_batch(&format!(
                "WITH RECURSIVE n (i) AS
                   (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {to})
                 INSERT INTO message (msg_id, recipient, due, settled_at, provider_id, {columns})
                 SELECT '{name}_' || lower(hex(randomblob(8))),
                        {person}2000000 + i * 4999999 % 7999999, {due}, {settled}, {provider},
                        {columns}
                   FROM n, message WHERE msg_id LIKE '{SAMPLE}-{name}%';"
            ))?;
        }
    }
    let Before { kept, queued } = before;
    for (name, more) in [
        ("accepted", kept + queued),
        ("queued", queued),
        ("accepted_by_provider", kept),
    ] {
        let sql = "UPDATE ledger SET n = n + ?2 WHERE name = ?1";
        conn.execute(sql, (name, i64::try_from(more).expect("a number")))?;
    }
    Ok(())
}

/// Starts the gateway; where it listens, and where its operators do.
fn gateway(env: &BTreeMap<&str, String>, dir: &Path) -> (Process, [String; 2]) {
    let args = ["http.port=0", "http.bind=127.0.0.1", "ops.addr=127.0.0.1:0"];
    let mut words = vec!["serve"];
    args.iter().for_each(|pair| words.extend(["--set", pair]));
    let (gateway, found) = Process::start(&words, env, dir, &["public=", "ops="]);
    (gateway, found.try_into().expect("two"))
}

/// The path that the provider's events come to.
pub(crate) fn webhook() -> String {
    format!("/jumper_callback/{SECRET}")
}

/// Both processes.
pub(crate) struct Pair {
    gateway: Process,
    sandbox: Process,
    env: BTreeMap<&'static str, String>,
    /// Where the gateway listens, and where its operators do.
    public: String,
    ops: String,
    fakes: String,
    http: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Pair {
    /// Starts both: the provider takes `rate` calls a second and the gateway knows it, and so many
    /// messages are kept and queued already. Where there are any it is paused: the books of both sides
    /// can be compared only while nothing is under way.
    pub(crate) async fn start(rate: f64, before: Before) -> Self {
        let mut pair = Self::start_empty(rate).await;
        if before.kept + before.queued > 0 {
            pair.fill(before).await;
        }
        pair
    }

    async fn start_empty(rate: f64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let knob = format!("rate_per_second={rate}");
        // What is kept for people to look at would only take memory here.
        let args = [
            "sandbox",
            "--port",
            "0",
            "--knob",
            &knob,
            "--knob",
            "keep=1000",
        ];
        let (sandbox, found) = Process::start(&args, &BTreeMap::new(), dir.path(), &["Jumper at"]);
        let fakes = found[0].clone();
        let env = BTreeMap::from([
            ("MOENGAGE_CALLBACK_URL", format!("{fakes}/moengage/dlr")),
            ("MOENGAGE_AUTH_AGAINST", TOKEN.into()),
            (
                "JUMPER_BASIC_AUTH",
                "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=".into(),
            ),
            ("SEED_REFRESH_TOKEN", "sandbox-refresh-token".into()),
            ("JUMPER_API_URL", fakes.clone()),
            ("WEBHOOK_SECRET", SECRET.into()),
            ("RATE_PER_SECOND", rate.to_string()),
            ("DATA_DIR", dir.path().join("data").display().to_string()),
        ]);
        let (gateway, [public, ops]) = gateway(&env, dir.path());
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE);
        let pair = Self {
            gateway,
            sandbox,
            env,
            public,
            ops: format!("http://{ops}"),
            fakes,
            http: http.build().expect("a client"),
            dir,
        };
        pair.subscribe().await;
        pair
    }

    /// The provider's events come here.
    async fn subscribe(&self) {
        let webhook = format!("http://{}{}", self.public, webhook());
        let entry = json!([{ "permission": "livechat", "webhook": webhook, "deliver": true }]);
        let url = format!("{}/_sandbox/subscriptions", self.fakes);
        self.ask(self.http.put(url).json(&entry)).await;
    }

    /// Fills the store with copies of one message that was sent and of one that waits, under other
    /// ids and to other people, while the gateway is down.
    async fn fill(&mut self, before: Before) {
        self.send_sample("sent").await;
        while !self.is_quiet().await || self.ledger().await.accepted_by_provider == 0 {
            // waits because other processes are at work
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        self.pause().await;
        self.send_sample("queued").await;
        assert_eq!(self.stop(), Some(0), "it stops");
        let file = self.data().join("gateway.db");
        let conn = rusqlite::Connection::open(&file).expect("its file");
        copy(&conn, before).expect("copies are written");
        drop(conn);
        // Else the gateway's first sync waits for a gigabyte that it did not write.
        let file = std::fs::File::open(&file).expect("its file");
        file.sync_all().expect("the disk takes it");
        let (gateway, [public, ops]) = gateway(&self.env, self.dir.path());
        (self.gateway, self.public, self.ops) = (gateway, public, format!("http://{ops}"));
        self.subscribe().await;
    }

    async fn send_sample(&self, name: &str) {
        let url = format!("http://{}/jumper_send_whatsapp", self.public);
        let body = crate::calls::send(&format!("{SAMPLE}-{name}"), 0);
        let request = self.http.post(url).bearer_auth(TOKEN).body(body);
        let json = ("content-type", "application/json");
        self.ask(request.header(json.0, json.1)).await;
    }

    /// What the gateway measured, as Prometheus would read it.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.ops);
        let answer = self.http.get(url).send().await.expect("an answer");
        answer.text().await.expect("a text")
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.public.parse().expect("an address")
    }

    /// Where its operators do.
    pub(crate) fn ops_addr(&self) -> SocketAddr {
        let addr = self.ops.trim_start_matches("http://");
        addr.parse().expect("an address")
    }

    /// The processes: the gateway's, the sandbox's.
    pub(crate) fn ids(&self) -> [u32; 2] {
        [&self.gateway, &self.sandbox].map(|process| process.child.id())
    }

    /// Where the embedded store has its files.
    pub(crate) fn data(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("an answer"));
        assert!(status.is_success(), "{status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// What the sandbox shows at this path.
    pub(crate) async fn shown(&self, path: &str) -> Value {
        let url = format!("{}/_sandbox/{path}", self.fakes);
        self.ask(self.http.get(url)).await
    }

    pub(crate) async fn knobs(&self, knobs: Value) {
        let url = format!("{}/_sandbox/knobs", self.fakes);
        self.ask(self.http.patch(url).json(&knobs)).await;
    }

    pub(crate) async fn ledger(&self) -> Ledger {
        let url = format!("{}/api/ledger", self.ops);
        Ledger::read(&self.ask(self.http.get(url)).await["total"])
    }

    /// Sets the account's rate.
    pub(crate) async fn rate(&self, rate: Value) {
        let url = format!("{}/api/accounts/default/rate", self.ops);
        self.ask(self.http.put(url).json(&rate)).await;
    }

    /// Nothing more is sent.
    pub(crate) async fn pause(&self) {
        let url = format!("{}/api/channels/default/pause", self.ops);
        self.ask(self.http.post(url).json(&json!({}))).await;
    }

    /// What is queued is sent again.
    pub(crate) async fn resume(&self) {
        let url = format!("{}/api/channels/default/resume", self.ops);
        self.ask(self.http.post(url).json(&json!({}))).await;
    }

    /// Whether nothing is under way: no send, no event, no callback.
    pub(crate) async fn is_quiet(&self) -> bool {
        let idle = self.shown("idle").await["idle"] == true;
        let ledger = self.ledger().await;
        idle && ledger.in_flight + ledger.unknown + ledger.callbacks_waiting == 0
    }

    /// Stops the gateway in order; its exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        self.gateway.stop()
    }
}
