//! YAML as training scripts and trackers write it, with the tags of Python, as values of JSON.
//!
//! Values are put together from the parser's events, without recursion, so that neither depth nor
//! aliases of aliases cost more than what is checked here.

use super::json::{Fields, Json};
use anyhow::{Context, bail};
use saphyr::{Scalar, ScalarStyle, Tag};
use saphyr_parser::{Event, Parser};
use std::borrow::Cow;
use std::collections::HashMap;

/// Nesting beyond this is refused.
const MAX_DEPTH: usize = 100;

/// What anchors, aliases and the text of keys that are lists or mappings may add to a document of
/// any size, for each of its bytes besides, and at most.
const COPIED_BYTES: usize = 1 << 20;
const COPIED_BYTES_A_BYTE: usize = 16;
const MAX_COPIED_BYTES: usize = 64 << 20;

/// Keys that are lists or mappings and larger than this are refused.
const MAX_KEY_BYTES: usize = 64 << 10;

/// What a value costs besides its text.
const NODE_BYTES: usize = 64;

/// The first document of a text; null when there is none.
pub fn parse(text: &str) -> anyhow::Result<Json<'static>> {
    let may_copy_bytes = COPIED_BYTES.saturating_add(text.len().saturating_mul(COPIED_BYTES_A_BYTE));
    let mut document = Document {
        root: Json::Null,
        is_whole: false,
        open: Vec::new(),
        anchors: HashMap::new(),
        may_copy_bytes: may_copy_bytes.min(MAX_COPIED_BYTES),
    };
    for event in Parser::new_from_str(text) {
        let (event, _) = event.context("no YAML")?;
        if !document.is_whole {
            document.take(event)?;
        }
    }
    Ok(document.root)
}

/// A document while its events come in.
struct Document {
    root: Json<'static>,
    is_whole: bool,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    may_copy_bytes: usize,
}

/// A value and about how many bytes it takes.
#[derive(Clone)]
struct Node {
    value: Json<'static>,
    size_bytes: usize,
}

/// A list or mapping whose end is still to come.
struct Open {
    items: Items,
    anchor: usize,
    size_bytes: usize,
}

enum Items {
    List(Vec<Json<'static>>),
    /// Fields so far, and the key whose value is next.
    Mapping(Fields<'static>, Option<String>),
}

impl Document {
    fn take(&mut self, event: Event<'_>) -> anyhow::Result<()> {
        match event {
            Event::SequenceStart(anchor, _) => self.open(Items::List(Vec::new()), anchor),
            Event::MappingStart(anchor, _) => self.open(Items::Mapping(Vec::new(), None), anchor),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Scalar(text, style, anchor, tag) => {
                let size_bytes = NODE_BYTES + text.len();
                self.put(Node { value: scalar(text, style, tag), size_bytes }, anchor)
            }
            Event::Alias(anchor) => {
                let size_bytes = self.anchors.get(&anchor).map_or(0, |node| node.size_bytes);
                self.spend(size_bytes)?;
                let value = self.anchors.get(&anchor).map_or(Json::Null, |node| node.value.clone());
                self.put(Node { value, size_bytes }, 0)
            }
            Event::DocumentEnd => {
                self.is_whole = true;
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => Ok(()),
        }
    }

    fn open(&mut self, items: Items, anchor: usize) -> anyhow::Result<()> {
        if self.open.len() >= MAX_DEPTH {
            bail!("nested too deeply");
        }
        self.open.push(Open { items, anchor, size_bytes: NODE_BYTES });
        Ok(())
    }

    fn close(&mut self) -> anyhow::Result<()> {
        let Some(Open { items, anchor, size_bytes }) = self.open.pop() else { return Ok(()) };
        let value = match items {
            Items::List(items) => Json::Array(items),
            Items::Mapping(fields, _) => Json::object(fields),
        };
        self.put(Node { value, size_bytes }, anchor)
    }

    /// Puts a finished value where it belongs.
    fn put(&mut self, node: Node, anchor: usize) -> anyhow::Result<()> {
        // Valid anchors begin at 1.
        if anchor > 0 {
            self.spend(node.size_bytes)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(mut parent) = self.open.pop() else {
            self.root = node.value;
            return Ok(());
        };
        parent.size_bytes += node.size_bytes;
        match &mut parent.items {
            Items::List(items) => items.push(node.value),
            Items::Mapping(fields, next) => match next.take() {
                Some(key) => fields.push((Cow::Owned(key), node.value)),
                None => {
                    let key = self.key(node)?;
                    parent.size_bytes += key.len();
                    *next = Some(key);
                }
            },
        }
        self.open.push(parent);
        Ok(())
    }

    /// A key that is a mapping with such keys grows with each level, as its quotes are escaped.
    fn key(&mut self, node: Node) -> anyhow::Result<String> {
        let text = match node.value {
            Json::String(text) => return Ok(text.into_owned()),
            _ if node.size_bytes > MAX_KEY_BYTES => bail!("a key is too long"),
            other => other.to_text(),
        };
        self.spend(text.len())?;
        Ok(text)
    }

    fn spend(&mut self, bytes: usize) -> anyhow::Result<()> {
        let left = self.may_copy_bytes.checked_sub(bytes);
        self.may_copy_bytes = left.context("the aliases stand for too much")?;
        Ok(())
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<Cow<'_, Tag>>) -> Json<'static> {
    // Python's own tags are not in the schema that `!!` stands for.
    let foreign = tag.as_ref().filter(|tag| !tag.is_yaml_core_schema() || tag.suffix.starts_with("python/"));
    let Some(foreign) = foreign else {
        return Scalar::parse_from_cow_and_metadata(text, style, tag.as_ref()).map_or(Json::Null, value_of);
    };
    match Scalar::parse_from_cow_and_metadata(text, style, None).map_or(Json::Null, value_of) {
        // `!python/name:torch.nn.ReLU ''`: the name is the value.
        Json::String(text) if text.is_empty() => name_of_tag(&foreign.suffix),
        Json::Null => name_of_tag(&foreign.suffix),
        value => value,
    }
}

fn name_of_tag(suffix: &str) -> Json<'static> {
    let name = suffix.rsplit(':').next().unwrap_or(suffix);
    Json::String(Cow::Owned(name.to_string()))
}

fn value_of(scalar: Scalar<'_>) -> Json<'static> {
    match scalar {
        Scalar::Null => Json::Null,
        Scalar::Boolean(flag) => Json::Bool(flag),
        Scalar::Integer(number) => integer(number),
        Scalar::FloatingPoint(number) => Json::Number(number.into_inner(), b""),
        Scalar::String(text) => Json::String(Cow::Owned(text.into_owned())),
    }
}

/// Whole numbers that a double cannot hold stay exact as text.
pub fn integer(number: i64) -> Json<'static> {
    match number.unsigned_abs() <= 1 << 53 {
        true => Json::Number(number as f64, b""),
        false => Json::String(Cow::Owned(number.to_string())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn nesting_without_end_is_refused() {
        for text in ["- ", "? ", ": ", "-\t", "- ? ", "[", "{", "[{", "{? ", "a: ["] {
            assert!(parse(&text.repeat(100_000)).is_err(), "{text}");
        }
        for sign in ["a:", "?", "-", "- - - -"] {
            let lines = (0..3000).map(|column| format!("{}{sign}\n", " ".repeat(column)));
            assert!(parse(&lines.collect::<String>()).is_err(), "{sign}");
        }
    }

    #[test]
    fn nesting_is_read_to_its_limit() {
        let nested = |depth| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(parse(&nested(MAX_DEPTH)).unwrap().to_text(), nested(MAX_DEPTH));
        assert!(parse(&nested(MAX_DEPTH + 1)).is_err());
        assert!(parse("a: b - c - d\n# - - -\n---\n").is_ok());
    }

    #[test]
    fn aliases_are_what_they_stand_for() {
        let text = "a: &a [1, &b x]\nb: *b\nc: {d: *a, *b : 2}\nnone: *a\n";
        let read = parse(text).unwrap().to_text();
        assert_eq!(read, r#"{"a": [1, "x"], "b": "x", "c": {"d": [1, "x"], "x": 2}, "none": [1, "x"]}"#);
        assert!(parse("a: *unknown\n").is_err());
    }

    /// A billion laughs: each line stands for eight times the line before, in values or in keys; or
    /// one long text is named again and again.
    #[test]
    fn aliases_that_stand_for_too_much_are_refused() {
        let lines = |list: &dyn Fn(&str) -> String| {
            let first = format!("a0: &a0 {}\n", list("x"));
            let rest = (1..12).map(|i| format!("a{i}: &a{i} {}\n", list(&format!("*a{} ", i - 1))));
            first + &rest.collect::<String>()
        };
        let eight = |item: &str| [item; 8].join(",");
        assert!(parse(&lines(&|item| format!("[{}]", eight(item)))).is_err());
        assert!(parse(&lines(&|item| format!("{{? [{}] : 1}}", eight(item)))).is_err());
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(30_000), "*a ,".repeat(8_000));
        assert!(parse(&long).is_err());
    }

    /// The quotes of a key in a key in a key are escaped anew on each level.
    #[test]
    fn keys_of_keys_are_refused_where_they_grow_without_end() {
        let nested = |depth| format!("{}a: b{}", "{? {".repeat(depth), "}: c}".repeat(depth));
        assert_eq!(parse("{? {a: b}: c}").unwrap().to_text(), r#"{"{\"a\": \"b\"}": "c"}"#);
        assert!(parse(&nested(40)).is_err());
    }

    #[test]
    fn of_repeated_keys_the_last_counts_and_of_documents_the_first() {
        assert_eq!(parse("a: 1\nb: 2\na: 3\n---\nc: 4\n").unwrap().to_text(), r#"{"b": 2, "a": 3}"#);
        assert_eq!(parse("").unwrap(), Json::Null);
    }
}
