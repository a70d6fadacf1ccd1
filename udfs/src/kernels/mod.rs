//! The mathematics of the functions: numbers in, indices or values out.
//!
//! Nothing here knows Arrow or SQL. Kernels never panic, allocate their result once and give the
//! same answer for the same numbers on every machine, however they lie in memory.

pub mod align;
pub mod curve;
pub mod diagnosis;
pub mod ema;
pub mod lttb;
pub mod m4;
pub mod minmax;
mod outstanding;
#[cfg(test)]
mod reference;
pub mod sparkline;
pub mod spike;
pub mod student;

/// Total order of values with NaN last, whatever its sign (0/0 gives a negative one on x86).
pub(crate) fn nan_last(left: &f64, right: &f64) -> std::cmp::Ordering {
    let by_nan = left.is_nan().cmp(&right.is_nan());
    by_nan.then_with(|| left.total_cmp(right))
}

/// Numbers that a kernel works on side by side; the compiler makes vector code of them.
pub(crate) const LANES: usize = 8;

/// Numbers whose extreme is found before it is looked for: few enough to stay in the nearest cache.
pub(crate) const BLOCK: usize = 512;

/// The greater one; `best` when `value` is NaN.
pub(crate) fn greater(value: f64, best: f64) -> f64 {
    if value > best { value } else { best }
}

/// The lesser one; `best` when `value` is NaN.
pub(crate) fn lesser(value: f64, best: f64) -> f64 {
    if value < best { value } else { best }
}

/// Index of the first number that is NaN or infinite.
pub(crate) fn first_not_finite(values: &[f64]) -> Option<usize> {
    let is_broken = |block: &[f64]| block.iter().fold(false, |found, value| found | !value.is_finite());
    let block = values.chunks(BLOCK).position(is_broken)?;
    let start = block * BLOCK;
    values[start..].iter().position(|value| !value.is_finite()).map(|index| start + index)
}

/// First index of equal-count bucket `bucket` when `len` items are cut in `buckets` buckets.
///
/// Bucket `b` is `edge(b)..edge(b + 1)`; sizes differ by one at most. Wide arithmetic where the
/// product needs it.
pub(crate) fn bucket_edge(bucket: usize, len: usize, buckets: usize) -> usize {
    let buckets = buckets.max(1);
    let edge = match bucket.checked_mul(len) {
        Some(product) => product / buckets,
        None => (bucket as u128 * len as u128 / buckets as u128) as usize,
    };
    edge.min(len)
}
