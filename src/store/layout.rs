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
use std::path::{Path, PathBuf};

/// Version of everything below the cache folder. Another version: the cache is rebuilt.
pub const FORMAT_VERSION: u32 = 3;

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

/// Path of a new file relative to the cache. `project=_` where there is none; names are
/// percent-encoded, so `_` itself becomes `%5F`.
pub fn new_file(table: Table, project: Option<&str>) -> String {
    let project = match project {
        None | Some("") => "_".to_string(),
        Some(name) => utf8_percent_encode(name, PLAIN).to_string(),
    };
    format!("{}/project={project}/{}.parquet", table.name(), uuid::Uuid::now_v7().simple())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_folders_whatever_their_name() {
        let folder =
            |project| new_file(Table::Metrics, project).rsplit_once('/').unwrap_or_default().0.to_string();
        assert_eq!(folder(None), "metrics/project=_");
        assert_eq!(folder(Some("_")), "metrics/project=%5F");
        assert_eq!(folder(Some("../a b")), "metrics/project=..%2Fa%20b");
        assert_eq!(folder(Some("tiny-lm")), "metrics/project=tiny-lm");
    }
}
