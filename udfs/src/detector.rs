//! `loss_spike(step, value)`, `divergence(step, value)`, ...: a function for each kind of finding.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{AggregateUDF, Documentation, Expr};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{literal, number_type, series_types};
use crate::curves::{CurvesFunction, FinishCurves, Layout, RunCurves, curves_udaf};
use crate::findings::{finding_columns, finding_fields, judge};
use crate::kernels::diagnosis::{Facts, Kind, Role};
use crate::kind_docs::documentation;
use crate::series::{list_of_structs, list_type};
use crate::ticks::Ticks;

/// Aggregate `kind(step, value)` to a list of struct(step, end_step, detected_step, level, value,
/// baseline, score, rows), in order of step; named as the kind.
///
/// The rules of each kind are in its documentation.
pub fn detector_udaf(kind: Kind) -> AggregateUDF {
    curves_udaf(Detector { kind })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Detector {
    kind: Kind,
}

/// Facts by their place behind the value.
const CAPACITY: usize = 0;
const PLANNED_STEPS: usize = 1;

impl Detector {
    /// What the curve is taken for, unless a literal says otherwise.
    fn role(&self) -> Role {
        match (self.kind, self.kind.roles()) {
            // A validation loss is looked at for nothing that would take the place of a NaN.
            (Kind::Nan, _) | (_, []) => Role::ValLoss,
            (_, [role, ..]) => *role,
        }
    }

    fn has_goal(&self) -> bool {
        self.kind == Kind::Overfitting
    }
}

/// What a validation metric is, by the literal that says which way it is better.
fn role_of_goal(goal: Option<&ScalarValue>) -> Result<Role> {
    match goal.and_then(ScalarValue::try_as_str).flatten() {
        Some("min") => Ok(Role::ValLoss),
        Some("max") => Ok(Role::ValScore),
        _ => plan_err!("overfitting: goal must be the literal 'min' or 'max'"),
    }
}

impl CurvesFunction for Detector {
    fn name(&self) -> &'static str {
        self.kind.as_str()
    }

    fn counts(&self) -> &'static [usize] {
        match self.kind {
            Kind::Overfitting | Kind::MemoryLeak => &[2, 3],
            Kind::OomRisk => &[3, 4],
            _ => &[2],
        }
    }

    fn layout(&self, arguments: usize) -> Layout {
        let facts = if self.has_goal() { 0 } else { arguments.saturating_sub(2) };
        Layout { curves: 1, facts }
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let mut coerced = series_types(self.name(), types, None)?;
        for (given, argument) in types.iter().skip(2).zip(["capacity", "planned_steps"]) {
            coerced.push(match self.has_goal() {
                true if given.is_string() || given.is_null() => DataType::Utf8,
                true => return role_of_goal(None).map(|_| Vec::new()),
                false => number_type(self.name(), argument, given)?,
            });
        }
        Ok(coerced)
    }

    fn check(&self, args: &[Expr]) -> Result<()> {
        match args.get(2).filter(|_| self.has_goal()) {
            None | Some(Expr::Placeholder(_)) => Ok(()),
            Some(Expr::Literal(goal, _)) => role_of_goal(Some(goal)).map(|_| ()),
            Some(_) => role_of_goal(None).map(|_| ()),
        }
    }

    fn result_type(&self, step: &DataType) -> DataType {
        list_type(finding_fields(step))
    }

    fn finish(&self, args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn FinishCurves>> {
        let role = match args.get(2).filter(|_| self.has_goal()) {
            Some(goal) => role_of_goal(literal(goal))?,
            None => self.role(),
        };
        Ok(Box::new(Detect { kind: self.kind, role }))
    }

    fn documentation(&self) -> &'static Documentation {
        documentation(self.kind)
    }
}

#[derive(Debug)]
struct Detect {
    kind: Kind,
    role: Role,
}

impl FinishCurves for Detect {
    fn finish(&self, run: &RunCurves<'_>) -> Result<ScalarValue> {
        let ticks = Ticks::of(&run.curves);
        let planned = run.fact(PLANNED_STEPS);
        let facts = Facts {
            memory_capacity: run.fact(CAPACITY),
            planned_steps: planned.zip(ticks.as_ref()).map(|(planned, ticks)| ticks.tick_at(planned)),
            ..Facts::default()
        };
        let mut findings = judge(run, &[self.role], facts, ticks.as_ref());
        findings.retain(|finding| finding.kind == self.kind);
        let Some(curve) = run.curves.first() else { return plan_err!("{} takes a curve", self.kind) };
        let columns = finding_columns(curve.axis(), ticks.as_ref(), &findings)?;
        list_of_structs(finding_fields(curve.axis().data_type()), columns)
    }
}
