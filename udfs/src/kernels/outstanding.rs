//! Points of a curve that stand out of those around them.
//!
//! ```text
//!            *  peak                  blocks of 64 points; the level is the median of the medians of a
//!            |                        block and its two neighbours, the spread that of the median
//!   - - - - -|- - - - -  limit        distances of five blocks
//!   * * * *  |  * * * *  level
//! ```
//!
//! A sample by areas (LTTB) keeps one point a bucket, so of two spikes in one bucket it loses one. These
//! points are forced into a sample beforehand.

use super::diagnosis::robust::SIGMA_OF_MEDIAN;
use std::ops::Range;

/// Points of a block.
const BLOCK: usize = 64;
/// Standard deviations beyond which a point stands out.
const LIMIT: f64 = 8.0;
/// Share of the level below which a spread does not count.
const FLOOR: f64 = 0.002;
/// Points below the limit that end a spike.
const GAP: usize = 8;

/// Indices of the points that stand out most, the most outstanding first: of points side by side the one
/// that is farthest off. At most `most`; none in a curve of fewer than two blocks. Values are finite.
pub(crate) fn outstanding(values: &[f64], most: usize) -> Vec<usize> {
    if values.len() < 2 * BLOCK || most == 0 {
        return Vec::new();
    }
    let blocks = Blocks::of(values);
    let mut peaks: Vec<(f64, usize)> = Vec::new();
    let mut last = None;
    for (index, value) in values.iter().enumerate() {
        let score = blocks.score(index / BLOCK, *value);
        // Also where it is NaN: the distance of what is extreme may be infinite.
        if score.is_nan() || score <= LIMIT {
            continue;
        }
        match peaks.last_mut() {
            Some(peak) if last.is_some_and(|last| index - last <= GAP) => {
                if score > peak.0 {
                    *peak = (score, index);
                }
            }
            _ => peaks.push((score, index)),
        }
        last = Some(index);
    }
    peaks.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
    peaks.into_iter().take(most).map(|(_, index)| index).collect()
}

/// Level and spread around each block.
struct Blocks {
    around: Vec<[f64; 2]>,
}

impl Blocks {
    fn of(values: &[f64]) -> Self {
        let own: Vec<[f64; 2]> = values.chunks(BLOCK).map(level_and_spread).collect();
        let near = |block: usize, reach: usize, column: usize| {
            let range: Range<usize> = block.saturating_sub(reach)..(block + reach + 1).min(own.len());
            median(&mut own[range].iter().map(|pair| pair[column]).collect::<Vec<f64>>())
        };
        let around = (0..own.len()).map(|block| {
            let level = near(block, 1, 0);
            [level, near(block, 2, 1).max(FLOOR * level.abs())]
        });
        Self { around: around.collect() }
    }

    /// How many standard deviations a value of the block is off.
    fn score(&self, block: usize, value: f64) -> f64 {
        let [level, spread] = self.around.get(block).copied().unwrap_or_default();
        let distance = (value - level).abs();
        match distance > 0.0 {
            true => distance / (spread * SIGMA_OF_MEDIAN),
            false => 0.0,
        }
    }
}

fn level_and_spread(values: &[f64]) -> [f64; 2] {
    let level = median(&mut values.to_vec());
    [level, median(&mut values.iter().map(|value| (value - level).abs()).collect::<Vec<f64>>())]
}

/// The upper of two middle ones; 0 of none.
fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    match values.is_empty() {
        true => 0.0,
        false => *values.select_nth_unstable_by(middle, f64::total_cmp).1,
    }
}

#[cfg(test)]
mod tests {
    use super::outstanding;

    /// A falling curve with noise that is always the same.
    fn curve(len: usize) -> Vec<f64> {
        let noise = |i: usize| ((i * 7919 % 1000) as f64 / 1000.0 - 0.5) * 0.1;
        (0..len).map(|i| 2.0 * (-(i as f64) / len as f64 * 3.0).exp() + 0.5 + noise(i)).collect()
    }

    #[test]
    fn spikes_side_by_side_are_all_found_and_noise_is_not() {
        assert_eq!(outstanding(&curve(10_000), 50), Vec::<usize>::new());
        let mut values = curve(10_000);
        for (index, value) in [(0, 30.0), (4_000, 9.0), (4_030, 8.0), (4_060, -7.0), (9_999, 6.0)] {
            values[index] = value;
        }
        // One that lasts.
        values[7_000..7_005].copy_from_slice(&[4.0, 5.0, 5.5, 5.0, 4.0]);
        let mut found = outstanding(&values, 50);
        assert_eq!(found.first(), Some(&0));
        found.sort_unstable();
        assert_eq!(found, [0, 4_000, 4_030, 4_060, 7_002, 9_999]);
        assert_eq!(outstanding(&values, 2).len(), 2);
    }

    #[test]
    fn curves_without_noise_and_of_few_points() {
        let mut flat = vec![1.0; 500];
        assert!(outstanding(&flat, 9).is_empty());
        flat[300] = 1.5;
        assert_eq!(outstanding(&flat, 9), [300]);
        let mut zero = vec![0.0; 500];
        zero[3] = 1e-9;
        assert_eq!(outstanding(&zero, 9), [3]);
        assert!(outstanding(&[1.0, 9.0, 1.0], 9).is_empty());
        let extreme: Vec<f64> = (0..500).map(|i| if i % 2 == 0 { f64::MAX } else { f64::MIN }).collect();
        assert!(outstanding(&extreme, 9).len() <= 9);
    }
}
