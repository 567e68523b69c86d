//! Work that is missed when it panics: counted, and, where the process needs it, shown by `/readyz` under its name.
//!
//! What runs for as long as the process does and cannot be begun again in the middle stays ended: the process is then not ready, which
//! tells a supervisor to start it anew. Nothing that was acknowledged may depend on it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use tokio::task::JoinError;

use crate::admin::Readiness;

const PANICS: &str = "tributary_service_task_panics_total";

/// A panic, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("panicked: {0}")]
pub struct Panicked(pub String);

/// Runs `work`, which a panic ends. Whatever it left half done must be dropped with it, or be whole all the same.
///
/// # Errors
/// The panic.
pub fn survive_now<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(words(panic.as_ref())))
}

/// Runs `task`, which a panic ends.
///
/// # Errors
/// The panic.
pub async fn survive<F: Future>(task: F) -> Result<F::Output, Panicked> {
    let mut task = pin!(task);
    std::future::poll_fn(|context| {
        // Whatever the panic left half done belongs to the task alone, and is dropped with it.
        survive_now(|| task.as_mut().poll(context)).map_or_else(|panic| Poll::Ready(Err(panic)), |poll| poll.map(Ok))
    })
    .await
}

/// Runs the task `name` to its end; should it panic, that is counted, and `/readyz` says so from then on.
pub async fn watch_over(name: &str, readiness: &Readiness, task: impl Future<Output = ()>) {
    if let Err(panic) = survive(task).await {
        count(name, &panic);
        readiness.set(&format!("task_{name}"), Err(&format!("{panic}; restart the process, and report what its log says")));
    }
}

/// Counts a panic.
pub fn count(task: &str, panic: &Panicked) {
    tracing::error!(task, %panic, "a task failed");
    metrics::counter!(PANICS, "task" => task.to_owned()).increment(1);
}

/// Counts the panic of a task that was waited for, if it is how the task ended.
pub fn count_joined<T>(task: &str, joined: Result<T, JoinError>) {
    if let Err(Ok(panic)) = joined.map_err(JoinError::try_into_panic) {
        count(task, &Panicked(words(panic.as_ref())));
    }
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without words").chars().take(200).collect()
}

/// Declares this module's metrics.
pub(crate) fn describe_metrics() {
    metrics::describe_counter!(
        PANICS,
        metrics::Unit::Count,
        "Panics, by task; a request, a connection or a tier's write ends alone, any other makes the process not ready"
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
        assert_eq!(survive_now(|| 7), Ok(7));
        watch_over("loud", &readiness, async { panic!("a bug") }).await;
        assert!(!readiness.is_ready());
    }
}
