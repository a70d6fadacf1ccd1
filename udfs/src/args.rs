//! Arguments of the functions: types they are brought to, and literals.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::function::AggregateFunctionSimplification;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;

/// Fails unless the number of arguments is one of `allowed`.
pub(crate) fn check_count(function: &str, types: &[DataType], allowed: &[usize]) -> Result<()> {
    if allowed.contains(&types.len()) {
        return Ok(());
    }
    let wanted = match allowed {
        [few, .., many] if allowed.len() > 2 => format!("{few} to {many}"),
        _ => allowed.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or "),
    };
    let got = types.len();
    plan_err!("{function} takes {wanted} arguments, not {got}")
}

/// Type a step is brought to: bigint for integers, double for floats and decimals, else its
/// timestamp type (dates become timestamps in milliseconds).
pub(crate) fn step_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Timestamp(..) => Ok(given.clone()),
        DataType::Date32 | DataType::Date64 => Ok(DataType::Timestamp(TimeUnit::Millisecond, None)),
        DataType::Dictionary(_, value) => step_type(function, value),
        DataType::Null => Ok(DataType::Int64),
        _ if given.is_integer() => Ok(DataType::Int64),
        _ if given.is_floating() || given.is_decimal() => Ok(DataType::Float64),
        _ => plan_err!("{function}: step must be a number or a timestamp, not {given}"),
    }
}

/// Type a value is brought to: double, whatever kind of number it is.
pub(crate) fn value_type(function: &str, given: &DataType) -> Result<DataType> {
    number_type(function, "value", given)
}

/// As [`value_type`], of the argument with a name of its own.
pub(crate) fn number_type(function: &str, argument: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Dictionary(_, value) => number_type(function, argument, value),
        _ if given.is_numeric() || given.is_null() => Ok(DataType::Float64),
        _ => plan_err!("{function}: {argument} must be a number, not {given}"),
    }
}

/// As [`step_type`], where a number of steps is asked for, which a time is not.
pub(crate) fn counted_step_type(function: &str, given: &DataType) -> Result<DataType> {
    match step_type(function, given)? {
        DataType::Timestamp(..) => plan_err!("{function}: step must be a number, not {given}"),
        counted => Ok(counted),
    }
}

/// Types of `(step, value)` and, where `count` says so, a whole number behind them.
pub(crate) fn series_types(
    function: &str,
    types: &[DataType],
    count: Option<&WholeNumber>,
) -> Result<Vec<DataType>> {
    let mut coerced = match types {
        [step, value, ..] => vec![step_type(function, step)?, value_type(function, value)?],
        _ => return plan_err!("{function} takes at least a step and a value"),
    };
    if let (Some(count), Some(given)) = (count, types.get(2)) {
        coerced.push(count.coerce(given)?);
    }
    Ok(coerced)
}

/// A literal whole number among the arguments of a function: which, and between what bounds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WholeNumber {
    pub(crate) function: &'static str,
    pub(crate) name: &'static str,
    /// Position among the arguments, from 0.
    pub(crate) position: usize,
    pub(crate) min: i64,
    pub(crate) max: i64,
}

impl WholeNumber {
    pub(crate) fn coerce(&self, given: &DataType) -> Result<DataType> {
        if given.is_integer() || given.is_null() {
            return Ok(DataType::Int64);
        }
        let Self { function, name, .. } = self;
        plan_err!("{function}: {name} must be a whole number, not {given}")
    }

    /// Checks the argument while the query is planned. A placeholder passes: it has no value yet.
    pub(crate) fn check(&self, args: &[Expr]) -> Result<()> {
        match args.get(self.position) {
            None | Some(Expr::Placeholder(_)) => Ok(()),
            Some(Expr::Literal(value, _)) => self.parse(Some(value)).map(|_| ()),
            Some(_) => self.parse(None).map(|_| ()),
        }
    }

    /// The argument in a physical plan, or none when it was left out.
    pub(crate) fn get(&self, args: &[Arc<dyn PhysicalExpr>]) -> Result<Option<usize>> {
        match args.get(self.position) {
            None => Ok(None),
            Some(arg) => self.parse(literal(arg)).map(Some),
        }
    }

    fn parse(&self, value: Option<&ScalarValue>) -> Result<usize> {
        let Self { function, name, .. } = self;
        let Some(value) = value else {
            return plan_err!("{function}: {name} must be a literal");
        };
        match whole_number(value) {
            Some(number) if (self.min..=self.max).contains(&number) => {
                Ok(usize::try_from(number).unwrap_or(usize::MAX))
            }
            _ if self.max == i64::MAX => {
                plan_err!("{function}: {name} must be at least {}, not {value}", self.min)
            }
            _ => plan_err!("{function}: {name} must be between {} and {}, not {value}", self.min, self.max),
        }
    }
}

/// The hook by which an aggregate checks its call as soon as the query is planned, not when it runs;
/// `check` looks at the arguments.
pub(crate) fn checked_when_planned(
    function: &'static str,
    check: impl Fn(&[Expr]) -> Result<()> + Send + Sync + 'static,
) -> Option<AggregateFunctionSimplification> {
    Some(Box::new(move |call, _| {
        refuse_distinct(function, call.params.distinct)?;
        check(&call.params.args)?;
        Ok(Expr::AggregateFunction(call))
    }))
}

/// The value of a physical expression when it is a literal.
pub(crate) fn literal(arg: &Arc<dyn PhysicalExpr>) -> Option<&ScalarValue> {
    arg.downcast_ref::<Literal>().map(Literal::value)
}

/// The value of an integer literal of any width.
pub(crate) fn whole_number(value: &ScalarValue) -> Option<i64> {
    if !value.data_type().is_integer() {
        return None;
    }
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(number)) => number,
        _ => None,
    }
}

/// Refuses `function(distinct ...)`, which would leave out points that were logged twice.
pub(crate) fn refuse_distinct(function: &str, is_distinct: bool) -> Result<()> {
    if is_distinct {
        return plan_err!("{function} does not support DISTINCT");
    }
    Ok(())
}
