//! What a test's own thread logs, for tests of what a log holds.

use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// A second subscriber, which wants nothing. tracing remembers of each log statement whether anybody
/// wants it. While it knows of one subscriber only, it asks the thread that meets the statement
/// first: another test's, which has none, and then nobody ever hears it. With two it asks both.
static OTHER: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

/// Lines that were written.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// What this thread logs while `work` is done, of every level.
    pub(crate) fn of(work: impl FnOnce()) -> String {
        LazyLock::force(&OTHER);
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, work);
        log.text()
    }

    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn what_another_thread_said_first_is_heard_too() {
    let say = || tracing::info!("said twice");
    let log = Log::of(|| {
        std::thread::spawn(say).join().unwrap();
        say();
    });
    assert_eq!(log.matches("said twice").count(), 1, "{log}");
}
