//! Framing of the logs of W&B and SwanLab: LevelDB's log format behind a 7-byte header of their own
//! (a word, a number, a version), with CRC-32 (IEEE, unmasked) over chunk type and payload.
//!
//! A record is one chunk or several, a chunk never crosses a 32 KiB block. The first Go writers
//! of W&B (before 0.17.6) counted blocks from behind the header; which of the two grids a file uses
//! shows at the first chunk that had to stop at the end of a block.

use super::window::Window;
use std::io;

/// Bytes of the file header.
pub(crate) const HEADER_BYTES: usize = 7;

/// The file header of a format.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its first bytes.
    pub magic: [u8; HEADER_BYTES - 1],
    /// The last version that is known; it follows the magic.
    pub last_version: u8,
    /// What to call the format.
    pub name: &'static str,
}

impl Header {
    /// Whether a file begins as one of this format; `None` while too little of it is there.
    pub(crate) fn is_of(&self, head: &[u8]) -> Option<bool> {
        match head.get(..HEADER_BYTES) {
            Some([magic @ .., version]) => Some(*magic == self.magic && *version <= self.last_version),
            _ if self.magic.starts_with(head) || head == self.magic => None,
            _ => Some(false),
        }
    }
}
const CHUNK_HEADER: usize = 7;
const BLOCK: u64 = 32 * 1024;
/// Assembled records beyond this are dropped with a problem; W&B itself allows far less.
const MAX_RECORD: usize = 256 << 20;

const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// What must be remembered between two readings of one file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub(crate) struct Memory {
    /// Where blocks begin: 0, or 7 for the early Go writers; unknown until a chunk tells.
    pub base: Option<u64>,
    /// Offset of damage that was told and lies behind the point of resumption.
    pub told: Option<u64>,
    /// The record whose later parts may follow has been told as lost.
    pub lost: bool,
}

/// What stands next in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record; [`Frames::record`] gives its bytes.
    Record,
    /// Damage at a byte; reading goes on behind it.
    Damage { at: u64, message: String },
    /// Nothing complete follows (yet).
    End,
}

/// A chunk as it stands at the place of reading.
enum Chunk {
    /// A valid one.
    Good { kind: u8, length: usize },
    /// Seven zero bytes: padding, or space not written yet.
    Zero,
    /// Not one. `length` is what it claims, where that fits into the block.
    Bad { message: &'static str, length: Option<usize> },
    /// The file ends inside.
    Short,
}

/// Iterates over the records of a log.
pub(crate) struct Frames<'a> {
    window: Window<'a>,
    header: &'static Header,
    /// See [`Memory`].
    pub memory: Memory,
    parts: Vec<u8>,
    whole: bool,
    length: usize,
    begun: Option<u64>,
    found: u64,
    resume: u64,
}

impl<'a> Frames<'a> {
    /// Reads from the window's place on, which is 0 or a place where a record begins.
    pub(crate) fn new(window: Window<'a>, header: &'static Header, memory: Memory) -> Self {
        let resume = window.offset();
        let (parts, whole, length, begun, found) = (Vec::new(), false, 0, None, 0);
        Frames { window, header, memory, parts, whole, length, begun, found, resume }
    }

    /// Where the next reading shall begin.
    pub(crate) fn resume(&self) -> u64 {
        self.resume
    }

    /// Offset of the record found last.
    pub(crate) fn found(&self) -> u64 {
        self.found
    }

    /// The bytes of the record found last.
    pub(crate) fn record(&self) -> &[u8] {
        if self.whole {
            self.window.view().get(CHUNK_HEADER..CHUNK_HEADER + self.length).unwrap_or_default()
        } else {
            &self.parts
        }
    }

    /// Finds the next record.
    pub(crate) fn next(&mut self) -> io::Result<Found> {
        self.drop_record();
        if self.window.offset() == 0 {
            match self.file_header()? {
                None => {}
                Some(found) => return Ok(found),
            }
        }
        loop {
            if !self.skip_trailer()? {
                return Ok(Found::End);
            }
            let at = self.window.offset();
            match self.chunk(0)? {
                Chunk::Short => return Ok(Found::End),
                Chunk::Good { kind, length } => {
                    self.settle_base(at, kind, length);
                    if let Some(found) = self.take(at, kind, length) {
                        return Ok(found);
                    }
                }
                Chunk::Zero => {
                    if !self.skip_block(at)? {
                        return Ok(Found::End);
                    }
                    if let Some(begun) = self.forget() {
                        return Ok(no_end(begun));
                    }
                }
                Chunk::Bad { message, length } => {
                    if let Some(found) = self.damage(at, message, length)? {
                        return Ok(found);
                    }
                }
            }
        }
    }

    /// Moves behind the record given out last; its end is a place to resume.
    fn drop_record(&mut self) {
        if self.whole {
            self.window.advance(CHUNK_HEADER + self.length);
            self.whole = false;
            self.resume = self.window.offset();
        }
        if self.begun.is_none() {
            self.parts.clear();
        }
    }

    fn file_header(&mut self) -> io::Result<Option<Found>> {
        if !self.window.fill(HEADER_BYTES)? {
            return Ok(Some(Found::End));
        }
        let good = self.header.is_of(self.window.view()) == Some(true);
        self.window.advance(HEADER_BYTES);
        self.resume = self.window.offset();
        Ok((!good).then(|| Found::Damage {
            at: 0,
            message: format!("the file header is not that of {}", self.header.name),
        }))
    }

    /// Bytes from `at` to the end of its block, for blocks counted from `base`.
    fn room(at: u64, base: u64) -> u64 {
        BLOCK - at.saturating_sub(base) % BLOCK
    }

    /// Steps over the padding at the end of a block; `false` when the file ends there. While the
    /// grid is unknown a valid chunk in the place of the padding shows the grid of base 7.
    fn skip_trailer(&mut self) -> io::Result<bool> {
        let at = self.window.offset();
        let room = Self::room(at, self.memory.base.unwrap_or(0));
        if room >= CHUNK_HEADER as u64 {
            return Ok(true);
        }
        if self.memory.base.is_none() {
            match self.chunk(0)? {
                Chunk::Good { .. } => {
                    self.memory.base = Some(7);
                    return Ok(true);
                }
                Chunk::Short => return Ok(false),
                Chunk::Zero | Chunk::Bad { .. } => {}
            }
        }
        if !self.window.fill(room as usize + 1)? {
            return Ok(false);
        }
        self.window.skip_to(at + room)?;
        if self.begun.is_none() {
            self.resume = self.window.offset();
        }
        Ok(true)
    }

    /// Judges the chunk that stands `ahead` bytes behind the place of reading.
    fn chunk(&mut self, ahead: usize) -> io::Result<Chunk> {
        if !self.window.fill(ahead + CHUNK_HEADER)? {
            return Ok(Chunk::Short);
        }
        let at = self.window.offset() + ahead as u64;
        let head = &self.window.view()[ahead..];
        if head.iter().take(CHUNK_HEADER).all(|byte| *byte == 0) {
            return Ok(Chunk::Zero);
        }
        let (length, kind) = (usize::from(u16::from_le_bytes([head[4], head[5]])), head[6]);
        let fits = self.fits(at, (CHUNK_HEADER + length) as u64);
        if !(FULL..=LAST).contains(&kind) {
            let length = fits.then_some(length);
            return Ok(Chunk::Bad { message: "impossible chunk type", length });
        }
        if !fits {
            return Ok(Chunk::Bad { message: "the chunk crosses the end of its block", length: None });
        }
        if !self.window.fill(ahead + CHUNK_HEADER + length)? {
            return Ok(Chunk::Short);
        }
        let bytes = &self.window.view()[ahead..];
        let stored = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if crc32fast::hash(&bytes[6..CHUNK_HEADER + length]) != stored {
            return Ok(Chunk::Bad { message: "checksum mismatch", length: Some(length) });
        }
        Ok(Chunk::Good { kind, length })
    }

    /// Whether `size` bytes from `at` stay inside a block of the grid (of either, while unknown).
    fn fits(&self, at: u64, size: u64) -> bool {
        match self.memory.base {
            Some(base) => size <= Self::room(at, base),
            None => size <= Self::room(at, 0) || size <= Self::room(at, HEADER_BYTES as u64),
        }
    }

    /// The grid shows where a chunk reaches or crosses the end of a block of base 0.
    fn settle_base(&mut self, at: u64, kind: u8, length: usize) {
        if self.memory.base.is_some() {
            return;
        }
        let size = (CHUNK_HEADER + length) as u64;
        if size > Self::room(at, 0) {
            self.memory.base = Some(7);
        } else if kind == FIRST || kind == MIDDLE {
            self.memory.base = match (at + size) % BLOCK {
                0 => Some(0),
                7 => Some(7),
                _ => None,
            };
        }
    }

    /// Adds a valid chunk to the record it belongs to.
    fn take(&mut self, at: u64, kind: u8, length: usize) -> Option<Found> {
        let begins = kind == FULL || kind == FIRST;
        if !begins && self.begun.is_none() {
            return self.orphan(at, length);
        }
        if begins && let Some(begun) = self.begun.take() {
            self.parts.clear();
            self.resume = at;
            return Some(no_end(begun));
        }
        self.memory.lost = false;
        if kind == FULL {
            self.whole = true;
            self.found = at;
            self.length = length;
            self.resume = at;
            self.parts.clear();
            return Some(Found::Record);
        }
        self.append(at, kind, length)
    }

    /// Drops a later part of a record whose beginning is missing; told once per record.
    fn orphan(&mut self, at: u64, length: usize) -> Option<Found> {
        self.window.advance(CHUNK_HEADER + length);
        self.resume = self.window.offset();
        let told = std::mem::replace(&mut self.memory.lost, true);
        (!told).then(|| Found::Damage { at, message: "the record has no beginning".into() })
    }

    fn append(&mut self, at: u64, kind: u8, length: usize) -> Option<Found> {
        if kind == FIRST {
            self.parts.clear();
            self.begun = Some(at);
            self.resume = at;
        }
        let payload = self.window.view().get(CHUNK_HEADER..CHUNK_HEADER + length);
        self.parts.extend_from_slice(payload.unwrap_or_default());
        self.window.advance(CHUNK_HEADER + length);
        if kind == LAST {
            self.found = self.begun.take().unwrap_or(at);
            self.resume = self.window.offset();
            return Some(Found::Record);
        }
        if self.parts.len() <= MAX_RECORD {
            return None;
        }
        let at = self.forget().unwrap_or(at);
        Some(Found::Damage { at, message: "the record is too long".into() })
    }

    /// Gives up the record being put together; says where it began.
    fn forget(&mut self) -> Option<u64> {
        self.parts = Vec::new();
        self.resume = self.window.offset();
        let begun = self.begun.take();
        self.memory.lost |= begun.is_some();
        begun
    }

    /// Steps over a damaged chunk: to the chunk right behind it when that one is sound, else to the
    /// next block. Where the file ends before, the place is kept and tried again next time.
    fn damage(&mut self, at: u64, message: &'static str, length: Option<usize>) -> io::Result<Option<Found>> {
        let known = self.memory.told == Some(at);
        if self.skip_chunk(length)? || self.skip_block(at)? {
            self.forget();
            self.memory.lost = true;
            self.memory.told = None;
        } else {
            self.memory.told = Some(at);
            if known {
                return Ok(Some(Found::End));
            }
        }
        Ok((!known).then(|| Found::Damage { at, message: message.into() }))
    }

    /// Moves behind a damaged chunk if a sound one follows in the same block.
    fn skip_chunk(&mut self, length: Option<usize>) -> io::Result<bool> {
        let Some(length) = length else { return Ok(false) };
        let size = CHUNK_HEADER + length;
        if !self.fits(self.window.offset(), (size + CHUNK_HEADER) as u64) {
            return Ok(false);
        }
        let sound = matches!(self.chunk(size)?, Chunk::Good { .. });
        if sound {
            self.window.advance(size);
        }
        Ok(sound)
    }

    /// Moves to the block behind the one that holds `at`; `false` when the file ends before it.
    fn skip_block(&mut self, at: u64) -> io::Result<bool> {
        let ahead = Self::room(at, self.memory.base.unwrap_or(0)) as usize;
        if !self.window.fill(ahead + CHUNK_HEADER)? {
            return Ok(false);
        }
        if self.memory.base.is_none() && !matches!(self.chunk(ahead)?, Chunk::Good { .. }) {
            match self.chunk(ahead + HEADER_BYTES)? {
                Chunk::Good { .. } => {
                    self.memory.base = Some(7);
                    self.window.advance(HEADER_BYTES);
                }
                // It may be sound once it is there.
                Chunk::Short => return Ok(false),
                Chunk::Zero | Chunk::Bad { .. } => {}
            }
        }
        self.window.advance(ahead);
        Ok(true)
    }
}

fn no_end(at: u64) -> Found {
    Found::Damage { at, message: "the record has no end".into() }
}
