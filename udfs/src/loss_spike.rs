//! `loss_spike(step, value)`: the spikes of a loss.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility,
};

use crate::args::{check_count, checked_when_planned, refuse_distinct, series_types};
use crate::curve::SortedPoints;
use crate::docs::{STEP, VALUE, document};
use crate::kernels::spike::{SpikeDetector, SpikeEvent};
use crate::points::Points;
use crate::series::{Finish, SeriesAccumulator, empty_list, list_of_structs, list_type};
use crate::steps::StepAxis;

const NAME: &str = "loss_spike";

/// Aggregate `loss_spike(step, value)` to a list of struct(step, end_step, detected_step, level,
/// value, baseline, score, rows), one for each rise that comes back, in order of step.
///
/// The method is that of [`SpikeDetector`]. The rules are in its documentation.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LossSpike {
    signature: Signature,
}

impl Default for LossSpike {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn loss_spike_udaf() -> AggregateUDF {
    AggregateUDF::from(LossSpike::default())
}

fn event_fields(step: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("step", step.clone(), true),
        Field::new("end_step", step.clone(), true),
        Field::new("detected_step", step.clone(), true),
        Field::new("level", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
        Field::new("baseline", DataType::Float64, true),
        Field::new("score", DataType::Float64, true),
        Field::new("rows", DataType::Int64, true),
    ])
}

impl AggregateUDFImpl for LossSpike {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[2])?;
        series_types(NAME, types, None)
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(step) => Ok(list_type(event_fields(step))),
            None => plan_err!("{NAME} takes a step"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, args.is_distinct)?;
        let Some(step) = args.expr_fields.first() else {
            return plan_err!("{NAME} takes 2 arguments");
        };
        let detect = Detect { step_type: step.data_type().clone() };
        Ok(Box::new(SeriesAccumulator::new(step.data_type(), detect)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(Points::state_fields(args.name))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        checked_when_planned(NAME, None)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        empty_list(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Finds rises of a loss that come back. A row opens an episode when it is over 5.5 robust standard deviations and over 9 % above the median of the last 128 accepted rows; 3 rows back near the level close it. The list has, in order of step: `step` (the row that opened it), `end_step` (the last elevated row, null while it is open), `detected_step` (the row that closed it; the newest row while it is open), `level` (`error`: peak above twice the level; `info`: one row less than 60 % above it, a hard batch; else `warn`), `value` (the peak), `baseline` (the median before it), `score` (at the peak) and `rows` (elevated rows). A rise that lasts over 30 rows and 6 % of the rows so far is a new level, not a spike. NaN and infinities are left out; under 20 finite rows and on a healthy curve the list is empty. Restarts of the learning rate are not known to it.",
                "loss_spike(step, value)",
                "select run_id, loss_spike(step, value) as spikes from metrics where key = 'loss' group by run_id order by run_id",
                &[("step", STEP), ("value", VALUE)],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct Detect {
    step_type: DataType,
}

impl Finish for Detect {
    fn finish(&self, points: &SortedPoints<'_>) -> Result<ScalarValue> {
        let mut detector = SpikeDetector::new();
        let mut events = Vec::new();
        for (step, value) in points.iter() {
            events.extend(detector.push(step, value));
        }
        events.extend(detector.finish());
        let columns = event_columns(points.axis(), &events)?;
        list_of_structs(event_fields(&self.step_type), columns)
    }
}

fn event_columns(axis: &StepAxis, events: &[SpikeEvent]) -> Result<Vec<ArrayRef>> {
    let steps =
        |pick: fn(&SpikeEvent) -> Option<i64>| axis.steps(events.iter().map(pick).collect::<Int64Array>());
    let numbers = |pick: fn(&SpikeEvent) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(events.iter().map(pick)))
    };
    let levels = events.iter().map(|event| event.level.as_str());
    let rows = events.iter().map(|event| event.rows as i64);
    Ok(vec![
        steps(|event| Some(event.step))?,
        steps(|event| event.end_step)?,
        steps(|event| Some(event.detected_step))?,
        Arc::new(StringArray::from_iter_values(levels)),
        numbers(|event| event.peak),
        numbers(|event| event.baseline),
        numbers(|event| event.score),
        Arc::new(Int64Array::from_iter_values(rows)),
    ])
}
