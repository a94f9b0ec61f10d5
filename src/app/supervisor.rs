//! The tasks that must live as long as the process. One that ends by itself is a defect, and a
//! gateway that accepts without sending would hide it: so the whole process stops, in order, and
//! whoever runs it starts it again.

use crate::alert;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one gateway.
#[derive(Debug, Default)]
pub(super) struct Supervisor {
    tasks: TaskTracker,
    /// Asks every task to end.
    pub(super) stop: CancellationToken,
    /// Fired by the first task that ended without being asked, also of a supervisor apart.
    pub(super) broken: CancellationToken,
}

/// Fires `broken` unless its task ended as it was asked to, whatever becomes of the task that holds
/// it.
struct Watch {
    broken: CancellationToken,
    in_order: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.in_order {
            self.broken.cancel();
        }
    }
}

impl Supervisor {
    /// Starts a task. It must end when `stop` is fired, and not before.
    pub(super) fn spawn<W>(&self, name: &'static str, work: W)
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let stop = self.stop.clone();
        let mut watch = Watch {
            broken: self.broken.clone(),
            in_order: false,
        };
        self.tasks.spawn(async move {
            let ended = tokio::spawn(work).await;
            watch.in_order = ended.is_ok() && stop.is_cancelled();
            let in_order = watch.in_order;
            // The order to stop comes before any word about it.
            drop(watch);
            if !in_order {
                let text = format!(
                    "The {name} ended by itself, which is a defect. The gateway stops; start it \
                     again. Nothing that was accepted is lost."
                );
                alert::raise(alert::Code::PartEnded, name, &text);
            }
        });
    }

    /// A supervisor that is asked to end apart from this one. A task of either that ends by itself ends
    /// the process.
    pub(super) fn apart(&self) -> Self {
        Self {
            broken: self.broken.clone(),
            ..Self::default()
        }
    }

    /// Waits for all tasks, after they were asked to end.
    pub(super) async fn ended(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn breaks(supervisor: &Supervisor) -> bool {
        timeout(PATIENCE, supervisor.broken.cancelled())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn r_03_a_task_that_ends_by_itself_or_panics_breaks_its_crew_and_those_apart() {
        let supervisor = Supervisor::default();
        supervisor.apart().spawn("test", async {});
        assert!(breaks(&supervisor).await);
        let supervisor = Supervisor::default();
        supervisor.spawn("test", async { panic!("as the test wants it") });
        assert!(breaks(&supervisor.apart()).await);
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_is_asked_to_breaks_nothing() {
        let supervisor = Supervisor::default();
        let stop = supervisor.stop.clone();
        supervisor.spawn("test", async move { stop.cancelled().await });
        supervisor.stop.cancel();
        timeout(PATIENCE, supervisor.ended()).await.unwrap();
        assert!(!supervisor.broken.is_cancelled());
        let supervisor = Supervisor::default();
        supervisor.stop.cancel();
        supervisor.spawn("test", async { panic!("after the order") });
        assert!(breaks(&supervisor).await);
    }
}
