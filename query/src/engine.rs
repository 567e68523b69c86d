//! One tenant's session: what exists in it, and what may be asked of it.
//!
//! The session is made of what is named here and nothing more: the tenant's tables, functions over values, and `information_schema`
//! about both. There are no file formats to write, no table factories, no dynamic catalogs, and one storage ([`crate::store`]).
//!
//! A statement is `SELECT` (with all that stands around it: `WITH`, `UNION`, `VALUES`), or `EXPLAIN`, `DESCRIBE`, `SHOW TABLES`,
//! `SHOW COLUMNS` about one. Its size is bounded by [`MAX_SQL_BYTES`] and [`MAX_OPERATORS`], nesting by the parser: planning takes
//! stack and time by size.

use std::path::Path;
use std::sync::Arc;

use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemorySchemaProvider, SchemaProvider};
use datafusion::config::Dialect;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, ScalarUDF};
use datafusion::prelude::{SQLOptions, SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Ast;
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use federation_proto::identity::TenantId;

use crate::store::{OnlyTenant, TenantStore};
use crate::table::HourlyTable;
use crate::{Limits, QueryError, Table};

/// Bytes of a statement.
pub const MAX_SQL_BYTES: usize = 32 << 10;
/// Operators and set operations of a statement: each may be a level of its plan.
pub const MAX_OPERATORS: usize = 500;
/// Rows that an operator hands on at once.
const BATCH_ROWS: usize = 4_096;
/// Threads that one statement can keep busy.
pub(crate) const PARTITIONS: usize = 2;
/// Bytes of file footers kept during a statement.
const FOOTERS: usize = 16 << 20;
const CATALOG: &str = "tributary";
const SCHEMA: &str = "tenant";

/// Functions that make a long value of a few bytes, outside any limit of memory, or one of a type that can have more than 2 GiB.
const NOT_OFFERED: [&str; 10] =
    ["array_repeat", "array_resize", "arrow_cast", "arrow_try_cast", "generate_series", "lpad", "range", "repeat", "rpad", "space"];

/// See the module.
pub struct Engine {
    session: SessionContext,
    limits: Limits,
}

impl Engine {
    /// A session over what `tenant` has in the tier at `tier`. Files that come later are seen by later statements.
    ///
    /// # Errors
    /// [`QueryError::Failed`] if the tenant's directory cannot be opened.
    pub fn open(tier: &Path, tenant: &TenantId, tables: &[Table], limits: Limits) -> Result<Self, QueryError> {
        let store = TenantStore::open(tier, tenant).map_err(|error| QueryError::Failed(format!("{}: {error}", tier.display())))?;
        let failed = |error: DataFusionError| QueryError::from_engine(&error, limits.memory);
        let environment = environment(store, limits.memory).map_err(failed)?;
        let schema = MemorySchemaProvider::new();
        for table in tables {
            let made = HourlyTable::new(table).map_err(failed)?;
            schema.register_table(table.name.clone(), Arc::new(made)).map_err(failed)?;
        }
        let catalog = MemoryCatalogProvider::new();
        catalog.register_schema(SCHEMA, Arc::new(schema)).map_err(failed)?;
        let session = SessionContext::new_with_state(state(environment));
        session.register_catalog(CATALOG, Arc::new(catalog));
        Ok(Self { session, limits })
    }

    /// The limits given at the start.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Plans the statement and starts it: rows come as they are asked for, at most one more than the limit of rows.
    ///
    /// Has no limit of time, and needs a runtime whose threads have [`crate::queries::STACK_BYTES`] of stack: both are
    /// [`crate::Queries`]'s.
    ///
    /// # Errors
    /// [`QueryError`].
    pub async fn start(&self, sql: &str) -> Result<SendableRecordBatchStream, QueryError> {
        check_size(sql)?;
        self.plan_and_start(sql).await.map_err(|error| QueryError::from_engine(&error, self.limits.memory))
    }

    async fn plan_and_start(&self, sql: &str) -> datafusion::error::Result<SendableRecordBatchStream> {
        let state = self.session.state();
        let statement = state.sql_to_statement(sql, &Dialect::Generic)?;
        check_kind(&statement)?;
        let plan = state.statement_to_plan(statement).await?;
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false).verify_plan(&plan)?;
        let plan = match plan {
            // These must stay outermost, and are short.
            LogicalPlan::Explain(_) | LogicalPlan::Analyze(_) | LogicalPlan::DescribeTable(_) => plan,
            rows => LogicalPlanBuilder::from(rows).limit(0, Some(self.limits.rows.saturating_add(1)))?.build()?,
        };
        DataFrame::new(state, plan).execute_stream().await
    }
}

fn environment(store: TenantStore, memory: usize) -> datafusion::error::Result<Arc<RuntimeEnv>> {
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(OnlyTenant(Arc::new(store))))
        .with_memory_pool(Arc::new(GreedyMemoryPool::new(memory)))
        .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
        .with_metadata_cache_limit(FOOTERS)
        .with_object_list_cache_limit(0)
        .with_file_statistics_cache_limit(0)
        .build_arc()
}

fn state(environment: Arc<RuntimeEnv>) -> SessionState {
    let mut config = SessionConfig::new()
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_create_default_catalog_and_schema(false)
        .with_information_schema(true)
        .with_batch_size(BATCH_ROWS)
        .with_target_partitions(PARTITIONS)
        .with_collect_statistics(false);
    let options = config.options_mut();
    // The columns are in camel case, and are to be written without quotes.
    options.sql_parser.enable_ident_normalization = false;
    // Text with 32-bit offsets: no column of a batch can have more than 2 GiB of it.
    options.sql_parser.map_string_types_to_utf8view = false;
    // Rows are filtered while they are decoded: the filter's columns first, the others for what is left.
    options.execution.parquet.pushdown_filters = true;
    options.execution.parquet.reorder_filters = true;
    let offered = |function: &Arc<ScalarUDF>| {
        !NOT_OFFERED.contains(&function.name()) && !function.aliases().iter().any(|alias| NOT_OFFERED.contains(&alias.as_str()))
    };
    SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(environment)
        .with_scalar_functions(SessionStateDefaults::default_scalar_functions().into_iter().filter(offered).collect())
        .with_higher_order_functions(SessionStateDefaults::default_higher_order_functions())
        .with_aggregate_functions(SessionStateDefaults::default_aggregate_functions())
        .with_window_functions(SessionStateDefaults::default_window_functions())
        .with_expr_planners(SessionStateDefaults::default_expr_planners())
        .build()
}

/// What is too large to plan is refused by its words, before a tree is made of them.
fn check_size(sql: &str) -> Result<(), QueryError> {
    if sql.len() > MAX_SQL_BYTES {
        return Err(QueryError::Statement(format!("has {} bytes: at most {MAX_SQL_BYTES} are taken", sql.len())));
    }
    let tokens = Tokenizer::new(&GenericDialect, sql).tokenize().map_err(|error| QueryError::Statement(error.to_string()))?;
    let operators = tokens.iter().filter(|token| is_operator(token)).count();
    if operators > MAX_OPERATORS {
        let why = format!("has {operators} operators: at most {MAX_OPERATORS} are taken; use IN (...) for many values of one column");
        return Err(QueryError::Statement(why));
    }
    Ok(())
}

/// Everything that may nest without a parenthesis, in one order or the other; commas, values and names do not.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => word.quote_style.is_none() && word.keyword != datafusion::sql::sqlparser::keywords::Keyword::NoKeyword,
        Token::Comma
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::Whitespace(_)
        | Token::LParen
        | Token::RParen
        | Token::Period
        | Token::SemiColon => false,
        _ => true,
    }
}

fn check_kind(statement: &Statement) -> datafusion::error::Result<()> {
    let read_only = match statement {
        Statement::Statement(statement) => {
            matches!(**statement, Ast::Query(_) | Ast::ExplainTable { .. } | Ast::ShowTables { .. } | Ast::ShowColumns { .. })
        }
        Statement::Explain(explain) => return check_kind(&explain.statement),
        Statement::CreateExternalTable(_) | Statement::CopyTo(_) | Statement::Reset(_) => false,
    };
    if read_only {
        return Ok(());
    }
    Err(DataFusionError::Plan("nothing can be changed here: expected SELECT, EXPLAIN, DESCRIBE, SHOW TABLES or SHOW COLUMNS".to_owned()))
}
