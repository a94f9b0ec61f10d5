//! The tasks that must live as long as the process. One that ends by itself is a defect, and a
//! gateway that accepts without sending would hide it: so the whole process stops, in order, and
//! whoever runs it starts it again.

use crate::alert;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one gateway.
#[derive(Debug, Default)]
pub(super) struct Crew {
    tasks: TaskTracker,
    /// Asks every task to end.
    pub(super) stop: CancellationToken,
    /// Fired by the first task that ended without being asked.
    pub(super) broken: CancellationToken,
}

impl Crew {
    /// Starts a task. It must end when `stop` is fired, and not before.
    pub(super) fn hire<W>(&self, name: &'static str, work: W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (stop, broken) = (self.stop.clone(), self.broken.clone());
        self.tasks.spawn(async move {
            let ended = tokio::spawn(work).await;
            if ended.is_err() || !stop.is_cancelled() {
                alert::tell(&format!(
                    "The {name} ended by itself, which is a defect. The gateway stops; start it \
                     again. Nothing that was accepted is lost."
                ));
                broken.cancel();
            }
        });
    }

    /// Waits for all tasks, after they were asked to end.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}
