//! `diagnose(step, loss, ..)`: all there is to say of a run.

use std::sync::{Arc, LazyLock};

use arrow::array::StringArray;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{AggregateUDF, Documentation};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{number_type, step_type};
use crate::curves::{CurvesFunction, FinishCurves, Layout, RunCurves, curves_udaf};
use crate::docs::{STEP, document};
use crate::findings::{finding_columns, finding_fields, judge};
use crate::kernels::diagnosis::{Facts, Role};
use crate::series::{list_of_structs, list_type};
use crate::ticks::Ticks;

const NAME: &str = "diagnose";

/// The curves by the names of the arguments.
const METRICS: [&str; 6] = ["loss", "val_loss", "grad_norm", "lr", "throughput", "gpu_mem"];
const ROLES: [Role; 6] =
    [Role::Loss, Role::ValLoss, Role::GradNorm, Role::Lr, Role::Throughput, Role::Memory];

/// Aggregate `diagnose(step, loss [, val_loss, grad_norm, lr, throughput, gpu_mem])` to a list of
/// struct(kind, metric, step, end_step, detected_step, level, value, baseline, score, rows), in order
/// of step.
pub fn diagnose_udaf() -> AggregateUDF {
    curves_udaf(Diagnose)
}

fn fields(step: &DataType) -> Fields {
    let names = ["kind", "metric"].map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
    names.iter().chain(finding_fields(step).iter()).cloned().collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Diagnose;

impl CurvesFunction for Diagnose {
    fn name(&self) -> &'static str {
        NAME
    }

    fn counts(&self) -> &'static [usize] {
        &[2, 3, 4, 5, 6, 7]
    }

    fn layout(&self, arguments: usize) -> Layout {
        Layout { curves: arguments.saturating_sub(1), facts: 0 }
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some((step, values)) = types.split_first() else { return plan_err!("{NAME} takes a step") };
        let values = values.iter().zip(METRICS).map(|(given, metric)| number_type(NAME, metric, given));
        std::iter::once(step_type(NAME, step)).chain(values).collect()
    }

    fn result_type(&self, step: &DataType) -> DataType {
        list_type(fields(step))
    }

    fn finish(&self, _args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn FinishCurves>> {
        Ok(Box::new(*self))
    }

    fn documentation(&self) -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Says all there is to say of a run, the earliest onset first: every finding of `nan`, `loss_spike`, `divergence`, `plateau`, `overfitting`, `grad_explosion`, `grad_vanishing`, `throughput_drop` and `memory_leak`, with its `kind`, its `metric` (the name of the argument) and the fields that the function of that kind has. The curves are judged together: no rise of the loss is an alarm that a restart of the learning rate explains, no validation overfits while training diverges, and a burst of the gradient just before a NaN is an error. A row is a step of one run; a metric that is null there was not logged. Leave arguments out at the end, or give null for them. A healthy, short or empty run has the empty list.",
                "diagnose(step, loss [, val_loss, grad_norm, lr, throughput, gpu_mem])",
                "select f['step'] as step, f['kind'] as kind, f['metric'] as metric, f['level'] as level from (select unnest(diagnose(step, loss, val_loss)) as f from wide('run-b', 'loss,val_loss'))",
                &[
                    ("step", STEP),
                    ("loss", "The training loss. NaN and infinities are a finding; null is missing."),
                    ("val_loss", "A validation metric, the lower the better."),
                    ("grad_norm", "The norm of the gradient."),
                    ("lr", "The learning rate."),
                    ("throughput", "Work done in a second: steps, samples or tokens."),
                    ("gpu_mem", "Memory of the accelerator, in any unit."),
                ],
            )
        });
        &DOCUMENTATION
    }
}

impl FinishCurves for Diagnose {
    fn finish(&self, run: &RunCurves<'_>) -> Result<ScalarValue> {
        let ticks = Ticks::of(&run.curves);
        let findings = judge(run, &ROLES, Facts::default(), ticks.as_ref());
        let Some(curve) = run.curves.first() else { return plan_err!("{NAME} takes a curve") };
        let kinds = findings.iter().map(|finding| finding.kind.as_str());
        let metrics = findings.iter().map(|finding| METRICS.get(finding.curve));
        let mut columns = vec![
            Arc::new(StringArray::from_iter_values(kinds)) as _,
            Arc::new(metrics.collect::<StringArray>()) as _,
        ];
        columns.extend(finding_columns(curve.axis(), ticks.as_ref(), &findings)?);
        list_of_structs(fields(curve.axis().data_type()), columns)
    }
}
