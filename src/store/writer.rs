//! Record batches to one Parquet file: written under a temporary name, synced, renamed. A file
//! counts only once the catalog says so.

use super::members::Members;
use super::points::PointWriter;
use super::sums::SumWriter;
use super::{FileClass, FileRecord, Limits, layout};
use crate::records::columns::{Columns, NO_TIME};
use crate::records::schema::Table;
use anyhow::Context;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, SchemaRef, TimestampMillisecondType};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Columns whose bounds are stated: they can hold no NaN, and queries are pruned by them.
const BOUNDED: [&str; 3] = ["run_id", "key", "step"];

/// Longest text that is kept as a bound.
pub const MAX_BOUND_BYTES: usize = 1_000;

/// A file that is gone with its writer, unless it took its name: what failed holds no space.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is not there any more once it was renamed; the next sweep tries again.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Writes one file of one table.
pub struct FileWriter {
    cache: PathBuf,
    tmp: Temporary,
    writer: Writer,
    record: FileRecord,
    limits: Limits,
    group_key: Option<String>,
    has_null_keys: bool,
    has_null_steps: bool,
}

enum Writer {
    Points(Box<PointWriter>),
    Rows(Box<ArrowWriter<SumWriter<File>>>),
}

impl FileWriter {
    /// Opens a new file for rows of `project`.
    ///
    /// # Errors
    /// When the cache cannot be written.
    pub fn create(
        cache: &Path,
        table: Table,
        class: FileClass,
        project: Option<&str>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let path = layout::new_file(table, project);
        let tmp = Temporary(layout::tmp(cache).join(format!("{}.tmp", uuid::Uuid::now_v7().simple())));
        let file = File::create(&tmp.0).with_context(|| format!("cannot create {}", tmp.0.display()))?;
        let writer = writer_of(table, SumWriter::new(file), project, limits)?;
        let record = FileRecord::new(table, class, path, project);
        Ok(Self {
            cache: cache.to_path_buf(),
            tmp,
            writer,
            record,
            limits,
            group_key: None,
            has_null_keys: false,
            has_null_steps: false,
        })
    }

    /// Appends rows; they must follow the table's sort order, this batch and the last one alike.
    ///
    /// # Errors
    /// When the disk is full or the batch has another schema.
    pub fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        match &mut self.writer {
            _ if batch.num_rows() == 0 => return Ok(()),
            Writer::Rows(writer) => {
                let context = || format!("cannot write {}", self.tmp.0.display());
                cut_row_group(writer, &mut self.group_key, batch, self.limits).with_context(context)?;
                writer.write(batch).with_context(context)?;
                if writer.in_progress_rows() >= self.limits.row_group_rows {
                    writer.flush().with_context(context)?;
                }
            }
            Writer::Points(_) => return self.write_points(batch),
        }
        self.note_bounds(batch);
        Ok(())
    }

    fn write_points(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        let (Some(runs), Some(keys)) = (text_column(batch, "run_id"), text_column(batch, "key")) else {
            anyhow::bail!("points without names");
        };
        let mut from = 0;
        while from < batch.num_rows() {
            let (run_id, key) = (runs.value(from), keys.value(from));
            let is_same = |row: &usize| runs.value(*row) == run_id && keys.value(*row) == key;
            let count = (from..batch.num_rows()).take_while(is_same).count();
            self.append(run_id, key, columns_of(&batch.slice(from, count))?)?;
            from += count;
        }
        // They would gather until the file ends.
        drop(self.take_spent());
        Ok(())
    }

    /// Appends points of a metric of a run; they must follow the table's sort order.
    ///
    /// # Errors
    /// When the disk is full or the table holds no points.
    pub fn append(&mut self, run_id: &str, key: &str, points: Columns) -> anyhow::Result<()> {
        let Writer::Points(writer) = &mut self.writer else { anyhow::bail!("this table holds no points") };
        if points.is_empty() {
            return Ok(());
        }
        self.record.row_count += points.len() as u64;
        if !self.record.runs.contains(run_id) {
            self.record.runs.insert(run_id.to_string());
        }
        if self.group_key.as_deref() != Some(key) {
            self.group_key = Some(key.to_string());
            widen(&mut self.record.key_bounds, key.to_string());
        }
        points.step.iter().for_each(|step| widen(&mut self.record.step_bounds, *step));
        writer.append(run_id, key, points).with_context(|| format!("cannot write {}", self.tmp.0.display()))
    }

    /// Columns given to [`FileWriter::append`] that are written and can be used again, with their key.
    pub fn take_spent(&mut self) -> Vec<(Arc<str>, Columns)> {
        match &mut self.writer {
            Writer::Points(writer) => writer.take_spent(),
            Writer::Rows(_) => Vec::new(),
        }
    }

    fn note_bounds(&mut self, batch: &RecordBatch) {
        self.record.row_count += batch.num_rows() as u64;
        if let Some(runs) = batch.column_by_name("run_id") {
            distinct_texts(runs, &mut self.record.runs);
        }
        self.note_key_bounds(batch);
        self.note_step_bounds(batch);
    }

    fn note_key_bounds(&mut self, batch: &RecordBatch) {
        let Some(keys) = batch.column_by_name("key") else { return };
        self.has_null_keys |= keys.null_count() > 0;
        let mut distinct = BTreeSet::new();
        distinct_texts(keys, &mut distinct);
        for key in distinct {
            widen(&mut self.record.key_bounds, key);
        }
    }

    fn note_step_bounds(&mut self, batch: &RecordBatch) {
        let Some(steps) = batch.column_by_name("step") else { return };
        self.has_null_steps |= steps.null_count() > 0;
        for step in steps.as_primitive::<Int64Type>().iter().flatten() {
            widen(&mut self.record.step_bounds, step);
        }
    }

    /// Closes, syncs and renames the file. It counts once its record is committed.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(mut self) -> anyhow::Result<FileRecord> {
        let context = || format!("cannot write {}", self.tmp.0.display());
        let file = match &mut self.writer {
            Writer::Points(writer) => writer.finish().with_context(context)?,
            Writer::Rows(writer) => {
                writer.finish().with_context(context)?;
                writer.inner()
            }
        };
        file.inner().sync_all().with_context(|| format!("cannot sync {}", self.tmp.0.display()))?;
        self.record.sums = Arc::new(file.sums());
        self.record.size_bytes = self.record.sums.size_bytes();
        // Bounds speak for every row of the file, or for none.
        self.record.key_bounds = self.record.key_bounds.filter(|_| !self.has_null_keys).filter(is_short);
        self.record.step_bounds = self.record.step_bounds.filter(|_| !self.has_null_steps);
        let runs = &self.record.runs;
        self.record.members = Members::of(runs);
        self.record.run_bounds = runs.first().cloned().zip(runs.last().cloned()).filter(is_short);
        let target = self.cache.join(&self.record.path);
        if let Some(folder) = target.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        std::fs::rename(&self.tmp.0, &target)
            .with_context(|| format!("cannot create {}", target.display()))?;
        if let Some(folder) = target.parent().and_then(|folder| File::open(folder).ok()) {
            // Some file systems cannot sync a folder; the catalog's own sync still orders the commit.
            let _ = folder.sync_all();
        }
        Ok(self.record)
    }
}

/// Whether bounds are worth keeping with every file: a name of a megabyte is not.
fn is_short(bounds: &(String, String)) -> bool {
    bounds.0.len().max(bounds.1.len()) <= MAX_BOUND_BYTES
}

fn writer_of(
    table: Table,
    file: SumWriter<File>,
    project: Option<&str>,
    limits: Limits,
) -> anyhow::Result<Writer> {
    let schema = table.stored_schema();
    if table == Table::Metrics {
        let schema = ArrowSchemaConverter::new().convert(&schema)?;
        return Ok(Writer::Points(Box::new(PointWriter::new(file, &schema, project, limits)?)));
    }
    let options = ArrowWriterOptions::new()
        .with_properties(properties(&schema, limits)?)
        .with_skip_arrow_metadata(true);
    Ok(Writer::Rows(Box::new(ArrowWriter::try_new_with_options(file, schema, options)?)))
}

/// Ends a row group where the key changes, once it is large enough to stand alone.
fn cut_row_group(
    writer: &mut ArrowWriter<SumWriter<File>>,
    key: &mut Option<String>,
    batch: &RecordBatch,
    limits: Limits,
) -> anyhow::Result<()> {
    let Some(column) = batch.column_by_name("key") else { return Ok(()) };
    let first = text_at(column, 0);
    let changed = key.is_some() && first != *key;
    if changed && writer.in_progress_rows() >= limits.row_group_rows / 16 {
        writer.flush()?;
    }
    *key = text_at(column, batch.num_rows() - 1);
    Ok(())
}

fn text_column<'b>(batch: &'b RecordBatch, name: &str) -> Option<&'b StringArray> {
    batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>())
}

/// Points of a batch of the table `metrics`.
fn columns_of(batch: &RecordBatch) -> anyhow::Result<Columns> {
    let column = |name| batch.column_by_name(name).context("a column of points is missing");
    let times = column("time")?.as_primitive_opt::<TimestampMillisecondType>().context("no times")?;
    Ok(Columns {
        step: column("step")?.as_primitive_opt::<Int64Type>().context("no steps")?.values().to_vec(),
        value: column("value")?.as_primitive_opt::<Float64Type>().context("no values")?.values().to_vec(),
        time: times.iter().map(|time| time.unwrap_or(NO_TIME)).collect(),
        segment: column("segment")?.as_primitive_opt::<Int32Type>().context("no segments")?.values().to_vec(),
        seq: column("seq")?.as_primitive_opt::<Int64Type>().context("no order")?.values().to_vec(),
    })
}

fn widen<T: PartialOrd + Clone>(bounds: &mut Option<(T, T)>, value: T) {
    match bounds {
        None => *bounds = Some((value.clone(), value)),
        Some((low, _)) if value < *low => *low = value,
        Some((_, high)) if value > *high => *high = value,
        Some(_) => {}
    }
}

fn text_at(column: &dyn Array, row: usize) -> Option<String> {
    column.as_string_opt::<i32>().map(|texts| texts.value(row).to_string())
}

fn distinct_texts(column: &dyn Array, into: &mut BTreeSet<String>) {
    if let Some(texts) = column.as_string_opt::<i32>() {
        let mut previous: Option<&str> = None;
        for text in texts.iter().flatten() {
            if previous != Some(text) && !into.contains(text) {
                into.insert(text.to_string());
            }
            previous = Some(text);
        }
    }
}

fn properties(schema: &SchemaRef, limits: Limits) -> anyhow::Result<WriterProperties> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?))
        .set_created_by("runq".into())
        // Statistics leave NaN out and engines believe them, so only columns that cannot hold one have any.
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_row_count_limit(limits.page_rows)
        .set_write_batch_size(limits.page_rows.min(1024))
        .set_max_row_group_row_count(Some(limits.row_group_rows));
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        if BOUNDED.contains(&field.name().as_str()) {
            properties = properties.set_column_statistics_enabled(column.clone(), EnabledStatistics::Page);
        }
        properties = match field.data_type() {
            DataType::Int64 | DataType::Timestamp(_, _) | DataType::Int32 => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED),
            DataType::Float64 => properties
                .set_column_dictionary_enabled(column.clone(), false)
                .set_column_encoding(column, Encoding::PLAIN),
            _ => properties,
        };
    }
    Ok(properties.build())
}
