//! The lines of a log differ in their values and hardly in anything else. What stands between the
//! values of one line is kept and compared with the next one: where it is the same, the keys need
//! not be read again.

use super::json::{Fields, Json, Marks, value_at};
use super::rows::{Keys, Tracker};

/// So many patterns are kept: rows of training, of validation, of a system monitor take turns.
const MAX_PATTERNS: usize = 8;

/// Patterns of the objects read so far.
#[derive(Default)]
pub struct Patterns {
    known: Vec<Pattern>,
    /// The pattern of the last object.
    last: usize,
    /// The place of the next one to be forgotten.
    oldest: usize,
}

/// An object without its values.
struct Pattern {
    keys: Keys,
    /// What stands before each value and behind the last one.
    text: Vec<u8>,
    /// Where each part of `text` ends.
    ends: Vec<usize>,
    /// The pattern that followed the last time.
    next: usize,
}

/// An object read by a pattern.
pub struct Known<'p, 'a> {
    /// Its keys.
    pub keys: &'p Keys,
    /// Their values.
    pub values: Vec<Json<'a>>,
    /// Bytes it took.
    pub used: usize,
}

impl Patterns {
    /// Reads an object that differs in its values only from one that was [learned](Patterns::learn).
    pub fn read<'a>(&mut self, bytes: &'a [u8]) -> Option<Known<'_, 'a>> {
        let likely = self.known.get(self.last)?.next;
        let others = (0..self.known.len()).filter(|at| *at != likely);
        let (at, values, used) = std::iter::once(likely).chain(others).find_map(|at| {
            let (values, used) = self.known.get(at)?.read(bytes)?;
            Some((at, values, used))
        })?;
        self.follow(at);
        Some(Known { keys: &self.known.get(at)?.keys, values, used })
    }

    /// Remembers what an object looks like, unless keys occur in it twice.
    pub fn learn(&mut self, bytes: &[u8], fields: &Fields<'_>, marks: &Marks, rows: &mut Tracker) {
        if fields.is_empty() || fields.len() != marks.values.len() {
            return;
        }
        let mut pattern = Pattern {
            keys: rows.keys(fields.iter().map(|(key, _)| key.as_ref())),
            text: Vec::new(),
            ends: Vec::with_capacity(fields.len() + 1),
            next: 0,
        };
        let mut from = 0;
        for (start, end) in marks.values.iter().copied().chain([(marks.end, marks.end)]) {
            pattern.text.extend_from_slice(bytes.get(from..start).unwrap_or_default());
            pattern.ends.push(pattern.text.len());
            from = end;
        }
        let at = self.place();
        pattern.next = at;
        if at == self.known.len() {
            self.known.push(pattern)
        } else {
            self.known[at] = pattern
        }
        self.follow(at);
    }

    fn place(&mut self) -> usize {
        if self.known.len() < MAX_PATTERNS {
            return self.known.len();
        }
        self.oldest = (self.oldest + 1) % MAX_PATTERNS;
        self.oldest
    }

    fn follow(&mut self, at: usize) {
        if let Some(last) = self.known.get_mut(self.last) {
            last.next = at;
        }
        self.last = at;
    }
}

impl Pattern {
    fn read<'a>(&self, bytes: &'a [u8]) -> Option<(Vec<Json<'a>>, usize)> {
        let (last, before) = self.ends.split_last()?;
        let mut values = Vec::with_capacity(before.len());
        let (mut at, mut from) = (0, 0);
        for end in before {
            let part = self.text.get(from..*end)?;
            if !bytes.get(at..)?.starts_with(part) {
                return None;
            }
            values.push(Json::Null);
            at = value_at(bytes, at + part.len(), values.last_mut()?).ok()?;
            from = *end;
        }
        let part = self.text.get(from..*last)?;
        bytes.get(at..)?.starts_with(part).then_some((values, at + part.len()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::json::parse_marked;
    use super::*;
    use crate::sources::testing::Memory;

    fn learn(patterns: &mut Patterns, rows: &mut Tracker, line: &[u8]) {
        let mut marks = Marks::default();
        let (value, _) = parse_marked(line, &mut marks).unwrap();
        let Json::Object(fields) = value else { panic!("no object") };
        patterns.learn(line, &fields, &marks, rows);
    }

    #[test]
    fn an_object_with_the_same_keys_is_read_as_by_the_parser() {
        let mut rows = Tracker::load("", &mut Memory::default());
        let mut patterns = Patterns::default();
        learn(&mut patterns, &mut rows, br#"{"step": 1, "a\u0062": 2.5, "note": "x"} "#);
        learn(&mut patterns, &mut rows, br#"{"step":1,"val":{"loss":2}}"#);
        for line in [
            r#"{"step": 20, "a\u0062": -1e-3, "note": "a \"word\""}"#,
            r#"{"step": 3, "a\u0062": NaN, "note": ["list", {"of": 1}]}{"next": 1}"#,
            r#"{"step":2,"val":null}"#,
        ] {
            let known = patterns.read(line.as_bytes()).unwrap();
            let (value, used) = super::super::json::parse(line.as_bytes()).unwrap();
            let Json::Object(fields) = value else { panic!("no object") };
            assert_eq!(known.used, used);
            let names: Vec<&str> = known.keys.names().collect();
            assert_eq!(names, fields.iter().map(|(key, _)| key.as_ref()).collect::<Vec<_>>());
            for (seen, (_, value)) in known.values.iter().zip(&fields) {
                assert_eq!(seen.to_text(), value.to_text());
            }
        }
        for line in [r#"{"step": 20}"#, r#"{"step": 1, "a\u0062": 2, "note": "#, "", r#"{"step":2,"val":x}"#]
        {
            assert!(patterns.read(line.as_bytes()).is_none(), "{line}");
        }
    }
}
