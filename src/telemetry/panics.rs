//! How a panic looks in a log of JSON: one line, as any event. It goes around the subscriber, which
//! may be what panicked or is told to be silent. A log for people keeps Rust's own words.

use super::LogFormat;
use super::lines::OneLine;
use std::io::{self, Write};
use std::panic::PanicHookInfo;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// From now on a panic of this process is one JSON line at standard error.
pub(super) fn tell_in_json() {
    std::panic::set_hook(Box::new(|info| {
        let mut out = OneLine {
            out: io::stderr(),
            format: LogFormat::Json,
        };
        // Where this cannot be written, nothing can.
        let _ = out.write_all(line(info).as_bytes());
    }));
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let mut at = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut at));
    let place = info.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    let said = info.payload_as_str().unwrap_or("no text");
    let event = serde_json::json!({
        "timestamp": at,
        "level": "ERROR",
        "message": format!("panicked at {place}: {said}"),
        "thread": std::thread::current().name(),
    });
    format!("{event}\n")
}

#[cfg(test)]
mod tests {
    use super::super::{is_unsafe, start_logs};
    use super::*;
    use serde_json::Value;
    use std::process::Command;

    const TEXT: &str = "a\nERROR fake\u{1b}[2J\u{202e}\", \"level\":\"INFO";

    /// The hook is of a whole process, so the test runs once more in one of its own.
    #[test]
    fn a_panic_is_one_line_of_json_even_where_nothing_else_is_logged() {
        const INSIDE: &str = "PANICS_INSIDE";
        if std::env::var_os(INSIDE).is_some() {
            start_logs(LogFormat::Json, "off");
            let worker = std::thread::Builder::new().name("worker".to_owned());
            let ended = worker.spawn(|| panic!("{TEXT}")).unwrap().join();
            assert!(ended.is_err());
            return;
        }
        let name = "a_panic_is_one_line_of_json_even_where_nothing_else_is_logged";
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg(format!("telemetry::panics::tests::{name}"))
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let log = String::from_utf8(out.stderr).unwrap();
        assert!(out.status.success(), "{log}");
        let (text, rest) = log.split_once('\n').unwrap();
        assert_eq!(rest, "", "{log}");
        assert!(!text.contains(is_unsafe), "{text:?}");
        let line: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {log}"));
        let said = line["message"].as_str().unwrap();
        assert!(
            said.starts_with("panicked at src/telemetry/panics.rs:"),
            "{said}"
        );
        assert!(said.ends_with(TEXT), "{said}");
        assert_eq!(
            (&line["level"], &line["thread"]),
            (&"ERROR".into(), &"worker".into())
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }
}
