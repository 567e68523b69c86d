//! What must not end before it is told to: a task or thread that does, by a panic or by mistake, makes the edge unready under its name.
//!
//! Nothing is started anew: what a part held when it panicked is not known to be whole, and all that was acknowledged is on disk. A
//! restart, which an orchestrator makes of a `/readyz` that stays 503, begins from there.

use service::admin::Readiness;
use service::shutdown::Shutdown;

/// Dropped before its shutdown is requested, it makes the edge unready.
#[derive(Debug)]
pub(crate) struct Alive {
    readiness: Readiness,
    name: String,
    until: Shutdown,
}

impl Alive {
    /// The part `name` lives, until `until`.
    pub(crate) fn new(readiness: &Readiness, name: impl Into<String>, until: &Shutdown) -> Self {
        let name = name.into();
        readiness.set(&name, Ok(()));
        Self { readiness: readiness.clone(), name, until: until.clone() }
    }

    /// The task, which is to live as long.
    pub(crate) async fn hold(self, task: impl Future<Output = ()>) {
        task.await;
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        if !self.until.is_requested() {
            tracing::error!(part = self.name, "a part of the edge has ended; restart the edge");
            self.readiness.set(&self.name, Err("has ended (the log says why): restart the edge"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that panics, or ends early, makes the edge unready, for good; one that ends when it is told to does not.
    #[tokio::test]
    async fn a_dead_task_makes_the_edge_unready() {
        let (readiness, until) = (Readiness::new(), Shutdown::new());
        let waiting = {
            let until = until.clone();
            tokio::spawn(Alive::new(&readiness, "told", &until.clone()).hold(async move { until.requested().await }))
        };
        assert!(readiness.is_ready());
        tokio::spawn(Alive::new(&readiness, "early", &until).hold(async {})).await.unwrap();
        assert!(!readiness.is_ready());
        readiness.set("early", Ok(()));
        let died = tokio::spawn(Alive::new(&readiness, "panics", &until).hold(async { panic!("on purpose") })).await;
        assert!(died.unwrap_err().is_panic() && !readiness.is_ready());
        readiness.set("panics", Ok(()));
        until.request();
        waiting.await.unwrap();
        assert!(readiness.is_ready());
    }

    /// The same for a thread.
    #[test]
    fn a_dead_thread_makes_the_edge_unready() {
        let (readiness, until) = (Readiness::new(), Shutdown::new());
        let alive = Alive::new(&readiness, "encoders", &until);
        assert!(readiness.is_ready());
        let died = std::thread::spawn(move || {
            let _alive = alive;
            panic!("on purpose");
        });
        assert!(died.join().is_err() && !readiness.is_ready());
    }
}
