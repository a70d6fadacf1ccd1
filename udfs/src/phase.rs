//! `phase(loss [, val, lr])`: what a run is doing at each row.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::cast::as_float64_array;
use datafusion::logical_expr::{Documentation, PartitionEvaluator, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::number_type;
use crate::docs::document;
use crate::kernels::diagnosis::{Facts, Judgement, Limits, Monitor, Phase, Role, Transition, Watch, phases};
use crate::window::{RowFunction, rows_udwf};

const NAME: &str = "phase";

/// The arguments, and what they mean.
const METRICS: [(&str, Role); 3] = [("loss", Role::Loss), ("val", Role::ValLoss), ("lr", Role::Lr)];

/// Window function `phase(loss [, val, lr])` to a text in each row.
pub fn phase_udwf() -> WindowUDF {
    rows_udwf(PhaseOfRow)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct PhaseOfRow;

impl RowFunction for PhaseOfRow {
    fn name(&self) -> &'static str {
        NAME
    }

    fn counts(&self) -> &'static [usize] {
        &[1, 2, 3]
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        types.iter().zip(METRICS).map(|(given, (metric, _))| number_type(NAME, metric, given)).collect()
    }

    fn columns(&self) -> usize {
        METRICS.len()
    }

    fn evaluator(&self, _args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Teller))
    }

    fn result_type(&self) -> DataType {
        DataType::Utf8
    }

    fn documentation(&self) -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Names the phase of a run at each row: INITIALIZING, WARMUP, LEARNING_FAST, STABLE_CONVERGENCE, PLATEAU, OVERFITTING_RISK, UNSTABLE, DIVERGING or CONVERGED. It is told once in 5 % of the rows (at least 10) by what is there until then, and a change needs two of them in a row, except to DIVERGING and UNSTABLE; before the first it is INITIALIZING. Whether a rise was a spike shows only afterwards, so the whole partition is looked at, never a frame. Rows stand for steps; null is a metric that was not logged there. Null for a run without any loss.",
                "phase(loss [, val, lr]) over (partition by run_id order by step)",
                "select step, phase(loss, val_loss) over (order by step) as phase from wide('run-a', 'loss,val_loss') order by step",
                &[
                    ("loss", "The training loss; null where only validation is known."),
                    ("val", "A validation metric, the lower the better."),
                    ("lr", "The learning rate, which tells warmup and decay."),
                ],
            )
        });
        &DOCUMENTATION
    }
}

#[derive(Debug)]
struct Teller;

impl PartitionEvaluator for Teller {
    fn evaluate_all(&mut self, values: &[ArrayRef], num_rows: usize) -> Result<ArrayRef> {
        let limits = Limits::default();
        let mut run = Monitor { facts: Facts::default(), curves: Vec::new() };
        for (column, (metric, role)) in values.iter().zip(METRICS) {
            let mut watch = Watch::new(role, metric, None, &limits);
            for (row, value) in (0_i64..).zip(as_float64_array(column)?) {
                value.into_iter().for_each(|value| watch.push(row, f64::NAN, value));
            }
            run.curves.push(watch);
        }
        let judgement = Judgement::new(&run, &limits);
        let changes = phases(&judgement, &judgement.findings(), &limits);
        Ok(Arc::new(phase_of_rows(&changes, num_rows)))
    }
}

/// The phase at each row, from the changes of phase.
fn phase_of_rows(changes: &[Transition], num_rows: usize) -> StringArray {
    if changes.is_empty() {
        return StringArray::new_null(num_rows);
    }
    let mut changes = changes.iter().peekable();
    let mut phase = Phase::Initializing;
    let rows = (0_i64..).take(num_rows).map(|row| {
        while let Some(change) = changes.next_if(|change| change.step <= row) {
            phase = change.to;
        }
        Some(phase.as_str())
    });
    rows.collect()
}
