//! A few metrics of a few runs, read from the files of points: of each file only the pages that may
//! hold them.

use super::FileRecord;
use super::merge::{column, texts, times};
use super::rows::RowSet;
use super::sums::{CheckedFile, blame};
use crate::records::columns::NO_TIME;
use arrow::array::RecordBatch;
use arrow::datatypes::{Float64Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use std::collections::BTreeMap;
use std::path::Path;

/// Rows read at a time.
const BATCH_ROWS: usize = 8192;

/// What is wanted: metrics, the runs of each, and the number by which the reader knows the pair.
pub type Wanted = BTreeMap<String, BTreeMap<String, usize>>;

/// A point: step, time in milliseconds since 1970 or [`NO_TIME`], value.
pub type Point = (i64, i64, f64);

/// Hands out the points of a file that are wanted and not `hidden`, with the number of their pair, in
/// the order of the file.
///
/// # Errors
/// When the file cannot be read.
pub fn read(
    cache: &Path,
    file: &FileRecord,
    hidden: &RowSet,
    wanted: &Wanted,
    take: &mut dyn FnMut(usize, Point),
) -> anyhow::Result<()> {
    read_pages(cache, file, hidden, wanted, take).map_err(|error| blame(error, &file.path, &file.sums))
}

fn read_pages(
    cache: &Path,
    file: &FileRecord,
    hidden: &RowSet,
    wanted: &Wanted,
    take: &mut dyn FnMut(usize, Point),
) -> anyhow::Result<()> {
    let open = CheckedFile::open(&cache.join(&file.path), &file.sums)?;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(open, options)?;
    let rows = candidates(builder.metadata(), wanted).minus(hidden);
    if rows.is_empty() {
        return Ok(());
    }
    let names = ["run_id", "key", "step", "value", "time"];
    let mask = ProjectionMask::columns(builder.parquet_schema(), names);
    let selection = rows.only(file.row_count);
    let reader =
        builder.with_projection(mask).with_row_selection(selection).with_batch_size(BATCH_ROWS).build()?;
    for batch in reader {
        hand_out(&batch?, wanted, take)?;
    }
    Ok(())
}

fn hand_out(batch: &RecordBatch, wanted: &Wanted, take: &mut dyn FnMut(usize, Point)) -> anyhow::Result<()> {
    let (Some(steps), Some(values)) =
        (column::<Int64Type>(batch, "step"), column::<Float64Type>(batch, "value"))
    else {
        anyhow::bail!("a metrics file lacks a column");
    };
    let (times, keys, runs) = (times(batch), texts(batch, "key"), texts(batch, "run_id"));
    let (mut pair, mut slot) = (("", ""), None);
    for row in 0..batch.num_rows() {
        let name = (keys[row], runs[row]);
        if name != pair || row == 0 {
            (pair, slot) = (name, wanted.get(name.0).and_then(|runs| runs.get(name.1)).copied());
        }
        let Some(slot) = slot else { continue };
        take(slot, (steps[row], times.get(row).copied().unwrap_or(NO_TIME), values[row]));
    }
    Ok(())
}

/// Rows of pages that may hold what is wanted, by the bounds of their keys and runs.
fn candidates(file: &ParquetMetaData, wanted: &Wanted) -> RowSet {
    let mut rows = RowSet::new();
    let mut start = 0;
    for group in 0..file.num_row_groups() {
        let count = file.row_group(group).num_rows().max(0) as u64;
        let (keys, runs) = (Pages::of(file, group, "key"), Pages::of(file, group, "run_id"));
        for (key, ids) in wanted {
            let of_key = keys.rows_of(&[key], start, count);
            if !of_key.is_empty() {
                let ids: Vec<&String> = ids.keys().collect();
                let of_runs = runs.rows_of(&ids, start, count);
                rows = rows.union(&of_key.minus(&of_key.minus(&of_runs)));
            }
        }
        start += count;
    }
    rows
}

/// Bounds of the pages of a column in a row group, with the first row of each; none where they were not
/// written.
struct Pages<'a>(Option<(&'a ColumnIndexMetaData, Vec<u64>)>);

impl<'a> Pages<'a> {
    fn of(file: &'a ParquetMetaData, group: usize, name: &str) -> Self {
        let columns = file.file_metadata().schema_descr().columns();
        let pages = || {
            let at = columns.iter().position(|column| column.name() == name)?;
            let bounds = file.column_index()?.get(group)?.get(at)?;
            let places = file.offset_index()?.get(group)?.get(at)?.page_locations();
            Some((bounds, places.iter().map(|page| page.first_row_index.max(0) as u64).collect()))
        };
        Self(pages())
    }

    /// Rows of the pages that may hold one of some texts in ascending order.
    fn rows_of(&self, texts: &[&String], start: u64, count: u64) -> RowSet {
        let Some((ColumnIndexMetaData::BYTE_ARRAY(bounds), first_rows)) = &self.0 else {
            return RowSet::from_ranges([(start, start + count)]);
        };
        let may_hold = |page: usize| match (bounds.min_value(page), bounds.max_value(page)) {
            (Some(min), Some(max)) => {
                let from = texts.partition_point(|text| text.as_bytes() < min);
                texts.get(from).is_some_and(|text| text.as_bytes() <= max)
            }
            _ => true,
        };
        let ends = first_rows.iter().skip(1).copied().chain([count]);
        let pages = first_rows.iter().zip(ends).enumerate().filter(|(page, _)| may_hold(*page));
        RowSet::from_ranges(pages.map(|(_, (from, to))| (start + from, start + to)))
    }
}
