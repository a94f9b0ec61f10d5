//! What operators change, one change after another and each to its end.
//!
//! A change is stored first and holds in memory then. Two at once could do that in different orders,
//! and a caller who goes away could leave one half done: then a restart would bring back what nobody
//! wanted.

use super::problem::Problem;
use axum::http::StatusCode;
use std::sync::Arc;
use tokio::sync::Mutex;

/// Whose turn it is. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct ChangeLock(Arc<Mutex<()>>);

impl ChangeLock {
    /// Makes a change when those before it are done, in a task of its own: whoever stops waiting for
    /// it does not stop it.
    pub(super) async fn take<T, F>(&self, change: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Problem>> + Send + 'static,
    {
        let lock = self.0.clone();
        let task = tokio::spawn(async move {
            let _ours = lock.lock().await;
            change.await
        });
        let cut = |_| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the change was cut short",
            )
        };
        task.await.map_err(cut)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;
    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::timeout;

    #[tokio::test]
    async fn no_change_begins_before_the_one_before_it_has_ended() {
        let lock = ChangeLock::default();
        let under_way = Arc::new(AtomicU32::new(0));
        let change = || {
            let under_way = under_way.clone();
            lock.take(async move {
                let others = under_way.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
                under_way.fetch_sub(1, Ordering::Relaxed);
                Ok(others)
            })
        };
        let ends = tokio::join!(change(), change(), change());
        assert_eq!(ends, (Ok(0), Ok(0), Ok(0)));
    }

    #[tokio::test]
    async fn a_change_goes_on_when_nobody_waits_for_it_any_more() {
        let lock = ChangeLock::default();
        let (stored, until_stored) = oneshot::channel();
        let (holds, until_it_holds) = oneshot::channel();
        let change = lock.take(async move {
            let _ = until_stored.await;
            let _ = holds.send(());
            Ok(())
        });
        // It begins, and the caller goes away.
        assert!(timeout(Duration::ZERO, change).await.is_err());
        assert_eq!(stored.send(()), Ok(()));
        assert_eq!(until_it_holds.await, Ok(()));
    }
}
