//! Functions over names and numbers as text, for statements.

use super::scalar::TextFunction;
use crate::records::config_role::ConfigRole;
use crate::records::names::{ValidationSets, normal_form};
use datafusion::logical_expr::ScalarUDF;

/// Significant digits of a number within a text.
const DIGITS: usize = 4;

/// `normal_key(key)`: the form that names of one metric share, however they are written.
/// `role_key(key)`: the same, with `val` for the validation sets of the project.
/// `config_role(key)`: `seed` or `label` of a hyperparameter that does not say how a run trains, else null.
/// `short(x)`: a number as text of four significant digits; any other text as it is.
pub fn functions(sets: &ValidationSets) -> Vec<ScalarUDF> {
    let sets = sets.clone();
    let role = |key: &str| ConfigRole::of(key).map(|role| role.as_str().to_string());
    vec![
        TextFunction::new("normal_key", 1, |texts| Some(normal_form(texts[0]?))).into(),
        TextFunction::new("role_key", 1, move |texts| Some(sets.normal_form(texts[0]?))).into(),
        TextFunction::new("config_role", 1, move |texts| role(texts[0]?)).into(),
        TextFunction::new("short", 1, |texts| Some(short(texts[0]?))).into(),
    ]
}

fn short(text: &str) -> String {
    let Ok(number) = text.parse::<f64>() else { return text.to_string() };
    if !number.is_finite() {
        return text.to_string();
    }
    let behind_point = DIGITS - 1;
    match number.abs() {
        // Whole digits are kept, as in a cell.
        size if (1e3..1e15).contains(&size) => number.round().to_string(),
        size if size != 0.0 && !(1e-4..1e3).contains(&size) => trimmed(&format!("{number:.behind_point$e}")),
        _ => format!("{number:.behind_point$e}")
            .parse::<f64>()
            .map_or_else(|_| text.to_string(), |x| x.to_string()),
    }
}

/// `1.500e-5` as `1.5e-05`, as cells are written.
fn trimmed(scientific: &str) -> String {
    match scientific.split_once('e') {
        Some((digits, exponent)) => {
            let sign = if exponent.starts_with('-') { '-' } else { '+' };
            let digits = digits.trim_end_matches('0').trim_end_matches('.');
            format!("{digits}e{sign}{:0>2}", exponent.trim_start_matches('-'))
        }
        None => scientific.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn numbers_are_written_with_four_digits() {
        for (text, want) in [
            ("0.123456", "0.1235"),
            ("123456.7", "123457"),
            ("3", "3"),
            ("2.0", "2"),
            ("0", "0"),
            ("-0.00001234567", "-1.235e-05"),
            ("1e20", "1e+20"),
            ("NaN", "NaN"),
            ("adamw", "adamw"),
        ] {
            assert_eq!(short(text), want);
        }
    }
}
