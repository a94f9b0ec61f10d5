//! The real parts as the tests use them: the gateway's own binary as a process, and the sandbox as
//! a second one, over real sockets. Nothing here knows the inside of the gateway.

use crate::kit::event_bodies::own_port;
use crate::kit::log::Log;
use crate::kit::redis_server::{Options, Redis};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The token that the test gateways take.
pub(crate) const TOKEN: &str = "tok-for-tests-000000";
/// The secret in the webhook's path.
pub(crate) const SECRET: &str = "webhook-secret-for-tests";
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How long the work of a dead replica may wait for another (design.md section 6). The one gateway of
/// the embedded store takes up its own work when it starts.
pub(crate) const TAKE_OVER: Duration = Duration::from_secs(15);
/// The dice of the fakes.
const SEED: u64 = 1;
/// The brand's number.
pub(crate) const BRAND: &str = "12025550100";

/// Whether `GATEWAY_TEST_STORE=redis`: every gateway keeps its data in a Redis of its own.
pub(crate) fn on_redis() -> bool {
    match std::env::var("GATEWAY_TEST_STORE") {
        Err(_) => false,
        Ok(name) if name == "embedded" => false,
        Ok(name) if name == "redis" => true,
        Ok(name) => panic!("GATEWAY_TEST_STORE={name}: embedded or redis"),
    }
}

/// The gateway under test: `GATEWAY_TEST_BINARY`, for a look at how an older one does, or ours.
pub(crate) fn binary() -> PathBuf {
    let other = std::env::var_os("GATEWAY_TEST_BINARY");
    other.map_or_else(|| env!("CARGO_BIN_EXE_gateway").into(), PathBuf::from)
}

/// How long work may wait that a killed gateway left behind.
pub(crate) fn take_over() -> Duration {
    if on_redis() {
        TAKE_OVER
    } else {
        Duration::ZERO
    }
}

/// Ends a test of what only the embedded store has, where the stores are Redis.
macro_rules! embedded_only {
    ($why:literal) => {
        if $crate::kit::harness::on_redis() {
            $crate::kit::harness::say_skipped(concat!("embedded store only: ", $why));
            return;
        }
    };
}
pub(crate) use embedded_only;

#[expect(clippy::print_stderr, reason = "who runs the tests wants to know")]
pub(crate) fn say_skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// A child process whose lines are kept; killed when dropped.
pub(crate) struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn start(args: &[&str], env: &BTreeMap<String, String>, dir: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command.args(args).env_clear().envs(env).current_dir(dir);
        Self::of(command)
    }

    /// Starts a gateway as its setup wants it.
    fn serve(setup: &Setup, args: &[&str], env: &BTreeMap<String, String>, dir: &Path) -> Self {
        let mut command = Command::new(binary());
        if let Some(files) = setup.files {
            let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
            command = Command::new("/bin/sh");
            command.args(["-c", &limited]).arg(binary());
        }
        command.args(args).env_clear().envs(env).current_dir(dir);
        Self::logging(command, setup.log.as_deref())
    }

    /// Runs any command.
    pub(crate) fn of(command: Command) -> Self {
        Self::logging(command, None)
    }

    /// Runs the gateway's binary without a variable set.
    pub(crate) fn logging_to(log: &Log, args: &[&str], dir: &Path) -> Self {
        let mut command = Command::new(binary());
        command.args(args).env_clear().current_dir(dir);
        Self::logging(command, Some(log))
    }

    /// The same, with a way for what it says at standard error.
    fn logging(mut command: Command, log: Option<&Log>) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let stderr = log.map_or_else(Stdio::piped, |log| log.stderr(&lines));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.stderr(stderr).spawn().expect("the binary starts");
        // Ours is the only other handle of what it writes to.
        drop(command);
        let mut readers = vec![keep(
            BufReader::new(child.stdout.take().unwrap()),
            lines.clone(),
        )];
        if let Some(err) = child.stderr.take() {
            readers.push(keep(BufReader::new(err), lines.clone()));
        }
        Self {
            child,
            lines,
            readers,
        }
    }

    /// Everything that was printed so far. A line of something that just happened may be on its way: whoever
    /// looks for one waits for it with [`Self::said`].
    pub(crate) fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits until all of this was printed; everything that was.
    pub(crate) async fn said(&self, parts: &[&str]) -> String {
        until(&format!("the log says {parts:?}"), async || {
            let output = self.output();
            let is_said = parts.iter().all(|part| output.contains(part));
            is_said.then_some(output)
        })
        .await
    }

    /// Waits for a line that holds `part`.
    pub(crate) fn line_with(&mut self, part: &str) -> String {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let found = self
                .lines
                .lock()
                .unwrap()
                .iter()
                .find(|l| l.contains(part))
                .cloned();
            if let Some(line) = found {
                return line;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                Instant::now() < give_up && ended.is_none(),
                "no line with {part:?}, ended {ended:?}:\n{}",
                self.output()
            );
            // waits because the line comes from another process; bounded by PATIENCE
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// kill -9, as bad luck would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; does not wait.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Any signal; does not wait.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([name, &pid]).status();
        assert!(sent.unwrap().success(), "kill {name} {pid}");
    }

    /// Waits for the end, and until all that was printed is read; the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        let give_up = Instant::now() + PATIENCE + PATIENCE;
        loop {
            let read = self.readers.iter().all(JoinHandle::is_finished);
            if let (Some(status), true) = (self.child.try_wait().unwrap(), read) {
                return status.code();
            }
            assert!(
                Instant::now() < give_up,
                "still running:\n{}",
                self.output()
            );
            // waits because the end comes from another process; bounded
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "shown with the test that failed, and with no other"
    )]
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Ok(lines) = self.lines.lock()
        {
            let last = lines.len().saturating_sub(LAST_LINES);
            eprintln!("what process {} printed last:", self.child.id());
            lines[last..].iter().for_each(|line| eprintln!("  {line}"));
        }
    }
}

/// Lines of a process that are shown when a test fails.
const LAST_LINES: usize = 40;

fn keep(reader: impl BufRead + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in reader.lines().map_while(Result::ok) {
            lines.lock().unwrap().push(line);
        }
    })
}

/// A callback as MoEngage got it.
pub(crate) struct Post {
    /// When, since 1970.
    pub(crate) at: Duration,
    pub(crate) body: String,
}

/// The fakes of Jumper and MoEngage, as a process of their own.
pub(crate) struct Sandbox {
    _process: Process,
    pub(crate) url: String,
    pub(crate) http: reqwest::Client,
    _dir: tempfile::TempDir,
}

impl Sandbox {
    /// Starts the fakes with some knobs changed. The rate limit is off unless a knob sets it.
    pub(crate) async fn start(knobs: Value) -> Self {
        Self::start_seeded(SEED, knobs).await
    }

    /// The same with other dice.
    pub(crate) async fn start_seeded(seed: u64, knobs: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let seed = seed.to_string();
        let args = [
            "sandbox",
            "--port",
            "0",
            "--seed",
            &seed,
            "--knob",
            "rate_per_second=0",
            "--knob",
            "event_delay_ms=5",
        ];
        let mut process = Process::start(&args, &BTreeMap::new(), dir.path());
        let line = process.line_with("Jumper at");
        let url = line.split_whitespace().last().unwrap().to_owned();
        let sandbox = Self {
            _process: process,
            url,
            http: client(),
            _dir: dir,
        };
        sandbox.knobs(knobs).await;
        sandbox
    }

    /// Changes knobs.
    pub(crate) async fn knobs(&self, knobs: Value) {
        let url = format!("{}/_sandbox/knobs", self.url);
        let answer = self.http.patch(url).json(&knobs).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{}",
            answer.text().await.unwrap()
        );
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let url = format!("{}/_sandbox/{path}", self.url);
        let answer = self.http.get(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.json().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.url);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    pub(crate) async fn delete(&self, path: &str) {
        let url = format!("{}/_sandbox/{path}", self.url);
        let answer = self.http.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sandbox/{path}", self.url);
        let answer = self.http.put(url).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// The next calls of a route answer like this, one outcome each.
    pub(crate) async fn script(&self, route: &str, outcomes: &[&str]) {
        let rule = |outcome| json!({ "route": route, "next": 1, "outcome": outcome });
        let rules: Vec<_> = outcomes.iter().map(rule).collect();
        self.post("rules", json!(rules)).await;
    }

    /// Puts in a rule, or a list of them.
    pub(crate) async fn rule(&self, rule: Value) {
        self.post("rules", rule).await;
    }

    /// No rule holds any more.
    pub(crate) async fn no_rules(&self) {
        let url = format!("{}/_sandbox/rules", self.url);
        let answer = self.http.delete(url).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.status());
    }

    /// What MoEngage received for a message, in order: statuses, or `reply`.
    pub(crate) async fn told(&self, msg_id: &str) -> Vec<String> {
        let entries = self.get(&format!("callbacks?msg_id={msg_id}")).await;
        let word = |entry: &Value| entry["status"].as_str().unwrap_or("reply").to_owned();
        entries.as_array().unwrap().iter().map(word).collect()
    }

    /// What MoEngage received for a message, raw.
    pub(crate) async fn entries(&self, msg_id: &str) -> Vec<Value> {
        let entries = self.get(&format!("callbacks?msg_id={msg_id}")).await;
        entries
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["raw"].clone())
            .collect()
    }

    /// The newest callbacks as MoEngage got them, whatever it answered.
    pub(crate) async fn posts(&self) -> Vec<Post> {
        let posts = self.get("posts").await;
        let post = |post: &Value| Post {
            at: Duration::from_millis(post["at_ms"].as_u64().unwrap()),
            body: post["body"].as_str().unwrap().to_owned(),
        };
        posts.as_array().unwrap().iter().map(post).collect()
    }

    /// Sends that Jumper took for a recipient.
    pub(crate) async fn sends_to(&self, digits: &str) -> Vec<Value> {
        let sends = self.get(&format!("sends?to={digits}")).await;
        sends.as_array().unwrap().clone()
    }

    pub(crate) async fn counts(&self) -> Value {
        self.get("counts").await
    }
}

/// How a test gateway differs from the usual one.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) set: Vec<String>,
    /// The Redis to share; without one each gateway gets a store of its own.
    pub(crate) redis: Option<Arc<Redis>>,
    /// Where that Redis is reached, when not at its own socket.
    pub(crate) road: Option<String>,
    /// How many files the process may open, when fewer than the tests may.
    pub(crate) files: Option<u32>,
    /// Where its standard error leads, when a test harms that.
    pub(crate) log: Option<Arc<Log>>,
}

impl Setup {
    /// A gateway that talks to `sandbox` without a rate limit of its own.
    pub(crate) fn towards(sandbox: &Sandbox) -> Self {
        let env = [
            (
                "MOENGAGE_CALLBACK_URL",
                format!("{}/moengage/dlr", sandbox.url),
            ),
            ("MOENGAGE_AUTH_AGAINST", TOKEN.into()),
            (
                "JUMPER_BASIC_AUTH",
                "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=".into(),
            ),
            ("SEED_REFRESH_TOKEN", "sandbox-refresh-token".into()),
            ("JUMPER_API_URL", sandbox.url.clone()),
            ("WEBHOOK_SECRET", SECRET.into()),
            ("RATE_PER_SECOND", "off".into()),
            ("CONCURRENT_API_CALLS", "16".into()),
            (
                "RUST_LOG",
                "debug,hyper=info,hyper_util=info,reqwest=info".into(),
            ),
        ];
        let set = [
            "http.port=0",
            "http.bind=127.0.0.1",
            "ops.addr=127.0.0.1:0",
            "policy.retry_base=50ms",
        ];
        Self {
            env: env
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            set: set.map(str::to_owned).to_vec(),
            redis: None,
            road: None,
            files: None,
            log: None,
        }
    }

    /// Lets the process open so many files only.
    pub(crate) fn files(mut self, most: u32) -> Self {
        self.files = Some(most);
        self
    }

    /// Its standard error leads there.
    pub(crate) fn log_to(mut self, log: &Arc<Log>) -> Self {
        self.log = Some(log.clone());
        self
    }

    /// All gateways of this setup are replicas on one Redis, whatever the others use.
    pub(crate) fn sharing(mut self, redis: &Arc<Redis>) -> Self {
        self.redis = Some(redis.clone());
        self
    }

    /// Their Redis is reached by this URL.
    pub(crate) fn by_way_of(mut self, url: &str) -> Self {
        self.road = Some(url.into());
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Unsets an environment variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Sets a value as a flag, `key=value`; or gives another flag, as it is written.
    pub(crate) fn set(mut self, pair: &str) -> Self {
        self.set.push(pair.into());
        self
    }
}

/// What outlives a gateway's process: its working directory and its store.
struct Home {
    dir: tempfile::TempDir,
    pub(crate) redis: Option<Arc<Redis>>,
    road: Option<String>,
}

impl Home {
    fn new(setup: &Setup) -> Arc<Self> {
        let own = || on_redis().then(|| Arc::new(Redis::start(Options::every_second())));
        Arc::new(Self {
            dir: tempfile::tempdir().unwrap(),
            redis: setup.redis.clone().or_else(own),
            road: setup.road.clone(),
        })
    }

    /// The variable that tells the gateway where its store is.
    fn variable(&self) -> (String, String) {
        match &self.redis {
            Some(redis) => {
                let url = self.road.clone().unwrap_or_else(|| redis.url());
                ("REDIS_URL".into(), url)
            }
            None => ("DATA_DIR".into(), self.data_dir().display().to_string()),
        }
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// How long whoever waits for something may have to wait.
    fn patience(&self) -> Duration {
        match self.redis {
            Some(_) => PATIENCE + TAKE_OVER,
            None => PATIENCE,
        }
    }
}

/// A gateway process with its store.
pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) ops: String,
    pub(crate) http: reqwest::Client,
    setup: Setup,
    home: Arc<Home>,
}

impl Gateway {
    /// Starts a gateway and subscribes its webhook at the sandbox.
    pub(crate) async fn start(sandbox: &Sandbox, setup: Setup) -> Self {
        let gateway = Self::start_unheard(setup);
        gateway.subscribe(sandbox).await;
        gateway
    }

    /// Starts a gateway that cannot say where it is, and subscribes its webhook at the sandbox.
    pub(crate) async fn start_mute(sandbox: &Sandbox, setup: Setup) -> Self {
        let (public, ops) = (own_port(), own_port());
        let setup = setup
            .set(&format!("http.port={public}"))
            .set(&format!("ops.addr=127.0.0.1:{ops}"));
        let home = Home::new(&setup);
        let gateway = Self {
            process: Self::process(&setup, &home),
            url: format!("http://127.0.0.1:{public}"),
            ops: format!("http://127.0.0.1:{ops}"),
            http: client(),
            setup,
            home,
        };
        until("it serves", async || {
            let asked = gateway.http.get(format!("{}/readyz", gateway.url)).send();
            asked
                .await
                .is_ok_and(|answer| answer.status() == 200)
                .then_some(())
        })
        .await;
        gateway.subscribe(sandbox).await;
        gateway
    }

    /// Starts a gateway and tells nobody where it is.
    pub(crate) fn start_unheard(setup: Setup) -> Self {
        let home = Home::new(&setup);
        Self::launch(setup, home)
    }

    /// Tells the sandbox where this gateway takes events. By hand, because the port is free-chosen.
    pub(crate) async fn subscribe(&self, sandbox: &Sandbox) {
        let webhook = self.webhook();
        let entry = json!([{ "permission": "livechat", "webhook": webhook, "deliver": true }]);
        sandbox.put("subscriptions", entry).await;
    }

    pub(crate) fn webhook(&self) -> String {
        if self.setup.env.contains_key("WEBHOOK_SECRET") {
            format!("{}/jumper_callback/{SECRET}", self.url)
        } else {
            format!("{}/jumper_callback", self.url)
        }
    }

    fn process(setup: &Setup, home: &Home) -> Process {
        let mut env = setup.env.clone();
        let (name, place) = home.variable();
        // A test may know another way to the same store.
        env.entry(name).or_insert(place);
        let mut args = vec!["serve"];
        for pair in &setup.set {
            if !pair.starts_with("--") {
                args.push("--set");
            }
            args.push(pair);
        }
        Process::serve(setup, &args, &env, home.dir.path())
    }

    fn launch(setup: Setup, home: Arc<Home>) -> Self {
        let mut process = Self::process(&setup, &home);
        let line = process.line_with("the gateway is ready");
        let field = |name: &str| {
            let json = line.split(&format!("\"{name}\":\"")).nth(1);
            let text = || line.split(&format!("{name}=")).nth(1);
            let rest = json.or_else(text).unwrap();
            let end = |c: char| c.is_whitespace() || c == '"';
            format!("http://{}", rest.split(end).next().unwrap())
        };
        let (url, ops) = (field("public"), field("ops"));
        Self {
            process,
            url,
            ops,
            http: client(),
            setup,
            home,
        }
    }

    /// kill -9 and a new start on the same store; the port changes, so the webhook is told again.
    pub(crate) async fn crash_and_restart(mut self, sandbox: &Sandbox) -> Self {
        self.process.kill();
        self.restart(sandbox).await
    }

    /// The same, and nobody is told where it is.
    pub(crate) fn crash_and_restart_unheard(mut self) -> Self {
        self.process.kill();
        let (setup, home) = (self.setup.clone(), self.home.clone());
        drop(self);
        Self::launch(setup, home)
    }

    /// A new start on the same store, after the process has ended.
    pub(crate) async fn restart(self, sandbox: &Sandbox) -> Self {
        let setup = self.setup.clone();
        self.restart_with(sandbox, setup).await
    }

    /// The same with another setup.
    pub(crate) async fn restart_with(self, sandbox: &Sandbox, setup: Setup) -> Self {
        let home = self.home.clone();
        drop(self);
        let gateway = Self::launch(setup, home);
        gateway.subscribe(sandbox).await;
        gateway
    }

    /// The variable that tells a gateway where this one's store is.
    pub(crate) fn store_variable(&self) -> (String, String) {
        self.home.variable()
    }

    /// Where the embedded store has its file.
    pub(crate) fn data_dir(&self) -> PathBuf {
        assert!(self.home.redis.is_none(), "on Redis there is no DATA_DIR");
        self.home.data_dir()
    }

    /// The Redis that is its store, if one is.
    pub(crate) fn redis(&self) -> Option<Arc<Redis>> {
        self.home.redis.clone()
    }

    /// Where it keeps small files beside the store.
    pub(crate) fn aside(&self) -> PathBuf {
        self.home.data_dir()
    }

    /// The files in which the store keeps what it knows.
    pub(crate) fn store_files(&self) -> Vec<PathBuf> {
        match &self.home.redis {
            Some(redis) => redis.files(),
            None => {
                let files = std::fs::read_dir(self.home.data_dir()).unwrap();
                files.map(|file| file.unwrap().path()).collect()
            }
        }
    }

    pub(crate) fn setup(&self) -> Setup {
        self.setup.clone()
    }

    /// Posts a send with the usual token; status and body.
    pub(crate) async fn post(&self, body: &Value) -> (u16, Value) {
        self.post_as(
            &[("authorization", &format!("Bearer {TOKEN}"))],
            body.to_string(),
        )
        .await
    }

    /// Posts a send with these headers.
    pub(crate) async fn post_as(
        &self,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> (u16, Value) {
        let mut request = self
            .http
            .post(format!("{}/jumper_send_whatsapp", self.url))
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Sends a message and expects success.
    pub(crate) async fn accept(&self, msg_id: &str, to: &str) {
        self.accept_body(&order_update(msg_id, to)).await;
    }

    /// Sends this and expects success.
    pub(crate) async fn accept_body(&self, body: &Value) {
        let request = self
            .http
            .post(format!("{}/jumper_send_whatsapp", self.url))
            .bearer_auth(TOKEN)
            .body(body.to_string());
        let success = (200, json!({ "status": "success" }));
        assert_eq!(answer_in_the_end(request).await, success, "{body}");
    }

    /// Posts to the webhook, as Jumper would, which repeats what is answered 503.
    pub(crate) async fn event(&self, body: &Value) -> u16 {
        let request = self.http.post(self.webhook()).json(body);
        answer_in_the_end(request).await.0
    }

    /// The same, and does not repeat it.
    pub(crate) async fn event_once(&self, body: &Value) -> u16 {
        let request = self.http.post(self.webhook()).json(body);
        answer(request).await.0
    }

    pub(crate) async fn ops_get(&self, path: &str) -> (u16, Value) {
        answer(self.http.get(format!("{}{path}", self.ops))).await
    }

    pub(crate) async fn ops_send(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse().unwrap();
        answer(
            self.http
                .request(method, format!("{}{path}", self.ops))
                .json(&body),
        )
        .await
    }

    /// Readiness as an operator sees it.
    pub(crate) async fn ready(&self) -> (u16, Value) {
        self.ops_get("/readyz").await
    }

    /// Readiness as everybody sees it who reaches the public listener.
    pub(crate) async fn ready_to_strangers(&self) -> (u16, Value) {
        answer(self.http.get(format!("{}/readyz", self.url))).await
    }

    /// The account as the ops listener shows it.
    pub(crate) async fn account(&self) -> Value {
        self.ops_get("/api/accounts").await.1["accounts"][0].clone()
    }

    /// Stops or resumes the channel.
    pub(crate) async fn channel(&self, word: &str) {
        let path = format!("/api/channels/default/{word}");
        let answer = self.ops_send("POST", &path, json!({})).await;
        assert_eq!(answer.0, 200, "{answer:?}");
    }

    /// What is held.
    pub(crate) async fn holds(&self) -> Vec<Value> {
        let (status, holds) = self.ops_get("/api/holds").await;
        assert_eq!(status, 200, "{holds}");
        holds["items"].as_array().unwrap().clone()
    }

    /// The ledger of all channels.
    pub(crate) async fn ledger(&self) -> Value {
        let request = self.http.get(format!("{}/api/ledger", self.ops));
        answer_in_the_end(request).await.1["total"].clone()
    }

    /// A message with its history.
    pub(crate) async fn message(&self, msg_id: &str) -> Value {
        self.ops_get(&format!("/api/messages/{msg_id}")).await.1
    }

    /// The words of a message's history.
    pub(crate) async fn history(&self, msg_id: &str) -> Vec<String> {
        let message = self.message(msg_id).await;
        let words = message["history"].as_array().cloned().unwrap_or_default();
        words
            .iter()
            .map(|moment| moment["what"].as_str().unwrap().to_owned())
            .collect()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.http
            .get(format!("{}/metrics", self.ops))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .text()
            .await
            .unwrap()
    }

    /// Waits until a message is in this state.
    pub(crate) async fn until_state(&self, msg_id: &str, state: &str) -> Value {
        self.until_message(msg_id, state, |message| message["state"] == state)
            .await
    }

    /// Waits until the provider has taken a message, whatever became of it then.
    pub(crate) async fn until_sent(&self, msg_id: &str) -> Value {
        self.until_message(msg_id, "sent", is_sent).await
    }

    async fn until_message(&self, msg_id: &str, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        let give_up = Instant::now() + self.home.patience();
        loop {
            let message = self.message(msg_id).await;
            if is(&message) {
                return message;
            }
            assert!(
                Instant::now() < give_up,
                "not {what}: {message}\n{}",
                self.process.output()
            );
            // waits because it polls another process; bounded
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nothing is queued, under way, unknown or waiting to be told; the ledger then.
    pub(crate) async fn drained(&self) -> Value {
        self.drained_within(self.home.patience()).await
    }

    /// The same for a test in which something waits for longer. A busy machine may take several times
    /// as long, as long as something changes.
    pub(crate) async fn drained_within(&self, patience: Duration) -> Value {
        let last = Instant::now() + 5 * patience;
        let (mut seen, mut give_up) = (Value::Null, last);
        loop {
            let ledger = self.ledger().await;
            if ledger != seen {
                give_up = last.min(Instant::now() + patience);
                seen.clone_from(&ledger);
            }
            let open = ["queued", "in_flight", "held", "unknown"];
            // Each: on Redis a claim may be counted a moment after its end, and 1 and -1 are not 0.
            let done = open.iter().all(|name| ledger[*name] == 0);
            if done && ledger["callbacks"]["waiting"] == 0 {
                return ledger;
            }
            assert!(
                Instant::now() < give_up,
                "not drained: {ledger}\n{}",
                self.process.output()
            );
            // waits because it polls another process; bounded
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let text = response.text().await.unwrap();
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

async fn answer_in_the_end(request: reqwest::RequestBuilder) -> (u16, Value) {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let answer = answer(request.try_clone().unwrap()).await;
        if answer.0 != 503 || Instant::now() > give_up {
            return answer;
        }
        // waits because whoever is answered 503 comes later
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The most requests that a test has under way.
const AT_ONCE: usize = 50;

/// Sends many requests at once; statuses and bodies, the first to come first. As MoEngage does, it
/// repeats what a gateway on a busy machine asks for once more.
pub(crate) async fn answers(
    requests: impl IntoIterator<Item = reqwest::RequestBuilder>,
) -> Vec<(u16, Value)> {
    let (mut posts, mut answers) = (JoinSet::new(), Vec::new());
    for request in requests {
        if posts.len() >= AT_ONCE {
            answers.push(posts.join_next().await.unwrap().unwrap());
        }
        posts.spawn(answer_in_the_end(request));
    }
    answers.extend(posts.join_all().await);
    answers
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        // Shorter than the gateway keeps an idle connection: no request meets its end.
        .pool_idle_timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

/// Whether the provider has taken a message, as the API tells it.
pub(crate) fn is_sent(message: &Value) -> bool {
    let state = message["state"].as_str().unwrap_or_default();
    ["sent", "delivered", "read", "failed_at_whatsapp"].contains(&state)
}

/// Waits for something that another process brings about; polls, because it cannot tell.
pub(crate) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    until_within(PATIENCE + take_over(), what, look).await
}

/// The same with a bound of its own.
pub(crate) async fn until_within<T>(
    bound: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> T {
    let give_up = Instant::now() + bound;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < give_up, "not within {bound:?}: {what}");
        // waits because it polls another process; bounded
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A send of `order_update` with its two values.
pub(crate) fn order_update(msg_id: &str, to: &str) -> Value {
    send(
        msg_id,
        to,
        "order_update",
        "en_US",
        json!([
            { "type": "body", "parameters": [
                { "type": "text", "text": "Ana" }, { "type": "text", "text": "A-1042" } ] }
        ]),
    )
}

/// A send.
pub(crate) fn send(
    msg_id: &str,
    to: &str,
    template: &str,
    language: &str,
    components: Value,
) -> Value {
    json!({
        "msg_id": msg_id, "from": BRAND, "to": to,
        "template": { "name": template, "language": { "code": language }, "components": components },
    })
}

/// A number nobody else in a test has.
pub(crate) fn person(n: usize) -> String {
    format!("+1202555{:04}", n)
}

/// Its digits.
pub(crate) fn digits(number: &str) -> &str {
    number.trim_start_matches('+')
}

/// An address of this machine where nobody listens, nor is to: the system may give it to others.
pub(crate) fn nowhere() -> std::net::SocketAddr {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    taken.local_addr().unwrap()
}

/// A failure as MoEngage is answered.
pub(crate) fn code_of(answer: &(u16, Value)) -> &str {
    assert_eq!(answer.0, 200, "{answer:?}");
    assert_eq!(answer.1["status"], "failure", "{answer:?}");
    answer.1["error"]["code"].as_str().unwrap()
}
