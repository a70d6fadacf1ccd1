//! The protobuf wire format, read in place: for the messages of which a log holds millions, where
//! an allocation per field would be most of the work. Rare messages go through `prost`.

use std::fmt;

/// The bytes are no protobuf message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record is no valid protobuf message")
    }
}

impl std::error::Error for Broken {}

/// A field's content, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Wire<'a> {
    /// int32, int64, uint64, sint64 (still zigzag), bool, enum.
    Varint(u64),
    /// double, fixed64.
    Bits64(u64),
    /// string, bytes, message, packed list.
    Bytes(&'a [u8]),
    /// float, fixed32.
    Bits32(u32),
}

impl<'a> Wire<'a> {
    /// The bytes of a string, message or packed list; empty for any other wire type.
    pub(crate) fn bytes(self) -> &'a [u8] {
        match self {
            Wire::Bytes(bytes) => bytes,
            _ => &[],
        }
    }

    /// The text of a string; anything that is no UTF-8 is broken.
    pub(crate) fn text(self) -> Result<&'a str, Broken> {
        std::str::from_utf8(self.bytes()).map_err(|_| Broken)
    }

    /// The integer of a varint field; 0 for any other wire type.
    pub(crate) fn int(self) -> i64 {
        match self {
            Wire::Varint(value) => value as i64,
            _ => 0,
        }
    }

    /// The number of a double field; 0 for any other wire type.
    pub(crate) fn double(self) -> f64 {
        match self {
            Wire::Bits64(bits) => f64::from_bits(bits),
            _ => 0.0,
        }
    }
}

/// The fields of a message in their order on the wire.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and content; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Broken> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = varint(&mut self.0)?;
        let field = u32::try_from(tag >> 3).map_err(|_| Broken)?;
        let content = match tag & 7 {
            0 => Wire::Varint(varint(&mut self.0)?),
            1 => Wire::Bits64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(varint(&mut self.0)?).map_err(|_| Broken)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Bits32(u32::from_le_bytes(self.array()?)),
            _ => return Err(Broken),
        };
        Ok(Some((field, content)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Broken> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Broken)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Broken> {
        self.take(N)?.try_into().map_err(|_| Broken)
    }
}

/// Takes a varint off the front of `bytes`.
pub(crate) fn varint(bytes: &mut &[u8]) -> Result<u64, Broken> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *bytes = &bytes[index + 1..];
            return Ok(value);
        }
    }
    Err(Broken)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn reads_every_wire_type_and_rejects_groups_and_short_fields() {
        let mut fields = Fields(&[0x08, 0x96, 0x01, 0x12, 0x02, b'h', b'i', 0x1d, 1, 0, 0, 0]);
        assert_eq!(fields.next().unwrap(), Some((1, Wire::Varint(150))));
        assert_eq!(fields.next().unwrap().unwrap().1.text(), Ok("hi"));
        assert_eq!(fields.next().unwrap(), Some((3, Wire::Bits32(1))));
        assert_eq!(fields.next().unwrap(), None);
        assert_eq!(Fields(&[0x0b]).next(), Err(Broken));
        assert_eq!(Fields(&[0x12, 0x7f, 1]).next(), Err(Broken));
        assert_eq!(Fields(&[0xff; 12]).next(), Err(Broken));
    }
}
