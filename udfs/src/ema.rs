//! `ema(value, alpha)`: exponential moving average over a window.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{check_count, value_type};
use crate::docs::document;
use crate::kernels;
use crate::window::{numbers, parse_alpha, result_field};

const NAME: &str = "ema";

/// Window function `ema(value, alpha)` to a double in each row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Ema {
    signature: Signature,
}

impl Default for Ema {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn ema_udwf() -> WindowUDF {
    WindowUDF::from(Ema::default())
}

impl WindowUDFImpl for Ema {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[2])?;
        types.iter().map(|given| value_type(NAME, given)).collect()
    }

    /// The value alone: alpha is known when the plan is made.
    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        args.input_exprs().iter().take(1).cloned().collect()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let alpha = parse_alpha(NAME, args.input_exprs().get(1))?;
        Ok(Box::new(EmaEvaluator { alpha }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(result_field(&args, DataType::Float64))
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Smooths a metric: `s = alpha * value + (1 - alpha) * s`, begun with the first finite value of the partition. Null gives null, NaN and infinities give themselves, and none of them changes the average. The order is that of the window; a frame is not looked at.",
                "ema(value, alpha) over (partition by run_id, key order by step)",
                "select run_id, step, ema(value, 0.1) over (partition by run_id, key order by step) as smooth from metrics where key = 'loss' order by run_id, step",
                &[
                    ("value", "The number to smooth, as double."),
                    (
                        "alpha",
                        "Weight of the newest value: a literal above 0 and at most 1 (1 changes nothing).",
                    ),
                ],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct EmaEvaluator {
    alpha: f64,
}

impl PartitionEvaluator for EmaEvaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], _num_rows: usize) -> Result<ArrayRef> {
        let values = numbers(NAME, values)?;
        let smooth = match values.nulls() {
            None => kernels::ema::ema(values.values(), self.alpha),
            Some(_) => {
                let filled = values.iter().map(|value| value.unwrap_or(f64::NAN));
                kernels::ema::ema(&filled.collect::<Vec<_>>(), self.alpha)
            }
        };
        let nulls = values.nulls().cloned();
        Ok(Arc::new(Float64Array::new(smooth.into(), nulls)))
    }
}
