//! Zip archives that trackers fill when a run ends.

use super::json::{Json, parse_whole};
use super::words::split;
use crate::sources::Log;
use anyhow::{Context, bail};
use std::io::{BufRead, BufReader, Read};
use zip::ZipArchive;

/// A member that is read whole, and a line, may have this many bytes.
const MAX_BYTES: u64 = 64 << 20;

/// How an archive with nothing in it begins.
pub(crate) const EMPTY: &[u8] = b"PK\x05\x06";

/// How an archive with members begins.
pub(crate) const MAGIC: &[u8] = b"PK\x03\x04";

/// Whether a file begins as an archive; `None` while too little of it is there.
pub(crate) fn is_archive(head: &[u8]) -> Option<bool> {
    match head.len() {
        0..4 => None,
        _ => Some(head.starts_with(MAGIC) || head.starts_with(EMPTY)),
    }
}

/// An archive at hand.
pub(crate) struct Archive<'l> {
    zip: ZipArchive<&'l mut dyn crate::sources::ReadSeek>,
}

impl<'l> Archive<'l> {
    /// Opens the archive that is the log.
    ///
    /// # Errors
    /// When it is none, or not whole.
    pub(crate) fn open(log: &'l mut Log<'_>) -> anyhow::Result<Self> {
        let bytes: &'l mut dyn crate::sources::ReadSeek = &mut *log.bytes;
        Ok(Self { zip: ZipArchive::new(bytes).context("no whole archive")? })
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.zip.is_empty()
    }

    /// The member of this name, in whatever folder.
    fn named(&self, name: &str) -> Option<String> {
        let is_it = |path: &&str| split(path).1 == name;
        self.zip.file_names().filter(is_it).min_by_key(|path| path.len()).map(str::to_owned)
    }

    /// A whole member; `None` where there is none.
    ///
    /// # Errors
    /// When it is damaged or too large.
    pub(crate) fn whole(&mut self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let Some(path) = self.named(name) else { return Ok(None) };
        let mut bytes = Vec::new();
        self.zip.by_name(&path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            bail!("more than {MAX_BYTES} bytes are too many");
        }
        Ok(Some(bytes))
    }

    /// Hands each line of JSON of a member to `take`, with its number; a line that is none gives `None`.
    ///
    /// # Errors
    /// When the member is damaged; the lines before were handed over.
    pub(crate) fn each_value(
        &mut self,
        name: &str,
        take: &mut dyn FnMut(u64, Option<Json<'_>>),
    ) -> anyhow::Result<()> {
        let Some(path) = self.named(name) else { return Ok(()) };
        let mut lines = BufReader::new(self.zip.by_name(&path)?);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            (&mut lines).take(MAX_BYTES).read_until(b'\n', &mut line)?;
            number += 1;
            match line.trim_ascii() {
                _ if line.is_empty() => return Ok(()),
                [] => {}
                text => take(number, parse_whole(text)),
            }
        }
    }
}
