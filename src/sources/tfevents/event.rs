//! The messages of an event file (package `tensorboard`, numbers as of TensorBoard 2.21), read in
//! place: images, histograms and graphs are stepped over by their length.

use crate::sources::parse::json::Json;
use crate::sources::parse::wire::{Broken, Fields, Wire, varint};
use std::borrow::Cow;

/// Hyperparameters nested deeper are left out.
const MAX_DEPTH: usize = 64;

/// An `Event`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Event<'a> {
    /// Unix seconds; 0 when unknown.
    pub wall_time: f64,
    /// Step; absent means 0.
    pub step: i64,
    /// What happened.
    pub what: What<'a>,
}

/// The part of an event that is of use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum What<'a> {
    /// The bytes of a `Summary`.
    Summary(&'a [u8]),
    /// A `SessionLog` that says a session starts (again).
    Start,
    /// Anything else.
    Other,
}

/// Reads an event.
pub(super) fn event(bytes: &[u8]) -> Result<Event<'_>, Broken> {
    let mut event = Event { wall_time: 0.0, step: 0, what: What::Other };
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        match field {
            1 => event.wall_time = content.double(),
            2 => event.step = content.int(),
            5 => event.what = What::Summary(content.bytes()),
            7 if first(content.bytes(), 1)?.is_some_and(|status| status.int() == 1) => {
                event.what = What::Start;
            }
            _ => {}
        }
    }
    Ok(event)
}

/// A `Summary.Value`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Value<'a> {
    /// Name.
    pub tag: &'a str,
    /// `simple_value`.
    pub simple: Option<f32>,
    /// The bytes of a `TensorProto`.
    pub tensor: Option<&'a [u8]>,
    /// Metadata, which only the first value of a tag must have.
    pub metadata: Option<Metadata<'a>>,
}

/// A `SummaryMetadata`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Metadata<'a> {
    /// The plugin that shows the value.
    pub plugin: &'a str,
    /// A message of that plugin.
    pub content: &'a [u8],
    /// 1 scalar, 2 tensor, 3 blob sequence, 0 unknown.
    pub data_class: i64,
}

/// Reads a value of a summary.
pub(super) fn value(bytes: &[u8]) -> Result<Value<'_>, Broken> {
    let mut value = Value::default();
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        match (field, content) {
            (1, content) => value.tag = content.text()?,
            (2, Wire::Bits32(bits)) => value.simple = Some(f32::from_bits(bits)),
            (8, Wire::Bytes(tensor)) => value.tensor = Some(tensor),
            (9, Wire::Bytes(bytes)) => value.metadata = Some(metadata(bytes)?),
            _ => {}
        }
    }
    Ok(value)
}

fn metadata(bytes: &[u8]) -> Result<Metadata<'_>, Broken> {
    let mut metadata = Metadata::default();
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        match field {
            1 => {
                let mut plugin = Fields(content.bytes());
                while let Some((field, content)) = plugin.next()? {
                    match field {
                        1 => metadata.plugin = content.text()?,
                        2 => metadata.content = content.bytes(),
                        _ => {}
                    }
                }
            }
            4 => metadata.data_class = content.int(),
            _ => {}
        }
    }
    Ok(metadata)
}

/// The first occurrence of a field.
fn first(bytes: &[u8], wanted: u32) -> Result<Option<Wire<'_>>, Broken> {
    let mut fields = Fields(bytes);
    while let Some((field, content)) = fields.next()? {
        if field == wanted {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

/// The shape of a tensor: dimensions and elements. An absent shape is that of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    /// Number of dimensions.
    pub rank: usize,
    /// Product of the dimensions; `None` when unknown.
    pub elements: Option<u64>,
}

/// The shape of a tensor.
pub(super) fn shape(tensor: &[u8]) -> Result<Shape, Broken> {
    let mut shape = Shape { rank: 0, elements: Some(1) };
    let mut dims = Fields(first(tensor, 2)?.map_or(&[][..], Wire::bytes));
    while let Some((field, content)) = dims.next()? {
        match field {
            2 => {
                let size = first(content.bytes(), 1)?.map_or(0, Wire::int);
                let size = u64::try_from(size).ok();
                shape.rank = shape.rank.saturating_add(1);
                shape.elements = shape.elements.zip(size).and_then(|(a, b)| a.checked_mul(b));
            }
            3 if content.int() != 0 => shape = Shape { rank: usize::MAX, elements: None },
            _ => {}
        }
    }
    Ok(shape)
}

/// Element 0 of a numeric tensor; `None` for other types. Raw content wins over the typed list; an
/// empty list stands for zeros.
pub(super) fn number(tensor: &[u8]) -> Result<Option<f64>, Broken> {
    let dtype = first(tensor, 1)?.map_or(0, Wire::int);
    let Some(list) = typed_list(dtype) else { return Ok(None) };
    if let Some(content) = first(tensor, 4)?.map(Wire::bytes).filter(|bytes| !bytes.is_empty()) {
        return Ok(from_content(dtype, content));
    }
    let element = match first(tensor, list)? {
        None => Wire::Varint(0),
        Some(Wire::Bytes(mut packed)) => match dtype {
            1 => Wire::Bits32(head(packed).map_or(0, u32::from_le_bytes)),
            2 => Wire::Bits64(head(packed).map_or(0, u64::from_le_bytes)),
            _ if packed.is_empty() => Wire::Varint(0),
            _ => Wire::Varint(varint(&mut packed)?),
        },
        Some(element) => element,
    };
    Ok(Some(match element {
        Wire::Bits32(bits) => f64::from(f32::from_bits(bits)),
        Wire::Bits64(bits) => f64::from_bits(bits),
        Wire::Varint(raw) => from_varint(dtype, raw),
        Wire::Bytes(_) => return Err(Broken),
    }))
}

/// The field of the typed list that holds elements of a numeric `DataType`.
fn typed_list(dtype: i64) -> Option<u32> {
    Some(match dtype {
        1 => 5,
        2 => 6,
        3..=6 | 17 => 7,
        9 => 10,
        10 => 11,
        14 | 19 => 13,
        22 => 16,
        23 => 17,
        _ => return None,
    })
}

fn from_varint(dtype: i64, raw: u64) -> f64 {
    match dtype {
        14 => bfloat16(raw as u16),
        19 => float16(raw as u16),
        22 | 23 => raw as f64,
        _ => raw as i64 as f64,
    }
}

/// Element 0 of raw little-endian content.
fn from_content(dtype: i64, bytes: &[u8]) -> Option<f64> {
    Some(match dtype {
        1 => f64::from(f32::from_le_bytes(head(bytes)?)),
        2 => f64::from_le_bytes(head(bytes)?),
        3 => f64::from(i32::from_le_bytes(head(bytes)?)),
        4 => f64::from(u8::from_le_bytes(head(bytes)?)),
        5 => f64::from(i16::from_le_bytes(head(bytes)?)),
        6 => f64::from(i8::from_le_bytes(head(bytes)?)),
        9 => i64::from_le_bytes(head(bytes)?) as f64,
        10 => f64::from(u8::from(*bytes.first()? != 0)),
        14 => bfloat16(u16::from_le_bytes(head(bytes)?)),
        17 => f64::from(u16::from_le_bytes(head(bytes)?)),
        19 => float16(u16::from_le_bytes(head(bytes)?)),
        22 => f64::from(u32::from_le_bytes(head(bytes)?)),
        23 => u64::from_le_bytes(head(bytes)?) as f64,
        _ => return None,
    })
}

fn head<const N: usize>(bytes: &[u8]) -> Option<[u8; N]> {
    bytes.first_chunk::<N>().copied()
}

/// The upper half of a float32.
fn bfloat16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// IEEE half precision: 5 bits of exponent, 10 of fraction.
fn float16(bits: u16) -> f64 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let fraction = f64::from(bits & 0x3ff);
    sign * match (bits >> 10) & 0x1f {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2f64.powi(i32::from(exponent) - 15),
    }
}

/// The strings of a string tensor, joined by line ends; `None` for other types.
pub(super) fn text(tensor: &[u8]) -> Result<Option<String>, Broken> {
    if first(tensor, 1)?.map_or(0, Wire::int) != 7 {
        return Ok(None);
    }
    let mut parts = Vec::new();
    let mut fields = Fields(tensor);
    while let Some((field, content)) = fields.next()? {
        if field == 8 {
            parts.push(String::from_utf8_lossy(content.bytes()));
        }
    }
    Ok(Some(parts.join("\n")))
}

/// The hyperparameters in a message of the plugin `hparams`; `None` when it is not the start of a
/// session.
pub(super) fn session_hparams(content: &[u8]) -> Result<Option<Vec<(&str, Json<'_>)>>, Broken> {
    let Some(session) = first(content, 3)? else { return Ok(None) };
    let mut found = Vec::new();
    let mut fields = Fields(session.bytes());
    while let Some((field, entry)) = fields.next()? {
        if field == 1 {
            found.push(entry_of(entry.bytes(), MAX_DEPTH)?);
        }
    }
    Ok(Some(found))
}

/// An entry of a map from text to `google.protobuf.Value`.
fn entry_of(entry: &[u8], depth: usize) -> Result<(&str, Json<'_>), Broken> {
    let name = first(entry, 1)?.map_or(Ok(""), Wire::text)?;
    let value = first(entry, 2)?.map_or(&[][..], Wire::bytes);
    Ok((name, json(value, depth)?))
}

/// A value. All its numbers are doubles, integers too: what is integral is shown so.
fn json(value: &[u8], depth: usize) -> Result<Json<'_>, Broken> {
    let depth = depth.checked_sub(1).ok_or(Broken)?;
    let Some((field, content)) = Fields(value).next()? else { return Ok(Json::Null) };
    Ok(match field {
        2 => Json::Number(content.double(), b""),
        3 => Json::String(Cow::Borrowed(content.text()?)),
        4 => Json::Bool(content.int() != 0),
        5 => {
            let mut map = Vec::new();
            let mut fields = Fields(content.bytes());
            while let Some((_, entry)) = fields.next()? {
                let (name, value) = entry_of(entry.bytes(), depth)?;
                map.push((Cow::Borrowed(name), value));
            }
            Json::object(map)
        }
        6 => {
            let mut list = Vec::new();
            let mut fields = Fields(content.bytes());
            while let Some((_, element)) = fields.next()? {
                list.push(json(element.bytes(), depth)?);
            }
            Json::Array(list)
        }
        _ => Json::Null,
    })
}
