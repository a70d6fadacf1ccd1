//! Steps of any type as keys of one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue};

use crate::kernels;

/// Bits of infinity. The bits of a finite double without a sign are less, and have its order.
const INFINITY_BITS: u64 = 0x7ff0_0000_0000_0000;

/// What steps are: their SQL type, and how they are kept.
///
/// Every step is kept as an `i64` key of the same order: integers and timestamps as they are,
/// doubles as the bits of their total order. So one state serves all types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepAxis {
    data_type: DataType,
    is_float: bool,
}

impl StepAxis {
    /// The axis of a step argument, whose type is bigint, double or a timestamp by now.
    pub(crate) fn new(data_type: &DataType) -> Self {
        Self { data_type: data_type.clone(), is_float: *data_type == DataType::Float64 }
    }

    /// The type of the steps.
    pub(crate) fn data_type(&self) -> &DataType {
        &self.data_type
    }

    /// Keys of an array of steps; null where the step is null or not finite.
    pub(crate) fn keys(&self, steps: &ArrayRef) -> Result<Int64Array> {
        if self.is_float {
            return Ok(float_keys(as_float64_array(steps)?));
        }
        Ok(cast(steps, &DataType::Int64)?.as_primitive::<Int64Type>().clone())
    }

    /// Steps of the axis' own type for an array of keys.
    pub(crate) fn steps(&self, keys: Int64Array) -> Result<ArrayRef> {
        if self.is_float {
            let steps: Float64Array = keys.unary(float_of_key);
            return Ok(Arc::new(steps));
        }
        Ok(cast(&keys, &self.data_type)?)
    }

    /// One step, or null.
    pub(crate) fn step(&self, key: Option<i64>) -> Result<ScalarValue> {
        let steps = self.steps(Int64Array::from(vec![key]))?;
        ScalarValue::try_from_array(&steps, 0)
    }

    /// Whether steps are doubles.
    pub(crate) fn is_float(&self) -> bool {
        self.is_float
    }

    /// The step of a key as a number.
    pub(crate) fn number(&self, key: i64) -> f64 {
        if self.is_float { float_of_key(key) } else { key as f64 }
    }

    /// The distance of a step from another, exact near it for any unit.
    pub(crate) fn distance(&self, key: i64, origin: i64) -> f64 {
        if self.is_float {
            float_of_key(key) - float_of_key(origin)
        } else {
            kernels::align::offset(key, origin)
        }
    }

    /// Appends the distances of `keys` from `origin` as doubles, exact near `origin` for any unit.
    pub(crate) fn extend_offsets(&self, offsets: &mut Vec<f64>, keys: &[i64], origin: i64) {
        if self.is_float {
            let origin = float_of_key(origin);
            offsets.extend(keys.iter().map(|&key| float_of_key(key) - origin));
        } else {
            offsets.extend(keys.iter().map(|&key| kernels::align::offset(key, origin)));
        }
    }
}

/// Keys of doubles; the doubles themselves, not copied, where their bits are their keys.
fn float_keys(steps: &Float64Array) -> Int64Array {
    let bits = ScalarBuffer::<i64>::from(steps.values().inner().clone());
    if bits.iter().fold(true, |are_keys, &bits| are_keys & ((bits as u64) < INFINITY_BITS)) {
        return Int64Array::new(bits, steps.nulls().cloned());
    }
    let finite = steps.iter().map(|step| step.filter(|step| step.is_finite()));
    finite.map(|step| step.map(float_key)).collect()
}

/// Order-preserving key of a double; both zeros have the same.
fn float_key(step: f64) -> i64 {
    flip((step + 0.0).to_bits() as i64)
}

fn float_of_key(key: i64) -> f64 {
    f64::from_bits(flip(key) as u64)
}

/// Turns the bits of a double into its place in the total order, and back.
fn flip(bits: i64) -> i64 {
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_order_and_value() {
        let steps = [f64::MIN, -2.5, -0.0, 0.0, 1e-300, 3.0, f64::MAX];
        let keys = float_keys(&Float64Array::from(steps.to_vec()));
        assert!(keys.values().is_sorted());
        assert_eq!(keys.value(2), keys.value(3));
        for (&key, step) in keys.values().iter().zip(steps) {
            assert_eq!(float_of_key(key), step);
        }
    }

    #[test]
    fn steps_from_zero_on_are_not_copied() {
        let steps = Float64Array::from(vec![Some(0.0), Some(1.5), None, Some(f64::MAX)]);
        let keys = float_keys(&steps);
        assert_eq!(keys.values().inner().as_ptr(), steps.values().inner().as_ptr());
        assert_eq!(keys.null_count(), 1);
        for broken in [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(float_keys(&Float64Array::from(vec![1.0, broken])).null_count(), 1);
        }
    }
}
