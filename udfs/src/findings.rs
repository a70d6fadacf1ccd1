//! Findings of the diagnosis, as SQL shows them.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;

use crate::curve::SortedPoints;
use crate::curves::RunCurves;
use crate::kernels::diagnosis::{Facts, Finding, Limits, Monitor, Role, Watch};
use crate::steps::StepAxis;
use crate::ticks::Ticks;

/// Fields of a finding.
pub(crate) fn finding_fields(step: &DataType) -> Fields {
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

/// The findings as columns, one for each of [`finding_fields`].
pub(crate) fn finding_columns(
    axis: &StepAxis,
    ticks: Option<&Ticks<'_>>,
    findings: &[Finding],
) -> Result<Vec<ArrayRef>> {
    let key = |tick: i64| ticks.map_or(tick, |ticks| ticks.key(tick));
    let steps = |pick: fn(&Finding) -> Option<i64>| {
        axis.steps(findings.iter().map(|finding| pick(finding).map(key)).collect::<Int64Array>())
    };
    // What a kind does not have is NaN to the kernels.
    let numbers = |pick: fn(&Finding) -> f64| -> ArrayRef {
        let numbers = findings.iter().map(pick).map(|number| Some(number).filter(|number| !number.is_nan()));
        Arc::new(numbers.collect::<Float64Array>())
    };
    let levels = findings.iter().map(|finding| finding.level.as_str());
    let values = findings.iter().map(|finding| finding.value);
    let rows = findings.iter().map(|finding| i64::try_from(finding.rows).unwrap_or(i64::MAX));
    Ok(vec![
        steps(|finding| Some(finding.step))?,
        steps(|finding| finding.end_step)?,
        steps(|finding| Some(finding.detected_step))?,
        Arc::new(StringArray::from_iter_values(levels)),
        Arc::new(Float64Array::from_iter_values(values)),
        numbers(|finding| finding.baseline),
        numbers(|finding| finding.score),
        Arc::new(Int64Array::from_iter_values(rows)),
    ])
}

/// What there is to say of a run whose curves have these roles, the earliest onset first.
pub(crate) fn judge(
    run: &RunCurves<'_>,
    roles: &[Role],
    facts: Facts,
    ticks: Option<&Ticks<'_>>,
) -> Vec<Finding> {
    let Some(ticks) = ticks else { return Vec::new() };
    let limits = Limits::default();
    monitor(&run.curves, roles, facts, ticks, &limits).findings(&limits)
}

/// A run under watch that has taken all rows of its curves.
pub(crate) fn monitor(
    curves: &[SortedPoints<'_>],
    roles: &[Role],
    facts: Facts,
    ticks: &Ticks<'_>,
    limits: &Limits,
) -> Monitor {
    let watch = |(curve, role): (&SortedPoints<'_>, &Role)| {
        let mut watch = Watch::new(*role, "", facts.planned_steps, limits);
        curve.iter().for_each(|(key, value)| watch.push(ticks.tick(key), f64::NAN, value));
        watch
    };
    let curves = curves.iter().zip(roles).map(watch).collect();
    Monitor { facts, curves }
}
