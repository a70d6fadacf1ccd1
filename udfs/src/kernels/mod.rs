//! The mathematics of the functions: slices in, indices or values out.
//!
//! Nothing here knows Arrow or SQL. Kernels never panic, allocate their result once and give the
//! same answer for the same slices on every machine. Two slices of one series have the same
//! length; where they do not, the shorter one counts.

pub mod align;
pub mod ema;
pub mod lttb;
pub mod m4;
pub mod minmax;
pub mod sparkline;
pub mod spike;

/// Total order of values with NaN last, whatever its sign (0/0 gives a negative one on x86).
pub(crate) fn nan_last(left: &f64, right: &f64) -> std::cmp::Ordering {
    let by_nan = left.is_nan().cmp(&right.is_nan());
    by_nan.then_with(|| left.total_cmp(right))
}

/// First index of equal-count bucket `bucket` when `len` items are cut in `buckets` buckets.
///
/// Bucket `b` is `edge(b)..edge(b + 1)`; sizes differ by one at most. Wide arithmetic, so that no
/// product overflows.
pub(crate) fn bucket_edge(bucket: usize, len: usize, buckets: usize) -> usize {
    let edge = bucket as u128 * len as u128 / buckets.max(1) as u128;
    (edge as usize).min(len)
}
