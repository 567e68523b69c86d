//! Statements of many tenants side by side: a bounded number of places, a deadline for each, and threads of their own, so that a
//! statement takes nothing from those who write the tier but processor time.
//!
//! A tenant has at most half of the places (rounded up). There is no queue: with no place free the answer is [`QueryError::Busy`].
//! A statement whose caller goes away is ended.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use federation_proto::identity::TenantId;
use futures_util::StreamExt;
use tokio::runtime::Runtime;

use crate::engine::PARTITIONS;
use crate::output::{Format, Output, Written};
use crate::{Engine, Limits, QueryError, Table};

/// Stack of each thread: a plan is as deep as [`crate::engine::MAX_OPERATORS`], and is worked on by functions that call themselves.
pub const STACK_BYTES: usize = 32 << 20;
/// Threads that wait for the disk.
const DISK_THREADS: usize = 8;

/// See the module.
pub struct Queries {
    tier: PathBuf,
    tables: Vec<Table>,
    places: Arc<Places>,
    /// Always there, until the drop.
    runtime: Option<Runtime>,
}

impl Queries {
    /// Answers statements over the tier at `tier`, at most `places` (and at least one) at a time.
    ///
    /// # Errors
    /// If the system gives no threads.
    pub fn new(tier: &Path, tables: Vec<Table>, places: usize) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(PARTITIONS)
            .max_blocking_threads(DISK_THREADS)
            .thread_stack_size(STACK_BYTES)
            .thread_name("query")
            .enable_time()
            .build()?;
        let places = Places { all: places.max(1), taken: Mutex::default() };
        Ok(Self { tier: tier.to_owned(), tables, places: Arc::new(places), runtime: Some(runtime) })
    }

    /// Answers `sql` for `tenant` into `sink`, which is given back. On an error the sink may have a part of the answer and is dropped.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn answer<W>(
        &self,
        tenant: &TenantId,
        sql: String,
        limits: Limits,
        format: Format,
        sink: W,
    ) -> Result<(W, Written), QueryError>
    where
        W: Write + Send + 'static,
    {
        let place = self.places.take(tenant).ok_or(QueryError::Busy(self.places.all))?;
        let runtime = self.runtime.as_ref().ok_or_else(|| QueryError::Failed("is shutting down".to_owned()))?;
        let (tier, tenant, tables) = (self.tier.clone(), tenant.clone(), self.tables.clone());
        let mut task = runtime.spawn(async move {
            let _place = place;
            let engine = Engine::open(&tier, &tenant, &tables, limits)?;
            write(&engine, &sql, format, sink).await
        });
        let _ended_with_us = Abort(task.abort_handle());
        match within(limits.time, &mut task).await {
            Some(Ok(answer)) => answer,
            Some(Err(error)) => Err(QueryError::Failed(format!("the statement was ended by a fault: {error}"))),
            None => Err(QueryError::Time(limits.time)),
        }
    }
}

impl Drop for Queries {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    tokio::time::timeout(limit, future).await.ok()
}

async fn write<W: Write>(engine: &Engine, sql: &str, format: Format, sink: W) -> Result<(W, Written), QueryError> {
    let limits = engine.limits();
    let mut stream = engine.start(sql).await?;
    let mut output = Output::new(format, stream.schema(), sink)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| QueryError::from_engine(&error, limits.memory))?;
        let left = limits.rows - output.rows();
        output.write(&batch.slice(0, batch.num_rows().min(left)))?;
        if batch.num_rows() > left {
            return output.finish(true);
        }
    }
    output.finish(false)
}

/// Ends a statement whose caller has gone.
struct Abort(tokio::task::AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Who is being answered.
struct Places {
    all: usize,
    taken: Mutex<HashMap<TenantId, usize>>,
}

impl Places {
    fn take(self: &Arc<Self>, tenant: &TenantId) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(tenant).copied().unwrap_or(0);
        if own >= self.all.div_ceil(2) || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(tenant.clone(), own + 1);
        Some(Place { of: Arc::clone(self), tenant: tenant.clone() })
    }
}

/// A place, free again when dropped.
struct Place {
    of: Arc<Places>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}
