//! The commands as a person at a terminal meets them: exit codes, what is printed, what is left
//! behind. Each runs in an empty directory with an empty environment.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place of its own for one test: the working directory, and the temporary files beside it.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("tmp")).expect("a directory");
        Self { dir }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
        command
            .args(args)
            .env_clear()
            .env("TMPDIR", self.dir.path().join("tmp"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str], env: &[(&str, &str)]) -> Ended {
        let output = self.command(args).envs(env.iter().copied()).output();
        Ended::of(output.expect("the binary starts"))
    }

    /// Names of the temporary files there are.
    fn temporary(&self) -> Vec<String> {
        names(&self.dir.path().join("tmp"))
    }
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).expect("a readable directory");
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.expect("a readable directory").file_name();
        name.to_string_lossy().into_owned()
    };
    entries.map(name).collect()
}

/// What a command left.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ended {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("UTF-8"),
            err: String::from_utf8(output.stderr).expect("UTF-8"),
        }
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    #[track_caller]
    fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(said, "does not say {part:?}: {self:#?}");
        }
        self
    }

    #[track_caller]
    fn hides(self, parts: &[&str]) -> Self {
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(!said, "says {part:?}: {self:#?}");
        }
        self
    }
}

/// A command that keeps running; killed when dropped.
struct Running {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(args);
        let mut child = command.stderr(Stdio::null()).spawn().expect("it starts");
        let out = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                // The test has ended when nobody listens.
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// The first line that holds `part`, printed before or to come.
    fn line_with(&mut self, part: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(part)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("no line with {part:?} ({error}):\n{}", self.seen.join("\n")),
            }
        }
    }

    /// The address in the first line that holds `part`.
    fn addr_of(&mut self, part: &str) -> String {
        let line = self.line_with(part);
        let (_, rest) = line.split_once("http://").expect("a URL");
        let addr: String = rest.chars().take_while(|c| *c != '/').collect();
        addr.trim().to_owned()
    }

    /// SIGTERM, then the exit code.
    fn terminate(mut self) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
        let until = Instant::now() + PATIENCE;
        // Its output ends with it.
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
            }
        }
        self.child.wait().expect("it ended").code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port of loopback at which nobody listens, most likely for as long as a test runs.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

#[test]
fn the_demo_loses_nothing_and_leaves_nothing_behind() {
    let place = Place::new();
    let garbage = "JUMPER_API_URL=http://127.0.0.1:1\nRATE_PER_SECOND=none\n";
    std::fs::write(place.dir.path().join(".env"), garbage).unwrap();
    let env = [
        ("GATEWAY_CONFIG", "no-such-file.toml"),
        ("JUMPER_BASIC_AUTH", "Basic of-a-real-account"),
        ("DATA_DIR", "not-for-the-demo"),
        ("PORT", "not a port"),
    ];
    let ended = place.run(&["demo", "--exit", "--messages", "60"], &env);
    let ended = ended.exits(0).says(&[
        "Sends 60 WhatsApp messages",
        "57  success",
        "57 sends at Jumper to 57 people, 0 of them twice; 57 in the ledger",
        "5 of 5 replies reached MoEngage",
        "to MoEngage: reply (button)",
        "7003  ",
    ]);
    let ended = ended.hides(&["WRONG", "real-account"]);
    let last = ended.out.trim_end().lines().last().unwrap();
    assert!(last.starts_with("accepted 57 = "), "{last}");
    assert!(last.ends_with("lost 0"), "{last}");
    assert_eq!(place.temporary(), Vec::<String>::new());
    assert!(!place.dir.path().join("not-for-the-demo").exists());
    assert!(!place.dir.path().join("data").exists());
}

#[test]
fn the_demo_takes_other_ports_when_its_own_are_busy() {
    // Whoever has them already keeps them busy as well.
    let _busy = [3001, 3002, 4010].map(|port| TcpListener::bind(("127.0.0.1", port)));
    let place = Place::new();
    let ended = place.run(&["demo", "--exit", "--messages", "3"], &[]);
    let ended = ended.exits(0);
    assert!(ended.out.trim_end().ends_with("lost 0"), "{ended:#?}");
}

#[test]
fn the_demo_serves_on_and_the_other_commands_speak_to_it() {
    let place = Place::new();
    let mut demo = Running::start(&place, &["demo", "--messages", "5"]);
    let (public, ops) = (demo.addr_of("  send  "), demo.addr_of("  ops  "));
    // The line that is there to be copied, taken apart.
    let line = demo.line_with("-d '");
    let body = line.split('\'').nth(3).expect("a quoted body");
    let answer = post(&public, "POST /jumper_send_whatsapp", body);
    assert!(answer.ends_with(r#"{"status":"success"}"#), "{answer}");
    let port = public.rsplit(':').next().expect("a port").to_owned();
    let env = [("OPS_ADDR", ops.as_str()), ("PORT", port.as_str())];
    traces_what_was_sent_by_hand(&place, &env);
    let run = |args: &[&str], code| place.run(args, &env).exits(code);
    run(&["health"], 0).says(&["alive (HTTP 200)"]);
    run(&["health", "--ready"], 0).says(&["ready (HTTP 200)"]);

    let wish = r#"{"per_second": 7.5}"#;
    let answer = post(&ops, "PUT /api/accounts/default/rate", wish);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    // The running gateway has 300 ms to answer; asked too late, the command shows the file.
    let give_up = Instant::now() + PATIENCE;
    let shown = loop {
        let shown = run(&["config"], 0);
        if shown.out.contains(" runtime") || Instant::now() > give_up {
            break shown;
        }
    };
    let mut lines = shown.out.lines();
    let rate = lines.rfind(|line| line.starts_with("sending.rate_per_second"));
    let cells: Vec<_> = rate.unwrap().split_whitespace().collect();
    assert_eq!(cells[1..3], ["7.5", "runtime"], "{shown:#?}");
    let names = [
        "MOENGAGE_CALLBACK_URL",
        "token of default",
        "valid until",
        "lost 0",
    ];
    run(&["check"], 1).says(&names);

    assert_eq!(demo.terminate(), Some(0));
    assert_eq!(place.temporary(), Vec::<String>::new());
    let advice = [&ops, "OPS_ADDR", "OPS_TOKEN", "nothing listens there"];
    run(&["trace", "hello-1"], 1).says(&advice);
    let silent = run(&["health"], 1);
    assert_eq!((silent.out.as_str(), silent.err.lines().count()), ("", 1));
}

fn traces_what_was_sent_by_hand(place: &Place, env: &[(&str, &str)]) {
    let run = |id: &str, code| place.run(&["trace", id], env).exits(code);
    let words = ["hello-1  ", "order_update (en_US)", "+0.000s  accepted"];
    run("hello-1", 0).says(&words);
    // By number, however it is written; it is never printed whole.
    run("+1 202 555 0143", 0)
        .says(&words)
        .hides(&["2025550143"]);
    run("nobody-knows", 1).says(&[env[0].1, "no message"]);
}

/// Sends JSON as the demo's MoEngage, and reads the whole answer.
fn post(addr: &str, route: &str, body: &str) -> String {
    let request = format!(
        "{route} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer demo-token-of-moengage\r\n\
         Content-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(addr).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn health_fails_when_nothing_listens_or_something_else_does() {
    let place = Place::new();
    let port = closed_port().to_string();
    let env = [("PORT", port.as_str())];
    place
        .run(&["health"], &env)
        .exits(1)
        .says(&["nothing listens there"]);
    place
        .run(&["health", "--ready"], &env)
        .exits(1)
        .says(&["/readyz"]);
    // Accepts and never answers.
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = mute.local_addr().unwrap().port().to_string();
    let ended = place.run(&["health"], &[("PORT", &port)]);
    ended.exits(1).says(&["no answer in time"]);
}

#[test]
fn config_shows_layers_and_no_secret() {
    let place = Place::new();
    std::fs::write(place.dir.path().join(".env"), "PORT=4999\n").unwrap();
    let secrets = [
        ("MOENGAGE_AUTH_AGAINST", "caller-of-sends-s3cret"),
        ("JUMPER_BASIC_AUTH", "Basic czNjcmV0OnMzY3JldA=="),
        ("SEED_REFRESH_TOKEN", "refresh-s3cret"),
        ("WEBHOOK_SECRET", "webhook-s3cret-0123456789"),
        ("OPS_TOKEN", "ops-of-gateway-s3cret"),
        (
            "SLACK_WEBHOOK_URL",
            "https://hooks.slack.com/services/s3cret",
        ),
        (
            "SUBSCRIBED_CALLBACK_URL",
            "https://gw.example.com/jumper_callback/webhook-s3cret-0123456789",
        ),
        ("WABA_NUMBER", "+12025550100"),
        ("RATE_PER_SECOND", "7"),
    ];
    let args = ["config", "--set", "policy.max_age=2h"];
    let ended = place.run(&args, &secrets).exits(0);
    let ended = ended.hides(&["s3cret", "czNjcmV0", "2025550100"]);
    for (key, value, layer) in [
        ("http.port", "4999", ".env"),
        ("sending.rate_per_second", "7", "environment"),
        ("policy.max_age", "2h", "flag"),
        ("ops.token", "***", "environment"),
        ("log.format", "text", "default"),
    ] {
        let line = ended
            .out
            .lines()
            .find(|line| line.starts_with(key))
            .unwrap();
        let cells: Vec<_> = line.split_whitespace().collect();
        assert_eq!(cells[..3], [key, value, layer]);
    }
}

#[test]
fn serve_without_its_variables_lists_all_that_are_missing() {
    let place = Place::new();
    for args in [&["serve"][..], &[]] {
        let missing = [
            "MOENGAGE_CALLBACK_URL",
            "MOENGAGE_AUTH_AGAINST",
            "JUMPER_BASIC_AUTH",
        ];
        place.run(args, &[]).exits(1).says(&missing);
    }
    assert!(
        !place.dir.path().join("data").exists(),
        "nothing is made before all is known"
    );
}

#[test]
fn wrong_usage_is_told_with_code_2() {
    let place = Place::new();
    for args in [
        &["--nonsense"][..],
        &["demo", "--nonsense"],
        &["demo", "--messages", "0"],
        &["demo", "--messages", "many"],
        &["demo", "--set", "http.port=1"],
        &["config", "--set", "novalue"],
        &["trace"],
        &["send"],
    ] {
        let ended = place.run(args, &[]).exits(2);
        assert!(
            ended.out.is_empty() && ended.err.contains("error"),
            "{ended:#?}"
        );
    }
}

#[test]
fn help_names_the_commands_there_are_and_no_others() {
    let ended = Place::new().run(&["--help"], &[]).exits(0);
    let listed = ended
        .out
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names: Vec<_> = listed
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let wanted = [
        "serve", "demo", "sandbox", "check", "health", "config", "optouts", "trace", "help",
    ];
    assert_eq!(names, wanted);
}

#[test]
fn check_reaches_what_is_configured_and_shows_no_secret() {
    let place = Place::new();
    let mut fakes = Running::start(&place, &["sandbox", "--port", "0"]);
    let fakes_url = format!("http://{}", fakes.addr_of("Jumper at"));
    let callback = format!("{fakes_url}/moengage/dlr/s3cret");
    let webhook = format!("http://127.0.0.1:{}/jumper_callback", closed_port());
    let ops = format!("127.0.0.1:{}", closed_port());
    // The usual port may be another test's just now.
    let port = closed_port().to_string();
    let mut env = vec![
        ("JUMPER_API_URL", fakes_url.as_str()),
        ("MOENGAGE_CALLBACK_URL", callback.as_str()),
        ("MOENGAGE_AUTH_AGAINST", "caller-of-sends-s3cret"),
        (
            "JUMPER_BASIC_AUTH",
            "Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=",
        ),
        ("SUBSCRIBED_CALLBACK_URL", webhook.as_str()),
        ("WEBHOOK_SECRET", "webhook-s3cret-0123456789"),
        ("OPS_ADDR", ops.as_str()),
        ("PORT", port.as_str()),
    ];
    let good = place.run(&["check"], &env).exits(0);
    let good = good.says(&[
        "(will be made): writable",
        "answers (HTTP 401)",
        "not running",
        "synced to disk before",
        "0 errors, ",
    ]);
    let good = good.says(&["Jumper takes JUMPER_BASIC_AUTH"]);
    good.hides(&["s3cret", "c2FuZGJveC", "FAULT"]);
    assert!(
        !place.dir.path().join("data").exists(),
        "checking makes nothing"
    );

    // R-17: the key and the secret of another application.
    env[3].1 = "Basic czNjcmV0OnMzY3JldA==";
    let wrong = place.run(&["check"], &env).exits(1);
    wrong
        .says(&["Jumper credentials", "JUMPER_BASIC_AUTH", "Invalid client"])
        .hides(&["s3cret", "czNjcmV0"]);

    let nowhere = format!("http://127.0.0.1:{}", closed_port());
    env[0].1 = nowhere.as_str();
    let bad = place.run(&["check"], &env).exits(1);
    bad.says(&["Jumper API", "FAULT", "nothing listens there"])
        .hides(&["s3cret"]);

    let blank = place.run(&["check"], &[("RATE_PER_SECOND", "fast"), ("PORT", "x")]);
    let names = [
        "RATE_PER_SECOND",
        "PORT",
        "MOENGAGE_CALLBACK_URL",
        "JUMPER_BASIC_AUTH",
    ];
    blank.exits(1).says(&names);
    assert_eq!(fakes.terminate(), Some(0));
}

/// Secrets belong into files that only the gateway reads, and not onto command lines.
#[test]
fn secrets_that_others_on_the_machine_can_read_are_told() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let write = |name: &str, text: &str, mode: u32| {
        let path = place.dir.path().join(name);
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("its mode");
    };
    let env = [("GATEWAY_CONFIG", "gateway.toml")];
    let dotenv = "WEBHOOK_SECRET=hunter2-hunter2-hunter2";
    let file = "[ops]\ntoken = \"hunter2-hunter2-hunter2\"";
    for (mode, told) in [(0o644, true), (0o604, true), (0o640, false), (0o600, false)] {
        write(".env", dotenv, mode);
        write("gateway.toml", file, mode);
        let ended = place.run(&["config"], &env).exits(0).hides(&["hunter2"]);
        let words = [".env holds secrets", "gateway.toml holds secrets"];
        match told {
            true => ended.says(&words),
            false => ended.hides(&words),
        };
    }
    let flag = [
        "config",
        "--set",
        "jumper.webhook_secret=hunter2-hunter2-hunter2",
    ];
    place
        .run(&flag, &env)
        .exits(0)
        .says(&[
            "jumper.webhook_secret given with --set",
            "list of processes",
        ])
        .hides(&["hunter2"]);
}
