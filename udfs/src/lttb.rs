//! `lttb(step, value, n)`: a curve in at most `n` points.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, Documentation};

use crate::docs::{STEP, VALUE, document};
use crate::kernels;
use crate::kernels::curve::Curve;
use crate::sampling::{Sampler, Sampling};

/// Aggregate `lttb(step, value, n)`: largest-triangle-three-buckets (Steinarsson 2013).
///
/// Gives a list of struct(step, value) in order of step. The rules are in its documentation.
pub type Lttb = Sampler<LttbSampling>;

/// The function for registration.
pub fn lttb_udaf() -> AggregateUDF {
    AggregateUDF::from(Lttb::default())
}

/// Marks the sampling of [`Lttb`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct LttbSampling;

impl Sampling for LttbSampling {
    const NAME: &'static str = "lttb";
    const COUNT: &'static str = "n";
    const MIN: i64 = 3;

    fn capacity(n: usize) -> usize {
        n
    }

    fn sample(curve: &impl Curve, capacity: usize) -> Vec<usize> {
        kernels::lttb::lttb(curve, capacity)
    }

    fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Samples a curve to at most `n` points that keep its look (largest-triangle-three-buckets, Steinarsson 2013). The first and the last finite point are among them. At most `n` points come back whole, no points as the empty list. Of a longer curve the finite points are sampled, and the first NaN or infinity takes one of the `n` places, so that a curve that broke shows it.",
                "lttb(step, value, n)",
                "select run_id, lttb(step, value, 20) as curve from metrics where key = 'loss' group by run_id order by run_id",
                &[("step", STEP), ("value", VALUE), ("n", "Most points to give: a literal of at least 3.")],
            )
        });
        &DOCUMENTATION
    }
}
