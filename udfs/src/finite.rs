//! `finite(x)`: a number, or null for NaN and infinities.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::args::check_count;
use crate::docs::document;

const NAME: &str = "finite";

/// Scalar function `finite(x)`: null for NaN and infinities, else `x`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Finite {
    signature: Signature,
}

impl Default for Finite {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn finite_udf() -> ScalarUDF {
    ScalarUDF::from(Finite::default())
}

/// Floats of 16 and 32 bits are looked at as `Float32`, every other number as `Float64`.
fn result_type(given: &DataType) -> Result<DataType> {
    match given {
        DataType::Dictionary(_, value) => result_type(value),
        DataType::Float16 | DataType::Float32 => Ok(DataType::Float32),
        _ if given.is_numeric() || given.is_null() => Ok(DataType::Float64),
        _ => plan_err!("{NAME}: x must be a number, not {given}"),
    }
}

impl ScalarUDFImpl for Finite {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[1])?;
        types.iter().map(result_type).collect()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        check_count(NAME, types, &[1])?;
        result_type(&types[0])
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.as_slice() {
            [ColumnarValue::Scalar(scalar)] => Ok(finite_scalar(scalar)),
            [ColumnarValue::Array(array)] => match array.data_type() {
                DataType::Float32 => Ok(finite_array::<Float32Type>(array, f32::is_finite)),
                DataType::Float64 => Ok(finite_array::<Float64Type>(array, f64::is_finite)),
                other => exec_err!("{NAME}: x must be a float, not {other}"),
            },
            other => exec_err!("{NAME} takes 1 argument, not {}", other.len()),
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives `x`, or null when it is NaN or infinite, so that `max(finite(x))` and the like pass over values that are no numbers.",
                "finite(x)",
                "select run_id, max(finite(value)) as highest from metrics where key = 'loss' group by run_id order by run_id",
                &[("x", "A number. 16 and 32 bit floats give a 32 bit float, all others a double.")],
            )
        });
        Some(&DOCUMENTATION)
    }
}

fn finite_scalar(scalar: &ScalarValue) -> ColumnarValue {
    ColumnarValue::Scalar(match scalar {
        ScalarValue::Float32(x) => ScalarValue::Float32(x.filter(|x| x.is_finite())),
        ScalarValue::Float64(x) => ScalarValue::Float64(x.filter(|x| x.is_finite())),
        other => other.clone(),
    })
}

/// The same values with another null mask; the array itself when all values are finite.
fn finite_array<T: ArrowPrimitiveType>(array: &ArrayRef, is_finite: fn(T::Native) -> bool) -> ColumnarValue {
    let values = array.as_primitive::<T>().values();
    let finite = BooleanBuffer::collect_bool(values.len(), |row| is_finite(values[row]));
    if finite.count_set_bits() == values.len() {
        return ColumnarValue::Array(Arc::clone(array));
    }
    let nulls = NullBuffer::union(array.nulls(), Some(&NullBuffer::new(finite)));
    ColumnarValue::Array(Arc::new(PrimitiveArray::<T>::new(values.clone(), nulls)))
}
