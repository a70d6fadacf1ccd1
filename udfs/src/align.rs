//! What `history` and `wide` have in common: several metrics of a run side by side.
//!
//! ```text
//!   run_id key      step value          step loss val_loss
//!   a      loss     1    2.0            1    2.0  null
//!   a      loss     2    1.5     ->     2    1.5  1.7
//!   a      val_loss 2    1.7
//! ```

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableFunctionArgs, TableProvider};
use datafusion::common::runtime::SpawnedTask;
use datafusion::common::{Column, DataFusionError, Result, ScalarValue, plan_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, in_list, lit};
use datafusion::physical_plan::{ExecutionPlan, execute_stream_partitioned};
use futures::StreamExt;

use crate::args::whole_number;
use crate::kernels::align::{Series, choose_rows, union};
use crate::kernels::nan_last;

/// Turns the user's word for a run into its `run_id`, or says why it cannot.
pub type ResolveRun = Arc<dyn Fn(&str) -> Result<String> + Send + Sync>;

/// A long table of metrics and the way to name its runs.
///
/// The table has columns `run_id`, `key` (text), `step` (integer) and `value` (number), among others.
#[derive(Clone)]
pub(crate) struct MetricsSource {
    metrics: Arc<dyn TableProvider>,
    resolve: ResolveRun,
}

impl fmt::Debug for MetricsSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MetricsSource").finish_non_exhaustive()
    }
}

impl MetricsSource {
    pub(crate) fn new(metrics: Arc<dyn TableProvider>, resolve: ResolveRun) -> Self {
        Self { metrics, resolve }
    }

    /// The table a call `function(run, keys [, n [, from, to]])` stands for.
    ///
    /// `default_rows` is what `n` is when it is left out; none where the function takes neither `n` nor steps.
    pub(crate) fn table(
        &self,
        function: &str,
        args: &TableFunctionArgs,
        default_rows: Option<usize>,
    ) -> Result<Arc<dyn TableProvider>> {
        let (run, keys, others) = match (args.exprs(), default_rows) {
            ([run, keys], _) => (run, keys, [None; 3]),
            ([run, keys, count], Some(_)) => (run, keys, [Some(count), None, None]),
            ([run, keys, count, from, to], Some(_)) => (run, keys, [Some(count), Some(from), Some(to)]),
            (_, Some(_)) => return plan_err!("{function} takes (run, 'key,key' [, n [, from, to]])"),
            (_, None) => return plan_err!("{function} takes (run, 'key,key')"),
        };
        let run = text_literal(function, "run", run)?;
        let keys = key_list(function, keys)?;
        let [count, from, to] = others;
        let rows = match count {
            Some(count) => row_count(function, count)?,
            None => default_rows,
        };
        let steps = [step(function, "from", from)?, step(function, "to", to)?];
        Ok(Arc::new(AlignedTable {
            metrics: Arc::clone(&self.metrics),
            run_id: (self.resolve)(&run)?,
            run,
            schema: aligned_schema(&keys),
            keys,
            rows,
            steps,
        }))
    }
}

fn text_literal(function: &str, name: &str, arg: &Expr) -> Result<String> {
    if let Expr::Literal(value, _) = arg
        && let Some(Some(text)) = value.try_as_str()
    {
        return Ok(text.to_owned());
    }
    plan_err!("{function}: {name} must be a text literal such as 'loss', not {arg}")
}

/// Most rows; null for all.
fn row_count(function: &str, arg: &Expr) -> Result<Option<usize>> {
    if let Expr::Literal(value, _) = arg {
        if value.is_null() {
            return Ok(None);
        }
        if let Some(count @ 1..) = whole_number(value) {
            return Ok(Some(usize::try_from(count).unwrap_or(usize::MAX)));
        }
    }
    plan_err!("{function}: n must be a literal whole number of at least 1, not {arg}")
}

/// A bound of the steps; null for none.
fn step(function: &str, name: &str, arg: Option<&Expr>) -> Result<Option<i64>> {
    let Some(arg) = arg else { return Ok(None) };
    if let Expr::Literal(value, _) = arg {
        if value.is_null() {
            return Ok(None);
        }
        if let Some(step) = whole_number(value) {
            return Ok(Some(step));
        }
    }
    plan_err!("{function}: {name} must be a literal whole number, not {arg}")
}

/// Keys: a text that lists them, or a list of texts that are names as they stand.
fn key_list(function: &str, arg: &Expr) -> Result<Vec<String>> {
    let Expr::Literal(ScalarValue::List(list), _) = arg else {
        return split_keys(function, &text_literal(function, "keys", arg)?);
    };
    let texts = arrow::compute::cast(list.values(), &DataType::Utf8View)?;
    let mut keys: Vec<String> = Vec::new();
    for key in texts.as_string_view().iter().flatten() {
        if !keys.iter().any(|known| known == key) {
            keys.push(key.to_owned());
        }
    }
    checked_keys(function, keys)
}

/// Keys of a comma-separated list, without blanks around them; each once, in the order asked. A key
/// in double quotes is taken as it stands there, `""` being one quote.
fn split_keys(function: &str, list: &str) -> Result<Vec<String>> {
    let mut keys: Vec<String> = Vec::new();
    let mut rest = list.trim_start();
    while !rest.is_empty() {
        let (key, behind) = match rest.strip_prefix('"') {
            Some(quoted) => match quoted_key(quoted) {
                Some(found) => found,
                None => return plan_err!("{function}: a double quote in keys has no end, or more behind it"),
            },
            None => rest
                .split_once(',')
                .map_or((rest.trim().to_owned(), ""), |(key, behind)| (key.trim().to_owned(), behind)),
        };
        if !key.is_empty() && !keys.contains(&key) {
            keys.push(key);
        }
        rest = behind.trim_start();
    }
    checked_keys(function, keys)
}

fn checked_keys(function: &str, keys: Vec<String>) -> Result<Vec<String>> {
    if keys.is_empty() {
        return plan_err!("{function}: keys names no metric");
    }
    if keys.iter().any(|key| key == "step") {
        return plan_err!("{function}: a metric named step would hide the step column");
    }
    Ok(keys)
}

/// A key up to its closing quote, and what stands behind the comma after it.
fn quoted_key(text: &str) -> Option<(String, &str)> {
    let mut from = 0;
    loop {
        let end = from + text.get(from..)?.find('"')?;
        let behind = &text[end + 1..];
        if behind.starts_with('"') {
            from = end + 2;
            continue;
        }
        let behind = behind.trim_start();
        let behind = if behind.is_empty() { behind } else { behind.strip_prefix(',')? };
        return Some((text[..end].replace("\"\"", "\""), behind));
    }
}

fn aligned_schema(keys: &[String]) -> SchemaRef {
    let step = Field::new("step", DataType::Int64, false);
    let metrics = keys.iter().map(|key| Field::new(key, DataType::Float64, true));
    Arc::new(Schema::new(std::iter::once(step).chain(metrics).collect::<Vec<_>>()))
}

/// Metrics of one run, a column each; read when scanned.
struct AlignedTable {
    metrics: Arc<dyn TableProvider>,
    /// The run as the user named it, for messages.
    run: String,
    run_id: String,
    keys: Vec<String>,
    /// Most rows to give; none for all.
    rows: Option<usize>,
    /// First and last step that is looked at.
    steps: [Option<i64>; 2],
    schema: SchemaRef,
}

impl fmt::Debug for AlignedTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AlignedTable")
            .field("run_id", &self.run_id)
            .field("keys", &self.keys)
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for AlignedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = state.create_physical_plan(&self.points_plan()?).await?;
        let aligned = self.align(self.read(plan, state.task_ctx()).await?)?;
        let rows = limit.unwrap_or(usize::MAX).min(aligned.num_rows());
        let partitions = [vec![aligned.slice(0, rows)]];
        let exec =
            MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&self.schema), projection.cloned())?;
        Ok(exec)
    }
}

/// Points of one metric as they come.
#[derive(Debug, Default)]
struct Points {
    steps: Vec<i64>,
    values: Vec<f64>,
    /// Whether some step is not beyond the one before it.
    has_disorder: bool,
}

impl Points {
    fn push(&mut self, step: i64, value: f64) {
        self.has_disorder |= self.steps.last().is_some_and(|last| *last >= step);
        self.steps.push(step);
        self.values.push(value);
    }

    /// Points of several partitions. Files do not overlap, so that long stretches follow each other.
    fn merge(mut parts: Vec<Points>) -> Points {
        parts.retain(|part| !part.steps.is_empty());
        if parts.len() == 1 {
            return parts.pop().unwrap_or_default();
        }
        let mut all =
            Points { has_disorder: parts.iter().any(|part| part.has_disorder), ..Points::default() };
        let mut next = vec![0; parts.len()];
        loop {
            let heads = parts.iter().zip(&next).enumerate();
            let mut heads: Vec<(i64, usize)> =
                heads.filter_map(|(part, (points, at))| Some((*points.steps.get(*at)?, part))).collect();
            heads.sort_unstable();
            let Some((_, first)) = heads.first().copied() else { return all };
            let (part, at) = (&parts[first], next[first]);
            let end = match heads.get(1) {
                Some((step, _)) => seek(&part.steps, at, *step).max(at + 1),
                None => part.steps.len(),
            };
            all.has_disorder |= all.steps.last().is_some_and(|last| *last >= part.steps[at]);
            all.steps.extend_from_slice(&part.steps[at..end]);
            all.values.extend_from_slice(&part.values[at..end]);
            next[first] = end;
        }
    }

    /// Ascending by step; of several points at one step the greatest in total order stays (NaN over all).
    fn one_a_step(self) -> Points {
        if !self.has_disorder {
            return self;
        }
        let mut points: Vec<(i64, f64)> = self.steps.into_iter().zip(self.values).collect();
        points.sort_by(|left, right| left.0.cmp(&right.0).then(nan_last(&left.1, &right.1)));
        let mut series = Points::default();
        for (step, value) in points {
            if series.steps.last() == Some(&step) {
                series.values.pop();
            } else {
                series.steps.push(step);
            }
            series.values.push(value);
        }
        series
    }

    fn series(&self) -> Series<'_> {
        Series { steps: &self.steps, values: &self.values }
    }
}

impl AlignedTable {
    /// The plan that reads the points: the filters are pushed down as far as the table takes them.
    fn points_plan(&self) -> Result<LogicalPlan> {
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let keys = self.keys.iter().map(|key| lit(key.as_str())).collect();
        let source = provider_as_source(Arc::clone(&self.metrics));
        let mut plan = LogicalPlanBuilder::scan("metrics", source, None)?
            .filter(column("run_id").eq(lit(self.run_id.as_str())))?
            .filter(in_list(column("key"), keys, false))?;
        if let Some(from) = self.steps[0] {
            plan = plan.filter(column("step").gt_eq(lit(from)))?;
        }
        if let Some(to) = self.steps[1] {
            plan = plan.filter(column("step").lt_eq(lit(to)))?;
        }
        plan.project(vec![
            cast(column("key"), DataType::Utf8View).alias("key"),
            cast(column("step"), DataType::Int64).alias("step"),
            cast(column("value"), DataType::Float64).alias("value"),
        ])?
        .build()
    }

    /// Reads the points of each metric, in the order asked: all partitions side by side, each in the
    /// order of its files.
    async fn read(&self, plan: Arc<dyn ExecutionPlan>, context: Arc<TaskContext>) -> Result<Vec<Points>> {
        let streams = execute_stream_partitioned(plan, context)?;
        let tasks: Vec<_> =
            streams.into_iter().map(|stream| SpawnedTask::spawn(split(stream, self.keys.clone()))).collect();
        let mut parts: Vec<Vec<Points>> = self.keys.iter().map(|_| Vec::new()).collect();
        for task in tasks {
            let found =
                task.join_unwind().await.map_err(|error| DataFusionError::External(error.into()))??;
            parts.iter_mut().zip(found).for_each(|(parts, points)| parts.push(points));
        }
        Ok(parts.into_iter().map(Points::merge).collect())
    }

    fn align(&self, found: Vec<Points>) -> Result<RecordBatch> {
        // A metric that has no points between two steps may have others.
        let is_whole = self.steps == [None; 2];
        let missing = found.iter().position(|points| points.steps.is_empty());
        if let Some(missing) = missing.filter(|_| is_whole) {
            let (key, run) = (&self.keys[missing], &self.run);
            return plan_err!("no metric \"{key}\" in run \"{run}\"");
        }
        let found: Vec<Points> = found.into_iter().map(Points::one_a_step).collect();
        let series: Vec<Series<'_>> = found.iter().map(Points::series).collect();
        let union = union(&series);
        let chosen = choose_rows(&union, &series, self.rows.unwrap_or(usize::MAX));
        let steps: Vec<i64> = chosen.iter().map(|&row| union[row]).collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(steps.clone()))];
        columns.extend(series.iter().map(|series| column_of(&steps, series)));
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// Sorts rows into the points of each key.
async fn split(mut rows: SendableRecordBatchStream, keys: Vec<String>) -> Result<Vec<Points>> {
    let mut found: Vec<Points> = keys.iter().map(|_| Points::default()).collect();
    while let Some(batch) = rows.next().await {
        split_batch(&batch?, &keys, &mut found);
    }
    Ok(found)
}

fn split_batch(batch: &RecordBatch, names: &[String], found: &mut [Points]) {
    let keys = batch.column(0).as_string_view();
    let steps = batch.column(1).as_primitive::<Int64Type>();
    let values = batch.column(2).as_primitive::<Float64Type>();
    let mut metric = 0;
    for row in 0..batch.num_rows() {
        if keys.is_null(row) || steps.is_null(row) || values.is_null(row) {
            continue;
        }
        // Rows of one metric mostly lie side by side.
        if names[metric] != keys.value(row) {
            let Some(place) = names.iter().position(|name| name == keys.value(row)) else { continue };
            metric = place;
        }
        found[metric].push(steps.value(row), values.value(row));
    }
}

/// Values of a series at ascending steps, null where it has none.
fn column_of(steps: &[i64], series: &Series<'_>) -> ArrayRef {
    let mut next = 0;
    let column = steps.iter().map(|step| {
        next = seek(series.steps, next, *step);
        (series.steps.get(next) == Some(step)).then(|| series.values[next])
    });
    Arc::new(column.collect::<Float64Array>())
}

/// First place at or behind `from` whose step is not below `step`; near ones are found soonest.
fn seek(steps: &[i64], from: usize, step: i64) -> usize {
    let mut stride = 1;
    while steps.get(from + stride).is_some_and(|other| *other < step) {
        stride *= 2;
    }
    let end = (from + stride + 1).min(steps.len());
    from + steps[from..end].partition_point(|other| *other < step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::{Points, seek, split_keys};

    #[test]
    fn points_of_partitions_are_merged_in_order() {
        let points = |steps: &[i64]| {
            let mut points = Points::default();
            steps.iter().for_each(|step| points.push(*step, *step as f64));
            points
        };
        let merged = |parts: &[&[i64]]| Points::merge(parts.iter().map(|steps| points(steps)).collect());
        let even = merged(&[&[1, 2, 5, 6], &[], &[3, 4, 7], &[0, 8]]);
        assert_eq!((even.steps, even.has_disorder), ((0..=8).collect(), false));
        for parts in [&[&[1, 2][..], &[2, 3][..]][..], &[&[2, 1], &[3]], &[&[1, 1]]] {
            let merged = merged(parts);
            assert!(merged.has_disorder, "{parts:?}");
            let steps = merged.one_a_step().steps;
            assert!(steps.is_sorted_by(|a, b| a < b), "{steps:?}");
        }
    }

    #[test]
    fn the_next_step_is_found_from_anywhere() {
        let steps: Vec<i64> = (0..100).map(|i| i * 3).collect();
        for from in 0..=100 {
            for step in (0..310).filter(|step| from == 0 || steps[from - 1] < *step) {
                assert_eq!(seek(&steps, from, step), steps.partition_point(|other| *other < step).max(from));
            }
        }
    }

    #[test]
    fn keys_are_split_at_commas_outside_of_quotes() {
        for (list, keys) in [
            ("loss", &["loss"][..]),
            (" loss , val/loss,,loss,", &["loss", "val/loss"]),
            ("\"a,b\", c", &["a,b", "c"]),
            ("x,\" y \" ,\"say \"\"hi\"\", or\"", &["x", " y ", "say \"hi\", or"]),
            ("\"\"\"\"", &["\""]),
            ("in\"side", &["in\"side"]),
        ] {
            assert_eq!(split_keys("history", list).unwrap(), keys, "{list}");
        }
        for list in ["", " , ", "\"a", "\"a\"b", "\"", "step", "\"step\""] {
            assert!(split_keys("history", list).is_err(), "{list}");
        }
    }
}
