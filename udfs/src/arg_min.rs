//! `arg_min(x, y)`: the `x` at the smallest `y`.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, Documentation};

use crate::docs::document;
use crate::extreme::{ArgExtreme, Extreme};

/// Aggregate `arg_min(x, y)`, also `min_by`: the `x` of the row with the smallest `y`.
///
/// The result has the type of `x`. The rules are in its documentation.
pub type ArgMin = ArgExtreme<Min>;

/// The function for registration.
pub fn arg_min_udaf() -> AggregateUDF {
    AggregateUDF::from(ArgMin::default())
}

/// Marks the extreme of [`ArgMin`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Min;

impl Extreme for Min {
    const NAME: &'static str = "arg_min";
    const ALIAS: &'static str = "min_by";
    const LARGEST: bool = false;

    fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives the `x` of the row with the smallest `y`. A `y` that is null, NaN or infinite never wins. Equal `y` go to the smaller `x`, null last. Null when no row can win, and when the winner's `x` is null.",
                "arg_min(x, y)",
                "select run_id, arg_min(step, value) as best_step from metrics where key = 'loss' group by run_id order by run_id",
                &[
                    ("x", "What to give: any type with an order, which the result keeps."),
                    ("y", "What decides: a number, a time, a text or a flag."),
                ],
            )
        });
        &DOCUMENTATION
    }
}
