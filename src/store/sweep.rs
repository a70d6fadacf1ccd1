//! Removes files that no query reads any more. Only files that bear a name runq gives: whatever else
//! lies in the folder of a cache is left alone.

use super::{Catalog, layout};
use crate::records::schema::Table;
use std::fs::DirEntry;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Removes retired files after their grace. Failing to remove one is no error: the next sweep
/// tries again.
///
/// # Errors
/// When the catalog cannot be read.
pub fn retired(cache: &Path, catalog: &dyn Catalog, retired_before_ms: i64) -> anyhow::Result<()> {
    for path in catalog.retired_files(retired_before_ms)? {
        let removed = std::fs::remove_file(cache.join(&path));
        if removed.is_ok() || removed.is_err_and(|e| e.kind() == ErrorKind::NotFound) {
            catalog.forget_file(&path)?;
        }
    }
    Ok(())
}

/// Removes files no catalog entry names: a process that died between writing and committing left
/// them. Only for the process that holds the refresh lock, as no other one writes then.
///
/// # Errors
/// When the catalog cannot be read.
pub fn orphans(cache: &Path, catalog: &dyn Catalog) -> anyhow::Result<()> {
    let known = catalog.all_paths()?;
    remove(cache, &|path| !known.contains(path));
    Ok(())
}

/// Whether a process died while it wrote.
pub fn has_leftovers(cache: &Path) -> bool {
    entries(&layout::tmp(cache)).any(|entry| is_temporary(&name(&entry)))
}

/// Whether nothing was ever written: there is no file of a table.
pub fn is_new(cache: &Path) -> bool {
    Table::ALL.into_iter().all(|table| files_of(cache, table).is_empty())
}

/// Paths of the files of a table, whether they count or not.
pub fn files_of(cache: &Path, table: Table) -> Vec<PathBuf> {
    let projects = entries(&cache.join(table.name())).filter(|entry| name(entry).starts_with("project="));
    let files = projects.flat_map(|folder| entries(&folder.path()));
    files.filter(|entry| is_own(&name(entry), "parquet")).map(|entry| entry.path()).collect()
}

/// Removes all files but the catalog.
pub fn remove_all(cache: &Path) {
    remove(cache, &|_| true);
}

/// Removes files by their path relative to the cache.
fn remove(cache: &Path, is_void: &dyn Fn(&str) -> bool) {
    let relative =
        |path: &Path| path.strip_prefix(cache).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let files = Table::ALL.into_iter().flat_map(|table| files_of(cache, table));
    let left_over = entries(&layout::tmp(cache)).filter(|entry| is_temporary(&name(entry)));
    let void = files.filter(|path| is_void(&relative(path))).chain(left_over.map(|entry| entry.path()));
    for path in void {
        // What cannot be removed now is tried again by the next sweep.
        let _ = std::fs::remove_file(path);
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

fn name(entry: &DirEntry) -> String {
    entry.file_name().to_string_lossy().into_owned()
}

/// `ID.tmp`, or what SQLite keeps beside a copy of that name.
fn is_temporary(name: &str) -> bool {
    let beside = ["-wal", "-shm", "-journal"].into_iter().find_map(|end| name.strip_suffix(end));
    is_own(beside.unwrap_or(name), "tmp")
}

/// `ID.extension`, as runq names files.
fn is_own(name: &str, extension: &str) -> bool {
    let id = name.strip_suffix(extension).and_then(|name| name.strip_suffix('.'));
    id.is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_files_of_our_own_are_removed() {
        let cache = tempfile::tempdir().unwrap();
        layout::create(cache.path()).unwrap();
        let id = uuid::Uuid::now_v7().simple();
        let own = [layout::new_file(Table::Runs, None), format!("tmp/{id}.tmp"), format!("tmp/{id}.tmp-wal")];
        let others = [
            "runs/events.out.tfevents.1.host".to_string(),
            "runs/project=x/model.parquet".into(),
            format!("runs/{id}.parquet"),
            "metrics/log.jsonl".into(),
            "tmp/notes.txt".into(),
        ];
        for path in own.iter().chain(&others) {
            let path = cache.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        assert!(!is_new(cache.path()) && has_leftovers(cache.path()));
        remove_all(cache.path());
        assert!(is_new(cache.path()) && !has_leftovers(cache.path()));
        assert!(own.iter().all(|path| !cache.path().join(path).exists()));
        assert!(others.iter().all(|path| cache.path().join(path).exists()));
    }
}
