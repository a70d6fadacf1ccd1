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
use datafusion::common::{Column, Result, plan_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, in_list, lit};
use datafusion::physical_plan::{ExecutionPlan, collect};

use crate::args::whole_number;
use crate::kernels::align::{Aligned, choose_rows, rows_of, union};
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

    /// The table a call `function(run, keys [, n])` stands for.
    ///
    /// `default_rows` is what `n` is when it is left out; none where the function takes no `n`.
    pub(crate) fn table(
        &self,
        function: &str,
        args: &TableFunctionArgs,
        default_rows: Option<usize>,
    ) -> Result<Arc<dyn TableProvider>> {
        let (run, keys, count) = match (args.exprs(), default_rows) {
            ([run, keys], _) => (run, keys, None),
            ([run, keys, count], Some(_)) => (run, keys, Some(count)),
            (_, Some(_)) => return plan_err!("{function} takes (run, 'key,key' [, n])"),
            (_, None) => return plan_err!("{function} takes (run, 'key,key')"),
        };
        let run = text_literal(function, "run", run)?;
        let keys = split_keys(function, &text_literal(function, "keys", keys)?)?;
        let rows = match count {
            Some(count) => Some(row_count(function, count)?),
            None => default_rows,
        };
        Ok(Arc::new(AlignedTable {
            metrics: Arc::clone(&self.metrics),
            run_id: (self.resolve)(&run)?,
            run,
            schema: aligned_schema(&keys),
            keys,
            rows,
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

fn row_count(function: &str, arg: &Expr) -> Result<usize> {
    if let Expr::Literal(value, _) = arg
        && let Some(count @ 1..) = whole_number(value)
    {
        return Ok(usize::try_from(count).unwrap_or(usize::MAX));
    }
    plan_err!("{function}: n must be a literal whole number of at least 1, not {arg}")
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
        let points = collect(plan, state.task_ctx()).await?;
        let aligned = self.align(&points)?;
        let rows = limit.unwrap_or(usize::MAX).min(aligned.num_rows());
        let partitions = [vec![aligned.slice(0, rows)]];
        let exec =
            MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&self.schema), projection.cloned())?;
        Ok(exec)
    }
}

/// Points of one metric, ascending by step, one a step.
#[derive(Debug, Default)]
struct Series {
    steps: Vec<i64>,
    values: Vec<f64>,
}

impl AlignedTable {
    /// The plan that reads the points: the filters are pushed down as far as the table takes them.
    fn points_plan(&self) -> Result<LogicalPlan> {
        let column = |name: &str| Expr::Column(Column::from_name(name));
        let keys = self.keys.iter().map(|key| lit(key.as_str())).collect();
        let source = provider_as_source(Arc::clone(&self.metrics));
        LogicalPlanBuilder::scan("metrics", source, None)?
            .filter(column("run_id").eq(lit(self.run_id.as_str())))?
            .filter(in_list(column("key"), keys, false))?
            .project(vec![
                cast(column("key"), DataType::Utf8).alias("key"),
                cast(column("step"), DataType::Int64).alias("step"),
                cast(column("value"), DataType::Float64).alias("value"),
            ])?
            .build()
    }

    fn align(&self, points: &[RecordBatch]) -> Result<RecordBatch> {
        let series = self.split(points)?;
        let steps: Vec<&[i64]> = series.iter().map(|part| part.steps.as_slice()).collect();
        let union = union(&steps);
        let places: Vec<Vec<usize>> = steps.iter().map(|steps| rows_of(&union, steps)).collect();
        let chosen = self.choose(&union, &series, &places);
        let step = chosen.iter().map(|&row| union[row]);
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(step))];
        for (part, places) in series.iter().zip(&places) {
            columns.push(column_of(&chosen, places, &part.values));
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn choose(&self, union: &[i64], series: &[Series], places: &[Vec<usize>]) -> Vec<usize> {
        let aligned: Vec<Aligned<'_>> =
            series.iter().zip(places).map(|(part, rows)| Aligned { rows, values: &part.values }).collect();
        choose_rows(union, &aligned, self.rows.unwrap_or(usize::MAX))
    }

    /// Sorts the rows read into one series a metric, in the order asked.
    fn split(&self, points: &[RecordBatch]) -> Result<Vec<Series>> {
        let mut found: Vec<Vec<(i64, f64)>> = vec![Vec::new(); self.keys.len()];
        for batch in points {
            self.split_batch(batch, &mut found);
        }
        if let Some(missing) = found.iter().position(Vec::is_empty) {
            let (key, run) = (&self.keys[missing], &self.run);
            return plan_err!("no metric \"{key}\" in run \"{run}\"");
        }
        Ok(found.into_iter().map(one_a_step).collect())
    }

    fn split_batch(&self, batch: &RecordBatch, found: &mut [Vec<(i64, f64)>]) {
        let keys = batch.column(0).as_string::<i32>();
        let steps = batch.column(1).as_primitive::<Int64Type>();
        let values = batch.column(2).as_primitive::<Float64Type>();
        let mut metric = 0;
        for row in 0..batch.num_rows() {
            if keys.is_null(row) || steps.is_null(row) || values.is_null(row) {
                continue;
            }
            // Rows of one metric mostly lie side by side.
            if self.keys[metric] != keys.value(row) {
                let place = self.keys.iter().position(|key| key == keys.value(row));
                let Some(place) = place else { continue };
                metric = place;
            }
            found[metric].push((steps.value(row), values.value(row)));
        }
    }
}

/// Orders points by step; of several at one step the greatest in total order stays (NaN over all).
fn one_a_step(mut points: Vec<(i64, f64)>) -> Series {
    points.sort_by(|left, right| left.0.cmp(&right.0).then(nan_last(&left.1, &right.1)));
    let mut series = Series::default();
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

/// Values of a series in the chosen rows, null where it has none. All of `chosen` and `places` ascend.
fn column_of(chosen: &[usize], places: &[usize], values: &[f64]) -> ArrayRef {
    let mut next = 0;
    let column = chosen.iter().map(|row| {
        while places.get(next).is_some_and(|place| place < row) {
            next += 1;
        }
        (places.get(next) == Some(row)).then(|| values[next])
    });
    Arc::new(column.collect::<Float64Array>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::split_keys;

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
