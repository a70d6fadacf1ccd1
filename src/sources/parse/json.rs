//! A JSON parser for what training scripts really write: bare `NaN` and `Infinity`, huge numbers,
//! lone surrogates, repeated keys, bytes that are no UTF-8. It borrows from its input wherever the
//! text has no escapes and says whether a value is cut off or wrong.

use crate::records::ConfigValue;
use std::borrow::Cow;

/// Nesting beyond this is refused instead of exhausting the stack.
const MAX_DEPTH: usize = 128;

/// Objects up to this many fields are searched for repeated keys pair by pair.
const FEW_FIELDS: usize = 16;

/// Names longer than this grow no further: what is nested under them stays one value. Else a long
/// name before a thousand short ones would be written out a thousand times.
const MAX_NAME_BYTES: usize = 1024;

/// Every whole number up to this one is a double.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// Fields of an object in their order; each key occurs once.
pub type Fields<'a> = Vec<(Cow<'a, str>, Json<'a>)>;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number and how it was written; the text is empty where it comes from another format.
    Number(f64, &'a [u8]),
    /// A string.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object.
    Object(Fields<'a>),
}

/// How the text of a value is written. It is valid JSON either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Numbers as the log has them, a space behind commas and colons.
    Written,
    /// No spaces; integers as the log has them, other numbers in their shortest form.
    Compact,
}

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The text ends before the value does.
    Incomplete,
    /// The text is no JSON.
    Invalid {
        /// Byte at which it stops being JSON.
        at: usize,
        /// What was expected or found there.
        why: &'static str,
    },
}

/// Parses the first value of `bytes`; also returns how many bytes it took.
///
/// A byte order mark and white space before the value are skipped.
pub fn parse(bytes: &[u8]) -> Result<(Json<'_>, usize), Fault> {
    parse_marked(bytes, &mut Marks::default())
}

/// Where the values of an object stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// Start and end of each value, repeated keys included.
    pub values: Vec<(usize, usize)>,
    /// End of the object.
    pub end: usize,
}

/// Like [`parse`]; where the value is an object, also says where its own values stand.
pub fn parse_marked<'a>(bytes: &'a [u8], marks: &mut Marks) -> Result<(Json<'a>, usize), Fault> {
    let at = if bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    marks.values.clear();
    let mut parser = Parser { bytes, at, marks };
    let mut value = Json::Null;
    parser.value(0, &mut value)?;
    let end = parser.at;
    marks.end = end;
    Ok((value, end))
}

/// Parses the value of a field of an object, which stands at `at` of `bytes`; returns its end.
pub fn value_at<'a>(bytes: &'a [u8], at: usize, out: &mut Json<'a>) -> Result<usize, Fault> {
    let mut parser = Parser { bytes, at, marks: &mut Marks::default() };
    parser.value(1, out)?;
    Ok(parser.at)
}

/// Parses bytes that hold one value and nothing else but white space.
pub fn parse_whole(bytes: &[u8]) -> Option<Json<'_>> {
    let (value, used) = parse(bytes).ok()?;
    bytes.get(used..)?.trim_ascii().is_empty().then_some(value)
}

/// What stands before the fault of a value, as JSON again: what follows the last whole field or
/// element is left out, and what is open is closed.
pub fn mended(bytes: &[u8], fault: Fault) -> Vec<u8> {
    let end = match fault {
        Fault::Invalid { at, .. } => at.min(bytes.len()),
        Fault::Incomplete => bytes.len(),
    };
    let (mut open, mut kept, mut kept_depth) = (Vec::new(), 0, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for (at, byte) in bytes.iter().copied().take(end).enumerate() {
        if in_string {
            in_string = is_escaped || byte != b'"';
            is_escaped = !is_escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' => open.push(b'}'),
            b'[' => open.push(b']'),
            b'}' | b']' => drop(open.pop()),
            b',' => {}
            _ => continue,
        }
        if !in_string {
            // What closes an element again is not popped before `kept` moves on.
            (kept, kept_depth) = (at + usize::from(byte != b','), open.len());
        }
    }
    let mut mended = bytes.get(..kept).unwrap_or_default().to_vec();
    mended.extend(open.iter().take(kept_depth).rev());
    mended
}

/// Reads a number as any tracker writes it: decimal text, or one of the many spellings of NaN and
/// the infinities. `None` for everything else.
pub fn parse_number_like(text: &str) -> Option<f64> {
    let text = text.trim();
    let first = *text.as_bytes().first()?;
    if first.is_ascii_digit() || b"+-.nNiI".contains(&first) {
        return text.parse().ok().or_else(|| old_windows_spelling(text));
    }
    None
}

/// Reads a spelling of NaN or of an infinity; finite numbers give `None`.
pub fn parse_non_finite(text: &str) -> Option<f64> {
    let digitless = text.trim().trim_start_matches(['+', '-']);
    let letter = digitless.as_bytes().first().is_some_and(|c| b"nNiI".contains(c));
    if letter || digitless.starts_with("1.#") { parse_number_like(text) } else { None }
}

fn old_windows_spelling(text: &str) -> Option<f64> {
    let (sign, rest) = text.strip_prefix('-').map_or((1.0, text), |rest| (-1.0, rest));
    match rest.strip_prefix("1.#")?.trim_end_matches('0') {
        "INF" | "inf" => Some(sign * f64::INFINITY),
        "IND" | "QNAN" | "ind" | "qnan" => Some(f64::NAN),
        _ => None,
    }
}

impl<'a> Json<'a> {
    /// An object; of fields with the same key the last one counts.
    pub fn object(mut fields: Fields<'a>) -> Self {
        keep_last_of_each(&mut fields);
        Json::Object(fields)
    }

    /// The field of an object.
    pub fn get(&self, key: &str) -> Option<&Json<'a>> {
        match self {
            Json::Object(fields) => fields.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The number, where it is one, or a string that spells NaN or an infinity.
    pub fn as_metric(&self) -> Option<f64> {
        match self {
            Json::Number(value, _) => Some(*value),
            Json::String(text) if text.len() <= 16 => parse_non_finite(text),
            _ => None,
        }
    }

    /// The number, where it is one or a string that spells one.
    pub fn number_like(&self) -> Option<f64> {
        match self {
            Json::Number(value, _) => Some(*value),
            Json::String(text) => parse_number_like(text),
            _ => None,
        }
    }

    /// The string, where it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a hyperparameter: bare string or JSON text, and the number if it is one.
    pub fn to_config(&self) -> ConfigValue {
        self.config_value(Style::Written)
    }

    /// The value of a hyperparameter as trackers show it: without spaces, `3e-4` as `0.0003`.
    pub fn to_compact_config(&self) -> ConfigValue {
        self.config_value(Style::Compact)
    }

    fn config_value(&self, style: Style) -> ConfigValue {
        match self {
            Json::String(text) => ConfigValue { text: text.to_string(), number: None },
            Json::Number(value, _) => ConfigValue { text: self.text(style), number: Some(*value) },
            _ => ConfigValue { text: self.text(style), number: None },
        }
    }

    /// JSON text of the value. Inside arrays and objects NaN and infinities become strings.
    pub fn to_text(&self) -> String {
        self.text(Style::Written)
    }

    fn text(&self, style: Style) -> String {
        let mut out = String::new();
        match self {
            Json::Number(value, _) if !value.is_finite() => out.push_str(non_finite_name(*value)),
            _ => self.write(style, &mut out),
        }
        out
    }

    fn write(&self, style: Style, out: &mut String) {
        let (comma, colon) = match style {
            Style::Written => (", ", ": "),
            Style::Compact => (",", ":"),
        };
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Json::Number(value, raw) => write_number(*value, raw, style, out),
            Json::String(text) => write_string(text, out),
            Json::Array(items) => {
                out.push('[');
                for (i, item) in items.iter().enumerate() {
                    out.push_str(if i > 0 { comma } else { "" });
                    item.write(style, out);
                }
                out.push(']');
            }
            Json::Object(fields) => {
                out.push('{');
                for (i, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if i > 0 { comma } else { "" });
                    write_string(key, out);
                    out.push_str(colon);
                    value.write(style, out);
                }
                out.push('}');
            }
        }
    }
}

/// The fields whose names are to be joined to `name`: those of an object, unless the name is too
/// long to grow.
pub fn nested<'j, 'a>(name: &str, value: &'j Json<'a>) -> Option<&'j Fields<'a>> {
    match value {
        Json::Object(fields) if name.len() <= MAX_NAME_BYTES => Some(fields),
        _ => None,
    }
}

/// Calls `take` for every value that is no object, with its name joined by `.`. An empty object
/// is a value too, so that it is not lost.
pub fn flatten<'j, 'a>(prefix: &str, value: &'j Json<'a>, take: &mut dyn FnMut(&str, &'j Json<'a>)) {
    flatten_but(|_| false, prefix, value, take);
}

/// Like [`flatten`], but objects for which `is_whole` holds stay one value.
pub fn flatten_but<'j, 'a>(
    is_whole: fn(&Fields<'_>) -> bool,
    prefix: &str,
    value: &'j Json<'a>,
    take: &mut dyn FnMut(&str, &'j Json<'a>),
) {
    match nested(prefix, value) {
        Some(fields) if !fields.is_empty() && !is_whole(fields) => {
            for (key, value) in fields {
                match prefix {
                    "" => flatten_but(is_whole, key, value, take),
                    _ => flatten_but(is_whole, &format!("{prefix}.{key}"), value, take),
                }
            }
        }
        _ => take(prefix, value),
    }
}

fn non_finite_name(value: f64) -> &'static str {
    match () {
        () if value.is_nan() => "NaN",
        () if value > 0.0 => "Infinity",
        () => "-Infinity",
    }
}

fn write_number(value: f64, raw: &[u8], style: Style, out: &mut String) {
    let is_integer = match raw {
        [] => value.fract() == 0.0,
        _ => raw.iter().all(|c| c.is_ascii_digit() || b"+-".contains(c)),
    };
    let as_written = is_integer || style == Style::Written;
    match std::str::from_utf8(raw) {
        _ if !value.is_finite() => write_string(non_finite_name(value), out),
        // `+1`, `.5` and `007` are read, but are no JSON.
        Ok(raw) if as_written && serde_json::from_str::<f64>(raw).is_ok() => out.push_str(raw),
        _ if is_integer && value.abs() <= MAX_EXACT_INTEGER => out.push_str(&format!("{value:.0}")),
        _ => out.push_str(&serde_json::Value::from(value).to_string()),
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// Values are written in place: handing them up by value costs more than reading them.
struct Parser<'a, 'm> {
    bytes: &'a [u8],
    at: usize,
    marks: &'m mut Marks,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|c| matches!(c, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, why: &'static str) -> Result<T, Fault> {
        match self.peek() {
            Some(_) => Err(Fault::Invalid { at: self.at, why }),
            None => Err(Fault::Incomplete),
        }
    }

    fn value(&mut self, depth: usize, out: &mut Json<'a>) -> Result<(), Fault> {
        self.skip_space();
        match self.peek() {
            Some(b'0'..=b'9' | b'-' | b'+' | b'.') => self.number(out),
            Some(b'"') => {
                *out = Json::String(self.string()?);
                Ok(())
            }
            Some(b'{' | b'[') if depth >= MAX_DEPTH => self.wrong("nested too deeply"),
            Some(b'{') => self.object(depth, out),
            Some(b'[') => self.array(depth, out),
            Some(c) if c.is_ascii_alphabetic() => self.word(self.at, out),
            _ => self.wrong("expected a value"),
        }
    }

    fn object(&mut self, depth: usize, out: &mut Json<'a>) -> Result<(), Fault> {
        self.at += 1;
        // Rows have several fields; of the objects in them there may be a million empty ones.
        let mut fields = Vec::with_capacity(if depth == 0 { 8 } else { 0 });
        loop {
            self.skip_space();
            match self.peek() {
                Some(b'"') => {}
                Some(b'}') => break,
                _ => return self.wrong("expected a key"),
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return self.wrong("expected a colon");
            }
            self.at += 1;
            self.skip_space();
            let start = self.at;
            fields.push((key, Json::Null));
            if let Some((_, value)) = fields.last_mut() {
                self.value(depth + 1, value)?;
            }
            if depth == 0 {
                self.marks.values.push((start, self.at));
            }
            if self.ends_list(b'}')? {
                break;
            }
        }
        self.at += 1;
        *out = Json::object(fields);
        Ok(())
    }

    fn array(&mut self, depth: usize, out: &mut Json<'a>) -> Result<(), Fault> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.peek() == Some(b']') {
                break;
            }
            items.push(Json::Null);
            if let Some(item) = items.last_mut() {
                self.value(depth + 1, item)?;
            }
            if self.ends_list(b']')? {
                break;
            }
        }
        self.at += 1;
        *out = Json::Array(items);
        Ok(())
    }

    /// Passes a comma; true (and nothing passed) at the closing bracket.
    fn ends_list(&mut self, close: u8) -> Result<bool, Fault> {
        self.skip_space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(c) if c == close => Ok(true),
            _ => self.wrong("expected a comma or the end of the list"),
        }
    }

    /// `true`, `null`, `NaN`, `inf` and their like; `start` is where a sign before it stands.
    fn word(&mut self, start: usize, out: &mut Json<'a>) -> Result<(), Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let length = rest.iter().take_while(|c| c.is_ascii_alphabetic()).count();
        let word = rest.get(..length).unwrap_or_default();
        let negative = self.bytes.get(start) == Some(&b'-');
        *out = match word {
            b"true" if start == self.at => Json::Bool(true),
            b"false" if start == self.at => Json::Bool(false),
            b"null" if start == self.at => Json::Null,
            _ if word.eq_ignore_ascii_case(b"nan") => Json::Number(f64::NAN, b"NaN"),
            _ if word.eq_ignore_ascii_case(b"infinity") || word.eq_ignore_ascii_case(b"inf") => {
                Json::Number(if negative { f64::NEG_INFINITY } else { f64::INFINITY }, b"")
            }
            _ if length == rest.len() && begins_word(word) => return Err(Fault::Incomplete),
            _ => return self.wrong("expected a value"),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self, out: &mut Json<'a>) -> Result<(), Fault> {
        let start = self.at;
        let negative = self.peek() == Some(b'-');
        if negative || self.peek() == Some(b'+') {
            self.at += 1;
        }
        if self.peek().is_some_and(|c| c.is_ascii_alphabetic()) {
            return self.word(start, out);
        }
        let mut decimal = Decimal::default();
        self.digits(&mut decimal, 0);
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits(&mut decimal, -1);
        }
        if !decimal.seen {
            return self.wrong("expected digits");
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.exponent(&mut decimal)?;
        }
        let raw = self.bytes.get(start..self.at).unwrap_or_default();
        *out = Json::Number(decimal.value(negative, raw), raw);
        Ok(())
    }

    /// Takes digits; each moves the exponent by `shift`.
    fn digits(&mut self, decimal: &mut Decimal, shift: i32) {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let digits = rest.iter().map(|c| c.wrapping_sub(b'0')).take_while(|digit| *digit <= 9);
        let mut count = 0;
        for digit in digits {
            decimal.push(u64::from(digit), shift);
            count += 1;
        }
        self.at += count;
    }

    fn exponent(&mut self, decimal: &mut Decimal) -> Result<(), Fault> {
        self.at += 1;
        let negative = self.peek() == Some(b'-');
        if negative || self.peek() == Some(b'+') {
            self.at += 1;
        }
        let mut exponent: i32 = 0;
        let start = self.at;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            exponent = exponent.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
            self.at += 1;
        }
        if self.at == start {
            return self.wrong("expected an exponent");
        }
        decimal.exponent = decimal.exponent.saturating_add(if negative { -exponent } else { exponent });
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let rest = self.bytes.get(self.at + 1..).unwrap_or_default();
        match memchr::memchr2(b'"', b'\\', rest) {
            Some(end) if rest.get(end) == Some(&b'"') => {
                self.at += end + 2;
                Ok(text_of(rest.get(..end).unwrap_or_default()))
            }
            Some(end) => self.escaped(rest, end).map(Cow::Owned),
            None => Err(Fault::Incomplete),
        }
    }

    /// A string whose first backslash is at `plain` of `rest`.
    fn escaped(&mut self, rest: &'a [u8], plain: usize) -> Result<String, Fault> {
        let mut out = Vec::with_capacity(plain + 16);
        let mut at = 0;
        loop {
            let tail = rest.get(at..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'"', b'\\', tail) else { return Err(Fault::Incomplete) };
            out.extend_from_slice(tail.get(..length).unwrap_or_default());
            at += length;
            if rest.get(at) == Some(&b'"') {
                self.at += at + 2;
                return Ok(text_of(&out).into_owned());
            }
            let (letter, used) = escape(rest.get(at + 1..).unwrap_or_default()).ok_or(Fault::Incomplete)?;
            let mut utf8 = [0; 4];
            out.extend_from_slice(letter.encode_utf8(&mut utf8).as_bytes());
            at += 1 + used;
        }
    }
}

/// The character that the text after a backslash means and how many bytes it takes. Unknown
/// escapes mean themselves; `None` when the text ends too early.
fn escape(text: &[u8]) -> Option<(char, usize)> {
    let letter = match *text.first()? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unicode_escape(text),
        c if c.is_ascii() => char::from(c),
        _ => return Some((char::REPLACEMENT_CHARACTER, 1)),
    };
    Some((letter, 1))
}

fn unicode_escape(text: &[u8]) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = text.get(at..at + 4)?;
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        Some(u32::from_str_radix(digits, 16).ok())
    };
    let Some(high) = unit(1)? else { return Some((char::REPLACEMENT_CHARACTER, 1)) };
    let is_pair = text.get(5) == Some(&b'\\') && text.get(6).is_none_or(|next| *next == b'u');
    if (0xd800..0xdc00).contains(&high)
        && is_pair
        && let Some(low @ 0xdc00..0xe000) = unit(7)?
    {
        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return Some((char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 11));
    }
    Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 5))
}

/// The text of bytes; what is no UTF-8 is replaced.
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

fn begins_word(start: &[u8]) -> bool {
    ["true", "false", "null", "nan", "infinity"]
        .iter()
        .any(|word| word.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start)))
}

fn keep_last_of_each(fields: &mut Fields<'_>) {
    let repeats = if fields.len() <= FEW_FIELDS { may_repeat(fields) } else { true };
    let repeats = repeats && {
        let mut seen = std::collections::HashSet::with_capacity(fields.len());
        !fields.iter().all(|(key, _)| seen.insert(key.as_ref()))
    };
    if repeats {
        let mut seen = std::collections::HashSet::new();
        fields.reverse();
        fields.retain(|(key, _)| seen.insert(key.to_string()));
        fields.reverse();
    }
}

/// Whether two of a few keys agree in length, first, middle and last byte.
fn may_repeat(fields: &Fields<'_>) -> bool {
    let mut prints = [0u64; FEW_FIELDS];
    let mut repeats = false;
    for (at, (key, _)) in fields.iter().enumerate() {
        let key = key.as_bytes();
        let byte = |at: usize| u64::from(key.get(at).copied().unwrap_or(0));
        let last = key.len().saturating_sub(1);
        let print = (key.len() as u64 + 1) << 24 | byte(0) << 16 | byte(last / 2) << 8 | byte(last);
        repeats |= prints.iter().take(at).any(|other| *other == print);
        prints[at] = print;
    }
    repeats
}

/// A decimal number while its digits come in.
#[derive(Default)]
struct Decimal {
    mantissa: u64,
    exponent: i32,
    seen: bool,
    too_long: bool,
}

impl Decimal {
    fn push(&mut self, digit: u64, shift: i32) {
        self.seen = true;
        if self.mantissa < 100_000_000_000_000_000 {
            self.mantissa = self.mantissa * 10 + digit;
            self.exponent += shift;
        } else {
            self.too_long = true;
        }
    }

    /// Mantissa and power of ten are both exact in a double on the short way, so that its one
    /// rounding is the right one; all else goes the long way.
    fn value(&self, negative: bool, raw: &[u8]) -> f64 {
        let power = EXACT_POWERS.get(self.exponent.unsigned_abs() as usize);
        let magnitude = match power {
            Some(power) if !self.too_long && self.mantissa <= 1 << 53 => {
                let mantissa = self.mantissa as f64;
                if self.exponent < 0 { mantissa / power } else { mantissa * power }
            }
            _ => return std::str::from_utf8(raw).ok().and_then(|raw| raw.parse().ok()).unwrap_or(f64::NAN),
        };
        if negative { -magnitude } else { magnitude }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    fn whole(text: &str) -> Json<'_> {
        let (value, used) = parse(text.as_bytes()).unwrap();
        assert_eq!(used, text.len(), "{text}");
        value
    }

    fn number(text: &str) -> f64 {
        match whole(text) {
            Json::Number(value, _) => value,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_stands_before_damage_is_kept() {
        let text = br#"{"a": [{"x": "}, \" ]"}, {"y": 2, "z": NaN}], "b": 1}"#;
        let whole = parse(text).unwrap().0;
        for cut in 0..text.len() {
            let mended = mended(&text[..cut], Fault::Incomplete);
            let Ok((value, _)) = parse(&mended) else {
                assert_eq!(cut, 0);
                continue;
            };
            let rows =
                value.get("a").map_or(0, |rows| matches!(rows, Json::Array(rows) if rows.len() > 1) as usize);
            assert!(rows == 0 || cut > 25, "{cut}");
            assert!(value.get("b").is_none(), "{cut}");
        }
        assert!(whole.get("b").is_some());
        let flipped = b"[1, 2, x3, 4]";
        let fault = parse(flipped).unwrap_err();
        assert_eq!(mended(flipped, fault), b"[1, 2]");
    }

    #[test]
    fn non_finite_numbers_in_every_spelling() {
        for text in ["NaN", "nan", "-NaN", "NAN"] {
            assert!(number(text).is_nan(), "{text}");
        }
        for text in ["Infinity", "inf", "+inf", "INF", "Inf", "1e400"] {
            assert_eq!(number(text), f64::INFINITY, "{text}");
        }
        for text in ["-Infinity", "-inf", "-INF", "-1e400"] {
            assert_eq!(number(text), f64::NEG_INFINITY, "{text}");
        }
        let row = whole(r#"{"a": NaN, "b": -Infinity, "c": "NaN", "d": "a NaN b"}"#);
        assert!(row.get("a").unwrap().as_metric().unwrap().is_nan());
        assert_eq!(row.get("b").unwrap().as_metric(), Some(f64::NEG_INFINITY));
        assert!(row.get("c").unwrap().as_metric().unwrap().is_nan());
        assert_eq!(row.get("d").unwrap().as_metric(), None);
    }

    #[test]
    fn texts_that_spell_numbers() {
        for (text, value) in [
            ("INF", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("1.#INF", Some(f64::INFINITY)),
            (" 3.5 ", Some(3.5)),
            ("-1e-3", Some(-1e-3)),
            ("info", None),
            ("none", None),
            ("", None),
            ("NA", None),
        ] {
            assert_eq!(parse_number_like(text), value, "{text}");
        }
        assert!(parse_number_like("-1.#IND").unwrap().is_nan());
        assert!(parse_non_finite("nan").unwrap().is_nan());
        assert_eq!(parse_non_finite("3.5"), None);
        assert_eq!(parse_non_finite("n"), None);
    }

    #[test]
    fn tolerates_what_occurs() {
        assert_eq!(number("18446744073709551617"), 18446744073709551617.0);
        assert_eq!(parse(b"\xef\xbb\xbf {}\r\n"), Ok((Json::Object(vec![]), 6)));
        assert_eq!(whole(r#""\ud800""#), Json::String("\u{fffd}".into()));
        assert_eq!(whole(r#""\ud83d\ude00 \u00e9 \/ \q""#), Json::String("😀 é / q".into()));
        assert_eq!(whole(r#""\ud800\u0041""#), Json::String("\u{fffd}A".into()));
        let row = whole(r#"{"a": 1, "b": 2, "a": 3}"#);
        assert_eq!(row.get("a").unwrap().as_metric(), Some(3.0));
        assert!(matches!(&row, Json::Object(fields) if fields.len() == 2));
        let many: String = (0..40).map(|i| format!("\"k{}\": {i},", i % 30)).collect();
        let text = format!("{{{many}}}");
        let row = whole(&text);
        assert_eq!(row.get("k5").unwrap().as_metric(), Some(35.0));
        assert!(matches!(&row, Json::Object(fields) if fields.len() == 30));
        assert_eq!(parse(b"{\"a\xff\": 1}").unwrap().1, 9);
    }

    #[test]
    fn says_where_a_value_ends_and_why_there_is_none() {
        assert_eq!(parse(b"{\"a\":1}{\"b\":2}").unwrap().1, 7);
        for text in [
            "",
            "{",
            "{\"a",
            "{\"a\\",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "[1",
            "[tru",
            "-",
            "[1e",
            "[-Inf",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Fault::Incomplete), "{text}");
        }
        for text in ["}", "{a:1}", "{'a': 1}", "{\"a\" 1}", "[1 2]", "{\"a\": 1.39{", "hello", "[1e}"] {
            assert!(matches!(parse(text.as_bytes()), Err(Fault::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        assert!(matches!(parse(deep.as_bytes()), Err(Fault::Invalid { .. })));
        let fine = format!("{}{}", "[".repeat(100), "]".repeat(100));
        assert!(parse(fine.as_bytes()).is_ok());
    }

    /// A name of 30 kB before each of 4000 values would make 120 MB of 50 kB.
    #[test]
    fn long_names_are_not_repeated_for_each_value_under_them() {
        let inner: Vec<String> = (0..4000).map(|i| format!("\"{i}\":1")).collect();
        let inner = format!("{{{}}}", inner.join(","));
        let count = |length: usize| {
            let text = format!("{{\"{}\":{inner}}}", "k".repeat(length));
            let (mut values, mut bytes) = (0, 0);
            flatten("", &whole(&text), &mut |key, _| (values, bytes) = (values + 1, bytes + key.len()));
            (values, bytes)
        };
        assert_eq!(count(30_000), (1, 30_000));
        assert_eq!(count(MAX_NAME_BYTES).0, 4000);
    }

    #[test]
    fn texts_of_values() {
        let row = whole(r#"{"a": [1, 2.50, NaN], "b": {"c": "x\n", "d": {}}, "e": null}"#);
        let mut flat = Vec::new();
        flatten("", &row, &mut |key, value| flat.push((key.to_string(), value.to_config().text)));
        let expected = [("a", "[1, 2.50, \"NaN\"]"), ("b.c", "x\n"), ("b.d", "{}"), ("e", "null")];
        assert_eq!(flat, expected.map(|(key, text)| (key.to_string(), text.to_string())));
        assert_eq!(Json::Number(20.0, b"").to_text(), "20");
        assert_eq!(Json::Number(1e-5, b"").to_text(), "0.00001");
        assert_eq!(Json::Number(f64::NAN, b"").to_text(), "NaN");
        assert_eq!(Json::Number(-2e15, b"").to_text(), "-2000000000000000");
    }

    #[test]
    fn compact_texts_keep_integers_and_shorten_other_numbers() {
        let config = |text: &str| whole(text).to_compact_config();
        let list =
            config(r#"[1, 123456789012345678901234567890, 5.0, 3e-4, -Infinity, {"a b": [true, null]}]"#);
        let want = r#"[1,123456789012345678901234567890,5.0,0.0003,"-Infinity",{"a b":[true,null]}]"#;
        assert_eq!((list.text.as_str(), list.number), (want, None));
        let seed = config("18446744073709551617");
        assert_eq!((seed.text.as_str(), seed.number), ("18446744073709551617", Some(18446744073709551617.0)));
        assert_eq!((config("3e-4").text.as_str(), config("\"x\"").text.as_str()), ("0.0003", "x"));
        assert_eq!(config("[+1, .5, 5., 007, -0]").text, "[1,0.5,5.0,7,-0]");
        assert_eq!(whole("[+1, .5, 5., 007, 1e2]").to_text(), "[1, 0.5, 5.0, 7, 1e2]");
    }

    #[test]
    fn a_whole_text_has_nothing_behind_its_value() {
        assert_eq!(parse_whole(b"\xef\xbb\xbf[1] \r\n").unwrap().to_text(), "[1]");
        assert_eq!(parse_whole(b"[1] 2"), None);
        assert_eq!(parse_whole(b"{\"a\": "), None);
        assert_eq!(parse_whole(b"\"\\ud8"), None);
    }

    #[test]
    fn leaves_strings_alone_and_replaces_lone_surrogates() {
        let text = r#"{"a": NaN, "t": "a NaN, \"-Infinity\" \ud800 \ud83d\ude00 \\"}"#;
        let value = parse_whole(text.as_bytes()).unwrap();
        let text = value.get("t").unwrap().as_str();
        assert_eq!(text, Some("a NaN, \"-Infinity\" \u{fffd} \u{1f600} \\"));
    }

    #[test]
    fn bare_numbers() {
        let number = parse_number_like;
        assert_eq!(number(" 1.7951965256070383e+09 "), Some(1795196525.6070383));
        assert_eq!(number("-Infinity"), Some(f64::NEG_INFINITY));
        assert_eq!(number("1e400"), Some(f64::INFINITY));
        assert_eq!((number("true"), number("\"1\""), number("1x"), number("")), (None, None, None, None));
    }

    proptest! {
        #[test]
        fn numbers_are_rounded_right(value: f64) {
            prop_assume!(value.is_finite());
            prop_assert_eq!(number(&format!("{value}")).to_bits(), value.to_bits());
            prop_assert_eq!(number(&format!("{value:e}")).to_bits(), value.to_bits());
        }

        #[test]
        fn short_decimals_are_rounded_right(mantissa: u64, digits in 0usize..25, exponent in -40i32..40) {
            let whole = mantissa.to_string();
            let split = digits.min(whole.len() - 1) + 1;
            let text = format!("{}.{}e{exponent}", &whole[..split], &whole[split..]);
            prop_assert_eq!(number(&text).to_bits(), text.parse::<f64>().unwrap().to_bits());
        }

        #[test]
        fn never_panics(bytes: Vec<u8>) {
            let _ = parse(&bytes);
        }

        #[test]
        fn texts_are_valid_json(text in "[\\[\\]{}\",:0-9a.eE+\\-\\\\ ]{0,16}") {
            let text = format!("[{text}]");
            if let Some(value) = parse_whole(text.as_bytes()) {
                for text in [value.to_text(), value.to_compact_config().text] {
                    prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
                }
            }
        }

        #[test]
        fn agrees_with_the_strict_parser(text in "[\\[\\]{}\",:0-9a\\\\. ]{0,24}") {
            if let Ok(strict) = serde_json::from_str::<serde_json::Value>(&text) {
                let (ours, _) = parse(text.as_bytes()).unwrap();
                let again: serde_json::Value = serde_json::from_str(&ours.to_text()).unwrap_or(serde_json::Value::Null);
                if !strict.is_string() {
                    prop_assert_eq!(again, strict);
                }
            }
        }

        #[test]
        fn a_cut_value_is_incomplete(cut in 0usize..70) {
            let text = r#"{"step": 12, "a": {"b": [1.5, "x\u00e9", true]}, "c": -1e-3, "n": NaN}"#;
            let cut = cut.min(text.len() - 1);
            prop_assert_eq!(parse(&text.as_bytes()[..cut]), Err(Fault::Incomplete));
        }
    }
}
