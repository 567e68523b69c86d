//! `tributary-router query`: an operator's question, as the user who may read the tier's files.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use federation_proto::identity::TenantId;
use service::config::{ByteSize, Span};

/// `query`.
#[derive(Debug, Args)]
pub struct Query {
    /// Whose records.
    #[arg(long)]
    pub tenant: TenantId,
    /// The router's configuration: its first local tier is read.
    #[arg(long, value_name = "FILE", env = "TRIBUTARY_ROUTER_CONFIG", required_unless_present = "tier")]
    pub config: Option<PathBuf>,
    /// A local tier's directory, instead of a configuration.
    #[arg(long, value_name = "DIR")]
    pub tier: Option<PathBuf>,
    /// How rows are written.
    #[arg(long, value_enum, default_value = "table")]
    pub format: Format,
    /// Rows given at most.
    #[arg(long, value_name = "ROWS", default_value_t = 10_000)]
    pub limit: usize,
    /// How long it may take.
    #[arg(long, default_value = "5m")]
    pub time: Span,
    /// Bytes that it may hold for sorting, grouping and joining.
    #[arg(long, default_value = "1GiB")]
    pub memory: ByteSize,
    /// One statement: SELECT, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS.
    pub sql: String,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// An array of objects.
    Json,
    /// With a head; lists and attributes are JSON in a cell.
    Csv,
}

#[cfg(feature = "sql")]
pub use with_sql::Failed;
#[cfg(not(feature = "sql"))]
pub use without_sql::Failed;

#[cfg(not(feature = "sql"))]
mod without_sql {
    /// This build cannot.
    #[derive(Debug, thiserror::Error)]
    #[error("this build has no SQL: build central-router with its feature `sql` (the default)")]
    pub struct Failed;

    impl super::Query {
        /// Says that this build cannot.
        ///
        /// # Errors
        /// Always.
        pub fn execute(self) -> Result<(), Failed> {
            Err(Failed)
        }
    }
}

#[cfg(feature = "sql")]
mod with_sql {
    use std::io::BufWriter;
    use std::path::{Path, PathBuf};

    use query::{Limits, Queries, QueryError};
    use service::config::ConfigError;

    use super::{Format, Query};
    use crate::config::Config;
    use crate::sql::{SqlError, local_tier, tables};

    /// Tenants that an error names.
    const SHOWN: usize = 20;

    /// Why there is no answer.
    #[derive(Debug, thiserror::Error)]
    pub enum Failed {
        /// The configuration.
        #[error("{0}")]
        Config(#[source] ConfigError),
        /// No directory to look in, or none of the tenant's there.
        #[error("{0}")]
        Tier(String),
        /// The statement, or its limits.
        #[error(transparent)]
        Query(#[from] QueryError),
        /// The engine did not start.
        #[error(transparent)]
        Start(#[from] SqlError),
    }

    impl Query {
        /// Writes the answer to stdout, and to stderr if rows were left out.
        ///
        /// # Errors
        /// [`Failed`], one line.
        pub fn execute(self) -> Result<(), Failed> {
            let tier = self.directory()?;
            let failed = |error: std::io::Error| QueryError::Failed(error.to_string());
            let queries = Queries::new(&tier, tables()?, 1).map_err(failed)?;
            let memory = usize::try_from(self.memory.0).unwrap_or(usize::MAX);
            let limits = Limits { memory, rows: self.limit, time: self.time.0 };
            let format = match self.format {
                Format::Table => query::Format::Table,
                Format::Json => query::Format::Json,
                Format::Csv => query::Format::Csv,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(failed)?;
            let stdout = BufWriter::new(std::io::stdout());
            let (_, written) = runtime.block_on(queries.answer(&self.tenant, self.sql, limits, format, stdout))?;
            if written.more {
                eprintln!("the first {} rows; there are more: --limit", written.rows);
            }
            Ok(())
        }

        /// The tier's directory. A tenant that has none in it is an error here, since the operator may know.
        fn directory(&self) -> Result<PathBuf, Failed> {
            let tier = match (&self.tier, &self.config) {
                (Some(tier), _) => tier.clone(),
                (None, Some(config)) => {
                    let loaded = Config::load(config).map_err(Failed::Config)?;
                    let none = || Failed::Tier(format!("{}: has no local tier to read: name its directory with --tier", config.display()));
                    local_tier(&loaded).ok_or_else(none)?
                }
                (None, None) => return Err(Failed::Tier("no tier: give --config or --tier".to_owned())),
            };
            if tier.join(format!("tenant={}", self.tenant)).is_dir() {
                return Ok(tier);
            }
            let (shown, there) = (tier.display(), tenants(&tier).map_err(|error| Failed::Tier(format!("{}: {error}", tier.display())))?);
            Err(Failed::Tier(format!("{shown}: has no records of tenant {}: there are: {there}", self.tenant)))
        }
    }

    fn tenants(tier: &Path) -> std::io::Result<String> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(tier)? {
            let name = entry?.file_name();
            names.extend(name.to_str().and_then(|name| name.strip_prefix("tenant=")).map(str::to_owned));
        }
        names.sort_unstable();
        let more = if names.len() > SHOWN { ", …" } else { "" };
        names.truncate(SHOWN);
        Ok(if names.is_empty() { "none yet".to_owned() } else { names.join(", ") + more })
    }
}
