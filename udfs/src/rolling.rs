//! `roll_median(value, w)`, `roll_mad(value, w)`, `robust_ema(value, alpha)`, `grad_ratio(value)`: a number
//! for each row, from it and the rows before it.

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Float64Array};
use arrow::datatypes::DataType;
use datafusion::common::{Result, plan_err};
use datafusion::logical_expr::{Documentation, PartitionEvaluator, WindowUDF};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{WholeNumber, value_type};
use crate::docs::document;
use crate::kernels::diagnosis::robust::SIGMA_OF_MEDIAN;
use crate::kernels::diagnosis::{Bursts, Limits, Rolling};
use crate::kernels::ema::RobustEma;
use crate::window::{RowFunction, numbers, parse_alpha, rows_udwf};

/// Window function `grad_ratio(value)` to a double in each row.
pub fn grad_ratio_udwf() -> WindowUDF {
    rows_udwf(Roll::GradRatio)
}

/// Window function `robust_ema(value, alpha)` to a double in each row.
pub fn robust_ema_udwf() -> WindowUDF {
    rows_udwf(Roll::RobustEma)
}

/// Window function `roll_mad(value, w)` to a double in each row.
pub fn roll_mad_udwf() -> WindowUDF {
    rows_udwf(Roll::Mad)
}

/// Window function `roll_median(value, w)` to a double in each row.
pub fn roll_median_udwf() -> WindowUDF {
    rows_udwf(Roll::Median)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Roll {
    GradRatio,
    RobustEma,
    Mad,
    Median,
}

impl Roll {
    fn width(&self) -> WholeNumber {
        WholeNumber { function: self.name(), name: "w", position: 1, min: 1, max: 10_000 }
    }
}

impl RowFunction for Roll {
    fn name(&self) -> &'static str {
        match self {
            Self::GradRatio => "grad_ratio",
            Self::RobustEma => "robust_ema",
            Self::Mad => "roll_mad",
            Self::Median => "roll_median",
        }
    }

    fn counts(&self) -> &'static [usize] {
        match self {
            Self::GradRatio => &[1],
            _ => &[2],
        }
    }

    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let second = |given| match self {
            Self::Mad | Self::Median => self.width().coerce(given),
            _ => value_type(self.name(), given),
        };
        let first = types.first().map(|given| value_type(self.name(), given));
        first.into_iter().chain(types.get(1).map(second)).collect()
    }

    fn columns(&self) -> usize {
        1
    }

    fn evaluator(&self, args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn PartitionEvaluator>> {
        let rows = match self {
            Self::GradRatio => Rows::GradRatio,
            Self::RobustEma => Rows::RobustEma { alpha: parse_alpha(self.name(), args.get(1))? },
            Self::Mad | Self::Median => match self.width().get(args)? {
                Some(width) => Rows::Rolling { width, is_mad: *self == Self::Mad },
                None => return plan_err!("{} takes a value and w", self.name()),
            },
        };
        Ok(Box::new(rows))
    }

    fn result_type(&self) -> DataType {
        DataType::Float64
    }

    fn documentation(&self) -> &'static Documentation {
        static DOCUMENTATION: LazyLock<[Documentation; 4]> =
            LazyLock::new(|| [of_grad_ratio(), of_robust_ema(), of_mad(), of_median()]);
        &DOCUMENTATION[*self as usize]
    }
}

const NUMBER: (&str, &str) = ("value", "The number logged there, as double.");
const WIDTH: (&str, &str) = ("w", "Rows of the window: a literal from 1 to 10000.");

fn of_grad_ratio() -> Documentation {
    document(
        "Gives how many times its usual level a gradient norm is: the median of the last 96 accepted rows before it, as `grad_explosion` has it, which opens an episode above 8. Rows of an open episode are measured against the rows before it. Null for the first 12 rows, and for null, NaN and infinite values. A frame is not looked at.",
        "grad_ratio(value) over (partition by run_id, key order by step)",
        "select run_id, step, grad_ratio(value) over (partition by run_id, key order by step) as ratio from metrics where key = 'grad_norm' order by ratio desc nulls last, run_id, step limit 5",
        &[("value", "A gradient norm, as double.")],
    )
}

fn of_robust_ema() -> Documentation {
    document(
        "Smooths a metric as `ema` does, but no outlier moves it: each value is first brought to within 3 robust standard deviations of the median of the 32 values before it (the first 12 stay as they are). A new level is followed once it is half of those. Null for null, NaN and infinite values, which change nothing. A frame is not looked at.",
        "robust_ema(value, alpha) over (partition by run_id, key order by step)",
        "select run_id, step, robust_ema(value, 0.1) over (partition by run_id, key order by step) as smooth from metrics where key = 'loss' order by run_id, step",
        &[
            NUMBER,
            ("alpha", "Weight of the newest value: a literal above 0 and at most 1 (1 only cuts outliers)."),
        ],
    )
}

fn of_mad() -> Documentation {
    document(
        "Gives the robust standard deviation of the newest `w` finite values, this row's included: 1.4826 times the median distance from their median. Fewer at the start of a partition. Null for null, NaN and infinite values, which do not count. A frame is not looked at.",
        "roll_mad(value, w) over (partition by run_id, key order by step)",
        "select run_id, step, roll_mad(value, 20) over (partition by run_id, key order by step) as noise from metrics where key = 'loss' order by run_id, step",
        &[NUMBER, WIDTH],
    )
}

fn of_median() -> Documentation {
    document(
        "Gives the median of the newest `w` finite values, this row's included; fewer at the start of a partition. Null for null, NaN and infinite values, which do not count. A frame is not looked at.",
        "roll_median(value, w) over (partition by run_id, key order by step)",
        "select run_id, step, roll_median(value, 20) over (partition by run_id, key order by step) as level from metrics where key = 'loss' order by run_id, step",
        &[NUMBER, WIDTH],
    )
}

#[derive(Debug)]
enum Rows {
    GradRatio,
    RobustEma { alpha: f64 },
    Rolling { width: usize, is_mad: bool },
}

impl PartitionEvaluator for Rows {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let values = numbers("window", values)?;
        Ok(Arc::new(match *self {
            Self::GradRatio => {
                let mut bursts = Bursts::new(None, &Limits::default().grad_explosion);
                each_finite(values, |value| {
                    let ratio = bursts.ratio(value);
                    // The steps of episodes are not asked for.
                    bursts.push(0, value);
                    ratio
                })
            }
            Self::RobustEma { alpha } => {
                let mut average = RobustEma::new(alpha);
                each_finite(values, |value| Some(average.push(value)))
            }
            Self::Rolling { width, is_mad } => {
                let mut window = Rolling::new(width);
                each_finite(values, |value| {
                    window.push(value);
                    Some(if is_mad { SIGMA_OF_MEDIAN * window.median_distance() } else { window.median() })
                })
            }
        }))
    }
}

/// What `row` gives for each finite value; null for the others, which it does not see.
fn each_finite(values: &Float64Array, mut row: impl FnMut(f64) -> Option<f64>) -> Float64Array {
    values.iter().map(|value| value.filter(|value| value.is_finite()).and_then(&mut row)).collect()
}
