//! Exponential moving average.

use super::diagnosis::Rolling;
use super::diagnosis::robust::SIGMA_OF_MEDIAN;

/// Values before one that bound it, and how many are enough.
const CLIP_WINDOW: usize = 32;
const CLIP_MIN: usize = 12;
/// Standard deviations that a value may be from the median of those before it.
const CLIP_DEVIATIONS: f64 = 3.0;
/// Share of the median below which a deviation does not count.
const CLIP_FLOOR: f64 = 0.002;

/// Exponential moving average of `values`: `s = alpha * v + (1 - alpha) * s`, begun with the first
/// finite value.
///
/// `alpha` lies in (0, 1]; 1 gives the input back. A value that is not finite stands for itself in
/// the result and leaves the average as it was. The result has the length of the input.
pub fn ema(values: &[f64], alpha: f64) -> Vec<f64> {
    let mut smooth = vec![0.0; values.len()];
    ema_into(values, alpha, &mut smooth);
    smooth
}

/// [`ema`] into a slice that is there already; where the lengths differ, the shorter one counts.
///
/// Fresh memory for a long result costs more than the average itself.
pub fn ema_into(values: &[f64], alpha: f64, smooth: &mut [f64]) {
    let decay = 1.0 - alpha;
    let first = values.iter().position(|value| value.is_finite()).unwrap_or(values.len());
    let mut average = values.get(first).copied().unwrap_or_default();
    for (index, (slot, &value)) in smooth.iter_mut().zip(values).enumerate() {
        if value.is_finite() && index != first {
            average = alpha * value + decay * average;
            *slot = average;
        } else {
            *slot = value;
        }
    }
}

/// Exponential moving average that no outlier moves: each value is brought to within 3 robust standard
/// deviations of the median of the 32 values before it.
///
/// The deviation is at least 0.2 % of that median. Fewer than 12 values before it bound nothing. What
/// was cut enters the median as it was, so a new level is followed once it is half of the window.
#[derive(Debug, Clone)]
pub struct RobustEma {
    alpha: f64,
    before: Rolling,
    average: Option<f64>,
}

impl RobustEma {
    /// One that has seen nothing; `alpha` lies in (0, 1].
    pub fn new(alpha: f64) -> Self {
        Self { alpha, before: Rolling::new(CLIP_WINDOW), average: None }
    }

    /// Takes a finite value and gives the average with it.
    pub fn push(&mut self, value: f64) -> f64 {
        let clipped = self.clip(value);
        self.before.push(value);
        let average =
            self.average.map_or(clipped, |average| self.alpha * clipped + (1.0 - self.alpha) * average);
        self.average = Some(average);
        average
    }

    fn clip(&self, value: f64) -> f64 {
        if self.before.len() < CLIP_MIN {
            return value;
        }
        let middle = self.before.median();
        let deviation = (SIGMA_OF_MEDIAN * self.before.median_distance()).max(CLIP_FLOOR * middle.abs());
        value.max(middle - CLIP_DEVIATIONS * deviation).min(middle + CLIP_DEVIATIONS * deviation)
    }
}

#[cfg(test)]
mod tests {
    use super::{RobustEma, ema, ema_into};

    #[test]
    fn an_outlier_moves_it_little_and_a_new_level_is_followed() {
        let jitter = |i: i32| f64::from((7 * i) % 5 - 2);
        let mut robust = RobustEma::new(0.5);
        for i in 0..40 {
            robust.push(2.0 + 0.01 * jitter(i));
        }
        assert!((robust.push(100.0) - 2.0).abs() < 0.05);
        let last = (0..60).map(|i| robust.push(5.0 + 0.01 * jitter(i))).last();
        assert!((last.unwrap() - 5.0).abs() < 0.02);
        let mut short = RobustEma::new(0.5);
        assert_eq!([4.0, 8.0, 8.0].map(|value| short.push(value)), [4.0, 6.0, 7.0]);
    }

    #[test]
    fn smooths_and_skips() {
        assert_eq!(ema(&[4.0, 8.0, 8.0], 0.5), vec![4.0, 6.0, 7.0]);
        let gaps = ema(&[f64::NAN, 4.0, f64::INFINITY, 8.0], 0.5);
        assert!(gaps[0].is_nan());
        assert_eq!(gaps[1..], [4.0, f64::INFINITY, 6.0]);
        assert_eq!(ema(&[], 0.5), Vec::<f64>::new());
        assert_eq!(ema(&[3.0, 1.0, 2.0], 1.0), vec![3.0, 1.0, 2.0]);
        let mut smooth = [0.0; 2];
        ema_into(&[4.0, 8.0, 8.0], 0.5, &mut smooth);
        assert_eq!(smooth, [4.0, 6.0]);
    }
}
