//! Exponential moving average.

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

#[cfg(test)]
mod tests {
    use super::{ema, ema_into};

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
