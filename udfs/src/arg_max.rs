//! `arg_max(x, y)`: the `x` at the largest `y`.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, Documentation};

use crate::docs::document;
use crate::extreme::{ArgExtreme, Extreme};

/// Aggregate `arg_max(x, y)`, also `max_by`: the `x` of the row with the largest `y`.
///
/// The result has the type of `x`. The rules are in its documentation.
pub type ArgMax = ArgExtreme<Max>;

/// The function for registration.
pub fn arg_max_udaf() -> AggregateUDF {
    AggregateUDF::from(ArgMax::default())
}

/// Marks the extreme of [`ArgMax`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Max;

impl Extreme for Max {
    const NAME: &'static str = "arg_max";
    const ALIAS: &'static str = "max_by";
    const LARGEST: bool = true;

    fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives the `x` of the row with the largest `y`. A `y` that is null, NaN or infinite never wins. Equal `y` go to the smaller `x`, null last. Null when no row can win, and when the winner's `x` is null.",
                "arg_max(x, y)",
                "select run_id, arg_max(step, value) as worst_step from metrics where key = 'loss' group by run_id order by run_id",
                &[
                    ("x", "What to give: any type with an order, which the result keeps."),
                    ("y", "What decides: a number, a time, a text or a flag."),
                ],
            )
        });
        &DOCUMENTATION
    }
}
