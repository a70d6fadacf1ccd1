//! A moving view over a growing file: memory stays at the size of one record, whatever the file.

use crate::sources::ReadSeek;
use std::io::{self, Read, SeekFrom};

/// Bytes from a position on, read a piece at a time.
pub(crate) struct Window<'a> {
    bytes: &'a mut dyn ReadSeek,
    piece: usize,
    held: Vec<u8>,
    start: usize,
    offset: u64,
}

impl<'a> Window<'a> {
    /// A view over `bytes`, which stand at `offset`; reads `piece` bytes at a time.
    pub(crate) fn new(bytes: &'a mut dyn ReadSeek, offset: u64, piece: usize) -> Self {
        Window { bytes, piece: piece.max(1), held: Vec::new(), start: 0, offset }
    }

    /// File offset of the first byte in view.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// The bytes in view.
    pub(crate) fn view(&self) -> &[u8] {
        self.held.get(self.start..).unwrap_or_default()
    }

    /// Brings at least `count` bytes into view; `false` when the file ends before. Memory grows
    /// with what the file really holds, not with `count`.
    pub(crate) fn fill(&mut self, count: usize) -> io::Result<bool> {
        while self.view().len() < count {
            if !self.more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Brings another piece into view; `false` at the end of the file.
    pub(crate) fn more(&mut self) -> io::Result<bool> {
        self.held.drain(..self.start);
        self.start = 0;
        self.held.reserve(self.piece);
        let read = Read::take(&mut *self.bytes, self.piece as u64).read_to_end(&mut self.held)?;
        Ok(read > 0)
    }

    /// Moves the view `count` bytes on, no further than what it holds.
    pub(crate) fn advance(&mut self, count: usize) {
        let count = count.min(self.view().len());
        self.start += count;
        self.offset += count as u64;
    }

    /// Moves the view on to the offset `to` without reading what lies between.
    pub(crate) fn skip_to(&mut self, to: u64) -> io::Result<()> {
        let ahead = to.saturating_sub(self.offset);
        if ahead <= self.view().len() as u64 {
            self.advance(ahead as usize);
            return Ok(());
        }
        self.bytes.seek(SeekFrom::Start(to))?;
        self.held.clear();
        self.start = 0;
        self.offset = to;
        Ok(())
    }

    /// Size of the file now. The place of reading is kept.
    pub(crate) fn file_size(&mut self) -> io::Result<u64> {
        let here = self.offset + self.view().len() as u64;
        let size = self.bytes.seek(SeekFrom::End(0))?;
        self.bytes.seek(SeekFrom::Start(here))?;
        Ok(size)
    }
}
