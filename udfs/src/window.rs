//! What the window functions over `value` have in common.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::WindowUDFFieldArgs;

/// The first argument of a window function as doubles.
pub(crate) fn numbers<'a>(function: &str, values: &'a [ArrayRef]) -> Result<&'a Float64Array> {
    match values.first() {
        Some(values) => as_float64_array(values),
        None => exec_err!("{function} takes a value"),
    }
}

/// A nullable result of the given type.
pub(crate) fn result_field(args: &WindowUDFFieldArgs, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(args.name(), data_type, true))
}

/// The rows with a finite value, and the values.
pub(crate) fn finite_rows(values: &Float64Array) -> impl Iterator<Item = (usize, f64)> + '_ {
    (0..values.len())
        .filter(|&row| values.is_valid(row))
        .map(|row| (row, values.value(row)))
        .filter(|(_, value)| value.is_finite())
}
