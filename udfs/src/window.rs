//! What the window functions over `value` have in common.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::cast::as_float64_array;
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    Documentation, PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

use crate::args::{check_count, literal};

/// A function that gives each row of a partition a value.
pub(crate) trait RowFunction: Debug + Eq + Hash + Send + Sync + 'static {
    /// SQL name.
    fn name(&self) -> &'static str;

    /// How many arguments it takes.
    fn counts(&self) -> &'static [usize];

    /// The types they are brought to; their number is right.
    fn coerce(&self, types: &[DataType]) -> Result<Vec<DataType>>;

    /// Arguments that are columns; those behind them are literals.
    fn columns(&self) -> usize;

    /// What computes it.
    fn evaluator(&self, args: &[Arc<dyn PhysicalExpr>]) -> Result<Box<dyn PartitionEvaluator>>;

    /// SQL type of the result.
    fn result_type(&self) -> DataType;

    /// Its documentation.
    fn documentation(&self) -> &'static Documentation;
}

/// The window function of a function over rows.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowWindow<F> {
    signature: Signature,
    function: F,
}

/// The function for registration.
pub(crate) fn rows_udwf(function: impl RowFunction) -> WindowUDF {
    let signature = Signature::user_defined(Volatility::Immutable);
    WindowUDF::from(RowWindow { signature, function })
}

impl<F: RowFunction> WindowUDFImpl for RowWindow<F> {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(self.function.name(), types, self.function.counts())?;
        self.function.coerce(types)
    }

    /// The columns alone: literals are known when the plan is made.
    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        args.input_exprs().iter().take(self.function.columns()).cloned().collect()
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        self.function.evaluator(args.input_exprs())
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        Ok(result_field(&args, self.function.result_type()))
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(self.function.documentation())
    }
}

/// The weight of the newest value in a moving average, a literal above 0 and at most 1.
pub(crate) fn parse_alpha(function: &str, alpha: Option<&Arc<dyn PhysicalExpr>>) -> Result<f64> {
    match alpha.and_then(literal) {
        Some(ScalarValue::Float64(Some(alpha))) if *alpha > 0.0 && *alpha <= 1.0 => Ok(*alpha),
        Some(other) => plan_err!("{function}: alpha must be above 0 and at most 1, not {other}"),
        None => plan_err!("{function}: alpha must be a literal"),
    }
}

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
