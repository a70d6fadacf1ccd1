//! `sparkline(step, value [, width])`: a curve as text.

use std::sync::LazyLock;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, AggregateFunctionSimplification, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Signature, Volatility,
};

use crate::args::{WholeNumber, check_count, checked_when_planned, refuse_distinct, series_types};
use crate::curve::SortedPoints;
use crate::docs::{STEP, VALUE, document};
use crate::kernels;
use crate::kernels::curve::Values;
use crate::points::Points;
use crate::series::{Finish, SeriesAccumulator};

const NAME: &str = "sparkline";

/// Blocks drawn unless the query says how many.
const DEFAULT_WIDTH: usize = 12;

const WIDTH: WholeNumber = WholeNumber { function: NAME, name: "width", position: 2, min: 1, max: 1000 };

/// Aggregate `sparkline(step, value [, width])` to text such as `▇▆▅▃▂▁ ↓`; null for no points.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Sparkline {
    signature: Signature,
}

impl Default for Sparkline {
    fn default() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The function for registration.
pub fn sparkline_udaf() -> AggregateUDF {
    AggregateUDF::from(Sparkline::default())
}

impl AggregateUDFImpl for Sparkline {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        check_count(NAME, types, &[2, 3])?;
        series_types(NAME, types, Some(&WIDTH))
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        refuse_distinct(NAME, args.is_distinct)?;
        let width = WIDTH.get(args.exprs)?.unwrap_or(DEFAULT_WIDTH);
        let Some(step) = args.expr_fields.first() else {
            return plan_err!("{NAME} takes 2 or 3 arguments");
        };
        let draw = Draw { width };
        Ok(Box::new(SeriesAccumulator::new(step.data_type(), draw)))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(Points::state_fields(args.name))
    }

    fn simplify(&self) -> Option<AggregateFunctionSimplification> {
        checked_when_planned(NAME, |args| WIDTH.check(args))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn documentation(&self) -> Option<&Documentation> {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Draws a curve as a line of blocks and an arrow for its trend: `▇▆▅▃▂▁ ↓`. A block is the mean of an equal number of points in order of step (fewer points than `width`: one block a point). A stretch that holds a NaN or an infinity is `×`; a flat curve is `▄▄▄ →`. The arrow is `↑` or `↓` when later blocks are mostly higher or lower than earlier ones, else `→`; a single spike does not turn it. Null for no points.",
                "sparkline(step, value [, width])",
                "select run_id, sparkline(step, value) as loss from metrics where key = 'loss' group by run_id order by run_id",
                &[
                    ("step", STEP),
                    ("value", VALUE),
                    ("width", "Most blocks to draw: a literal from 1 to 1000, by default 12."),
                ],
            )
        });
        Some(&DOCUMENTATION)
    }
}

#[derive(Debug)]
struct Draw {
    width: usize,
}

impl Finish for Draw {
    fn finish(&self, points: &SortedPoints<'_>) -> Result<ScalarValue> {
        let line = (!points.is_empty()).then(|| kernels::sparkline::sparkline(points, self.width));
        Ok(ScalarValue::Utf8(line))
    }
}
