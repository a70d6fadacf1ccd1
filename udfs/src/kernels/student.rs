//! Student's t distribution.

use libm::lgamma;

/// Most terms of the continued fraction; it needs far fewer unless the degrees of freedom are huge.
const TERMS: usize = 500;

/// Keeps a denominator from zero.
const TINY: f64 = 1e-300;

/// The two-sided p-value of `t` with `degrees` of freedom, which need not be whole: how often chance alone
/// gives a value as far from zero. `None` where `t` is NaN or there is no degree of freedom.
///
/// By the regularised incomplete beta function, `I_x(degrees / 2, 1 / 2)` with
/// `x = degrees / (degrees + t²)` (Abramowitz and Stegun 1964, 26.5.27 and 26.7.1).
pub fn two_sided_p(t: f64, degrees: f64) -> Option<f64> {
    if t.is_nan() || degrees.is_nan() || degrees <= 0.0 {
        return None;
    }
    if t.is_infinite() {
        return Some(0.0);
    }
    Some(incomplete_beta(degrees / (degrees + t * t), degrees / 2.0, 0.5))
}

/// The regularised incomplete beta function (DLMF 8.17.22, with its symmetry 8.17.4).
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let log_front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * x.ln() + b * (-x).ln_1p();
    match x < (a + 1.0) / (a + b + 2.0) {
        true => log_front.exp() * continued_fraction(x, a, b) / a,
        false => 1.0 - log_front.exp() * continued_fraction(1.0 - x, b, a) / b,
    }
}

/// By the method of Lentz (1976) as modified by Thompson and Barnett (1986).
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for m in (1..=TERMS).map(|m| m as f64) {
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let before = value;
        for term in [even, odd] {
            d = 1.0 / away(1.0 + term * d);
            c = away(1.0 + term / c);
            value *= d * c;
        }
        if (value - before).abs() < 1e-15 * value.abs() {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::two_sided_p;

    /// Of one degree of freedom and of two the distribution has a closed form; the rest is a table of
    /// critical values (Abramowitz and Stegun, 26.10).
    #[test]
    fn p_values_are_those_of_the_books() {
        for t in [0.1_f64, 1.0, 2.0, 12.706] {
            let cauchy = 1.0 - 2.0 / std::f64::consts::PI * t.atan();
            assert!((two_sided_p(t, 1.0).unwrap() - cauchy).abs() < 1e-12, "{t}");
            let two = 1.0 - t / (2.0 + t * t).sqrt();
            assert!((two_sided_p(-t, 2.0).unwrap() - two).abs() < 1e-12, "{t}");
        }
        for (t, degrees) in [(2.776_445, 4.0), (2.228_139, 10.0), (2.042_272, 30.0), (1.959_966, 1e7)] {
            assert!((two_sided_p(t, degrees).unwrap() - 0.05).abs() < 1e-6, "{t} {degrees}");
        }
        assert_eq!(two_sided_p(0.0, 5.0), Some(1.0));
        assert_eq!(two_sided_p(f64::INFINITY, 5.0), Some(0.0));
        assert_eq!((two_sided_p(f64::NAN, 5.0), two_sided_p(1.0, 0.0)), (None, None));
    }
}
