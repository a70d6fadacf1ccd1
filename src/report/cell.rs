//! How one value is written: floats, nulls, times, lists, and text that is not trusted.

use anyhow::Result;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float32Array, Float64Array, Int64Array, StringViewArray,
    UInt64Array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, TimeUnit, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Utc};
use std::fmt::Write;
use std::sync::Arc;

/// How much of a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Every digit; reads back as the same value.
    Exact,
    /// For people: about six significant digits, times to the second, one line of text.
    Short,
    /// For a reader who pays by the token: the same with four digits.
    Brief,
}

/// A column made ready to be written cell by cell.
///
/// The many Arrow types are cast to few beforehand, so that a cell costs one match.
pub struct Cells {
    nulls: Option<NullBuffer>,
    values: Values,
}

enum Values {
    Nothing,
    Boolean(BooleanArray),
    Int(Int64Array),
    UInt(UInt64Array),
    Single(Float32Array),
    Double(Float64Array),
    Text(StringViewArray),
    /// Values of the unit; whether they are points in time (UTC) or naive.
    Time(TimeUnit, bool, Int64Array),
    List(OffsetBuffer<i32>, Box<Cells>),
    Struct(Vec<(String, Cells)>),
    /// Anything else, as Arrow writes it; `true`: may stand bare in JSON.
    Other(Vec<String>, bool),
}

impl Cells {
    /// Prepares a column.
    pub fn of(array: &ArrayRef) -> Result<Cells> {
        let array = normalised(array)?;
        Ok(Cells { nulls: array.logical_nulls(), values: values(&array)? })
    }

    /// Whether the cell is null.
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row))
    }

    /// Appends the cell as text; null adds nothing, lists and structs are written as JSON.
    pub fn write_text(&self, row: usize, form: Form, out: &mut String) {
        if self.is_null(row) {
            return;
        }
        match &self.values {
            Values::Nothing => {}
            Values::Boolean(array) => out.push_str(if array.value(row) { "true" } else { "false" }),
            Values::Int(array) => push(out, array.value(row)),
            Values::UInt(array) => push(out, array.value(row)),
            Values::Single(array) => write_float(f64::from(array.value(row)), Width::Single, form, out),
            Values::Double(array) => write_float(array.value(row), Width::Double, form, out),
            Values::Text(array) => out.push_str(array.value(row)),
            Values::Time(unit, utc, array) => write_time(array.value(row), unit, *utc, form, out),
            Values::List(offsets, items) if form != Form::Exact && items.is_text() => {
                write_joined(range_of(offsets, row), items, out);
            }
            Values::List(..) | Values::Struct(_) => self.write_nested(row, form, out),
            Values::Other(texts, _) => out.push_str(texts.get(row).map_or("", String::as_str)),
        }
    }

    /// Appends the cell as a JSON value. NaN and infinities are strings, as JSON has no word for them.
    pub fn write_json(&self, row: usize, out: &mut String) {
        self.write_json_as(row, Form::Exact, out);
    }

    fn write_json_as(&self, row: usize, form: Form, out: &mut String) {
        if self.is_null(row) || matches!(self.values, Values::Nothing) {
            return out.push_str("null");
        }
        match &self.values {
            Values::List(..) | Values::Struct(_) => self.write_nested(row, form, out),
            _ => {
                let mut text = String::new();
                self.write_text(row, form, &mut text);
                match self.is_bare(row) {
                    true => out.push_str(&text),
                    false => write_json_text(&text, out),
                }
            }
        }
    }

    fn write_nested(&self, row: usize, form: Form, out: &mut String) {
        match &self.values {
            Values::List(offsets, items) => {
                let range = range_of(offsets, row);
                write_separated(('[', ']'), range, out, |item, out| items.write_json_as(item, form, out));
            }
            Values::Struct(fields) => write_separated(('{', '}'), fields, out, |(name, cells), out| {
                write_json_text(name, out);
                out.push(':');
                cells.write_json_as(row, form, out);
            }),
            _ => {}
        }
    }

    fn is_bare(&self, row: usize) -> bool {
        match &self.values {
            Values::Boolean(_) | Values::Int(_) | Values::UInt(_) => true,
            Values::Single(array) => array.value(row).is_finite(),
            Values::Double(array) => array.value(row).is_finite(),
            Values::Other(_, bare) => *bare,
            _ => false,
        }
    }

    fn is_text(&self) -> bool {
        matches!(self.values, Values::Text(_))
    }
}

fn normalised(array: &ArrayRef) -> Result<ArrayRef> {
    use DataType as T;
    let target = match array.data_type() {
        T::Dictionary(_, value) => return normalised(&cast(array, value)?),
        T::Int8 | T::Int16 | T::Int32 | T::UInt8 | T::UInt16 | T::UInt32 => T::Int64,
        T::Float16 => T::Float32,
        T::Utf8 | T::LargeUtf8 => T::Utf8View,
        T::LargeList(item) | T::FixedSizeList(item, _) | T::ListView(item) | T::LargeListView(item) => {
            T::List(Arc::clone(item))
        }
        _ => return Ok(Arc::clone(array)),
    };
    Ok(cast(array, &target)?)
}

fn values(array: &ArrayRef) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::Null => Values::Nothing,
        DataType::Boolean => Values::Boolean(array.as_boolean().clone()),
        DataType::Int64 => Values::Int(array.as_primitive::<Int64Type>().clone()),
        DataType::UInt64 => Values::UInt(array.as_primitive::<UInt64Type>().clone()),
        DataType::Float32 => Values::Single(array.as_primitive::<Float32Type>().clone()),
        DataType::Float64 => Values::Double(array.as_primitive::<Float64Type>().clone()),
        DataType::Utf8View => Values::Text(array.as_string_view().clone()),
        DataType::Timestamp(unit, zone) => {
            let ticks = cast(array, &DataType::Int64)?;
            Values::Time(*unit, zone.is_some(), ticks.as_primitive::<Int64Type>().clone())
        }
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            Values::List(list.offsets().clone(), Box::new(Cells::of(list.values())?))
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let named = fields.iter().zip(columns);
            let cells = named.map(|(field, column)| Ok((field.name().clone(), Cells::of(column)?)));
            Values::Struct(cells.collect::<Result<_>>()?)
        }
        other => Values::Other(displayed(array)?, other.is_numeric()),
    })
}

fn displayed(array: &ArrayRef) -> Result<Vec<String>> {
    let options = FormatOptions::new().with_display_error(true);
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
    Ok((0..array.len()).map(|row| formatter.value(row).to_string()).collect())
}

fn range_of(offsets: &OffsetBuffer<i32>, row: usize) -> std::ops::Range<usize> {
    let at = |index: usize| offsets.get(index).map_or(0, |offset| usize::try_from(*offset).unwrap_or(0));
    at(row)..at(row + 1)
}

fn write_joined(range: std::ops::Range<usize>, items: &Cells, out: &mut String) {
    for (index, item) in range.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        items.write_text(item, Form::Short, out);
    }
}

fn write_separated<T>(
    (begin, end): (char, char),
    items: impl IntoIterator<Item = T>,
    out: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    out.push(begin);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(item, out);
    }
    out.push(end);
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// Appends a JSON string. Characters a terminal obeys are escaped even where JSON would not need it.
pub fn write_json_text(text: &str, out: &mut String) {
    // A text always serialises.
    let quoted = serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned());
    for c in quoted.chars() {
        match is_unsafe(c) {
            true => c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| {
                let _ = write!(out, "\\u{unit:04x}");
            }),
            false => out.push(c),
        }
    }
}

/// How many bits a float had: the shortest text that reads back depends on it.
#[derive(Clone, Copy)]
enum Width {
    Single,
    Double,
}

/// The word for NaN and infinities.
pub(super) fn not_finite(value: f64) -> Option<&'static str> {
    match () {
        () if value.is_finite() => None,
        () if value.is_nan() => Some("NaN"),
        () if value > 0.0 => Some("Infinity"),
        () => Some("-Infinity"),
    }
}

fn write_float(value: f64, width: Width, form: Form, out: &mut String) {
    if let Some(word) = not_finite(value) {
        return out.push_str(word);
    }
    match (form, width) {
        (Form::Short, _) => write_rounded(value, 6, out),
        (Form::Brief, _) => write_rounded(value, 4, out),
        // The cast is exact: the value was an f32 before.
        (Form::Exact, Width::Single) => write_scientific(&format!("{:e}", value as f32), -4..16, out),
        (Form::Exact, Width::Double) => write_scientific(&format!("{value:e}"), -4..16, out),
    }
}

/// So many significant digits; whole digits are never rounded away below 1e15.
fn write_rounded(value: f64, digits: usize, out: &mut String) {
    let behind_point = digits - 1;
    let whole = value.abs() >= 10_f64.powi(behind_point as i32) && value.abs() < 1e15;
    let text = match whole {
        true => format!("{:e}", value.round()),
        false => format!("{value:.behind_point$e}"),
    };
    write_scientific(&text, -4..15, out);
}

/// Appends a number in scientific notation plainly where its exponent lies in `plain`, else with a
/// signed exponent of at least two digits. Zeros at the end of the fraction are left out.
pub(super) fn write_scientific(text: &str, plain: std::ops::Range<i32>, out: &mut String) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    out.push_str(sign);
    match plain.contains(&exponent) {
        true => write_plain(&format!("{whole}{fraction}"), exponent, out),
        false => {
            let point = if fraction.is_empty() { "" } else { "." };
            let exponent_sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "{whole}{point}{fraction}e{exponent_sign}{:02}", exponent.abs());
        }
    }
}

/// Digits `d.ddd` with an exponent become a plain decimal number.
fn write_plain(digits: &str, exponent: i32, out: &mut String) {
    let point = usize::try_from(exponent + 1).unwrap_or(0);
    if exponent < 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize - 1));
        return out.push_str(digits);
    }
    if digits.len() <= point {
        out.push_str(digits);
        return out.extend(std::iter::repeat_n('0', point - digits.len()));
    }
    let (whole, fraction) = digits.split_at(point);
    out.push_str(whole);
    out.push('.');
    out.push_str(fraction);
}

/// A float as people read it: six significant digits.
pub fn short_float(value: f64) -> String {
    let mut text = String::new();
    write_float(value, Width::Double, Form::Short, &mut text);
    text
}

fn write_time(ticks: i64, unit: &TimeUnit, utc: bool, form: Form, out: &mut String) {
    let time: Option<DateTime<Utc>> = match unit {
        TimeUnit::Second => DateTime::from_timestamp(ticks, 0),
        TimeUnit::Millisecond => DateTime::from_timestamp_millis(ticks),
        TimeUnit::Microsecond => DateTime::from_timestamp_micros(ticks),
        TimeUnit::Nanosecond => Some(DateTime::from_timestamp_nanos(ticks)),
    };
    let Some(time) = time else {
        return push(out, ticks);
    };
    let pattern = match (form, time.timestamp_subsec_nanos()) {
        (Form::Short | Form::Brief, _) => "%Y-%m-%d %H:%M:%S",
        (Form::Exact, nanos) if nanos % 1_000_000 == 0 => "%Y-%m-%dT%H:%M:%S%.3f",
        (Form::Exact, nanos) if nanos % 1_000 == 0 => "%Y-%m-%dT%H:%M:%S%.6f",
        (Form::Exact, _) => "%Y-%m-%dT%H:%M:%S%.9f",
    };
    push(out, time.format(pattern));
    if utc && form == Form::Exact {
        out.push('Z');
    }
}

/// Most characters of a text that people are shown; the other formats hold all of it.
pub const SHOWN_CHARS: usize = 500;

/// Whether a terminal could take the character for a command, show text in another order, or show
/// nothing where there is something. The joiners U+200C and U+200D are left: scripts and emoji need them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff9}'..='\u{fffb}')
        || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// The text without anything a terminal obeys. Line ends and tabs become spaces.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\r' | '\t' => ' ',
            c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// One harmless line of at most [`SHOWN_CHARS`] characters; where more was cut off, it ends in `…`.
pub fn for_people(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        None => one_line(text),
        Some(_) => {
            let end = text.char_indices().nth(SHOWN_CHARS - 1).map_or(0, |(end, _)| end);
            format!("{}…", one_line(&text[..end]))
        }
    }
}

/// The text without anything a terminal obeys but line ends and tabs.
pub fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            c if is_unsafe(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}

/// Names of the columns, made unique: JSON objects and Parquet files cannot hold one twice.
pub fn unique_names<'a>(fields: impl IntoIterator<Item = &'a Arc<Field>>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for field in fields {
        let mut name = field.name().clone();
        let mut count = 1;
        while names.contains(&name) {
            count += 1;
            name = format!("{}_{count}", field.name());
        }
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use arrow::array::{DictionaryArray, Int32Array, LargeStringArray, TimestampMillisecondArray};
    use arrow::datatypes::Int32Type;

    fn exact(value: f64) -> String {
        let mut text = String::new();
        write_float(value, Width::Double, Form::Exact, &mut text);
        text
    }

    fn text(array: ArrayRef, row: usize, form: Form) -> String {
        let mut text = String::new();
        Cells::of(&array).unwrap().write_text(row, form, &mut text);
        text
    }

    #[test]
    fn exact_floats_read_back() {
        for (value, want) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (-1234.5, "-1234.5"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (1.5e-300, "1.5e-300"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(exact(value), want);
            if value.is_finite() {
                assert_eq!(exact(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
            }
        }
    }

    #[test]
    fn short_floats_keep_six_digits() {
        for (value, want) in [
            (0.123_456_789, "0.123457"),
            (1.0, "1"),
            (0.0, "0"),
            (12.5, "12.5"),
            (0.000_012_345_678, "1.23457e-05"),
            (0.000_123, "0.000123"),
            (99_999.96, "100000"),
            (1_234_567.8, "1234568"),
            (1e20, "1e+20"),
            (999_999.999_9, "1000000"),
            (-3.999_999_9, "-4"),
        ] {
            assert_eq!(short_float(value), want);
        }
    }

    #[test]
    fn single_floats_are_as_short_as_they_read_back() {
        assert_eq!(text(Arc::new(Float32Array::from(vec![0.1_f32])), 0, Form::Exact), "0.1");
    }

    #[test]
    fn times_are_iso_in_utc() {
        let array = TimestampMillisecondArray::from(vec![1_795_197_066_830]);
        let zoned: ArrayRef = Arc::new(array.clone().with_timezone("+02:00"));
        assert_eq!(text(zoned.clone(), 0, Form::Exact), "2026-11-20T17:51:06.830Z");
        assert_eq!(text(zoned, 0, Form::Short), "2026-11-20 17:51:06");
        assert_eq!(text(Arc::new(array), 0, Form::Exact), "2026-11-20T17:51:06.830");
    }

    #[test]
    fn every_text_and_integer_type_reads_alike() {
        assert_eq!(text(Arc::new(LargeStringArray::from(vec!["a"])), 0, Form::Exact), "a");
        let dictionary: DictionaryArray<Int32Type> = vec!["x", "y", "x"].into_iter().collect();
        assert_eq!(text(Arc::new(dictionary), 2, Form::Exact), "x");
        assert_eq!(text(Arc::new(Int32Array::from(vec![Some(-7), None])), 0, Form::Short), "-7");
        assert_eq!(text(Arc::new(Int32Array::from(vec![Some(-7), None])), 1, Form::Short), "");
    }

    #[test]
    fn terminals_get_no_commands() {
        assert_eq!(one_line("a\x1b[31mb\nc\u{9b}d\u{202e}"), "a\u{fffd}[31mb c\u{fffd}d\u{fffd}");
        assert_eq!(harmless("a\r\nb\x07"), "a\u{fffd}\nb\u{fffd}");
        assert_eq!(
            one_line("a\u{200b}\u{feff}\u{2066}\u{e0041}👩\u{200d}🔬"),
            "a\u{fffd}\u{fffd}\u{fffd}\u{fffd}👩\u{200d}🔬"
        );
        let text = "a\x1b\u{9b}\"\u{202e}\u{e0041}";
        let mut json = String::new();
        write_json_text(text, &mut json);
        assert_eq!(json, r#""a\u001b\u009b\"\u202e\udb40\udc41""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn people_see_the_beginning_of_a_long_text() {
        assert_eq!(for_people(&"é".repeat(SHOWN_CHARS)), "é".repeat(SHOWN_CHARS));
        let long = for_people(&"é".repeat(1 << 20));
        assert_eq!((long.chars().count(), long.chars().last()), (SHOWN_CHARS, Some('…')));
    }
}
