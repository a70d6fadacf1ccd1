//! Where things lie in a cache folder.
//!
//! ```text
//! .runq/
//!   .gitignore                         one line: *
//!   catalog.sqlite                     which files exist; the only truth
//!   refresh.lock                       held by the process that refreshes
//!   tmp/                               files being written; never named *.parquet
//!   metrics/project=NAME/ID.parquet    one folder a table and project
//! ```

use crate::records::schema::Table;
use anyhow::Context;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

/// Version of everything below the cache folder. Another version: the cache is rebuilt.
pub const FORMAT_VERSION: u32 = 9;

/// Longest name of a project as a folder: file systems take 255 bytes.
const MAX_FOLDER_BYTES: usize = 200;

const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

/// Creates the folder with what must be in it.
///
/// # Errors
/// When it cannot be written.
pub fn create(cache: &Path) -> anyhow::Result<()> {
    let tmp = tmp(cache);
    std::fs::create_dir_all(&tmp).with_context(|| format!("cannot create {}", tmp.display()))?;
    let ignore = cache.join(".gitignore");
    if !ignore.exists() {
        std::fs::write(&ignore, "*\n").with_context(|| format!("cannot write {}", ignore.display()))?;
    }
    Ok(())
}

/// The catalog.
pub fn catalog(cache: &Path) -> PathBuf {
    cache.join("catalog.sqlite")
}

/// The lock of whoever refreshes.
pub fn lock(cache: &Path) -> PathBuf {
    cache.join("refresh.lock")
}

/// Files being written.
pub fn tmp(cache: &Path) -> PathBuf {
    cache.join("tmp")
}

/// Path of a new file relative to the cache.
pub fn new_file(table: Table, project: Option<&str>) -> String {
    let folder = folder_name(project);
    format!("{}/project={folder}/{}.parquet", table.name(), uuid::Uuid::now_v7().simple())
}

/// `_` where there is no project; names are percent-encoded, so `_` itself becomes `%5F`, and neither
/// `/` nor `..` leads anywhere. Names too long for a folder are cut and end in `~` and a hash.
fn folder_name(project: Option<&str>) -> String {
    let Some(name) = project.filter(|name| !name.is_empty()) else { return "_".to_string() };
    let mut encoded = utf8_percent_encode(name, PLAIN).to_string();
    if encoded.len() > MAX_FOLDER_BYTES {
        let hash = Sha256::digest(name.as_bytes());
        let hash: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        encoded.truncate(MAX_FOLDER_BYTES / 2);
        // Half an escape is none.
        encoded.truncate(encoded.rfind('%').filter(|at| at + 3 > encoded.len()).unwrap_or(encoded.len()));
        return format!("{encoded}~{hash}");
    }
    match encoded.strip_suffix('.') {
        // Some systems take a dot at the end off.
        Some(head) => format!("{head}%2E"),
        None => encoded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_folders_whatever_their_name() {
        for (project, name) in [
            (None, "_"),
            (Some(""), "_"),
            (Some("_"), "%5F"),
            (Some("../a b"), "..%2Fa%20b"),
            (Some(".."), ".%2E"),
            (Some("v1.2"), "v1.2"),
            (Some("a."), "a%2E"),
            (Some("C:\\x=1%\0"), "C%3A%5Cx%3D1%25%00"),
            (Some("tiny-lm"), "tiny-lm"),
        ] {
            let file = new_file(Table::Metrics, project);
            let folder = file.rsplit_once('/').map(|(folder, _)| folder);
            assert_eq!(folder, Some(format!("metrics/project={name}").as_str()));
        }
    }

    #[test]
    fn long_projects_are_short_folders() {
        let name = |text: &str| folder_name(Some(text));
        for text in ["é".repeat(150), "é".repeat(1 << 20), format!("a{}", "é".repeat(150)), "x".repeat(201)]
        {
            assert!(name(&text).len() <= 120, "{}", name(&text));
            let shown = percent_encoding::percent_decode_str(&name(&text)).decode_utf8_lossy().into_owned();
            let begin = shown.split(['~', char::REPLACEMENT_CHARACTER]).next().unwrap_or_default();
            assert!(text.starts_with(begin), "{shown}");
            assert_ne!(name(&text), name(&format!("{text}2")));
        }
        assert_eq!(name(&"x".repeat(200)), "x".repeat(200));
    }
}
