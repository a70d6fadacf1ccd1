//! Where a curve is going, and how surely.

use super::robust::{block_medians, mann_kendall, median, median_in_place};

/// Blocks whose medians tell the trend.
const BLOCKS: usize = 256;

/// The line through a curve that no outlier moves.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trend {
    /// Rise for each unit of `x`.
    pub slope: f64,
    /// Value of the line at the first `x`.
    pub start: f64,
    /// Value of the line at the last `x`.
    pub end: f64,
    /// How surely the curve rises, as a standard score; negative where it falls.
    pub score: f64,
}

impl Trend {
    /// Of finite points in ascending order of `x`; none of fewer than two different `x`.
    ///
    /// The slope is the median of the slopes between all pairs of the medians of at most 256 blocks of
    /// points (Theil 1950, Sen 1968), the level the median of what is left, the score that of
    /// [`rise_score`].
    pub fn of(x: &[f64], y: &[f64]) -> Option<Self> {
        let (first, last) = (*x.first()?, *x.last()?);
        let blocks: Vec<(f64, f64)> =
            block_medians(x, BLOCKS).into_iter().zip(block_medians(y, BLOCKS)).collect();
        let pairs = blocks.iter().enumerate().flat_map(|(at, left)| {
            let later = blocks[at + 1..].iter().filter(|right| right.0 > left.0);
            later.map(|right| (right.1 - left.1) / (right.0 - left.0))
        });
        let slope = median_in_place(&mut pairs.collect::<Vec<f64>>());
        let left: Vec<f64> = blocks.iter().map(|(x, y)| y - slope * x).collect();
        let level = median(&left);
        let trend =
            Self { slope, start: level + slope * first, end: level + slope * last, score: rise_score(y)? };
        (slope.is_finite() && level.is_finite()).then_some(trend)
    }
}

/// How surely finite values in order rise, as a standard score (Mann 1945, Kendall 1975, with ties), by the
/// medians of at most 256 blocks of them; 0 of fewer than three, none of none.
pub fn rise_score(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| mann_kendall(&block_medians(values, BLOCKS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_among_outliers_and_gaps() {
        let x: Vec<f64> = (0..1000_u32).filter(|i| i % 7 != 0).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| 3.0 - 0.002 * x).collect();
        (0..y.len()).step_by(10).for_each(|row| y[row] = 1e6);
        let trend = Trend::of(&x, &y).unwrap();
        assert!((trend.slope + 0.002).abs() < 1e-5, "{trend:?}");
        assert!((trend.start - 2.998).abs() < 0.01 && (trend.end - 1.002).abs() < 0.01, "{trend:?}");
        assert!(trend.score < -20.0, "{trend:?}");
    }

    #[test]
    fn few_points() {
        assert_eq!(Trend::of(&[], &[]), None);
        assert_eq!(Trend::of(&[1.0, 1.0], &[2.0, 3.0]), None);
        let two = Trend::of(&[1.0, 3.0], &[2.0, 4.0]).unwrap();
        assert_eq!(two, Trend { slope: 1.0, start: 2.0, end: 4.0, score: 0.0 });
        assert_eq!(rise_score(&[]), None);
    }
}
