//! Aggregation by the column that all files are sorted by.
//!
//! Rows of one metric lie together, so that most batches hold a single group: the group is looked up
//! once a stretch of equal values, and the aggregates take each stretch whole. DataFusion's own
//! aggregation hashes every row, which is a third of the cost of a pass over all points.
//!
//! `min` and `max` over NaN are those of the built-ins without grouping (NaN is greatest); the grouped
//! built-ins depend on the order of the rows there.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::partition;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::config::ConfigOptions;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// First sort column of the large tables.
const SORTED_BY: &str = "key";

/// Aggregates whose state does not grow with the rows.
const SMALL: [&str; 10] =
    ["count", "sum", "avg", "min", "max", "stddev", "stddev_pop", "var", "var_pop", "bool_and"];

/// Puts [`SortedAggregateExec`] where a scan is grouped by `key` alone.
#[derive(Debug)]
pub struct AggregateSorted;

impl PhysicalOptimizerRule for AggregateSorted {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = plan.transform_up(|node| {
            Ok(match node.downcast_ref::<AggregateExec>().filter(|aggregate| fits(aggregate)) {
                Some(aggregate) => {
                    Transformed::yes(Arc::new(SortedAggregateExec::new(aggregate.clone())) as _)
                }
                None => Transformed::no(node),
            })
        })?;
        Ok(replaced.data)
    }

    fn name(&self) -> &str {
        "aggregate_sorted"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn fits(aggregate: &AggregateExec) -> bool {
    let by = aggregate.group_expr();
    let is_by_key = by.is_single()
        && matches!(by.expr(), [(expr, _)] if expr.downcast_ref::<Column>().is_some_and(|c| c.name() == SORTED_BY));
    let is_small = |function: &Arc<AggregateFunctionExpr>| {
        SMALL.contains(&function.fun().name()) && !function.is_distinct() && function.order_bys().is_empty()
    };
    is_by_key
        && matches!(aggregate.mode(), AggregateMode::Partial | AggregateMode::Single)
        && aggregate.aggr_expr().iter().all(is_small)
        && aggregate.filter_expr().iter().all(Option::is_none)
        && aggregate.limit_options().is_none()
        && aggregate.input().downcast_ref::<DataSourceExec>().is_some()
}

/// Groups rows by one column, best where equal values follow each other.
#[derive(Debug)]
pub struct SortedAggregateExec {
    /// What it stands for.
    aggregate: AggregateExec,
}

impl SortedAggregateExec {
    fn new(aggregate: AggregateExec) -> Self {
        Self { aggregate }
    }
}

impl DisplayAs for SortedAggregateExec {
    fn fmt_as(&self, kind: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sorted")?;
        self.aggregate.fmt_as(kind, f)
    }
}

impl ExecutionPlan for SortedAggregateExec {
    fn name(&self) -> &str {
        "SortedAggregateExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.aggregate.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.aggregate.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.aggregate.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let replaced = Arc::new(self.aggregate.clone()).replace_children(children, options)?;
        Ok(match replaced.downcast_ref::<AggregateExec>() {
            Some(aggregate) => Arc::new(SortedAggregateExec::new(aggregate.clone())),
            None => replaced,
        })
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(
            children,
            ReplaceChildrenOptions { children_properties: ChildrenPropertiesMode::Recompute },
        )
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.aggregate.input().execute(partition, context)?;
        let schema = self.schema();
        let groups = Groups::new(&self.aggregate);
        let answer = futures::stream::once(groups.take_all(input, schema.clone()));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, answer)))
    }
}

/// The groups met so far, in order of their first row.
struct Groups {
    by: Arc<dyn PhysicalExpr>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    is_partial: bool,
    index: HashMap<ScalarValue, usize>,
    names: Vec<ScalarValue>,
    /// Accumulators of each group.
    states: Vec<Vec<Box<dyn Accumulator>>>,
}

impl Groups {
    fn new(aggregate: &AggregateExec) -> Self {
        let by = aggregate.group_expr().input_exprs();
        Self {
            by: by.into_iter().next().unwrap_or_else(|| Arc::new(Column::new(SORTED_BY, 0))),
            functions: aggregate.aggr_expr().to_vec(),
            is_partial: *aggregate.mode() == AggregateMode::Partial,
            index: HashMap::new(),
            names: Vec::new(),
            states: Vec::new(),
        }
    }

    async fn take_all(
        mut self,
        mut input: SendableRecordBatchStream,
        schema: SchemaRef,
    ) -> Result<RecordBatch> {
        while let Some(batch) = input.next().await {
            self.take(&batch?)?;
        }
        self.finish(schema)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        let names = self.by.evaluate(batch)?.into_array(rows)?;
        let arguments = self.functions.iter().map(|function| {
            let expressions = function.expressions();
            expressions.iter().map(|expr| expr.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()
        });
        let arguments: Vec<Vec<ArrayRef>> = arguments.collect::<Result<_>>()?;
        for stretch in stretches(&names)? {
            let group = self.group_of(ScalarValue::try_from_array(&names, stretch.start)?)?;
            for (state, arguments) in self.states[group].iter_mut().zip(&arguments) {
                let slices: Vec<ArrayRef> =
                    arguments.iter().map(|array| array.slice(stretch.start, stretch.len())).collect();
                state.update_batch(&slices)?;
            }
        }
        Ok(())
    }

    fn group_of(&mut self, name: ScalarValue) -> Result<usize> {
        if let Some(group) = self.index.get(&name) {
            return Ok(*group);
        }
        let states = self.functions.iter().map(|function| function.create_accumulator());
        self.states.push(states.collect::<Result<_>>()?);
        self.names.push(name.clone());
        self.index.insert(name, self.states.len() - 1);
        Ok(self.states.len() - 1)
    }

    fn finish(mut self, schema: SchemaRef) -> Result<RecordBatch> {
        if self.names.is_empty() {
            return Ok(RecordBatch::new_empty(schema));
        }
        let mut columns: Vec<Vec<ScalarValue>> =
            vec![Vec::with_capacity(self.names.len()); schema.fields().len() - 1];
        for states in &mut self.states {
            let mut values = Vec::with_capacity(columns.len());
            for state in states {
                match self.is_partial {
                    true => values.extend(state.state()?),
                    false => values.push(state.evaluate()?),
                }
            }
            columns.iter_mut().zip(values).for_each(|(column, value)| column.push(value));
        }
        let mut arrays = vec![ScalarValue::iter_to_array(self.names)?];
        for column in columns {
            arrays.push(ScalarValue::iter_to_array(column)?);
        }
        Ok(RecordBatch::try_new(schema, arrays)?)
    }
}

/// Ranges of rows with equal values.
fn stretches(names: &ArrayRef) -> Result<Vec<Range<usize>>> {
    let is_one = match names.data_type() {
        DataType::Utf8View if names.null_count() == 0 => {
            let views = names.as_string_view().views();
            views.first().is_some_and(|first| views.iter().all(|view| view == first))
        }
        _ => false,
    };
    match is_one {
        true => Ok(std::iter::once(0..names.len()).collect()),
        false => Ok(partition(std::slice::from_ref(names))?.ranges()),
    }
}
