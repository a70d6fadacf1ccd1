//! A stored table as DataFusion sees it: the catalog's exact files, pruned by their runs and bounds, read
//! without the rows that do not count.
//!
//! Bounds and row counts stated to the engine are those of the whole file; where rows of a file
//! are hidden they are stated as estimates, and the row selection travels with the file. No bounds
//! are stated for columns that can hold NaN: engines leave it out of statistics and believe them.

use super::reader::{LocalFiles, Stored};
use crate::records::schema::Table;
use crate::store::rows::RowSet;
use crate::store::{FileClass, FileRecord, Snapshot};
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, BooleanArray, Int64Array, StringViewArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::object_store::path::Path;
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use std::collections::HashSet;
use std::sync::Arc;

/// Which rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Rows that count.
    Counting,
    /// Points a later arrival took the place of.
    Superseded,
    /// Points of the tracker's own keys.
    Internal,
}

/// A table of the cache at one instant.
#[derive(Debug)]
pub struct StoredTable {
    table: Table,
    part: Part,
    schema: SchemaRef,
    snapshot: Snapshot,
    files: Arc<LocalFiles>,
}

impl StoredTable {
    /// The rows `part` of `table` in `snapshot`, whose files are read through `files`.
    pub fn new(table: Table, part: Part, snapshot: Snapshot, files: Arc<LocalFiles>) -> Self {
        Self { table, part, schema: read_schema(table), snapshot, files }
    }

    /// Files that hold such rows, with the selection that reads just them.
    fn files(&self) -> Vec<PartFile<'_>> {
        self.snapshot.files_of(self.table).filter_map(|file| part_file(file, self.part)).collect()
    }

    /// Files that may hold rows for which `predicate` is true.
    fn prune<'a>(
        &self,
        files: Vec<PartFile<'a>>,
        predicate: Option<&Arc<dyn PhysicalExpr>>,
    ) -> Result<Vec<PartFile<'a>>> {
        let Some(predicate) = predicate else { return Ok(files) };
        // A predicate that bounds cannot decide prunes nothing.
        let builder = PruningPredicateBuilder::new().with_file_schema(self.schema.clone());
        let Some(pruning) = builder.build(predicate.clone()) else { return Ok(files) };
        let keep = pruning.prune(&Bounds(&files))?;
        Ok(files.into_iter().zip(keep).filter_map(|(file, keep)| keep.then_some(file)).collect())
    }

    fn partitioned(&self, file: &PartFile<'_>) -> Result<PartitionedFile> {
        let path = self.snapshot.cache.join(&file.record.path);
        // From a text the path would be encoded once more: `%` and `#` in the names of folders stand for themselves.
        let location =
            Path::from_absolute_path(&path).map_err(|error| DataFusionError::External(error.into()))?;
        let mut partitioned = PartitionedFile::new(String::new(), file.record.size_bytes)
            .with_statistics(Arc::new(self.statistics(file)))
            .with_extension(Stored { path, sums: Arc::clone(&file.record.sums) });
        partitioned.object_meta.location = location;
        if let Some(selection) = &file.selection {
            partitioned = partitioned.with_extension(ParquetRowSelection::new(selection.clone()));
        }
        Ok(partitioned)
    }

    fn statistics(&self, file: &PartFile<'_>) -> Statistics {
        let is_whole = file.selection.is_none();
        let bound =
            |value: ScalarValue| if is_whole { Precision::Exact(value) } else { Precision::Inexact(value) };
        let mut columns = vec![ColumnStatistics::new_unknown(); self.schema.fields().len()];
        for (statistics, field) in columns.iter_mut().zip(self.schema.fields()) {
            if let Some((min, max)) = bounds_of(file.record, field.name()) {
                statistics.null_count = Precision::Exact(0);
                statistics.min_value = bound(min);
                statistics.max_value = bound(max);
            }
        }
        let rows = file.record.row_count as usize;
        Statistics {
            num_rows: if is_whole { Precision::Exact(rows) } else { Precision::Absent },
            total_byte_size: Precision::Inexact(file.record.size_bytes as usize),
            column_statistics: columns,
        }
    }

    fn ordering(&self) -> Result<Option<LexOrdering>> {
        // Only columns with bounds: files cannot be told apart by the others.
        let columns =
            self.table.sort_columns().iter().take_while(|name| ["run_id", "key", "step"].contains(name));
        let sort = |name: &&str| Ok(PhysicalSortExpr::new_default(col(name, &self.schema)?));
        Ok(LexOrdering::new(columns.map(sort).collect::<Result<Vec<_>>>()?))
    }

    /// Files packed into partitions. Where few sequences of files hold all rows in order, each is a
    /// partition and the order is declared; else files are dealt out evenly.
    fn groups(
        &self,
        files: Vec<PartitionedFile>,
        partitions: usize,
    ) -> Result<(Vec<FileGroup>, Option<LexOrdering>)> {
        if let Some(ordering) = self.ordering()? {
            let whole = FileGroup::new(files.clone());
            let by_bounds = FileScanConfig::split_groups_by_statistics_with_target_partitions(
                &self.schema,
                &[whole],
                &ordering,
                partitions,
            );
            if let Ok(groups) = by_bounds
                && groups.len() <= partitions.max(1) * 4
            {
                return Ok((groups, Some(ordering)));
            }
        }
        let size = files.len().div_ceil(partitions.max(1)).max(1);
        Ok((files.chunks(size).map(|chunk| FileGroup::new(chunk.to_vec())).collect(), None))
    }
}

/// A file with the rows of one part.
struct PartFile<'a> {
    record: &'a FileRecord,
    /// `None`: all rows.
    selection: Option<RowSelection>,
}

fn part_file(record: &FileRecord, part: Part) -> Option<PartFile<'_>> {
    let all_but = |hidden: RowSet| (!hidden.is_empty()).then(|| hidden.others(record.row_count));
    let selection = match (part, record.class) {
        (Part::Counting, FileClass::Live) => all_but(record.hidden()),
        (Part::Superseded, FileClass::Live) => {
            let rows = record.superseded.minus(&record.dropped);
            if rows.is_empty() {
                return None;
            }
            Some(rows.only(record.row_count))
        }
        (Part::Superseded, FileClass::Superseded) | (Part::Internal, FileClass::Internal) => {
            all_but(record.dropped.clone())
        }
        _ => return None,
    };
    Some(PartFile { record, selection })
}

/// Columns as read: text as string views, which compare faster than plain strings.
fn read_schema(table: Table) -> SchemaRef {
    let fields = table
        .stored_schema()
        .fields()
        .iter()
        .map(|field| match field.data_type() {
            DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, field.is_nullable()),
            _ => field.as_ref().clone(),
        })
        .collect::<Vec<_>>();
    Arc::new(Schema::new(fields))
}

fn bounds_of(file: &FileRecord, column: &str) -> Option<(ScalarValue, ScalarValue)> {
    let text = |bounds: &Option<(String, String)>| {
        let (min, max) = bounds.clone()?;
        Some((ScalarValue::Utf8View(Some(min)), ScalarValue::Utf8View(Some(max))))
    };
    match column {
        "run_id" => text(&file.run_bounds),
        "key" => text(&file.key_bounds),
        "step" => {
            file.step_bounds.map(|(min, max)| (ScalarValue::Int64(Some(min)), ScalarValue::Int64(Some(max))))
        }
        _ => None,
    }
}

/// What is known of the rows of files, as the pruning predicate asks for it.
struct Bounds<'a>(&'a [PartFile<'a>]);

impl Bounds<'_> {
    fn column(
        &self,
        name: &str,
        pick: fn(&(String, String)) -> &String,
        step: fn(&(i64, i64)) -> i64,
    ) -> Option<ArrayRef> {
        let files = self.0.iter().map(|file| file.record);
        match name {
            "run_id" => {
                Some(Arc::new(files.map(|f| f.run_bounds.as_ref().map(pick)).collect::<StringViewArray>()))
            }
            "key" => {
                Some(Arc::new(files.map(|f| f.key_bounds.as_ref().map(pick)).collect::<StringViewArray>()))
            }
            "step" => Some(Arc::new(files.map(|f| f.step_bounds.as_ref().map(step)).collect::<Int64Array>())),
            _ => None,
        }
    }
}

impl PruningStatistics for Bounds<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(&column.name, |bounds| &bounds.0, |bounds| bounds.0)
    }
    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(&column.name, |bounds| &bounds.1, |bounds| bounds.1)
    }
    fn num_containers(&self) -> usize {
        self.0.len()
    }
    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }
    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.0.iter().map(|file| Some(file.record.row_count)).collect::<UInt64Array>()))
    }
    /// `false` where no row of a file is of any of these runs; whether all are is not known.
    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        if column.name != "run_id" {
            return None;
        }
        let runs: Vec<&str> = values.iter().map(|run| run.try_as_str().flatten()).collect::<Option<_>>()?;
        let may_hold = |file: &PartFile<'_>| runs.iter().any(|run| file.record.members.may_hold(run));
        Some(self.0.iter().map(|file| if may_hold(file) { None } else { Some(false) }).collect())
    }
}

#[async_trait]
impl TableProvider for StoredTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = DFSchema::try_from(self.schema.clone())?;
        let predicate = conjunction(filters.to_vec())
            .map(|filter| state.create_physical_expr(filter, &schema))
            .transpose()?;
        let files = self.prune(self.files(), predicate.as_ref())?;
        if files.is_empty() {
            let schema = match projection {
                Some(columns) => Arc::new(self.schema.project(columns)?),
                None => self.schema.clone(),
            };
            return Ok(Arc::new(EmptyExec::new(schema)));
        }
        let files = files.iter().map(|file| self.partitioned(file)).collect::<Result<Vec<_>>>()?;
        let (groups, ordering) = self.groups(files, state.config().target_partitions())?;
        let mut source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(state.table_options().parquet.clone())
            .with_parquet_file_reader_factory(self.files.clone())
            .with_pushdown_filters(true)
            .with_enable_page_index(true);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let config = FileScanConfigBuilder::new(ObjectStoreUrl::local_filesystem(), Arc::new(source))
            .with_file_groups(groups)
            .with_output_ordering(ordering.into_iter().collect())
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
