//! The tasks of the daemon. They end in order when the daemon stops. If one ends earlier, the daemon stops.

use std::sync::{Arc, OnceLock};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// All tasks that must not end before the daemon stops. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    /// Tasks that end by themselves once the last request is answered.
    lanes: TaskTracker,
    /// Cancelled when the daemon stops.
    stopping: CancellationToken,
    /// Cancelled when every request is answered, so that the background tasks are not needed any more.
    answered: CancellationToken,
    /// The first task that ended too early.
    ended_early: Arc<OnceLock<&'static str>>,
}

impl Tasks {
    /// Asks the daemon to stop.
    pub(crate) fn stop(&self) {
        self.stopping.cancel();
    }

    /// Resolves when the daemon stops.
    pub(crate) async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    /// Waits for a future, unless the daemon is asked to stop before.
    pub(crate) async fn unless_stopping<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        self.stopping.run_until_cancelled(future).await
    }

    /// Starts the task of a lane, which ends once it has answered every request. See [`Tasks::lanes_end`].
    pub(crate) fn spawn_lane(&self, task: impl Future<Output = ()> + Send + 'static) {
        let watched = self.watch("a lane");
        self.lanes.spawn(async move {
            task.await;
            drop(watched);
        });
    }

    /// Starts a task that may be aborted anywhere. It is aborted once every request is answered.
    pub(crate) fn spawn_background(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let (watched, answered) = (self.watch(name), self.answered.clone());
        tokio::spawn(async move {
            answered.run_until_cancelled(task).await;
            drop(watched);
        });
    }

    /// Aborts the background tasks.
    pub(crate) fn end_background(&self) {
        self.stopping.cancel();
        self.answered.cancel();
    }

    /// Aborts the background tasks, and resolves when all lanes have ended. Every request must be answered.
    pub(crate) async fn lanes_end(&self) {
        self.end_background();
        self.lanes.close();
        self.lanes.wait().await;
    }

    /// The task that ended before the daemon was asked to stop, which is a bug.
    pub(crate) fn ended_early(&self) -> Option<&'static str> {
        self.ended_early.get().copied()
    }

    fn watch(&self, name: &'static str) -> Watched {
        Watched { name, stopping: self.stopping.clone(), ended_early: Arc::clone(&self.ended_early) }
    }
}

/// Dropped when its task ends, also by a panic.
struct Watched {
    name: &'static str,
    stopping: CancellationToken,
    ended_early: Arc<OnceLock<&'static str>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.stopping.is_cancelled() {
            let _ = self.ended_early.set(self.name);
            self.stopping.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::Tasks;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_early_stops_the_daemon_and_is_named() {
        let tasks = Tasks::default();
        tasks.spawn_background("one", pending());
        tasks.spawn_background("another", async { panic!("a bug") });
        tasks.stopping().await;
        assert_eq!(tasks.ended_early(), Some("another"));

        let tasks = Tasks::default();
        tasks.spawn_lane(async {});
        tasks.stopping().await;
        assert_eq!(tasks.ended_early(), Some("a lane"));
    }

    #[tokio::test]
    async fn a_task_that_ends_while_the_daemon_stops_is_no_bug() {
        let tasks = Tasks::default();
        tasks.spawn_background("one", pending());
        let stopping = tasks.clone();
        tasks.spawn_lane(async move { stopping.stopping().await });
        tasks.stop();
        tasks.lanes_end().await;
        assert_eq!(tasks.ended_early(), None);
        assert_eq!(tasks.unless_stopping(pending::<()>()).await, None);
    }
}
