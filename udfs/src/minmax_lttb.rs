//! `minmax_lttb(step, value, n)`: as `lttb`, faster on long curves.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, Documentation};

use crate::docs::{STEP, VALUE, document};
use crate::kernels;
use crate::kernels::curve::Curve;
use crate::sampling::{Sampler, Sampling};

/// Aggregate `minmax_lttb(step, value, n)`: LTTB over a min-max preselection of `4 n` points (Van
/// Der Donckt et al. 2023).
///
/// Gives a list of struct(step, value) in order of step. The rules are in its documentation.
pub type MinmaxLttb = Sampler<MinmaxLttbSampling>;

/// The function for registration.
pub fn minmax_lttb_udaf() -> AggregateUDF {
    AggregateUDF::from(MinmaxLttb::default())
}

/// Marks the sampling of [`MinmaxLttb`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct MinmaxLttbSampling;

impl Sampling for MinmaxLttbSampling {
    const NAME: &'static str = "minmax_lttb";
    const COUNT: &'static str = "n";
    const MIN: i64 = 3;

    fn capacity(n: usize) -> usize {
        n
    }

    fn sample(curve: &impl Curve, capacity: usize) -> Vec<usize> {
        kernels::minmax::minmax_lttb(curve, capacity)
    }

    fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Samples a curve to at most `n` points: keeps the lowest and the highest of each of `2 n` stretches, then takes `lttb` of those (MinMaxLTTB, Van Der Donckt et al. 2023). Looks like `lttb` and is faster on long curves. Ends, short input, NaN and infinities are as in `lttb`.",
                "minmax_lttb(step, value, n)",
                "select run_id, minmax_lttb(step, value, 20) as curve from metrics where key = 'loss' group by run_id order by run_id",
                &[("step", STEP), ("value", VALUE), ("n", "Most points to give: a literal of at least 3.")],
            )
        });
        &DOCUMENTATION
    }
}
