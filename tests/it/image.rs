//! The image without Docker: what its recipe says, and the gateway as it would run in it. Nobody in
//! particular, no rights, a root that cannot be written to, one directory.

use crate::kit::event_bodies::*;
use crate::kit::harness::*;
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const DOCKERFILE: &str = include_str!("../../Dockerfile");
const DOCKERIGNORE: &str = include_str!("../../.dockerignore");
const COMPOSE: &str = include_str!("../../config/compose.yaml");
/// The user of the image.
const USER: u32 = 10001;

/// The instructions of the last stage, continued lines joined.
fn last_stage() -> Vec<String> {
    let joined = DOCKERFILE.replace("\\\n", " ");
    let lines = joined
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    let last = lines
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    lines[last..].to_vec()
}

fn said<'a>(lines: &'a [String], word: &str) -> Vec<&'a str> {
    let lines = lines.iter().filter_map(|line| line.strip_prefix(word));
    lines.map(str::trim).collect()
}

#[test]
fn the_recipe_of_the_image_leaves_no_rights_no_shell_and_no_secret() {
    let last = last_stage();
    assert_eq!(
        said(&last, "USER "),
        ["10001:10001"],
        "numbers, and never root again"
    );
    let place = |word: &str| last.iter().position(|line| line.starts_with(word)).unwrap();
    assert!(
        last.iter()
            .rposition(|line| line.starts_with("RUN "))
            .unwrap()
            < place("USER ")
    );
    // Lists, so that no shell is started: the signal of a stop reaches the gateway itself.
    assert_eq!(said(&last, "ENTRYPOINT "), ["[\"gateway\"]"]);
    assert_eq!(said(&last, "CMD "), ["[\"serve\"]"]);
    assert_eq!(said(&last, "STOPSIGNAL "), ["SIGTERM"]);
    let health = said(&last, "HEALTHCHECK ");
    assert!(
        health.len() == 1 && health[0].ends_with("CMD [\"gateway\", \"health\"]"),
        "{health:?}"
    );
    // Only the binary comes from the build; where it writes is a volume, temporary files too.
    assert_eq!(
        said(&last, "COPY "),
        ["--from=build /build/target/release/gateway /usr/local/bin/gateway"]
    );
    assert_eq!(said(&last, "ENV "), ["DATA_DIR=/data TMPDIR=/data"]);
    assert_eq!(said(&last, "VOLUME "), ["/data"]);
    for line in DOCKERFILE.lines().filter(|line| line.starts_with("FROM ")) {
        let image = line.split(' ').nth(1).unwrap();
        let (_, tag) = image.split_once(':').expect("a tag");
        assert!(
            tag.contains("bookworm") && !tag.contains("latest"),
            "{line}"
        );
    }
    for word in ["ADD ", "ARG ", "ONBUILD ", "SHELL "] {
        assert!(
            !DOCKERFILE.lines().any(|line| line.starts_with(word)),
            "{word}"
        );
    }
    // The build sees what it needs and nothing else, whatever lies about.
    let seen: Vec<&str> = DOCKERIGNORE
        .lines()
        .filter(|line| !line.starts_with('#'))
        .collect();
    assert_eq!(seen, ["*", "!Cargo.toml", "!Cargo.lock", "!src"]);
}

/// A tag can be moved to other content; a digest cannot.
#[test]
fn r_78_the_base_images_are_named_by_digest() {
    const BUILT_HERE: [&str; 2] = ["moengage-whatsapp-gateway", "datastore-emulator:0.1.14"];
    let mut digests = std::collections::BTreeMap::new();
    for line in DOCKERFILE.lines().chain(COMPOSE.lines()) {
        let mut words = line.trim().split(' ');
        let (Some("FROM" | "image:"), Some(image)) = (words.next(), words.next()) else {
            continue;
        };
        if BUILT_HERE.contains(&image) {
            continue;
        }
        let (name, digest) = image.split_once("@sha256:").expect(line);
        assert!(
            digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()),
            "{line}"
        );
        assert_eq!(*digests.entry(name).or_insert(digest), digest, "{name}");
    }
    assert_eq!(digests.len(), 3, "{digests:?}");
}

#[test]
fn every_service_of_the_compose_file_is_locked() {
    let (head, services) = COMPOSE.split_once("\nservices:\n").unwrap();
    let locked = head.split("x-locked: &locked\n").nth(1).unwrap();
    for line in [
        "read_only: true",
        "cap_drop: [ALL]",
        "security_opt: [\"no-new-privileges:true\"]",
    ] {
        assert!(locked.lines().any(|found| found.trim() == line), "{line}");
    }
    let services = services.split("\nvolumes:\n").next().unwrap();
    let services = format!("\n{services}");
    let is_name =
        |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.ends_with(':');
    let names: Vec<&str> = services.lines().filter(is_name).collect();
    assert_eq!(
        names,
        ["  gateway:", "  redis:", "  datastore:", "  sandbox:"]
    );
    for name in names {
        let block = services.split(&format!("\n{name}\n")).nth(1).unwrap();
        let block: Vec<&str> = block.lines().take_while(|line| !is_name(line)).collect();
        assert_eq!(block[0], "    <<: *locked", "{name}");
        for key in [
            "read_only",
            "cap_drop",
            "cap_add",
            "security_opt",
            "privileged",
        ] {
            let own = block.iter().any(|line| line.trim_start().starts_with(key));
            assert!(!own, "{name} has its own {key}");
        }
        // Published on this machine only.
        let ports = block
            .iter()
            .filter(|line| line.starts_with("      - \"") && line.contains(':'));
        for port in ports {
            assert!(
                port.trim_start().starts_with("- \"127.0.0.1:"),
                "{name} {port}"
            );
        }
    }
}

/// Makes every mount read-only but one directory, then becomes nobody in particular.
const LOCK_UP: &str = r#"
set -e
mount --make-rprivate /
mount --bind "$DATA" "$DATA"
mount --bind "$BIN" "$AT"
while read -r _ at _; do
    case $at in
        "$DATA" | /proc* | /sys* | /dev*) ;;
        *) mount -o remount,ro,bind "$at" ;;
    esac
done </proc/self/mounts
cd /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs \
    --bounding-set=-all --inh-caps=-all -- env -i "$@"
"#;

/// Where a locked-up process may write, and where it finds the binary.
struct Jail {
    place: tempfile::TempDir,
}

impl Jail {
    /// Nothing where this machine does not permit one.
    fn build() -> Option<Self> {
        let mut permitted = Command::new("unshare");
        permitted.args(["--mount", "mount", "--make-rprivate", "/"]);
        let permitted = permitted.stderr(Stdio::null()).status();
        if !permitted.is_ok_and(|status| status.success()) {
            say_skipped("a mount namespace of its own is not permitted here");
            return None;
        }
        let place = tempfile::tempdir().unwrap();
        let open = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755));
        open(place.path()).unwrap();
        for name in ["bin", "data"] {
            std::fs::create_dir(place.path().join(name)).unwrap();
        }
        let data = place.path().join("data");
        std::os::unix::fs::chown(&data, Some(USER), Some(USER)).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o700)).unwrap();
        Some(Self { place })
    }

    fn data(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// A command that sees these variables and no others.
    fn command(&self, variables: &[(&str, &str)], words: &[&str]) -> Command {
        let gateway = Path::new(env!("CARGO_BIN_EXE_gateway"));
        let at = self.place.path().join("bin");
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", LOCK_UP, "sh"]).args(
            variables
                .iter()
                .map(|(name, value)| format!("{name}={value}")),
        );
        match words {
            ["gateway", rest @ ..] => command.arg(at.join("gateway")).args(rest),
            _ => command.args(words),
        };
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("DATA", self.data())
            .env("BIN", gateway.parent().unwrap())
            .env("AT", &at);
        command
    }

    fn run(&self, variables: &[(&str, &str)], words: &[&str]) -> (i32, String) {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(variables, words).output().unwrap();
        let said = [stdout, stderr].concat();
        (status.code().unwrap(), String::from_utf8(said).unwrap())
    }
}

/// A line of a file of `/proc`.
fn of_process(id: u32, file: &str, name: &str) -> String {
    let text = std::fs::read_to_string(format!("/proc/{id}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

/// Nobody in particular, no rights, no way to any, nothing told in passing.
fn assert_powerless(id: u32) {
    assert_eq!(of_process(id, "status", "Uid:"), "10001 10001 10001 10001");
    assert_eq!(of_process(id, "status", "Groups:"), "");
    for rights in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(
            of_process(id, "status", rights),
            "0000000000000000",
            "{rights}"
        );
    }
    assert_eq!(of_process(id, "status", "NoNewPrivs:"), "1");
    // A dump of its memory would hold what it keeps from everybody else.
    let dump = of_process(id, "limits", "Max core file size");
    assert!(
        ["0 0 bytes", "1 1 bytes"].contains(&dump.as_str()),
        "{dump}"
    );
    let arguments = std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap();
    for secret in [TOKEN, SECRET, "c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ"] {
        assert!(!arguments.contains(secret), "{arguments:?}");
    }
}

/// What is kept is for the gateway alone.
fn assert_private(data: &Path) {
    let kept: Vec<_> = std::fs::read_dir(data)
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    assert!(!kept.is_empty());
    for file in kept {
        let file = (file.path(), file.metadata().unwrap());
        assert_eq!(
            (file.1.mode() & 0o777, file.1.uid()),
            (0o600, USER),
            "{file:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_rights_on_a_read_only_root_it_serves_checks_and_stops() {
    let sandbox = Sandbox::start(json!({ "event_mode": "none" })).await;
    let Some(jail) = Jail::build() else { return };
    for denied in ["/x", "/tmp/x", "/etc/x", "/var/tmp/x"] {
        let (code, said) = jail.run(&[], &["touch", denied]);
        assert_eq!(code, 1, "it is no jail: {denied} {said}");
    }
    let data = jail.data().display().to_string();
    let setup = Setup::towards(&sandbox)
        .env("DATA_DIR", &data)
        .env("TMPDIR", &data);
    let (port, ops) = (own_port().to_string(), format!("127.0.0.1:{}", own_port()));
    let setup = setup.env("PORT", &port).env("OPS_ADDR", &ops);
    let variables: Vec<(&str, &str)> = setup
        .env
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let mut process = Process::of(jail.command(&variables, &["gateway"]));
    process.line_with("the gateway is ready");
    let id = process.id();
    assert_powerless(id);
    let url = format!("http://127.0.0.1:{port}/jumper_send_whatsapp");
    let request = sandbox.http.post(url).header("authorization", TOKEN);
    let answer = request
        .json(&order_update("m0", &number(0)))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.text().await.unwrap(), "{\"status\":\"success\"}");
    until("it is sent", async || {
        (sandbox.sends_to(&number(0)[1..]).await.len() == 1).then_some(())
    })
    .await;
    for (words, part) in [
        (&["gateway", "health"][..], "alive"),
        (&["gateway", "health", "--ready"], "ready"),
        (&["gateway", "check"], "writable"),
        (&["gateway", "config"], "store.data_dir"),
        (&["gateway", "trace", "m0"], "sent"),
    ] {
        let (code, said) = jail.run(&variables, words);
        assert_eq!(code, 0, "{words:?}: {said}");
        assert!(said.contains(part), "{words:?}: {said}");
    }
    process.terminate();
    assert_eq!(process.wait(), Some(0), "{}", process.output());
    assert_private(&jail.data());
}

#[test]
fn the_demo_needs_one_writable_directory_and_says_so_when_there_is_none() {
    let Some(jail) = Jail::build() else { return };
    let demo = ["gateway", "demo", "--exit", "--messages", "10"];
    let data = jail.data().display().to_string();
    let (code, said) = jail.run(&[("TMPDIR", &data)], &demo);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("lost 0"), "{said}");
    assert_eq!(
        std::fs::read_dir(jail.data()).unwrap().count(),
        0,
        "it left something"
    );
    let (code, said) = jail.run(&[], &demo);
    assert_eq!(code, 1, "{said}");
    assert!(
        said.contains("cannot make the temporary directory /tmp/"),
        "{said}"
    );
    let said = jail
        .run(&[("DATA_DIR", "/nowhere")], &["gateway", "check"])
        .1;
    assert!(said.contains("/nowhere: / cannot be written to"), "{said}");
}
