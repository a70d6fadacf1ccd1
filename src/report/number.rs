//! How a project has a metric's number written: a few of the format specs of Python and printf.

use super::cell::{not_finite, write_scientific};

/// Most digits behind the point: what a float holds.
const MOST_DIGITS: usize = 17;

/// `.4f`, `.3e`, `.4g` or `.1%`; the digits and letters mean what they mean in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct NumberFormat {
    digits: usize,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// So many digits behind the point.
    Fixed,
    /// The same, with a power of ten.
    Scientific,
    /// So many significant digits, without zeros at the end.
    General,
    /// A hundred times the number, and a sign of per cent.
    Percent,
}

impl TryFrom<String> for NumberFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is no format of a number: write one like .4f, .3e, .4g or .1%");
        let spec = text.strip_prefix('.').ok_or_else(wrong)?;
        let kind = match spec.chars().last() {
            Some('f') => Kind::Fixed,
            Some('e') => Kind::Scientific,
            Some('g') => Kind::General,
            Some('%') => Kind::Percent,
            _ => return Err(wrong()),
        };
        let digits = &spec[..spec.len() - 1];
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        match digits.parse() {
            Ok(digits) if is_plain && digits <= MOST_DIGITS => Ok(Self { digits, kind }),
            _ => Err(wrong()),
        }
    }
}

impl NumberFormat {
    /// The number as text.
    pub fn text(self, value: f64) -> String {
        if let Some(word) = not_finite(value) {
            return word.to_owned();
        }
        let digits = self.digits;
        match self.kind {
            Kind::Fixed => format!("{value:.digits$}"),
            Kind::Percent => format!("{:.digits$}%", value * 100.0),
            Kind::Scientific => {
                let text = format!("{value:.digits$e}");
                let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{mantissa}e{sign}{:02}", exponent.abs())
            }
            Kind::General => {
                let digits = digits.max(1);
                let behind_point = digits - 1;
                let mut text = String::new();
                let plain = -4..i32::try_from(digits).unwrap_or(i32::MAX);
                write_scientific(&format!("{value:.behind_point$e}"), plain, &mut text);
                text
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::NumberFormat;

    fn text(format: &str, value: f64) -> String {
        NumberFormat::try_from(format.to_owned()).unwrap().text(value)
    }

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        for (format, value, want) in [
            (".4f", 1.0, "1.0000"),
            (".0f", 2.6, "3"),
            (".2f", -0.125, "-0.12"),
            (".3e", 0.000_012_345, "1.234e-05"),
            (".2e", 1e300, "1.00e+300"),
            (".0e", 0.0, "0e+00"),
            (".4g", 123_456.0, "1.235e+05"),
            (".4g", 0.5, "0.5"),
            (".4g", 1234.0, "1234"),
            (".0g", 0.000_04, "4e-05"),
            (".3g", 0.0, "0"),
            (".1%", 0.9345, "93.5%"),
            (".0%", -0.5, "-50%"),
            (".1%", f64::NAN, "NaN"),
            (".1f", f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(format, value), want, "{format} {value}");
        }
    }

    #[test]
    fn anything_else_is_no_format() {
        for wrong in
            ["", ".", "4f", ".f", "%", "%.4f", ".4", ".4d", ".+4f", ".18f", ".4 f", "{:.4f}", ".4é", "é"]
        {
            assert!(NumberFormat::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
