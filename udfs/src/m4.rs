//! `m4(step, value, buckets)`: first, last, lowest and highest point of each bucket.

use std::sync::LazyLock;

use datafusion::logical_expr::{AggregateUDF, Documentation};

use crate::docs::{STEP, VALUE, document};
use crate::kernels;
use crate::kernels::curve::Curve;
use crate::sampling::{Sampler, Sampling};

/// Aggregate `m4(step, value, buckets)` (Jugel et al. 2014).
///
/// Gives a list of struct(step, value) in order of step. The rules are in its documentation.
pub type M4 = Sampler<M4Sampling>;

/// The function for registration.
pub fn m4_udaf() -> AggregateUDF {
    AggregateUDF::from(M4::default())
}

/// Marks the sampling of [`M4`].
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct M4Sampling;

impl Sampling for M4Sampling {
    const NAME: &'static str = "m4";
    const COUNT: &'static str = "buckets";
    const MIN: i64 = 1;

    /// Four points a bucket and one place for the first NaN or infinity.
    fn capacity(buckets: usize) -> usize {
        buckets.saturating_mul(4).saturating_add(1)
    }

    fn sample(curve: &impl Curve, capacity: usize) -> Vec<usize> {
        kernels::m4::m4(curve, capacity / 4)
    }

    fn documentation() -> &'static Documentation {
        static DOCUMENTATION: LazyLock<Documentation> = LazyLock::new(|| {
            document(
                "Gives the first, last, lowest and highest point of each of `buckets` stretches of equal width in step (M4, Jugel et al. 2014): drawn at `buckets` pixels width, they look exactly as the whole curve. At most `4 * buckets + 1` points come back whole, no points as the empty list. Of a longer curve the finite points count, equal values go to the earlier step, and the first NaN or infinity is added.",
                "m4(step, value, buckets)",
                "select run_id, m4(step, value, 10) as curve from metrics where key = 'loss' group by run_id order by run_id",
                &[
                    ("step", STEP),
                    ("value", VALUE),
                    ("buckets", "Number of stretches: a literal of at least 1."),
                ],
            )
        });
        &DOCUMENTATION
    }
}
