//! Reads several sorted files as one sorted sequence, in memory that does not grow with them.

use super::FileRecord;
use super::rows::RowSet;
use super::sums::{CheckedFile, Sums, blame};
use crate::records::columns::NO_TIME;
use anyhow::Context;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::{ArrowPrimitiveType, SchemaRef, TimestampMillisecondType};
use arrow::row::{RowConverter, Rows, SortField};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file to be merged.
#[derive(Debug, Clone)]
pub struct SortedFile {
    path: PathBuf,
    /// Path relative to the cache.
    name: String,
    sums: Arc<Sums>,
    row_count: u64,
    skip: RowSet,
}

impl SortedFile {
    /// All rows of a file but those to `skip`.
    pub fn new(cache: &Path, file: &FileRecord, skip: RowSet) -> Self {
        Self {
            path: cache.join(&file.path),
            name: file.path.clone(),
            sums: Arc::clone(&file.sums),
            row_count: file.row_count,
            skip,
        }
    }
}

/// A row of the merge: which file, and where it stands in the file and in the file's batch at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Index of the file among those given.
    pub file: usize,
    /// Row number in the file.
    pub row: u64,
    /// Row number in the batch at hand.
    pub at: usize,
}

/// One file of a merge, read batch by batch.
struct Cursor {
    name: String,
    sums: Arc<Sums>,
    reader: ParquetRecordBatchReader,
    batch: RecordBatch,
    /// Sort columns of `batch`, comparable.
    order: Rows,
    /// Row in `batch`.
    at: usize,
    /// Row number in the file of the next batch's first selected row, by ranges read.
    numbers: RowNumbers,
    batch_numbers: Vec<u64>,
}

/// Numbers of the rows that are read, in order.
struct RowNumbers {
    ranges: std::vec::IntoIter<(u64, u64)>,
    current: (u64, u64),
}

impl RowNumbers {
    fn new(file: &SortedFile) -> Self {
        let ranges = RowSet::all(file.row_count).minus(&file.skip).ranges().to_vec();
        Self { ranges: ranges.into_iter(), current: (0, 0) }
    }

    fn take(&mut self, count: usize) -> Vec<u64> {
        let mut numbers = Vec::with_capacity(count);
        while numbers.len() < count {
            if self.current.0 == self.current.1 {
                match self.ranges.next() {
                    Some(range) => self.current = range,
                    None => break,
                }
            }
            let end = self.current.1.min(self.current.0 + (count - numbers.len()) as u64);
            numbers.extend(self.current.0..end);
            self.current.0 = end;
        }
        numbers
    }
}

/// The merge. Call [`Merge::next_rows`] until it gives `None`.
pub struct Merge {
    cursors: Vec<Option<Cursor>>,
    converter: RowConverter,
    sort_columns: Vec<usize>,
    /// Files with rows left, as a binary heap by their row at hand.
    heap: Vec<usize>,
    schema: SchemaRef,
}

impl Merge {
    /// Opens all files. Rows equal in the sort columns come in the order of the files.
    ///
    /// # Errors
    /// When a file cannot be read or is of another schema.
    pub fn open(
        files: &[SortedFile],
        schema: SchemaRef,
        sort_by: &[&str],
        batch_rows: usize,
    ) -> anyhow::Result<Self> {
        let sort_columns = sort_by.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let fields =
            sort_columns.iter().map(|i| SortField::new(schema.field(*i).data_type().clone())).collect();
        let mut merge = Self {
            cursors: Vec::new(),
            converter: RowConverter::new(fields)?,
            sort_columns,
            heap: Vec::new(),
            schema,
        };
        for file in files {
            let cursor = merge.cursor(file, batch_rows).map_err(|e| blame(e, &file.name, &file.sums));
            merge.cursors.push(cursor.with_context(|| format!("cannot read {}", file.path.display()))?);
        }
        for file in 0..merge.cursors.len() {
            if merge.cursors[file].is_some() {
                merge.heap.push(file);
            }
        }
        for node in (0..merge.heap.len()).rev() {
            merge.sift_down(node);
        }
        Ok(merge)
    }

    fn cursor(&self, file: &SortedFile, batch_rows: usize) -> anyhow::Result<Option<Cursor>> {
        let open = CheckedFile::open(&file.path, &file.sums)?;
        let mut builder = ParquetRecordBatchReaderBuilder::try_new(open)?.with_batch_size(batch_rows);
        if !file.skip.is_empty() {
            builder = builder.with_row_selection(file.skip.others(file.row_count));
        }
        let cursor = Cursor {
            name: file.name.clone(),
            sums: Arc::clone(&file.sums),
            reader: builder.build()?,
            batch: RecordBatch::new_empty(self.schema.clone()),
            order: self.converter.empty_rows(0, 0),
            at: 0,
            numbers: RowNumbers::new(file),
            batch_numbers: Vec::new(),
        };
        self.next_batch(cursor)
    }

    /// `None` at the end of the file.
    fn next_batch(&self, mut cursor: Cursor) -> anyhow::Result<Option<Cursor>> {
        let batch = cursor.reader.next().transpose().map_err(|e| blame(e, &cursor.name, &cursor.sums))?;
        let Some(batch) = batch else { return Ok(None) };
        cursor.batch = RecordBatch::try_new(self.schema.clone(), batch.columns().to_vec())?;
        cursor.batch_numbers = cursor.numbers.take(cursor.batch.num_rows());
        let columns: Vec<ArrayRef> =
            self.sort_columns.iter().map(|i| cursor.batch.column(*i).clone()).collect();
        cursor.order = self.converter.convert_columns(&columns)?;
        cursor.at = 0;
        if cursor.batch.num_rows() == 0 { self.next_batch(cursor) } else { Ok(Some(cursor)) }
    }

    fn less(&self, a: usize, b: usize) -> bool {
        match (&self.cursors[a], &self.cursors[b]) {
            (Some(x), Some(y)) => (x.order.row(x.at), a) < (y.order.row(y.at), b),
            (x, _) => x.is_some(),
        }
    }

    fn sift_down(&mut self, mut node: usize) {
        loop {
            let child = 2 * node + 1;
            if child >= self.heap.len() {
                return;
            }
            let right = child + 1;
            let smaller = if right < self.heap.len() && self.less(self.heap[right], self.heap[child]) {
                right
            } else {
                child
            };
            if !self.less(self.heap[smaller], self.heap[node]) {
                return;
            }
            self.heap.swap(node, smaller);
            node = smaller;
        }
    }

    /// The row at hand: the smallest not yet passed.
    fn peek(&self) -> Option<Place> {
        let file = *self.heap.first()?;
        let cursor = self.cursors[file].as_ref()?;
        Some(Place { file, row: *cursor.batch_numbers.get(cursor.at)?, at: cursor.at })
    }

    /// The batch of the file in which the row at hand stands.
    fn batch(&self, file: usize) -> Option<&RecordBatch> {
        self.cursors.get(file)?.as_ref().map(|cursor| &cursor.batch)
    }

    /// Whether passing the row at hand will load the next batch of its file.
    fn is_last_of_batch(&self) -> bool {
        let cursor = self.heap.first().and_then(|file| self.cursors[*file].as_ref());
        cursor.is_some_and(|cursor| cursor.at + 1 >= cursor.batch.num_rows())
    }

    /// Passes the row at hand.
    fn advance(&mut self) -> anyhow::Result<()> {
        let Some(&file) = self.heap.first() else { return Ok(()) };
        let mut cursor = self.cursors[file].take();
        if let Some(open) = cursor.as_mut() {
            open.at += 1;
        }
        self.cursors[file] = match cursor {
            Some(open) if open.at >= open.batch.num_rows() => self.next_batch(open)?,
            other => other,
        };
        if self.cursors[file].is_none() {
            self.heap.swap_remove(0);
        }
        self.sift_down(0);
        Ok(())
    }

    /// The next rows as one batch, at most `max_rows`, and where each came from. `None` at the end.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn next_rows(&mut self, max_rows: usize) -> anyhow::Result<Option<(RecordBatch, Vec<Place>)>> {
        let mut places: Vec<Place> = Vec::with_capacity(max_rows);
        let mut picks: Vec<(usize, usize)> = Vec::with_capacity(max_rows);
        let mut held: Vec<RecordBatch> = Vec::new();
        let mut slot: Vec<Option<usize>> = vec![None; self.cursors.len()];
        while places.len() < max_rows {
            let Some(place) = self.peek() else { break };
            let index = match slot[place.file] {
                Some(index) => index,
                None => {
                    held.extend(self.batch(place.file).cloned());
                    slot[place.file] = Some(held.len() - 1);
                    held.len() - 1
                }
            };
            picks.push((index, place.at));
            places.push(place);
            if self.is_last_of_batch() {
                slot[place.file] = None;
            }
            self.advance()?;
        }
        if places.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = held.iter().collect();
        Ok(Some((interleave_record_batch(&batches, &picks)?, places)))
    }
}

/// Values of a numeric column; `None` where it is missing or of another type.
pub fn column<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Option<&'a [T::Native]> {
    batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<T>()).map(|c| c.values().as_ref())
}

/// Texts of a column, null as empty; none where it is missing or no text.
pub fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Vec<&'a str> {
    let column = batch.column_by_name(name).and_then(|c| c.as_string_opt::<i32>());
    column.map(|texts| texts.iter().map(Option::unwrap_or_default).collect()).unwrap_or_default()
}

/// Times of a batch of points, [`NO_TIME`] where none was logged.
pub fn times(batch: &RecordBatch) -> Vec<i64> {
    let column = batch.column_by_name("time").and_then(|c| c.as_primitive_opt::<TimestampMillisecondType>());
    column.map(|times| times.iter().map(|time| time.unwrap_or(NO_TIME)).collect()).unwrap_or_default()
}

/// Numbers of the rows of a file whose run and key (empty where the table has none) are wanted.
///
/// # Errors
/// When the file cannot be read.
pub fn rows_where(
    cache: &Path,
    file: &FileRecord,
    wanted: impl Fn(&str, &str) -> bool,
) -> anyhow::Result<RowSet> {
    rows_of(cache, file, wanted).map_err(|error| blame(error, &file.path, &file.sums))
}

fn rows_of(cache: &Path, file: &FileRecord, wanted: impl Fn(&str, &str) -> bool) -> anyhow::Result<RowSet> {
    let open = CheckedFile::open(&cache.join(&file.path), &file.sums)?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open)?;
    let names = ["run_id", "key"];
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let reader = builder.with_projection(mask).with_batch_size(8192).build()?;
    let mut rows = RowSet::new();
    let mut start = 0;
    for batch in reader {
        let batch = batch?;
        let keys = texts(&batch, "key");
        let runs = texts(&batch, "run_id");
        for (i, run) in runs.iter().enumerate() {
            if wanted(run, keys.get(i).copied().unwrap_or_default()) {
                rows.push(start + i as u64);
            }
        }
        start += batch.num_rows() as u64;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::batch::{Cell, rows_to_batch};
    use crate::records::schema::Table;
    use crate::store::{FileClass, Limits, writer::FileWriter};

    fn write(cache: &std::path::Path, lines: &[i64]) -> SortedFile {
        let rows: Vec<Vec<Cell>> = lines
            .iter()
            .map(|line| {
                vec![
                    "r".into(),
                    (*line).into(),
                    Cell::Null,
                    Cell::Null,
                    format!("t{line}").into(),
                    "train.log".into(),
                    Cell::Null,
                ]
            })
            .collect();
        let mut writer =
            FileWriter::create(cache, Table::Console, FileClass::Live, None, Limits::default()).unwrap();
        writer.write(&rows_to_batch(Table::Console, &rows).unwrap()).unwrap();
        let record = writer.finish().unwrap();
        SortedFile::new(cache, &record, RowSet::new())
    }

    #[test]
    fn files_become_one_sequence_without_the_skipped_rows() {
        let cache = tempfile::tempdir().unwrap();
        crate::store::layout::create(cache.path()).unwrap();
        let mut files: Vec<SortedFile> =
            (0..5).map(|k| write(cache.path(), &(0..40).map(|i| i * 5 + k).collect::<Vec<_>>())).collect();
        files[2].skip = RowSet::from_rows(vec![0, 3, 4, 39]);
        for (batch_rows, max_rows) in [(1, 1), (3, 7), (64, 8), (7, 1000)] {
            let schema = Table::Console.stored_schema();
            let mut merge = Merge::open(&files, schema, Table::Console.sort_columns(), batch_rows).unwrap();
            let (mut lines, mut from) = (Vec::new(), Vec::new());
            while let Some((batch, places)) = merge.next_rows(max_rows).unwrap() {
                lines.extend_from_slice(
                    batch.column(1).as_primitive::<arrow::datatypes::Int64Type>().values(),
                );
                from.extend(places);
            }
            let skipped = [2, 17, 22, 197];
            let expected: Vec<i64> = (0..200).filter(|line| !skipped.contains(line)).collect();
            assert_eq!(lines, expected);
            assert!(
                lines
                    .iter()
                    .zip(&from)
                    .all(|(line, p)| p.file as i64 == line % 5 && p.row as i64 == line / 5)
            );
        }
    }
}
