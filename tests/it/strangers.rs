//! Strangers at the door: connections that say nothing, guesses, files and folders that others made,
//! partners that answer without end. They harm nobody, and the operator hears of them.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::{Value, json};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Far more than anybody has to wait while strangers sit at the door, and less than their patience.
const SOON: Duration = Duration::from_secs(5);

async fn open(change: impl Fn(Setup) -> Setup) -> (Sandbox, Gateway) {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, change(Setup::towards(&sandbox))).await;
    (sandbox, gateway)
}

/// So many connections that say this, then a byte now and then, and come again when they are closed.
fn dawdlers(count: usize, url: &str, says: &'static str, drips: bool) -> JoinSet<()> {
    let mut all = JoinSet::new();
    for _ in 0..count {
        let addr = url.trim_start_matches("http://").to_owned();
        all.spawn(async move {
            loop {
                let Ok(mut stream) = TcpStream::connect(&addr).await else {
                    // waits because the next try would be refused like this one
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                };
                let mut lasts = stream.write_all(says.as_bytes()).await.is_ok();
                while lasts {
                    // waits because a slow caller is what this plays
                    let read = stream.read_u8();
                    let closed = tokio::time::timeout(Duration::from_millis(100), read).await;
                    lasts = closed.is_err() && (!drips || stream.write_all(b"a").await.is_ok());
                }
            }
        });
    }
    all
}

/// Waits until some of them have had to go: there are more than there is room for.
async fn strangers_give_way(gateway: &Gateway, ops_token: &str) {
    let (url, http) = (format!("{}/metrics", gateway.ops), client());
    until("strangers were turned out", async || {
        let answer = http.get(&url).bearer_auth(ops_token).send().await;
        let answer = answer.unwrap().error_for_status().unwrap();
        let metrics = answer.text().await.unwrap();
        (figure(&metrics, "gateway_http_gave_way_total") > 0.0).then_some(())
    })
    .await;
}

/// How long one question takes on a connection of its own.
async fn asked(request: impl Fn(reqwest::Client) -> reqwest::RequestBuilder) -> Duration {
    let began = Instant::now();
    let answer = request(client()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_69_slow_bodies_at_all_seats_do_not_keep_sends_out() {
    let (_sandbox, gateway) = open(|setup| {
        let setup = setup.without("WEBHOOK_SECRET").env("WEBHOOK_OPEN", "true");
        setup.set("http.max_connections=64")
    })
    .await;
    // A caller that was let in before keeps its connection.
    gateway.accept("first", &person(900)).await;
    let head = "POST /jumper_callback HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{";
    let _strangers = dawdlers(130, &gateway.url, head, true);
    strangers_give_way(&gateway, "").await;
    for n in 0..10 {
        let url = format!("{}/jumper_send_whatsapp", gateway.url);
        let body = order_update(&format!("m{n}"), &person(n)).to_string();
        let took = asked(|http| http.post(&url).bearer_auth(TOKEN).body(body.clone())).await;
        assert!(took < SOON, "a send waited {took:?}");
        let began = Instant::now();
        gateway.accept(&format!("kept{n}"), &person(100 + n)).await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    }
    let health = format!("{}/healthz", gateway.url);
    let took = asked(|http| http.get(&health)).await;
    assert!(took < SOON, "/healthz waited {took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_69_silent_connections_do_not_keep_operators_out() {
    let token = "ops-token-for-tests";
    let (_sandbox, gateway) = open(|setup| setup.env("OPS_TOKEN", token)).await;
    let _strangers = dawdlers(900, &gateway.ops, "", false);
    strangers_give_way(&gateway, token).await;
    for path in ["/healthz", "/api/ledger", "/metrics", "/healthz"] {
        let url = format!("{}{path}", gateway.ops);
        let took = asked(|http| http.get(&url).bearer_auth(token)).await;
        assert!(took < SOON, "{path} waited {took:?}");
    }
    gateway.accept("m", &person(1)).await;
}

/// Runs a command of the gateway under test to its end; exit code and output.
fn ended(args: &[&str], setup: &Setup, dir: &Path) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(binary());
    command.args(args);
    for pair in &setup.set {
        command.args(["--set", pair]);
    }
    command.env_clear().envs(&setup.env).current_dir(dir);
    let mut process = Process::of(command);
    let code = process.wait();
    (code, process.output())
}

/// What a start says that must not come about.
pub(crate) fn refused(setup: &Setup, dir: &Path) -> String {
    let (code, said) = ended(&["serve"], setup, dir);
    assert_eq!(code, Some(1), "{said}");
    said
}

/// Sends a message, whatever the words of the gateway for it.
async fn taken(gateway: &Gateway, sandbox: &Sandbox, msg_id: &str, to: &str) -> String {
    gateway.accept(msg_id, to).await;
    until("Jumper has it", async || {
        let sends = sandbox.sends_to(digits(to)).await;
        Some(sends.last()?["message_id"].as_str()?.to_owned())
    })
    .await
}

const CALLERS: &str = "MOENGAGE_AUTH_AGAINST";
const WORD: &str = "only the word before one";
const TEMPLATE: &str = "a template or a command";
/// The variable, what it holds, and what the start says of it.
const NO_TOKENS: [(&str, &str, &str); 13] = [
    (CALLERS, "Bearer ", WORD),
    (CALLERS, "Bearer", WORD),
    (CALLERS, "basic", WORD),
    (CALLERS, "Bearer Bearer Bearer Bearer", WORD),
    (CALLERS, "Authorization: Bearer ", WORD),
    (CALLERS, "Bearer $UNSET", "the name of a variable"),
    (CALLERS, "$(openssl rand -hex 24)", TEMPLATE),
    (CALLERS, "   ", "not set"),
    (CALLERS, "fifteen-letters", "ALLOW_SHORT_TOKENS=true"),
    (CALLERS, "sixteen-letters-, short", "16 characters or more"),
    ("OPS_TOKEN", "Bearer ", WORD),
    ("OPS_TOKEN", "${OPS_TOKEN_OF_US:-}", TEMPLATE),
    ("OPS_TOKEN", "fifteen-letters", "ALLOW_SHORT_TOKENS=true"),
];

#[tokio::test]
async fn r_70_tokens_that_anybody_could_present_stop_the_start() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data").display().to_string();
    let base = Setup::towards(&sandbox).env("DATA_DIR", &data);
    for (name, value, says) in NO_TOKENS {
        let said = refused(&base.clone().env(name, value), dir.path());
        assert!(
            said.contains(name) && said.contains(says),
            "{name}={value}: {said}"
        );
        assert!(
            !said.contains("fifteen") && !said.contains("sixteen"),
            "{said}"
        );
    }
    // Who cannot change it at once may say so, and is warned.
    let wished = base
        .env(CALLERS, "short")
        .env("OPS_TOKEN", "short")
        .env("ALLOW_SHORT_TOKENS", "true");
    let gateway = Gateway::start_unheard(wished.clone());
    for name in [CALLERS, "OPS_TOKEN"] {
        let short = format!("{name} has a token of fewer");
        gateway.process.said(&[&short]).await;
    }
    let word = wished.env(CALLERS, "Bearer");
    assert!(refused(&word, dir.path()).contains("only the word"));
}

#[tokio::test]
async fn r_73_guesses_of_the_webhook_secret_are_counted_told_and_alerted_whatever_the_method() {
    const TIMES: usize = 3000;
    let (_sandbox, gateway) = open(|setup| setup).await;
    let began = Instant::now();
    let get = |n| {
        gateway
            .http
            .get(format!("{}/jumper_callback/guess-{n}", gateway.url))
    };
    for (status, _) in answers((0..TIMES).map(get)).await {
        assert_eq!(status, 404);
    }
    let counted = "gateway_webhooks_total{channel=\"\",outcome=\"no_secret\"}";
    assert_eq!(figure(&gateway.metrics().await, counted), TIMES as f64);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let said = ["wrong webhook secret", "secrets_guessed"];
    let log = gateway.process.said(&said).await;
    let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    let told = lines("wrong webhook secret");
    assert!(
        (1..=seconds + 2).contains(&told),
        "{told} lines in {seconds} s"
    );
    assert_eq!(lines("ALERT"), 1, "{log}");
    assert_eq!(lines("secrets_guessed"), 1, "{log}");
    assert_eq!(lines("guess-"), 0);
}

#[tokio::test]
async fn r_74_files_that_others_made_or_may_write_are_not_believed() {
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let dotenv = dir.path().join(".env");
    let file = dir.path().join("gateway.toml");
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let data = dir.path().join("data").display().to_string();
    let setup = Setup::towards(&sandbox).env("DATA_DIR", &data);
    let with_file = setup
        .clone()
        .env("GATEWAY_CONFIG", &file.display().to_string());
    std::fs::write(&dotenv, "JUMPER_API_URL=http://127.0.0.1:9\n").unwrap();
    std::fs::write(&file, "[jumper]\nmax_sockets = 7\n").unwrap();
    for bad in [0o666, 0o622, 0o602, 0o660] {
        mode(&dotenv, bad);
        let said = refused(&setup, dir.path());
        for part in [".env", "other users may write", "environment variables"] {
            assert!(said.contains(part), "{said}");
        }
        mode(&dotenv, 0o600);
        mode(&file, bad);
        let said = refused(&with_file, dir.path());
        assert!(
            said.contains("GATEWAY_CONFIG") && said.contains("other users may write"),
            "{said}"
        );
        mode(&file, 0o600);
    }
    if rustix::process::geteuid().is_root() {
        let foreign = "belongs to user 4711";
        chown(&dotenv, Some(4711), None).unwrap();
        assert!(refused(&setup, dir.path()).contains(foreign));
        std::fs::remove_file(&dotenv).unwrap();
        chown(&file, Some(4711), None).unwrap();
        assert!(refused(&with_file, dir.path()).contains(foreign));
        // By way of a link too.
        symlink(&file, &dotenv).unwrap();
        assert!(refused(&setup, dir.path()).contains(foreign));
        chown(&file, Some(0), None).unwrap();
    }
    let _ = std::fs::remove_file(&dotenv);
    // What is believed is named.
    let gateway = Gateway::start_unheard(with_file);
    let named = ["settings were read", "gateway.toml"];
    gateway.process.said(&named).await;
}

#[tokio::test]
async fn r_76_a_folder_that_everybody_may_write_and_a_link_in_it_are_refused() {
    embedded_only!("on Redis there is no DATA_DIR");
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let mode = |mode| std::fs::set_permissions(&data, PermissionsExt::from_mode(mode)).unwrap();
    let setup = Setup::towards(&sandbox).env("DATA_DIR", &data.display().to_string());
    let checked = || ended(&["check"], &setup, dir.path()).1;
    for bad in [0o777, 0o1777, 0o757] {
        mode(bad);
        for said in [refused(&setup, dir.path()), checked()] {
            for part in ["every user", "chmod o-w", "move gateway.db, gateway.db-wal"] {
                assert!(said.contains(part), "{bad:o}: {said}");
            }
        }
    }
    mode(0o755);
    let target = dir.path().join("precious");
    std::fs::write(&target, "precious").unwrap();
    for name in ["gateway.lock", "gateway.db", "gateway.db-wal"] {
        symlink(&target, data.join(name)).unwrap();
        for said in [refused(&setup, dir.path()), checked()] {
            assert!(said.contains(&format!("{name} is a link")), "{said}");
        }
        assert_eq!(std::fs::read(&target).unwrap(), b"precious", "{name}");
        std::fs::remove_file(data.join(name)).unwrap();
    }
    // A place that is open to all is fine for a folder of our own in it.
    let shared = dir.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, PermissionsExt::from_mode(0o1777)).unwrap();
    let own = shared.join("data").display().to_string();
    Gateway::start_unheard(setup.clone().env("DATA_DIR", &own));
}

#[tokio::test]
async fn r_76_the_cure_of_an_open_folder_keeps_the_queue_and_the_tokens() {
    embedded_only!("on Redis there is no DATA_DIR");
    let sandbox = Sandbox::start(json!({})).await;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let setup = Setup::towards(&sandbox).env("DATA_DIR", &data.display().to_string());
    let gateway = Gateway::start(&sandbox, setup.clone()).await;
    taken(&gateway, &sandbox, "sent", &person(1)).await;
    let pause = gateway.ops_send("POST", "/api/channels/default/pause", json!({}));
    assert_eq!(pause.await.0, 200);
    gateway.accept("waits", &person(2)).await;
    drop(gateway);
    std::fs::set_permissions(&data, PermissionsExt::from_mode(0o777)).unwrap();
    let said = refused(&setup, dir.path());
    let below = data.join("below");
    std::fs::create_dir(&below).unwrap();
    std::fs::set_permissions(&below, PermissionsExt::from_mode(0o700)).unwrap();
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        assert!(said.contains(name), "{said}");
        std::fs::rename(data.join(name), below.join(name)).unwrap();
    }
    let moved = setup.env("DATA_DIR", &below.display().to_string());
    let gateway = Gateway::start(&sandbox, moved).await;
    let resume = gateway.ops_send("POST", "/api/channels/default/resume", json!({}));
    assert_eq!(resume.await.0, 200);
    // The refresh token of the settings has been used up: what it became is in the file.
    until("what waited is sent", async || {
        let sends = sandbox.sends_to(digits(&person(2))).await;
        (sends.len() == 1).then_some(())
    })
    .await;
}

/// An endpoint that answers, and never comes to the end.
async fn endless() -> (String, tokio::sync::mpsc::UnboundedReceiver<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let (tells, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let tells = tells.clone();
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let begin = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"a\":\"";
                let _ = stream.write_all(begin.as_bytes()).await;
                let piece = vec![b'x'; 1 << 20];
                let mut sent = 0;
                while stream.write_all(&piece).await.is_ok() {
                    sent += 1;
                }
                let _ = tells.send(sent);
            });
        }
    });
    (url, told)
}

/// The most memory that a process ever had, in MB.
fn peak(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.process.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kb: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kb / 1024
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r_77_a_token_endpoint_without_end_is_cut_off() {
    let (url, mut ended) = endless().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    let args = [
        "genpkey",
        "-quiet",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
    ];
    let key = std::process::Command::new("openssl")
        .args(args)
        .output()
        .unwrap();
    let account = json!({
        "type": "service_account", "project_id": "shop", "private_key_id": "1",
        "private_key": String::from_utf8(key.stdout).unwrap(),
        "client_email": "gateway@shop.iam.example", "token_uri": url,
    });
    std::fs::write(&path, account.to_string()).unwrap();
    let (_sandbox, gateway) = open(|setup| {
        let setup = setup.env("DT_PROJECT_ID", "shop");
        setup.env("DT_JSON_PATH", &path.display().to_string())
    })
    .await;
    gateway.accept("m", &person(1)).await;
    let sent = tokio::time::timeout(PATIENCE, ended.recv()).await;
    let sent = sent.expect("it is cut off").unwrap();
    // What the sockets of both sides hold is not read.
    assert!(sent < 50, "{sent} MB were taken");
    assert!(peak(&gateway) < 400, "{} MB", peak(&gateway));
    gateway.drained().await;
}

#[tokio::test]
async fn r_78_of_many_tokens_in_one_request_four_are_looked_at() {
    let (_sandbox, gateway) = open(|setup| setup).await;
    let guess = |n: usize, right: usize| match n == right {
        true => TOKEN.to_owned(),
        false => format!("guess-{n}"),
    };
    let send = async |right: usize, id: &str| {
        let tokens: Vec<String> = (0..97).map(|n| guess(n, right)).collect();
        let headers: Vec<(&str, &str)> = tokens.iter().map(|one| ("x-api-key", &**one)).collect();
        gateway
            .post_as(&headers, order_update(id, &person(1)).to_string())
            .await
    };
    for right in [4, 5, 96] {
        assert_eq!(code_of(&send(right, "m").await), "7000", "{right}");
    }
    assert_eq!(send(3, "m").await, (200, json!({ "status": "success" })));
}

#[tokio::test]
async fn r_78_a_long_reply_reaches_moengage_cut_and_marked() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let gateway = Gateway::start(&sandbox, Setup::towards(&sandbox)).await;
    taken(&gateway, &sandbox, "m", &person(1)).await;
    let reply = json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
        "messageid": "long", "mobile": digits(&person(1)), "message": "ä".repeat(450_000) } } });
    assert_eq!(gateway.event(&reply).await, 200);
    let text = until("the reply is relayed", async || {
        let entries = sandbox.entries("m").await;
        let text = |entry: &Value| Some(entry["text"]["body"].as_str()?.to_owned());
        entries.iter().find_map(text)
    })
    .await;
    assert!(
        text.len() <= 64 << 10 && text.len() > 60_000,
        "{}",
        text.len()
    );
    assert!(text.ends_with("ä [cut by the gateway at 64 KB]"));
}

#[tokio::test]
async fn r_78_a_token_in_the_query_of_the_callback_url_is_shown_nowhere() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let url = format!("{}/moengage/dlr?token=hunter2-hunter2", sandbox.url);
    let setup = Setup::towards(&sandbox)
        .env("MOENGAGE_CALLBACK_URL", &url)
        .env("RUST_LOG", "trace,hyper=info,hyper_util=info,reqwest=info");
    let dir = tempfile::tempdir().unwrap();
    for command in ["config", "check"] {
        let (_, said) = ended(&[command], &setup, dir.path());
        assert!(!said.contains("hunter2"), "{command}: {said}");
    }
    let (_, said) = ended(&["config"], &setup, dir.path());
    assert!(said.contains("/moengage/dlr?***"), "{said}");
    let gateway = Gateway::start(&sandbox, setup).await;
    sandbox.script("dlr", &["503"]).await;
    let id = taken(&gateway, &sandbox, "m", &person(1)).await;
    gateway.event(&vonage(&id, "delivered")).await;
    gateway.drained().await;
    assert!(!gateway.process.output().contains("hunter2"));
}

#[tokio::test]
async fn r_78_a_request_names_its_host_once_and_readably() {
    let (_sandbox, gateway) = open(|setup| setup).await;
    let cases: [(&[u8], &str); 6] = [
        (b"", "400"),
        (b"host: 127.0.0.1\r\nhost: 127.0.0.1\r\n", "400"),
        (b"host: 127.0.0.1\r\nhost: evil.test\r\n", "400"),
        (b"host: ev\xefl.test\r\n", "400"),
        (b"host:\r\n", "400"),
        (b"host: 127.0.0.1\r\n", "200"),
    ];
    for (hosts, status) in cases {
        for (url, path) in [(&gateway.url, "/healthz"), (&gateway.ops, "/api/ledger")] {
            let mut stream = TcpStream::connect(url.trim_start_matches("http://"))
                .await
                .unwrap();
            let line = format!("GET {path} HTTP/1.1\r\n");
            let end = b"connection: close\r\n\r\n";
            let request = [line.as_bytes(), hosts, end].concat();
            stream.write_all(&request).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let got = answer.split(' ').nth(1);
            assert_eq!(
                got,
                Some(status),
                "{path} {}: {answer}",
                hosts.escape_ascii()
            );
        }
    }
}

#[tokio::test]
async fn r_71_what_bodies_bring_about_is_told_in_one_line_a_second_and_counted_whole() {
    const PEOPLE: usize = 60;
    let (_sandbox, gateway) = open(|setup| setup).await;
    let began = Instant::now();
    for n in 0..PEOPLE {
        let stop = json!({ "event": { "type": "NEW", "subscription_type": "livechat", "data": {
            "messageid": format!("in-{n}"), "mobile": &number(n)[1..], "message": "STOP" } } });
        assert_eq!(gateway.event(&stop).await, 200);
    }
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let log = gateway.process.said(&["opted out"]).await;
    let lines = log.matches("opted out").count();
    assert!(
        lines >= 1 && lines <= seconds + 2 && lines < PEOPLE,
        "{lines} lines in {seconds} s"
    );
    let line = "gateway_opt_outs_total{scope=\"all\"}";
    let counted = figure(&gateway.metrics().await, line);
    assert_eq!(counted, PEOPLE as f64);
}
