//! The window against one that sorts everything anew for every row.

use proptest::prelude::*;

use super::{SIGMA_OF_MEDIAN, SIGMAS_OF_UPPER, WINDOW, Window, nth_bit};

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(values: &[f64]) -> f64 {
    let values = sorted(values.iter().copied());
    let half = values.len() / 2;
    if values.len() % 2 == 1 { values[half] } else { 0.5 * values[half - 1] + 0.5 * values[half] }
}

/// Distances from the line through the medians of the halves.
fn residuals(rows: &[f64]) -> Vec<f64> {
    let half = rows.len() / 2;
    let (older, newer) = (median(&rows[..half]), median(&rows[half..]));
    let slope = (newer - older) / (rows.len() as f64 / 2.0);
    let line = |index: usize| older + slope * (index as f64 - (half as f64 - 1.0) / 2.0);
    rows.iter().enumerate().map(|(index, value)| value - line(index)).collect()
}

fn spread(rows: &[f64]) -> f64 {
    let residuals = sorted(residuals(rows).into_iter());
    let upper = residuals[(rows.len() * 39).div_ceil(40) - 1];
    let distances: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    (SIGMA_OF_MEDIAN * median(&distances)).max(upper / SIGMAS_OF_UPPER)
}

/// Rows with many ties, of any size, with a drift, with outliers.
fn rows() -> impl Strategy<Value = Vec<f64>> {
    let ties = prop::collection::vec((0_i32..6).prop_map(|value| f64::from(value) - 2.0), 2..400);
    let any = prop::collection::vec(-1e300..1e300, 2..400);
    let drift = prop::collection::vec(0.0..1.0, 2..400).prop_map(|noise: Vec<f64>| {
        noise.iter().zip(0..).map(|(noise, row)| 9.0 - 0.02 * f64::from(row) + noise).collect()
    });
    let outliers = prop::collection::vec(0.01..1.0, 2..400)
        .prop_map(|noise: Vec<f64>| noise.iter().map(|noise| 2.0 + 0.02 * (0.5 - noise) / noise).collect());
    prop_oneof![ties, any, drift, outliers]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn says_what_sorting_anew_says(rows in rows()) {
        let mut window = Window::default();
        for (row, &value) in rows.iter().enumerate() {
            window.accept(value);
            let held = &rows[(row + 1).saturating_sub(WINDOW)..=row];
            prop_assert_eq!(&window.sorted, &sorted(held.iter().copied()));
            prop_assert_eq!(window.baseline(), median(held));
            if held.len() < 2 {
                continue;
            }
            let half = held.len() / 2;
            prop_assert_eq!(window.half_medians(), (median(&held[..half]), median(&held[half..])));
            let (distances, expected) = (window.residuals(), spread(held));
            prop_assert_eq!(&distances.values[..distances.len], &residuals(held));
            prop_assert_eq!(distances.spread(), expected);
            prop_assert!(!distances.surely_spread(expected * (1.0 + 1e-12) + f64::MIN_POSITIVE));
        }
    }
}

#[test]
fn a_bit_by_its_rank() {
    let bits = 1 | 1 << 5 | 1 << 63 | 1 << 64 | 1 << 127;
    assert_eq!([0, 1, 2, 3, 4].map(|n| nth_bit(bits, n)), [0, 5, 63, 64, 127]);
    assert_eq!(nth_bit(u128::MAX, 77), 77);
}
