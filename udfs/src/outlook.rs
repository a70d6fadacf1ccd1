//! `forecast(step, value, planned_steps)` and `eta(step, time [, planned_steps])`: how a run will end.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{AggregateUDF, Documentation};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{counted_step_type, number_type, step_type};
use crate::curves::{CurvesFunction, FinishCurves, Layout, RunCurves, curves_udaf};
use crate::docs::{self, STEP, VALUE, document};
use crate::findings::monitor;
use crate::kernels::diagnosis::{Eta, Facts, Forecast, Judgement, Limits, Phase, Role, Trace, phases};
use crate::series::{number_fields, one_struct};
use crate::ticks::Ticks;

/// Aggregate `forecast(step, value, planned_steps)` to a struct(point, low, high, stay).
pub fn forecast_udaf() -> AggregateUDF {
    curves_udaf(Outlook::Forecast)
}

/// Aggregate `eta(step, time [, planned_steps])` to a struct(seconds_per_step, steps_left, eta_s, low_s,
/// high_s).
pub fn eta_udaf() -> AggregateUDF {
    curves_udaf(Outlook::Eta)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outlook {
    Forecast,
    Eta,
}

/// The only fact.
const PLANNED_STEPS: usize = 0;

fn eta_fields(step: &DataType) -> Fields {
    let numbers = number_fields(&["seconds_per_step", "eta_s", "low_s", "high_s"]);
    let mut fields: Vec<_> = numbers.iter().cloned().collect();
    fields.insert(1, Arc::new(Field::new("steps_left", step.clone(), true)));
    Fields::from(fields)
}

fn forecast_fields() -> Fields {
    number_fields(&["point", "low", "high", "stay"])
}

/// Type of a time: a timestamp stays one, a number of seconds is a double.
fn time_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => step_type(function, given),
        _ => number_type(function, "time", given)
            .or_else(|_| plan_err!("{function}: time must be a timestamp or seconds, not {given}")),
    }
}

impl CurvesFunction for Outlook {
    fn name(&self) -> &'static str {
        match self {
            Self::Forecast => "forecast",
            Self::Eta => "eta",
        }
    }

    fn counts(&self) -> &'static [usize] {
        match self {
            Self::Forecast => &[3],
            Self::Eta => &[2, 3],
        }
    }

    fn layout(&self, arguments: usize) -> Layout {
        Layout { curves: 1, facts: arguments.saturating_sub(2) }
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let name = self.name();
        let [step, value, planned @ ..] = types else { return plan_err!("{name} takes a step") };
        let value = match self {
            Self::Forecast => number_type(name, "value", value)?,
            Self::Eta => time_type(name, value)?,
        };
        let planned = planned.iter().map(|given| number_type(name, "planned_steps", given));
        [counted_step_type(name, step), Ok(value)].into_iter().chain(planned).collect()
    }

    fn result_type(&self, step: &DataType) -> DataType {
        match self {
            Self::Forecast => DataType::Struct(forecast_fields()),
            Self::Eta => DataType::Struct(eta_fields(step)),
        }
    }

    fn finish(&self, _args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn FinishCurves>> {
        Ok(Box::new(*self))
    }

    fn documentation(&self) -> &'static Documentation {
        static DOCUMENTATION: LazyLock<[Documentation; 2]> = LazyLock::new(|| [of_forecast(), of_eta()]);
        &DOCUMENTATION[*self as usize]
    }
}

fn of_forecast() -> Documentation {
    document(
        "Says what a loss will be at the planned end: `point`, the 80 % interval from `low` to `high`, and `stay`, which is what it would be if it stayed where it is. Power laws, exponentials and a logarithm are fitted to the medians of blocks and weighted by how well they fit; the interval is longer downwards, because a learning rate that anneals pushes a loss below each of them. NaN and infinities are left out. Null for fewer than 12 points, before 2 % of the run, at its end, where its length is unknown, and while the loss diverges or is unstable. Of a metric that rises, forecast the negative.",
        "forecast(step, value, planned_steps)",
        "select run_id, forecast(step, value, 1000)['point'] as final_loss from metrics where key = 'loss' group by run_id order by run_id",
        &[("step", STEP), ("value", VALUE), ("planned_steps", docs::PLANNED_STEPS)],
    )
}

fn of_eta() -> Documentation {
    document(
        "Says when a run will end: `seconds_per_step` (over the newest half of the rows, pauses for checkpoints and evaluation included), `steps_left`, `eta_s` and its 80 % interval from `low_s` to `high_s`, in seconds. Where the planned length is unknown, only `seconds_per_step`. Null for fewer than 5 rows with a time, and where time stands still. A time in which the run was down counts like any other.",
        "eta(step, time [, planned_steps])",
        "select run_id, eta(step, 0.5 * step, 1000)['eta_s'] as eta_s from metrics where key = 'loss' group by run_id order by run_id",
        &[
            ("step", "Step of the row, an integer or a float. Rows without a step are left out."),
            ("time", "When it was logged: a timestamp, or seconds since some instant. Null is unknown."),
            ("planned_steps", docs::PLANNED_STEPS),
        ],
    )
}

impl FinishCurves for Outlook {
    fn finish(&self, run: &RunCurves<'_>) -> Result<ScalarValue> {
        match self {
            Self::Forecast => forecast(run),
            Self::Eta => eta(run),
        }
    }
}

fn forecast(run: &RunCurves<'_>) -> Result<ScalarValue> {
    let forecast = Ticks::of(&run.curves).and_then(|ticks| {
        let planned_steps = ticks.tick_at(run.fact(PLANNED_STEPS)?);
        let limits = Limits::default();
        let facts = Facts { planned_steps: Some(planned_steps), ..Facts::default() };
        let watched = monitor(&run.curves, &[Role::Loss], facts, &ticks, &limits);
        let judgement = Judgement::new(&watched, &limits);
        let changes = phases(&judgement, &judgement.findings(), &limits);
        let is_ill =
            changes.last().is_some_and(|change| matches!(change.to, Phase::Diverging | Phase::Unstable));
        if is_ill { None } else { Forecast::of(judgement.outlines.first()?, planned_steps) }
    });
    let values = forecast.map(|forecast| [forecast.point, forecast.low, forecast.high, forecast.stay]);
    one_struct(forecast_fields(), values.map(|values| values.map(ScalarValue::from).to_vec()))
}

fn eta(run: &RunCurves<'_>) -> Result<ScalarValue> {
    let Some(curve) = run.curves.first() else { return plan_err!("eta takes a time") };
    let step = curve.axis().data_type();
    let Some(ticks) = Ticks::of(&run.curves) else { return one_struct(eta_fields(step), None) };
    let mut trace = Trace::default();
    curve.iter().for_each(|(key, time_s)| trace.push(ticks.tick(key), time_s, time_s));
    let planned = run.fact(PLANNED_STEPS);
    let Some(eta) = Eta::of(&trace.outline(), planned.map(|planned| ticks.tick_at(planned)), &[]) else {
        return one_struct(eta_fields(step), None);
    };
    let steps_left = eta.left.map(|left| left.steps as f64 / ticks.per_step());
    let seconds = |pick: fn(&crate::kernels::diagnosis::Left) -> f64| eta.left.as_ref().map(pick);
    let values = vec![
        ScalarValue::from(eta.seconds_per_step * ticks.per_step()),
        ScalarValue::Float64(steps_left).cast_to(step)?,
        ScalarValue::Float64(seconds(|left| left.eta_s)),
        ScalarValue::Float64(seconds(|left| left.low_s)),
        ScalarValue::Float64(seconds(|left| left.high_s)),
    ];
    one_struct(eta_fields(step), Some(values))
}
