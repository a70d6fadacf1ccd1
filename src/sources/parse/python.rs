//! Literals of Python: what scripts print of a dictionary, and configurations that are plain
//! assignments. Nothing is evaluated; what is no literal is no value.

use super::json::{Fields, Json, parse_number_like};
use std::borrow::Cow;

/// Nesting beyond this is no literal.
const MAX_DEPTH: usize = 64;

/// Calls that only wrap a number, by the last part of their name: `np.float64(0.5)`.
pub const NUMBER_TYPES: &[&str] = &[
    "tensor", "Tensor", "array", "Array", "float16", "float32", "float64", "bfloat16", "int32", "int64",
    "float", "Decimal",
];

/// Reads the literal at the start of `text`: numbers, strings, `True`, `False`, `None`, `nan`,
/// `inf`, lists, tuples, dictionaries, `dict(key=value)` and [wrapped](NUMBER_TYPES) numbers. Returns it and the bytes it took.
pub fn literal(text: &str) -> Option<(Json<'_>, usize)> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    Some((value, reader.at))
}

/// Reads the assignments `name = literal` that begin a line; all else is passed over.
pub fn assignments(text: &str) -> Fields<'_> {
    let mut found = Fields::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let taken = assignment(rest);
        let line = rest.find('\n').map_or(rest.len(), |end| end + 1);
        match taken {
            Some((name, value, used)) => {
                found.push((Cow::Borrowed(name), value));
                at += used.max(1);
            }
            None => at += line,
        }
    }
    found
}

fn assignment(text: &str) -> Option<(&str, Json<'_>, usize)> {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_'))?;
    let name = text.get(..end).filter(|name| !name.is_empty() && !name.starts_with(char::is_numeric))?;
    let mut reader = Reader { text, at: end };
    reader.blank();
    if !reader.take('=') || reader.peek() == Some('=') {
        return None;
    }
    let value = reader.value(0)?;
    let rest = text.get(reader.at..)?;
    let line = rest.find('\n').map_or(rest, |end| &rest[..end]);
    let is_whole = line.trim().is_empty() || line.trim_start().starts_with('#');
    is_whole.then_some((name, value, reader.at + line.len() + 1))
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Reader<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += if is_next { wanted.len_utf8() } else { 0 };
        is_next
    }

    /// Passes white space and comments.
    fn blank(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if self.peek() != Some('#') {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn value(&mut self, depth: usize) -> Option<Json<'t>> {
        if depth > MAX_DEPTH {
            return None;
        }
        self.blank();
        match self.peek()? {
            '{' => self.pairs('}', ':', depth),
            '[' => self.items(']', depth),
            '(' => self.items(')', depth),
            '\'' | '"' => self.strings(),
            _ => self.word(depth),
        }
    }

    /// A number, a name of Python, or `dict(...)`.
    fn word(&mut self, depth: usize) -> Option<Json<'t>> {
        let rest = self.rest();
        let is_word = |c: char| c.is_alphanumeric() || "_.+-".contains(c);
        let word = rest.get(..rest.find(|c| !is_word(c)).unwrap_or(rest.len()))?;
        self.at += word.len();
        match word {
            "True" => Some(Json::Bool(true)),
            "False" => Some(Json::Bool(false)),
            "None" => Some(Json::Null),
            "dict" if self.peek() == Some('(') => self.pairs(')', '=', depth),
            "" => None,
            _ if self.peek() == Some('(') => self.wrapped(word, depth),
            _ => parse_number_like(word).map(|number| Json::Number(number, word.as_bytes())),
        }
    }

    /// `np.float64(0.5)`, `tensor(0.5, device='cuda:0')`.
    fn wrapped(&mut self, word: &str, depth: usize) -> Option<Json<'t>> {
        let name = word.rsplit('.').next().filter(|name| NUMBER_TYPES.contains(name))?;
        self.at += 1;
        let value = self.value(depth + 1)?;
        let close = self.rest().find(')').filter(|_| !name.is_empty())?;
        self.at += close + 1;
        matches!(value, Json::Number(..)).then_some(value)
    }

    /// Adjacent strings are one.
    fn strings(&mut self) -> Option<Json<'t>> {
        let mut whole = self.string()?;
        loop {
            let before = self.at;
            self.blank();
            if !matches!(self.peek(), Some('\'' | '"')) {
                self.at = before;
                return Some(Json::String(whole));
            }
            whole = Cow::Owned(whole.into_owned() + &self.string()?);
        }
    }

    fn string(&mut self) -> Option<Cow<'t, str>> {
        let rest = self.rest();
        let quote = rest.get(..1)?;
        let triple = quote.repeat(3);
        let end = if rest.starts_with(&triple) { triple.as_str() } else { quote };
        let body = rest.get(end.len()..)?;
        let mut from = 0;
        loop {
            let close = from + body.get(from..)?.find(end)?;
            let slashes = body.get(..close)?.bytes().rev().take_while(|c| *c == b'\\').count();
            if slashes % 2 == 0 {
                self.at += close + 2 * end.len();
                return Some(unescaped(body.get(..close)?));
            }
            from = close + 1;
        }
    }

    fn items(&mut self, close: char, depth: usize) -> Option<Json<'t>> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.take(close) {
                return Some(Json::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.blank();
            if !self.take(',') && self.peek() != Some(close) {
                return None;
            }
        }
    }

    /// `key: value` or, in a call, `key=value`.
    fn pairs(&mut self, close: char, between: char, depth: usize) -> Option<Json<'t>> {
        self.at += 1;
        let mut fields = Fields::new();
        loop {
            self.blank();
            if self.take(close) {
                return Some(Json::object(fields));
            }
            let key = self.key(between)?;
            self.blank();
            if !self.take(between) {
                return None;
            }
            fields.push((key, self.value(depth + 1)?));
            self.blank();
            if !self.take(',') && self.peek() != Some(close) {
                return None;
            }
        }
    }

    fn key(&mut self, between: char) -> Option<Cow<'t, str>> {
        if matches!(self.peek(), Some('\'' | '"')) {
            return self.string();
        }
        let rest = self.rest();
        let key = rest.get(..rest.find([between, ',', '\n'])?)?.trim_end();
        self.at += key.len();
        Some(Cow::Borrowed(key)).filter(|key| !key.is_empty())
    }
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('\n') | None => {}
                Some(c @ ('\\' | '\'' | '"')) => out.push(c),
                Some(c) => out.extend(['\\', c]),
            },
            (c, _) => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_are_values() {
        for (text, json) in [
            (
                "{'loss': '1.5', 'n': 3, 'ok': True, 'no': None}",
                r#"{"loss":"1.5","n":3,"ok":true,"no":null}"#,
            ),
            ("dict(type='SGD', lr=0.02, betas=(0.9, 0.99,), sub=dict())", {
                r#"{"type":"SGD","lr":0.02,"betas":[0.9,0.99],"sub":{}}"#
            }),
            ("{'loss': np.float64(0.5), 'acc': tensor(1, device='cuda:0')}", r#"{"loss":0.5,"acc":1}"#),
            (r#"['it\'s', "a" 'b', -1e-3]"#, r#"["it's","ab",-0.001]"#),
        ] {
            let (value, used) = literal(text).unwrap();
            let wanted = super::super::json::parse(json.as_bytes()).unwrap().0;
            let show = |value: &Json<'_>| {
                let text: serde_json::Value = serde_json::from_str(&value.to_text()).unwrap();
                text.to_string()
            };
            assert_eq!((show(&value), used), (show(&wanted), text.len()), "{text}");
        }
        for text in ["", "{", "{'a'", "f(x)", "f(1)", "tensor(1", "[1 2]", "'abc", "{'a': x}", "dict(a"] {
            assert!(literal(text).is_none(), "{text}");
        }
    }

    #[test]
    fn only_plain_assignments_are_taken() {
        let text = "# c\nlr = 0.02  # fast\nmodel = dict(\n    type='Net',\n    n=[1, 2])\nx == 3\nimport os\ny = f(1)\nz = 1 + 2\nname = 'a'";
        let found = assignments(text);
        let names: Vec<&str> = found.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["lr", "model", "name"]);
    }

    proptest! {
        #[test]
        fn random_text_never_panics(text in "\\PC*", code in "[a{}()\\[\\]'\"=:,# \\\\\n0-9]*") {
            for text in [text, code] {
                literal(&text);
                assignments(&text);
            }
        }
    }
}
