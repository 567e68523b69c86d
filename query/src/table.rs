//! A table of the tier: a listing of its files by day and hour, which looks only at the hours that a filter needs.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::Table;
use crate::hours::{self, DAY, HOUR};
use crate::store::ADDRESS;

/// See the module.
#[derive(Debug)]
pub(crate) struct HourlyTable {
    files: ListingTable,
    time: String,
}

impl HourlyTable {
    /// The table, whether it has files or not.
    ///
    /// # Errors
    /// If its name is not one for a path.
    pub(crate) fn new(table: &Table) -> Result<Self> {
        let address = ListingTableUrl::parse(format!("{ADDRESS}table={}/", table.name))?;
        let options = ListingOptions::new(Arc::new(ParquetFormat::default()))
            .with_file_extension(".parquet")
            .with_table_partition_cols(vec![(DAY.to_owned(), DataType::Date32), (HOUR.to_owned(), DataType::Int32)]);
        let config = ListingTableConfig::new(address).with_listing_options(options).with_schema(nullable(&table.schema));
        Ok(Self { files: ListingTable::try_new(config)?, time: table.time.clone() })
    }
}

/// Files written before a column came have none of it: null.
fn nullable(schema: &Schema) -> SchemaRef {
    let fields: Vec<Field> = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    Arc::new(Schema::new(fields))
}

#[async_trait]
impl TableProvider for HourlyTable {
    fn schema(&self) -> SchemaRef {
        self.files.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let needed = hours::needed(filters, &self.time);
        let filters: Vec<Expr> = filters.iter().cloned().map(hours::without_prefix).chain(needed).collect();
        self.files.scan(state, projection, &filters, limit).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        self.files.supports_filters_pushdown(filters)
    }
}
