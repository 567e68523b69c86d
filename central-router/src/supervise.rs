//! Tasks that are missed when they end: a panic in one is counted and shown by `/readyz` under the task's name.
//!
//! What runs for as long as the process does and cannot be begun again in the middle stays ended: the router is then not ready, which
//! tells a supervisor to start it anew. Nothing that was acked depends on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use service::admin::Readiness;

/// A panic, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// Runs `task`, which a panic ends.
///
/// # Errors
/// The panic.
pub async fn survive<F: Future>(task: F) -> Result<F::Output, Panicked> {
    let mut task = pin!(task);
    std::future::poll_fn(|context| {
        // Whatever the panic left half done belongs to the task alone, and is dropped with it.
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        polled.map_or_else(|panic| Poll::Ready(Err(Panicked(words(panic.as_ref())))), |poll| poll.map(Ok))
    })
    .await
}

/// Runs the task `name` to its end; should it panic, that is counted, and `/readyz` says so from then on.
pub async fn watch_over(name: &str, readiness: &Readiness, task: impl Future<Output = ()>) {
    if let Err(panic) = survive(task).await {
        count(name, &panic);
        readiness.set(&format!("task_{name}"), Err(&format!("{panic}; restart the router, and report what its log says")));
    }
}

/// Counts a panic.
pub fn count(task: &str, panic: &Panicked) {
    tracing::error!(task, %panic, "a task failed");
    metrics::counter!("tributary_router_task_panics_total", "task" => task.to_owned()).increment(1);
}

/// What a panic says.
#[must_use]
pub fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without words").chars().take(200).collect()
}

/// Declares this module's metrics.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        "tributary_router_task_panics_total",
        metrics::Unit::Count,
        "Panics, by task; a connection's or a tier's write ends alone, any other makes the router not ready"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A task that panics after it waited is missed, by name and in its own words; one that ends is not.
    #[tokio::test]
    async fn a_panic_is_missed() {
        let readiness = Readiness::new();
        readiness.set("journal", Ok(()));
        watch_over("quiet", &readiness, tokio::task::yield_now()).await;
        assert!(readiness.is_ready());
        let task = async {
            tokio::task::yield_now().await;
            panic!("number {}", 7)
        };
        assert_eq!(survive(task).await, Err::<(), _>(Panicked("number 7".to_owned())));
        watch_over("loud", &readiness, async { panic!("a bug") }).await;
        assert!(!readiness.is_ready());
    }
}
