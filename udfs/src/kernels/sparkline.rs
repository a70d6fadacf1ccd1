//! A curve as a line of block characters.

use super::bucket_edge;
use super::curve::Values;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const FLAT: char = '▄';
const NOT_FINITE: char = '×';

/// Share of ordered pairs of blocks, up minus down, from which on a curve is said to rise or fall.
const TREND: f64 = 0.4;

/// Draws `values` in at most `width` blocks, then a space and the trend: `▇▆▅▃▂▁ ↓`.
///
/// The values are cut in `width` buckets of equal count, or one a value when there are fewer; a
/// block is the mean of its bucket between the lowest and the highest mean. A bucket that holds a NaN
/// or an infinity is `×`, so that none is averaged away. A flat curve is `▄`. The arrow is `↑` or `↓`
/// when the rising pairs of blocks outweigh the falling ones by 40 % of all pairs (Kendall's tau
/// against time, which no single spike can turn), else `→`. Nothing to draw: the empty text.
pub fn sparkline(values: &(impl Values + ?Sized), width: usize) -> String {
    let buckets = width.min(values.len());
    if buckets == 0 {
        return String::new();
    }
    let means: Vec<f64> = (0..buckets)
        .map(|bucket| {
            let start = bucket_edge(bucket, values.len(), buckets);
            let end = bucket_edge(bucket + 1, values.len(), buckets);
            mean(&values.values(start..end))
        })
        .collect();
    let (low, high) = range(&means);
    let mut line = String::with_capacity(buckets * 3 + 4);
    line.extend(means.iter().map(|&mean| block(mean, low, high)));
    line.push(' ');
    line.push(arrow(&means));
    line
}

/// Mean of a bucket, not finite when one of its values is not; cannot overflow.
fn mean(values: &[f64]) -> f64 {
    let weight = 1.0 / values.len() as f64;
    let mut lanes = [0.0; 4];
    let chunks = values.chunks_exact(4);
    let rest: f64 = chunks.remainder().iter().map(|value| value * weight).sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value * weight;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn range(means: &[f64]) -> (f64, f64) {
    let finite = means.iter().filter(|mean| mean.is_finite());
    finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &mean| (low.min(mean), high.max(mean)))
}

fn block(mean: f64, low: f64, high: f64) -> char {
    if !mean.is_finite() {
        return NOT_FINITE;
    }
    if low >= high {
        return FLAT;
    }
    // Halves, so that the span of the widest numbers stays finite.
    let share = (mean / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    let level = (share * BLOCKS.len() as f64) as usize;
    BLOCKS[level.min(BLOCKS.len() - 1)]
}

/// Trend of the finite blocks by the sign of every pair.
fn arrow(means: &[f64]) -> char {
    let finite: Vec<f64> = means.iter().copied().filter(|mean| mean.is_finite()).collect();
    let mut balance = 0_i64;
    for (index, earlier) in finite.iter().enumerate() {
        for later in &finite[index + 1..] {
            balance += i64::from(later > earlier) - i64::from(later < earlier);
        }
    }
    let pairs = (finite.len() * finite.len().saturating_sub(1) / 2).max(1);
    match balance as f64 / pairs as f64 {
        tau if tau >= TREND => '↑',
        tau if tau <= -TREND => '↓',
        _ => '→',
    }
}

#[cfg(test)]
mod tests {
    fn sparkline(values: &[f64], width: usize) -> String {
        super::sparkline(values, width)
    }

    #[test]
    fn falls_and_rises() {
        let falling: Vec<f64> = (0..8).map(|i| f64::from(8 - i)).collect();
        assert_eq!(sparkline(&falling, 12), "█▇▆▅▄▃▂▁ ↓");
        let rising: Vec<f64> = (0..800).map(f64::from).collect();
        assert_eq!(sparkline(&rising, 4), "▁▃▆█ ↑");
    }

    #[test]
    fn flat_empty_and_not_finite() {
        assert_eq!(sparkline(&[], 12), "");
        assert_eq!(sparkline(&[1.0], 0), "");
        assert_eq!(sparkline(&[2.0; 30], 3), "▄▄▄ →");
        assert_eq!(sparkline(&[2.0], 3), "▄ →");
        assert_eq!(sparkline(&[f64::NAN, f64::INFINITY], 3), "×× →");
        assert_eq!(sparkline(&[3.0, f64::NAN, 2.0, 1.0], 4), "█×▅▁ ↓");
        assert_eq!(sparkline(&[f64::MIN, f64::MAX], 2), "▁█ ↑");
    }

    #[test]
    fn a_spike_does_not_turn_the_arrow() {
        let mut values: Vec<f64> = (0..120).map(|i| 3.0 - f64::from(i) * 0.01).collect();
        values[119] = 500.0;
        assert!(sparkline(&values, 12).ends_with('↓'));
    }
}
