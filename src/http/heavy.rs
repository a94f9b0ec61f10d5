//! Work on large bodies, apart from the threads that all requests share.
//!
//! Reading a megabyte takes milliseconds, in which a thread of the runtime serves nobody else; a few
//! callers with large bodies would make everybody wait. Large bodies are read on other threads, by at most
//! half of the processors at once, in the order in which they came. Small ones, nearly all, are read
//! where they are. Knows nothing of what is in a body.

use axum::body::Bytes;
use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// From so many bytes on a body is large: to read fewer takes less than to hand them over is worth.
const LARGE: usize = 16 * 1024;

/// How many may be read at once.
static READERS: LazyLock<Semaphore> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, usize::from);
    Semaphore::new((processors / 2).max(1))
});

/// Reads a body; a panic of `read` is the caller's.
pub async fn read_apart<T: Send + 'static>(
    body: Bytes,
    read: impl FnOnce(&[u8]) -> T + Send + 'static,
) -> T {
    if body.len() < LARGE {
        return read(&body);
    }
    // Held until the work is done, also when the caller has gone meanwhile. Nobody closes the semaphore.
    let reader = READERS.acquire().await.ok();
    let work = spawn_blocking(move || {
        let _reader = reader;
        read(&body)
    });
    match work.await.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(read) => read,
        Err(Ok(panic)) => resume_unwind(panic),
        // The runtime ends, and with it whoever waits here.
        Err(Err(_)) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;
    use tokio::task::JoinSet;

    fn body(length: usize) -> Bytes {
        vec![b'a'; length].into()
    }

    #[tokio::test]
    async fn a_small_body_is_read_where_it_is_and_a_large_one_is_not() {
        let here = thread::current().id();
        let on = async |length| read_apart(body(length), |_| thread::current().id()).await;
        assert_eq!(on(LARGE - 1).await, here);
        assert_ne!(on(LARGE).await, here);
    }

    #[tokio::test]
    async fn others_have_their_turn_while_a_large_body_is_read() {
        let (go, gone) = mpsc::channel();
        let reads = tokio::spawn(read_apart(body(LARGE), move |_| {
            gone.recv_timeout(Duration::from_secs(60))
        }));
        // This thread is the runtime's only one.
        let other = tokio::spawn(async move { go.send(()) });
        other.await.unwrap().unwrap();
        assert_eq!(reads.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn half_of_the_processors_read_at_once() {
        static AT_ONCE: AtomicUsize = AtomicUsize::new(0);
        let half = (available_parallelism().map_or(1, usize::from) / 2).max(1);
        let mut tasks = JoinSet::new();
        for _ in 0..(4 * half).max(8) {
            tasks.spawn(read_apart(body(LARGE), |_| {
                let others = AT_ONCE.fetch_add(1, SeqCst);
                // waits because reading takes time
                thread::sleep(Duration::from_millis(5));
                AT_ONCE.fetch_sub(1, SeqCst);
                others
            }));
        }
        for others in tasks.join_all().await {
            assert!(others < half, "{others} others at once");
        }
    }

    #[tokio::test]
    async fn a_panic_is_the_callers_and_the_next_body_is_read() {
        let fails = tokio::spawn(read_apart(body(LARGE), |_| -> () { panic!("as a test") }));
        assert!(fails.await.is_err_and(|error| error.is_panic()));
        assert_eq!(read_apart(body(LARGE), <[u8]>::len).await, LARGE);
    }
}
