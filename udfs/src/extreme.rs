//! What `arg_min` and `arg_max` have in common: the `x` of the row with the best `y`.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Documentation, Signature, Volatility};

use crate::args::check_count;

/// Which extreme is asked for.
pub trait Extreme: std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {
    /// SQL name of the function.
    const NAME: &'static str;
    /// Other name of it.
    const ALIAS: &'static str;
    /// Whether the largest `y` wins.
    const LARGEST: bool;

    /// Documentation of the function.
    fn documentation() -> &'static Documentation;
}

/// Aggregate `(x, y)` to the `x` at the smallest or largest `y`, with the type of `x`.
///
/// Rows whose `y` is null, NaN or infinite never win; equal `y` go to the smaller `x` (null last).
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct ArgExtreme<E> {
    signature: Signature,
    aliases: Vec<String>,
    extreme: std::marker::PhantomData<E>,
}

impl<E: Extreme> Default for ArgExtreme<E> {
    fn default() -> Self {
        Self {
            signature: Signature::user_defined(Volatility::Immutable),
            aliases: vec![E::ALIAS.to_owned()],
            extreme: std::marker::PhantomData,
        }
    }
}

/// Type `y` is compared in: double for floats, itself for all else that has an order.
fn order_type(function: &str, given: &DataType) -> Result<DataType> {
    match given {
        DataType::Dictionary(_, value) => order_type(function, value),
        DataType::Null => Ok(DataType::Float64),
        _ if given.is_floating() => Ok(DataType::Float64),
        _ if given.is_nested() => plan_err!("{function}: y must have an order, not {given}"),
        _ => Ok(given.clone()),
    }
}

impl<E: Extreme> AggregateUDFImpl for ArgExtreme<E> {
    fn name(&self) -> &str {
        E::NAME
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(E::NAME, types, &[2])?;
        Ok(vec![types[0].clone(), order_type(E::NAME, &types[1])?])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types.first() {
            Some(x) => Ok(x.clone()),
            None => plan_err!("{} takes an x", E::NAME),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let [x, y] = args.expr_fields else {
            return plan_err!("{} takes 2 arguments", E::NAME);
        };
        Ok(Box::new(ArgExtremeAccumulator {
            types: [x.data_type().clone(), y.data_type().clone()],
            largest: E::LARGEST,
            best: None,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let [x, y] = args.input_fields else {
            return plan_err!("{} takes 2 arguments", E::NAME);
        };
        let field = |part, of: &FieldRef| {
            let name = format_state_name(args.name, part);
            Arc::new(Field::new(name, of.data_type().clone(), true))
        };
        Ok(vec![field("x", x), field("y", y)])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        Some(E::documentation())
    }
}

/// A row of two columns, kept as arrays of length 1.
#[derive(Debug)]
struct Row {
    x: ArrayRef,
    y: ArrayRef,
}

#[derive(Debug)]
struct ArgExtremeAccumulator {
    types: [DataType; 2],
    largest: bool,
    /// The winner so far; its `y` is neither null nor NaN nor infinite.
    best: Option<Row>,
}

/// Compares a row of one pair of columns with a row of another; `Less` is the better one.
type RowOrder = Box<dyn Fn(usize, usize) -> Ordering>;

impl ArgExtremeAccumulator {
    fn order(&self, left: [&ArrayRef; 2], right: [&ArrayRef; 2]) -> Result<RowOrder> {
        let by_x = comparator(left[0], right[0])?;
        let by_y = comparator(left[1], right[1])?;
        let largest = self.largest;
        Ok(Box::new(move |left, right| {
            let y = by_y(left, right);
            let y = if largest { y.reverse() } else { y };
            y.then_with(|| by_x(left, right))
        }))
    }

    /// Lets the rows of a batch compete; the same for arguments and for states.
    fn offer(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let [x, y] = columns else {
            return exec_err!("arg_min or arg_max: {} columns, not 2", columns.len());
        };
        let order = self.order([x, y], [x, y])?;
        let best = competitors(y).reduce(|best, row| match order(row, best) {
            Ordering::Less => row,
            _ => best,
        });
        let Some(winner) = best else {
            return Ok(());
        };
        // A copy of the row: a slice would keep the whole batch in memory.
        let index = UInt64Array::from(vec![winner as u64]);
        let challenger = Row { x: take(x, &index, None)?, y: take(y, &index, None)? };
        if self.loses_to(&challenger)? {
            self.best = Some(challenger);
        }
        Ok(())
    }

    fn loses_to(&self, challenger: &Row) -> Result<bool> {
        let Some(best) = &self.best else {
            return Ok(true);
        };
        let order = self.order([&challenger.x, &challenger.y], [&best.x, &best.y])?;
        Ok(order(0, 0).is_lt())
    }
}

/// Rows that may win: those whose `y` is there and, for floats, finite.
fn competitors(y: &ArrayRef) -> Box<dyn Iterator<Item = usize> + '_> {
    let nulls = y.logical_nulls();
    let valid = (0..y.len()).filter(move |&row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)));
    match y.as_primitive_opt::<Float64Type>() {
        Some(y) => Box::new(valid.filter(|&row| y.value(row).is_finite())),
        None => Box::new(valid),
    }
}

/// Order of the rows of two columns of one type; nulls last. Both zeros of a double are equal.
fn comparator(left: &ArrayRef, right: &ArrayRef) -> Result<RowOrder> {
    if left.data_type().is_null() {
        return Ok(Box::new(|_, _| Ordering::Equal));
    }
    let options = SortOptions { descending: false, nulls_first: false };
    let total = make_comparator(left, right, options)?;
    match (left.as_primitive_opt::<Float64Type>().cloned(), right.as_primitive_opt::<Float64Type>().cloned())
    {
        (Some(left), Some(right)) => Ok(Box::new(move |i, j| {
            if left.is_null(i) || right.is_null(j) {
                return total(i, j);
            }
            let order = left.value(i).partial_cmp(&right.value(j));
            order.unwrap_or_else(|| total(i, j))
        })),
        _ => Ok(total),
    }
}

impl Accumulator for ArgExtremeAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.offer(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match &self.best {
            Some(best) => ScalarValue::try_from_array(&best.x, 0),
            None => ScalarValue::try_from(&self.types[0]),
        }
    }

    fn size(&self) -> usize {
        let heap = self
            .best
            .as_ref()
            .map_or(0, |best| best.x.get_array_memory_size() + best.y.get_array_memory_size());
        size_of_val(self) + heap
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let y = match &self.best {
            Some(best) => ScalarValue::try_from_array(&best.y, 0)?,
            None => ScalarValue::try_from(&self.types[1])?,
        };
        Ok(vec![self.evaluate()?, y])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.offer(states)
    }
}
