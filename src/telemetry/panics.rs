//! How a panic looks in the log: one line, as any event. It goes around the subscriber, which may be
//! what panicked or is told to be silent, and waits for nobody: standard error may be a pipe that
//! nobody reads. And how work goes on after one.

use super::LogFormat;
use super::lines;
use super::writer::standard_error;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// From now on a panic of this process is one line at standard error.
pub(super) fn tell_in(format: LogFormat) {
    std::panic::set_hook(Box::new(move |info| {
        let line = lines::own(format, "ERROR", &words(info));
        standard_error(format).put(line);
    }));
}

/// Somebody's work panicked. What it said is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Panicked;

/// Does work to its end or to its panic: for whoever has to put down what became of it.
pub async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    let mut work = pin!(work);
    std::future::poll_fn(move |context| {
        // The work is not looked at again after a panic; what others see of it are locks, and those
        // who take them mind no poison.
        match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
            Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Err(Panicked)),
        }
    })
    .await
}

fn words(info: &PanicHookInfo<'_>) -> String {
    let place = info.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    let text = info.payload_as_str().unwrap_or("no text");
    format!("panicked at {place}: {text}")
}

#[cfg(test)]
mod tests {
    use super::super::{flush_logs, is_unsafe, start_logs};
    use super::*;
    use crate::telemetry::LogFormat;
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
            flush_logs();
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
        let words = line["message"].as_str().unwrap();
        assert!(
            words.starts_with("panicked at src/telemetry/panics.rs:"),
            "{words}"
        );
        assert!(words.ends_with(TEXT), "{words}");
        assert_eq!(
            (&line["level"], &line["thread"]),
            (&"ERROR".into(), &"worker".into())
        );
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[tokio::test]
    async fn work_is_done_to_its_end_or_to_its_panic() {
        let done = caught(async {
            tokio::task::yield_now().await;
            7
        });
        assert_eq!(done.await, Ok(7));
        let torn = caught(async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "as a test wants it");
        });
        assert_eq!(torn.await, Err(Panicked));
    }
}
