//! A Datastore that is not ours: the emulator as a process of its own, and Google's own client.

use crate::kit::event_bodies::own_port;
use crate::kit::harness::{Setup, client, until};
use axum::extract::Path;
use axum::routing::post;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) const PROJECT: &str = "test-project";
pub(crate) const KIND: &str = "MOENGAGE_MESSAGES";

/// An emulator that keeps nothing on disk; killed when dropped.
pub(crate) struct Emulator {
    child: Child,
    pub(crate) host: String,
    http: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Emulator {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = format!("127.0.0.1:{}", own_port());
        let child = run(&host, &dir);
        let mut emulator = Self {
            child,
            host,
            http: client(),
            dir,
        };
        emulator.answers().await;
        emulator
    }

    /// As bad luck would; what it held is gone.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It takes connections and answers nothing, until it goes on.
    pub(crate) fn hang(&self, yes: bool) {
        let signal = if yes { "-STOP" } else { "-CONT" };
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Starts again where it was, empty.
    pub(crate) async fn start_again(&mut self) {
        self.child = run(&self.host, &self.dir);
        self.answers().await;
    }

    async fn answers(&mut self) {
        until("the emulator answers", async || {
            self.http
                .get(format!("http://{}/", self.host))
                .send()
                .await
                .ok()
        })
        .await;
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "another one answers at {}", self.host);
    }

    /// Makes a call of the REST API.
    pub(crate) async fn call(&self, call: &str, body: Value) -> Value {
        let url = format!("http://{}/v1/projects/{PROJECT}:{call}", self.host);
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{call}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Writes an entity as anybody might.
    pub(crate) async fn put(&self, name: &str, properties: Value) {
        let entity = json!({ "key": key(name), "properties": properties });
        let mutations = json!([{ "upsert": entity }]);
        let body = json!({ "mode": "NON_TRANSACTIONAL", "mutations": mutations });
        self.call("commit", body).await;
    }

    /// The properties of an entity, if it exists.
    pub(crate) async fn get(&self, name: &str) -> Option<Value> {
        let answer = self.call("lookup", json!({ "keys": [key(name)] })).await;
        let entity = answer["found"].get(0)?.get("entity")?;
        Some(entity["properties"].clone())
    }

    /// Waits until an entity's text is this.
    pub(crate) async fn until_text(&self, name: &str, property: &str, text: &str) -> Value {
        until(&format!("{name} has {property} {text:?}"), async || {
            let found = self.get(name).await?;
            (found[property]["stringValue"] == text).then_some(found)
        })
        .await
    }

    /// What Google's own client reads at this key, as JSON.
    pub(crate) fn read_with_googles_client(&self, name: &str) -> Value {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/read_entity.py");
        let read = Command::new(python())
            .args([script, PROJECT, KIND, name])
            .env_clear()
            .env("DATASTORE_EMULATOR_HOST", &self.host)
            .current_dir(self.dir.path())
            .output()
            .expect("Google's client is installed: tests/run.sh prepare");
        let (out, err) = (
            String::from_utf8_lossy(&read.stdout),
            String::from_utf8_lossy(&read.stderr),
        );
        assert!(
            read.status.success(),
            "{err}\nIs it there? tests/run.sh prepare"
        );
        serde_json::from_str(&out).unwrap()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Stands before an emulator, passes everything on and counts; but before each of the first two commits it
/// writes one of their entities itself.
pub(crate) struct Meddler {
    pub(crate) host: String,
    commits: Arc<Mutex<Vec<u16>>>,
    queries: Arc<AtomicUsize>,
}

impl Meddler {
    pub(crate) async fn start(emulator: &Emulator) -> Self {
        let commits: Arc<Mutex<Vec<u16>>> = Arc::default();
        let queries: Arc<AtomicUsize> = Arc::default();
        let (behind, seen, http) = (emulator.host.clone(), commits.clone(), client());
        let asked = queries.clone();
        let pass_on = async move |Path(call): Path<String>, body: String| {
            let url = format!("http://{behind}/v1/projects/{call}");
            // What is no record is none of its business.
            let commit = call.ends_with(":commit") && body.contains(&format!("\"{KIND}\""));
            let is_query = call.ends_with(":runQuery");
            asked.fetch_add(is_query.into(), Ordering::Relaxed);
            if commit && seen.lock().unwrap().len() < 2 {
                let body: Value = serde_json::from_str(&body).unwrap();
                let entity = json!({ "key": body["mutations"][0]["upsert"]["key"] });
                let meddled =
                    json!({ "mutations": [{ "upsert": entity }], "mode": "NON_TRANSACTIONAL" });
                http.post(&url).json(&meddled).send().await.unwrap();
            }
            let request = http.post(url).header("content-type", "application/json");
            let answer = request.body(body).send().await.unwrap();
            let status = answer.status();
            if commit {
                seen.lock().unwrap().push(status.as_u16());
            }
            (status, answer.text().await.unwrap())
        };
        let router = axum::Router::new().route("/v1/projects/{call}", post(pass_on));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            host,
            commits,
            queries,
        }
    }

    /// How many queries were made so far.
    pub(crate) fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// How the commits were answered so far.
    pub(crate) fn commits(&self) -> Vec<u16> {
        self.commits.lock().unwrap().clone()
    }
}

/// Stands before an emulator and refuses the calls that a test names; all others it passes on.
pub(crate) struct Doorman {
    pub(crate) host: String,
    refusal: Arc<Mutex<Option<Refusal>>>,
}

/// Which calls are refused, and how.
#[derive(Clone)]
pub(crate) struct Refusal {
    /// The call.
    pub(crate) call: &'static str,
    /// What is in it; nothing: each.
    pub(crate) holding: &'static str,
    /// The answer.
    pub(crate) status: u16,
    /// Google's word for it.
    pub(crate) word: &'static str,
}

impl Doorman {
    pub(crate) async fn start(emulator: &Emulator) -> Self {
        let refusal: Arc<Mutex<Option<Refusal>>> = Arc::default();
        let (behind, rule, http) = (emulator.host.clone(), refusal.clone(), client());
        let pass_on = async move |Path(call): Path<String>, body: String| {
            let wanted = rule.lock().unwrap().clone().filter(|one| {
                call.ends_with(&format!(":{}", one.call)) && body.contains(one.holding)
            });
            if let Some(Refusal { status, word, .. }) = wanted {
                let error = json!({ "error": { "status": word, "message": "said the doorman" } });
                let status = axum::http::StatusCode::from_u16(status).unwrap();
                return (status, error.to_string());
            }
            let url = format!("http://{behind}/v1/projects/{call}");
            let request = http.post(&url).header("content-type", "application/json");
            let answer = request.body(body).send().await.unwrap();
            (answer.status(), answer.text().await.unwrap())
        };
        let router = axum::Router::new().route("/v1/projects/{call}", post(pass_on));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { host, refusal }
    }

    /// From now on these calls are refused; none when there is nothing to refuse.
    pub(crate) fn refuses(&self, refusal: impl Into<Option<Refusal>>) {
        *self.refusal.lock().unwrap() = refusal.into();
    }
}

impl Setup {
    /// Records go into this emulator.
    pub(crate) fn recording(self, emulator: &Emulator) -> Self {
        self.env("DT_PROJECT_ID", PROJECT)
            .env("DATASTORE_EMULATOR_HOST", &emulator.host)
    }
}

fn key(name: &str) -> Value {
    json!({ "path": [{ "kind": KIND, "name": name }] })
}

fn run(host: &str, dir: &tempfile::TempDir) -> Child {
    let name = "datastore-emulator";
    let mut places: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    places.extend(home().map(|home| home.join(".cargo/bin")));
    let program = places.into_iter().map(|place| place.join(name));
    let program = program.into_iter().find(|program| program.exists());
    Command::new(program.expect("datastore-emulator is installed: tests/run.sh prepare"))
        .args(["--host-port", host, "--no-store-on-disk"])
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn python() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(home()?.join(".cache")));
    let place = "moengage-whatsapp-gateway/python/bin/python";
    cache.expect("a HOME").join(place)
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from)
}
