//! `first_nan(step, value)`: where a metric first stopped being a number.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility,
};

use crate::args::{check_count, series_types};
use crate::docs::{STEP, document};
use crate::steps::StepAxis;

const NAME: &str = "first_nan";

/// Aggregate `first_nan(step, value)` to the smallest step whose value is NaN or infinite.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct FirstNan {
    signature: Signature,
}

impl Default for FirstNan {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn first_nan_udaf() -> AggregateUDF {
    AggregateUDF::from(FirstNan::default())
}

impl AggregateUDFImpl for FirstNan {
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
            Some(step) => Ok(step.clone()),
            None => plan_err!("{NAME} takes a step"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(FirstNanAccumulator { axis: StepAxis::new(args.return_type()), first: None }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "first");
        Ok(vec![Arc::new(Field::new(name, DataType::Int64, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives the smallest step whose value is NaN or infinite, or null when all values are finite. A null value is missing, not NaN.",
                "first_nan(step, value)",
                "select run_id, key, first_nan(step, value) as broke_at from metrics group by run_id, key order by run_id, key",
                &[("step", STEP), ("value", "The number logged there, as double.")],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct FirstNanAccumulator {
    axis: StepAxis,
    /// Key of the smallest step with a value that is not finite.
    first: Option<i64>,
}

impl FirstNanAccumulator {
    fn offer(&mut self, key: Option<i64>) {
        self.first = match (self.first, key) {
            (Some(first), Some(key)) => Some(first.min(key)),
            (first, key) => first.or(key),
        };
    }
}

impl Accumulator for FirstNanAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [steps, values] = values else {
            return exec_err!("{NAME}: {} arguments, not 2", values.len());
        };
        let numbers = as_float64_array(values)?;
        // Nearly every batch has none: one pass over the values and nothing else.
        if numbers.values().iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let keys = self.axis.keys(steps)?;
        let broken = (0..numbers.len())
            .filter(|&row| numbers.is_valid(row) && !numbers.value(row).is_finite())
            .filter(|&row| keys.is_valid(row))
            .map(|row| keys.value(row))
            .min();
        self.offer(broken);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.axis.step(self.first)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Int64(self.first)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [firsts] = states else {
            return exec_err!("{NAME}: {} columns of state, not 1", states.len());
        };
        let firsts = datafusion::common::cast::as_int64_array(firsts)?;
        self.offer(firsts.iter().flatten().min());
        Ok(())
    }
}
