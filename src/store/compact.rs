//! Merges many small files into few large ones, so that queries open few and growth stays cheap:
//! files of like size are merged once enough of them are there (each row is rewritten only as
//! often as its file grows by that factor).

use super::catalog::{Catalog, Changes};
use super::merge::{Merge, SortedFile};
use super::writer::FileWriter;
use super::{FileClass, FileRecord, Limits, Snapshot};
use crate::records::schema::Table;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use std::collections::BTreeMap;
use std::path::Path;

/// Merges what is due, one commit a merge. Returns the number of files written.
///
/// # Errors
/// When a file cannot be read or written; what was committed before stays.
pub fn compact(catalog: &dyn Catalog, limits: Limits, now_ms: i64) -> anyhow::Result<u64> {
    let mut written = 0;
    while let Some((snapshot, group)) = due(catalog, limits)? {
        let mut changes = Changes { now_ms, ..Changes::default() };
        changes.retired = group.iter().map(|file| file.id).collect();
        changes.new_files = merge_files(&snapshot.cache, &group, limits)?;
        let first_id = catalog.next_file_id()?;
        for (i, file) in changes.new_files.iter_mut().enumerate() {
            file.id = first_id + i as i64;
        }
        written += changes.new_files.len() as u64;
        catalog.commit(&changes)?;
    }
    Ok(written)
}

/// The first group of files that shall become one.
fn due(catalog: &dyn Catalog, limits: Limits) -> anyhow::Result<Option<(Snapshot, Vec<FileRecord>)>> {
    let snapshot = catalog.snapshot()?;
    let group = due_group(&snapshot, limits.compact_files.max(2));
    Ok(group.map(|group| (snapshot, group)))
}

/// Tables with a few rows a run are read whole by most questions: their files are merged sooner.
const SMALL_TABLE_FILES: usize = 8;

/// Files of such a table that hold together no more rows than this are always one: a file more costs
/// every question more than writing them again costs once.
const FEW_ROWS: u64 = 4096;

fn is_small(table: Table) -> bool {
    !matches!(table, Table::Metrics | Table::Console | Table::Texts)
}

/// Files of like size in a table that are merged, and the ratio of sizes that count as alike.
fn ratio_of(table: Table, compact_files: usize) -> usize {
    if is_small(table) { compact_files.min(SMALL_TABLE_FILES) } else { compact_files }
}

fn due_group(snapshot: &Snapshot, compact_files: usize) -> Option<Vec<FileRecord>> {
    let mut groups: BTreeMap<(Table, FileClass, Option<&str>), Vec<&FileRecord>> = BTreeMap::new();
    for file in snapshot.files.iter().filter(|file| file.damage().is_none()) {
        groups.entry((file.table, file.class, file.project.as_deref())).or_default().push(file);
    }
    let group = groups.into_iter().find_map(|((table, ..), files)| {
        few_rows(table, &files).or_else(|| of_like_size(table, files, compact_files))
    })?;
    Some(group.into_iter().cloned().collect())
}

/// All files of a small table, where they hold few rows.
fn few_rows<'a>(table: Table, files: &[&'a FileRecord]) -> Option<Vec<&'a FileRecord>> {
    let rows: u64 = files.iter().map(|file| file.row_count).sum();
    (is_small(table) && files.len() > 1 && rows <= FEW_ROWS).then(|| files.to_vec())
}

/// Files of like size, where there are enough of them.
fn of_like_size(table: Table, files: Vec<&FileRecord>, compact_files: usize) -> Option<Vec<&FileRecord>> {
    let ratio = ratio_of(table, compact_files);
    let mut classes: BTreeMap<u32, Vec<&FileRecord>> = BTreeMap::new();
    for file in files {
        classes.entry(file.row_count.max(1).ilog(ratio as u64)).or_default().push(file);
    }
    let mut group = classes.into_values().find(|group| group.len() >= ratio)?;
    group.truncate(ratio);
    Some(group)
}

/// One file of all rows that count, and one of those a later arrival took the place of.
fn merge_files(cache: &Path, files: &[FileRecord], limits: Limits) -> anyhow::Result<Vec<FileRecord>> {
    let Some(first) = files.first() else { return Ok(Vec::new()) };
    let inputs: Vec<SortedFile> =
        files.iter().map(|file| SortedFile::new(cache, file, file.dropped.clone())).collect();
    let schema = first.table.stored_schema();
    let mut merge = Merge::open(&inputs, schema, first.table.sort_columns(), limits.batch_rows)?;
    let mut outputs = Outputs { cache, first, limits, live: None, superseded: None };
    while let Some((batch, places)) = merge.next_rows(limits.batch_rows)? {
        let superseded: BooleanArray =
            places.iter().map(|place| Some(files[place.file].superseded.contains(place.row))).collect();
        outputs.write(&batch, &superseded)?;
    }
    outputs.finish()
}

struct Outputs<'a> {
    cache: &'a Path,
    first: &'a FileRecord,
    limits: Limits,
    live: Option<FileWriter>,
    superseded: Option<FileWriter>,
}

impl Outputs<'_> {
    fn write(&mut self, batch: &RecordBatch, superseded: &BooleanArray) -> anyhow::Result<()> {
        if superseded.true_count() == 0 {
            return self.write_to(self.first.class, batch);
        }
        let live = arrow::compute::not(superseded)?;
        self.write_to(self.first.class, &filter_record_batch(batch, &live)?)?;
        self.write_to(FileClass::Superseded, &filter_record_batch(batch, superseded)?)
    }

    fn write_to(&mut self, class: FileClass, batch: &RecordBatch) -> anyhow::Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let is_live = class == self.first.class;
        let writer = if is_live { &mut self.live } else { &mut self.superseded };
        if writer.is_none() {
            let project = self.first.project.as_deref();
            *writer = Some(FileWriter::create(self.cache, self.first.table, class, project, self.limits)?);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.write(batch))
    }

    fn finish(self) -> anyhow::Result<Vec<FileRecord>> {
        self.live.into_iter().chain(self.superseded).map(FileWriter::finish).collect()
    }
}
