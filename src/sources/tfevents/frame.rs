//! TFRecord framing, as TensorFlow's `RecordWriter` writes it: length (u64), masked CRC-32C of the
//! length, data, masked CRC-32C of the data; all little-endian, no file header.

use crate::sources::parse::window::Window;
use std::io;

/// Bytes before the data.
pub(super) const HEADER_BYTES: usize = 12;
const FOOTER_BYTES: usize = 4;
/// No protobuf message is longer: such a length is damage.
const MAX_LENGTH: u64 = 1 << 31;
/// Longer records (graphs, images) are stepped over without being read: they hold no scalar.
const MAX_READ: u64 = 64 << 20;

/// What stands next in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// A record; [`Frames::record`] gives its bytes.
    Record,
    /// A record with damaged data at a byte; reading goes on behind it.
    Damage { at: u64 },
    /// A damaged length at a byte: nothing behind it can be found again.
    Lost { at: u64 },
    /// Nothing complete follows (yet).
    End,
}

/// Iterates over the records of an event file.
pub(super) struct Frames<'a> {
    window: Window<'a>,
    length: usize,
    size: usize,
}

impl<'a> Frames<'a> {
    /// Reads from the window's place on, where a record begins.
    pub(super) fn new(window: Window<'a>) -> Self {
        Frames { window, length: 0, size: 0 }
    }

    /// Offset of the record found last, or of what comes next when there is none.
    pub(super) fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// The bytes of the record found last.
    pub(super) fn record(&self) -> &[u8] {
        self.window.view().get(HEADER_BYTES..HEADER_BYTES + self.length).unwrap_or_default()
    }

    /// Finds the next record.
    pub(super) fn next(&mut self) -> io::Result<Found> {
        self.window.advance(self.size);
        (self.length, self.size) = (0, 0);
        loop {
            let at = self.window.offset();
            if !self.window.fill(HEADER_BYTES)? {
                return Ok(Found::End);
            }
            let Some(length) = length(self.window.view()) else {
                // Zeros are space that a crash or a network file system left unwritten.
                let unwritten = self.window.view().iter().take(HEADER_BYTES).all(|byte| *byte == 0);
                return Ok(if unwritten { Found::End } else { Found::Lost { at } });
            };
            if length <= MAX_READ {
                return self.take(at, length as usize);
            }
            let end = at + HEADER_BYTES as u64 + length + FOOTER_BYTES as u64;
            if end > self.window.file_size()? {
                return Ok(Found::End);
            }
            self.window.skip_to(end)?;
        }
    }

    fn take(&mut self, at: u64, length: usize) -> io::Result<Found> {
        let size = HEADER_BYTES + length + FOOTER_BYTES;
        if !self.window.fill(size)? {
            return Ok(Found::End);
        }
        (self.length, self.size) = (length, size);
        let stored = self.window.view().get(HEADER_BYTES + length..size).unwrap_or_default();
        if masked_crc(self.record()).to_le_bytes() == stored {
            Ok(Found::Record)
        } else {
            Ok(Found::Damage { at })
        }
    }
}

/// The length in the header of a record; `None` when the header is damaged.
pub(super) fn length(header: &[u8]) -> Option<u64> {
    let bytes: [u8; 8] = header.get(..8)?.try_into().ok()?;
    let stored: [u8; 4] = header.get(8..HEADER_BYTES)?.try_into().ok()?;
    let length = u64::from_le_bytes(bytes);
    (masked_crc(&bytes).to_le_bytes() == stored && length <= MAX_LENGTH).then_some(length)
}

/// CRC-32C in the form the format stores: rotated by 15 bits, a constant added.
pub(in crate::sources) fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}
