//! Checksums of the blocks of a file, kept in the catalog: whatever is read is what was written.
//!
//! Parquet's own page checksums are not written by the `parquet` crate, and a changed byte of a
//! compressed page often decodes to other values without an error.

use super::damage::Damage;
use super::words;
use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Bytes of a block. A checksum of 4 bytes each: 64 KiB of them for a file of 1 GiB.
const BLOCK_BYTES: u64 = 64 << 10;

/// Size and checksums (CRC-32) of a file, and what was found wrong with it.
#[derive(Debug, Default)]
pub struct Sums {
    size_bytes: u64,
    blocks: Vec<u32>,
    damage: OnceLock<String>,
}

impl Sums {
    /// As the catalog keeps them.
    pub fn from_bytes(size_bytes: u64, bytes: &[u8]) -> Self {
        Self { size_bytes, blocks: words::from_bytes(bytes), damage: OnceLock::new() }
    }

    /// The inverse of [`Sums::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        words::to_bytes(&self.blocks)
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// What was found wrong when the file was read, if anything.
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// Whether the file is there with its size; cheap. Returns what is wrong.
    pub fn look(&self, path: &Path) -> Option<String> {
        match std::fs::metadata(path) {
            Ok(metadata) if !metadata.is_file() => Some("is no file".into()),
            Ok(metadata) if metadata.len() != self.size_bytes => {
                Some(format!("has {} bytes instead of {}", metadata.len(), self.size_bytes))
            }
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => Some("is gone".into()),
            // A file that cannot be looked at now is not lost.
            Err(_) => None,
        }
    }

    /// Notes that the file is damaged: it is not read any more.
    pub fn note_damage(&self, why: String) {
        // The first word is kept.
        let _ = self.damage.set(why);
    }

    /// Notes damage; the error says so too.
    fn damaged(&self, why: String) -> ParquetError {
        self.note_damage(why.clone());
        ParquetError::General(why)
    }

    fn check(&self, first_block: u64, bytes: &[u8]) -> Result<()> {
        for (i, block) in bytes.chunks(BLOCK_BYTES as usize).enumerate() {
            let number = first_block + i as u64;
            if self.blocks.get(number as usize) != Some(&crc32fast::hash(block)) {
                return Err(
                    self.damaged(format!("is not as it was written, at byte {}", number * BLOCK_BYTES))
                );
            }
        }
        Ok(())
    }
}

/// Passes bytes on and sums them up.
pub struct SumWriter<W> {
    inner: W,
    size_bytes: u64,
    blocks: Vec<u32>,
    open: crc32fast::Hasher,
}

impl<W: Write> SumWriter<W> {
    /// Over a writer at its start.
    pub fn new(inner: W) -> Self {
        Self { inner, size_bytes: 0, blocks: Vec::new(), open: crc32fast::Hasher::new() }
    }

    /// What is written to.
    pub fn inner(&self) -> &W {
        &self.inner
    }

    /// Sums of all that was written.
    pub fn sums(&self) -> Sums {
        let mut blocks = self.blocks.clone();
        if !self.size_bytes.is_multiple_of(BLOCK_BYTES) {
            blocks.push(self.open.clone().finalize());
        }
        Sums { size_bytes: self.size_bytes, blocks, damage: OnceLock::new() }
    }

    fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK_BYTES - self.size_bytes % BLOCK_BYTES) as usize;
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.open.update(now);
            self.size_bytes += now.len() as u64;
            if self.size_bytes.is_multiple_of(BLOCK_BYTES) {
                self.blocks.push(std::mem::take(&mut self.open).finalize());
            }
            bytes = later;
        }
    }
}

impl<W: Write> Write for SumWriter<W> {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        let written = self.inner.write(buffer)?;
        self.add(&buffer[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A file of the cache, open for reading. Every byte handed out was checked.
#[derive(Clone)]
pub struct CheckedFile {
    sums: Arc<Sums>,
    open: Arc<Mutex<Open>>,
}

struct Open {
    file: File,
    /// The ends of the last reads, by the number of their block, newest first: headers and what
    /// follows them are read one after the other, by a reader for each column.
    last: VecDeque<(u64, Bytes)>,
}

/// Blocks that are kept: one for each column of the widest table that is merged in bulk.
const KEPT_BLOCKS: usize = 8;

impl CheckedFile {
    /// Opens a file.
    ///
    /// # Errors
    /// When it is gone or of another size, which `sums` notes; when it may not be read.
    pub fn open(path: &Path, sums: &Arc<Sums>) -> Result<Self> {
        if let Some(why) = sums.damage().map(str::to_string).or_else(|| sums.look(path)) {
            return Err(sums.damaged(why));
        }
        let file = File::open(path).map_err(|error| match error.kind() {
            // It went away in the meantime.
            ErrorKind::NotFound => sums.damaged("is gone".into()),
            _ => error.into(),
        })?;
        let open = Open { file, last: VecDeque::new() };
        Ok(Self { sums: Arc::clone(sums), open: Arc::new(Mutex::new(open)) })
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// When they are not as they were written, which the sums note.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.sums.size_bytes {
            return Err(ParquetError::EOF(format!("no bytes {range:?} in {}", self.sums.size_bytes)));
        }
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let first = range.start / BLOCK_BYTES;
        let from = first * BLOCK_BYTES;
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = open.last.iter().find(|(number, _)| *number == first).map(|(_, block)| block.clone());
        let bytes = match kept.filter(|block| from + block.len() as u64 >= range.end) {
            Some(block) => block,
            None => {
                let end = (range.end.div_ceil(BLOCK_BYTES) * BLOCK_BYTES).min(self.sums.size_bytes);
                let bytes = self.blocks(&mut open.file, from..end)?;
                let last = (end - 1) / BLOCK_BYTES;
                open.last.truncate(KEPT_BLOCKS - 1);
                open.last.push_front((last, bytes.slice((last * BLOCK_BYTES - from) as usize..)));
                bytes
            }
        };
        Ok(bytes.slice((range.start - from) as usize..(range.end - from) as usize))
    }

    /// Whole blocks, checked.
    fn blocks(&self, file: &mut File, range: Range<u64>) -> Result<Bytes> {
        let mut bytes = vec![0; (range.end - range.start) as usize];
        let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| file.read_exact(&mut bytes));
        // Cut since it was opened, or a disk that fails.
        read.map_err(|error| self.sums.damaged(format!("cannot be read ({error})")))?;
        self.sums.check(range.start / BLOCK_BYTES, &bytes)?;
        Ok(bytes.into())
    }
}

impl Length for CheckedFile {
    fn len(&self) -> u64 {
        self.sums.size_bytes
    }
}

impl ChunkReader for CheckedFile {
    type T = Tail;

    fn get_read(&self, start: u64) -> Result<Tail> {
        Ok(Tail { file: self.clone(), at: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        self.read(start..start + length as u64)
    }
}

/// A file from some byte on, as a stream.
pub struct Tail {
    file: CheckedFile,
    at: u64,
}

impl Read for Tail {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let block_end = (self.at / BLOCK_BYTES + 1) * BLOCK_BYTES;
        let end = (self.at + buffer.len() as u64).min(block_end).min(self.file.len());
        let bytes = self.file.read(self.at.min(end)..end).map_err(std::io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.at = end;
        Ok(bytes.len())
    }
}

/// An error of reading a file of the cache: its damage, where that is what it is.
pub fn blame(error: impl Into<anyhow::Error>, path: &str, sums: &Sums) -> anyhow::Error {
    let damage = sums.damage().map(|why| Damage::File { path: path.into(), why: why.into() });
    damage.map_or_else(|| error.into(), anyhow::Error::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(bytes: &[u8]) -> (tempfile::NamedTempFile, Arc<Sums>) {
        let mut writer = SumWriter::new(tempfile::NamedTempFile::new().unwrap());
        bytes.chunks(10_007).for_each(|chunk| writer.write_all(chunk).unwrap());
        let sums = writer.sums();
        (writer.inner, Arc::new(Sums::from_bytes(sums.size_bytes(), &sums.to_bytes())))
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        for length in [0, 1, 65_535, 65_536, 65_537, 300_000] {
            let bytes: Vec<u8> = (0..length).map(|i: u32| (i * 31) as u8).collect();
            let (file, sums) = written(&bytes);
            let open = CheckedFile::open(file.path(), &sums).unwrap();
            for range in [0..length, length / 2..length, length.saturating_sub(8)..length, 0..length.min(9)] {
                let got = open.read(u64::from(range.start)..u64::from(range.end)).unwrap();
                assert_eq!(got, bytes[range.start as usize..range.end as usize], "{length} {range:?}");
            }
            let mut all = Vec::new();
            open.get_read(0).unwrap().read_to_end(&mut all).unwrap();
            assert!(all == bytes, "{length}");
        }
    }

    #[test]
    fn every_changed_bit_is_noticed_by_whoever_reads_it() {
        let bytes = vec![7u8; 200_000];
        for at in [0, 65_535, 65_536, 131_072, 199_999] {
            let (mut file, sums) = written(&bytes);
            file.seek(SeekFrom::Start(at)).unwrap();
            file.write_all(&[7 ^ 16]).unwrap();
            let open = CheckedFile::open(file.path(), &sums).unwrap();
            let elsewhere = if at < 100_000 { 140_000..150_000 } else { 0..10_000 };
            assert!(open.read(elsewhere).is_ok() && sums.damage().is_none());
            assert!(open.read(at..at + 1).is_err());
            assert!(sums.damage().is_some_and(|why| why.contains("not as it was written")));
        }
    }

    #[test]
    fn a_file_that_is_gone_or_cut_is_noticed_when_it_is_opened() {
        let (file, sums) = written(&[1; 1_000]);
        file.as_file().set_len(999).unwrap();
        assert!(CheckedFile::open(file.path(), &sums).is_err());
        assert_eq!(sums.damage(), Some("has 999 bytes instead of 1000"));
        let (file, sums) = written(&[1; 1_000]);
        std::fs::remove_file(file.path()).unwrap();
        assert!(CheckedFile::open(file.path(), &sums).is_err());
        assert_eq!(sums.damage(), Some("is gone"));
    }
}
