//! `trend(step, value)` and `mann_kendall(step, value)`: where a curve is going, and how surely.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Fields};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{AggregateUDF, Documentation};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::series_types;
use crate::curve::SortedPoints;
use crate::curves::{CurvesFunction, FinishCurves, Layout, RunCurves, curves_udaf};
use crate::docs::{STEP, VALUE, document};
use crate::kernels::curve::{Curve, Values};
use crate::kernels::diagnosis::{Trend, rise_score};
use crate::series::{number_fields, one_struct};

/// Aggregate `trend(step, value)` to a struct(slope, start, end, z).
pub fn trend_udaf() -> AggregateUDF {
    curves_udaf(Course::Trend)
}

/// Aggregate `mann_kendall(step, value)` to a double.
pub fn mann_kendall_udaf() -> AggregateUDF {
    curves_udaf(Course::MannKendall)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Course {
    Trend,
    MannKendall,
}

fn fields() -> Fields {
    number_fields(&["slope", "start", "end", "z"])
}

impl CurvesFunction for Course {
    fn name(&self) -> &'static str {
        match self {
            Self::Trend => "trend",
            Self::MannKendall => "mann_kendall",
        }
    }

    fn counts(&self) -> &'static [usize] {
        &[2]
    }

    fn layout(&self, _arguments: usize) -> Layout {
        Layout { curves: 1, facts: 0 }
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        series_types(self.name(), types, None)
    }

    fn result_type(&self, _step: &DataType) -> DataType {
        match self {
            Self::Trend => DataType::Struct(fields()),
            Self::MannKendall => DataType::Float64,
        }
    }

    fn finish(&self, _args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn FinishCurves>> {
        Ok(Box::new(*self))
    }

    fn documentation(&self) -> &'static Documentation {
        static DOCUMENTATION: LazyLock<[Documentation; 2]> =
            LazyLock::new(|| [of_trend(), of_mann_kendall()]);
        &DOCUMENTATION[*self as usize]
    }
}

fn of_trend() -> Documentation {
    document(
        "Gives the line through a curve that no outlier moves: `slope` (change of the value for each step; for timestamps, for each unit of their type), `start` and `end` (the line at the first and the last step) and `z` (how surely the curve rises, as `mann_kendall` says). The slope is the median of the slopes between all pairs of the medians of at most 256 blocks of points (Theil 1950, Sen 1968). NaN and infinities are left out. Null for fewer than two steps.",
        "trend(step, value)",
        "select run_id, key, trend(step, value)['slope'] as slope from metrics group by run_id, key order by slope, run_id, key",
        &[("step", STEP), ("value", VALUE)],
    )
}

fn of_mann_kendall() -> Documentation {
    document(
        "Says how surely a curve rises, as a standard score: above 2 it rises, below -2 it falls, between them it may be noise (Mann 1945, Kendall 1975, with ties counted). It is that of the medians of at most 256 blocks of points. Noise that goes on from row to row, as that of a smoothed curve, makes it larger than it should be. NaN and infinities are left out. Null for no points, 0 for fewer than three.",
        "mann_kendall(step, value)",
        "select run_id, mann_kendall(step, value) as z from metrics where key = 'val_loss' group by run_id order by run_id",
        &[("step", STEP), ("value", VALUE)],
    )
}

impl FinishCurves for Course {
    fn finish(&self, run: &RunCurves<'_>) -> Result<ScalarValue> {
        let (x, y) = run.curves.first().map(finite).unwrap_or_default();
        match self {
            Self::MannKendall => Ok(ScalarValue::Float64(rise_score(&y))),
            Self::Trend => {
                let values = |trend: Trend| [trend.slope, trend.start, trend.end, trend.score];
                let values = Trend::of(&x, &y).map(values);
                one_struct(fields(), values.map(|values| values.map(ScalarValue::from).to_vec()))
            }
        }
    }
}

/// The finite points of a curve: distances from its first step, and values.
fn finite(curve: &SortedPoints<'_>) -> (Vec<f64>, Vec<f64>) {
    let all = 0..curve.len();
    let (x, y) = (curve.x(all.clone()), curve.values(all));
    let points = x.iter().copied().zip(y.iter().copied());
    points.filter(|(x, y)| x.is_finite() && y.is_finite()).unzip()
}
