//! Reads a growing text file line by line, in chunks, and always knows the byte offset of the
//! first line that is not read yet.

use super::ReadSeek;
use std::io::{self, Read};

/// Lines longer than this are passed over.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A buffered reader over complete lines.
pub struct Lines<'l> {
    input: &'l mut dyn ReadSeek,
    chunk_bytes: usize,
    buffer: Vec<u8>,
    /// Where the bytes not read yet begin in `buffer`.
    start: usize,
    /// How many bytes behind `start` hold no line end.
    searched: usize,
    /// File offset of `start`.
    offset: u64,
}

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'b> {
    /// Its bytes without the line end.
    pub bytes: &'b [u8],
    /// Where it begins in the file.
    pub offset: u64,
    /// Whether it is ended; the last line of a growing file often is not.
    pub ended: bool,
    /// Whether it was too long to keep; `bytes` is empty then.
    pub too_long: bool,
}

impl<'l> Lines<'l> {
    /// Reads `input`, which stands at `offset`.
    pub fn new(input: &'l mut dyn ReadSeek, offset: u64, chunk_bytes: usize) -> Self {
        let chunk_bytes = chunk_bytes.max(1);
        Self { input, chunk_bytes, buffer: Vec::new(), start: 0, searched: 0, offset }
    }

    /// File offset of the first byte not read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes at hand that were not read yet.
    pub fn window(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Brings in another chunk; false at the end of the file.
    pub fn more(&mut self) -> io::Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(self.chunk_bytes);
        let read = Read::take(&mut *self.input, self.chunk_bytes as u64).read_to_end(&mut self.buffer)?;
        Ok(read > 0)
    }

    /// Passes bytes of the window.
    pub fn advance(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
        self.searched = 0;
    }

    /// The next line, which stays unread until [`Lines::pass`]; `None` at the end.
    pub fn peek(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut dropped = 0;
        loop {
            let rest = self.buffer.get(self.start + self.searched..).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', rest) {
                let length = self.searched + found;
                return Ok(Some(self.line(length, true, dropped)));
            }
            self.searched += rest.len();
            if self.searched > MAX_LINE_BYTES {
                dropped += self.searched as u64;
                self.buffer.clear();
                (self.start, self.searched) = (0, 0);
            }
            if !self.more()? {
                let length = self.searched;
                let nothing = length == 0 || dropped > 0;
                return Ok(if nothing { None } else { Some(self.line(length, false, 0)) });
            }
        }
    }

    fn line(&mut self, length: usize, ended: bool, dropped: u64) -> Line<'_> {
        let offset = self.offset;
        self.offset += dropped;
        self.searched = length;
        let bytes = self.buffer.get(self.start..self.start + length).unwrap_or_default();
        match dropped {
            0 => Line { bytes, offset, ended, too_long: false },
            _ => Line { bytes: &[], offset, ended, too_long: true },
        }
    }

    /// Passes the line that [`Lines::peek`] showed, with its end if it has one.
    pub fn pass(&mut self) {
        let ended = self.buffer.get(self.start + self.searched) == Some(&b'\n');
        self.advance(self.searched + usize::from(ended));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_and_offsets_do_not_depend_on_the_chunk() {
        let text = b"one\n\ntwo three\r\nlast";
        for chunk in 1..30 {
            let mut input = Cursor::new(&text[..]);
            let mut lines = Lines::new(&mut input, 0, chunk);
            let mut seen = Vec::new();
            while let Some(line) = lines.peek().unwrap() {
                seen.push((line.bytes.to_vec(), line.offset, line.ended));
                lines.pass();
            }
            assert_eq!(lines.offset(), text.len() as u64);
            let expected: Vec<(&[u8], u64, bool)> =
                vec![(b"one", 0, true), (b"", 4, true), (b"two three\r", 5, true), (b"last", 16, false)];
            assert_eq!(seen, expected.into_iter().map(|(t, o, e)| (t.to_vec(), o, e)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_without_end_in_sight_is_passed_over() {
        let mut text = vec![b'x'; MAX_LINE_BYTES * 2];
        text.extend_from_slice(b"\nnext\n");
        let mut input = Cursor::new(text);
        let mut lines = Lines::new(&mut input, 0, 1 << 20);
        assert!(lines.peek().unwrap().unwrap().too_long);
        lines.pass();
        let line = lines.peek().unwrap().unwrap();
        assert_eq!((line.bytes, line.offset), (&b"next"[..], MAX_LINE_BYTES as u64 * 2 + 1));
    }
}
