//! Dialects: the ways in which scripts print a row of metrics.

use super::{fairseq, general, hf, json, llmc, megatron, mm, nanogpt, torchtune};
use crate::sources::parse::json::{Fields, Json, parse_number_like};
use std::borrow::Cow;

/// One way to print metrics.
pub struct Dialect {
    /// Its name.
    #[cfg_attr(not(test), allow(dead_code))]
    pub name: &'static str,
    /// Reads a message without the time, rank and logger before it.
    pub read: for<'l> fn(&'l str) -> Option<Row<'l>>,
    /// Messages, and what they say as JSON.
    #[cfg_attr(not(test), allow(dead_code))]
    pub samples: &'static [(&'static str, &'static str)],
}

/// All dialects, the most telling first.
pub static ALL: &[&Dialect] = &[
    &mm::DIALECT,
    &nanogpt::DIALECT,
    &llmc::DIALECT,
    &megatron::DIALECT,
    &hf::DIALECT,
    &torchtune::DIALECT,
    &fairseq::DIALECT,
    &json::DIALECT,
    &general::DIALECT,
];

/// What a line says.
#[derive(Debug, Default)]
pub struct Row<'l> {
    /// Its place and its metrics, as rows of [`Tracker`](crate::sources::parse::rows::Tracker).
    pub fields: Fields<'l>,
    /// The steps the run means to make.
    pub planned_steps: Option<i64>,
    /// Whether the form alone says that a training script printed it.
    pub is_telling: bool,
    /// Whether it makes sense only after rows that tell a step.
    pub needs_step: bool,
    /// What else the line says of its place.
    pub place: Place,
}

/// What a line says of its place beside its fields.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Whether it tells a place or a split only: that of the lines below it.
    pub is_header: bool,
    /// Whether its names tell no split, and nothing but its form says that it is a row.
    pub is_bare: bool,
    /// Whether a number at the start of the line tells the step.
    pub is_leading: bool,
    /// Whether the line holds no row, but speaks of another step: `best iteration is:`.
    pub is_aside: bool,
    /// The split that its metrics are of.
    pub split: Option<&'static str>,
    /// The epochs that the run means to make.
    pub epochs: Option<i64>,
    /// A count of so many.
    pub count: Option<Count>,
}

/// How far a loop is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// The field that holds it.
    pub field: &'static str,
    /// Done so far.
    pub done: i64,
    /// Of so many.
    pub total: i64,
    /// Whether it counts batches of an epoch, by its name or form; else it may count the whole run.
    pub is_inner: bool,
}

impl<'l> Row<'l> {
    /// A row of a script whose lines look like no other's.
    pub fn telling() -> Self {
        Self { is_telling: true, ..Self::default() }
    }

    /// Adds a number; false where the text is none.
    pub fn number(&mut self, key: impl Into<Cow<'l, str>>, text: &'l str) -> bool {
        let text = text.trim();
        let number = parse_number_like(text);
        if let Some(number) = number {
            self.fields.push((key.into(), Json::Number(number, text.as_bytes())));
        }
        number.is_some()
    }

    /// Adds a whole number that was computed.
    pub fn count(&mut self, key: impl Into<Cow<'l, str>>, count: i64) {
        self.fields.push((key.into(), Json::Number(count as f64, b"")));
    }

    /// The row, if it has more fields than `places`.
    pub fn beyond(self, places: usize) -> Option<Self> {
        (self.fields.len() > places).then_some(self)
    }
}

/// Reads an item such as `loss 2.5` or `lm loss value: 2.5E+00`: a name, then a number.
pub fn item(text: &str) -> Option<(&str, &str)> {
    let (key, value) = match text.rsplit_once(':') {
        Some(parts) => parts,
        None => text.trim().rsplit_once(char::is_whitespace)?,
    };
    let (key, value) = (key.trim(), value.trim());
    (!key.is_empty() && parse_number_like(value).is_some()).then_some((key, value))
}

/// A whole number.
pub fn whole(text: &str) -> Option<&str> {
    let text = text.trim();
    let is_whole = !text.is_empty() && text.len() <= 18 && text.bytes().all(|c| c.is_ascii_digit());
    is_whole.then_some(text)
}
