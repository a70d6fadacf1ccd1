//! Parquet files of `neptune-exporter`: a row for each single value and each point, with columns for
//! each type of value.

use crate::records::{ConfigValue, End, Point, Problem, RunFacts, Text};
use crate::sources::parse::axis::planned_steps;
use crate::sources::parse::document;
use crate::sources::parse::words::filled;
use crate::sources::{Log, Resume, Sink};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMillisecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use std::fs::File;
use std::path::Path;

/// How a Parquet file begins.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Columns without which it is none of these files.
const COLUMNS: [&str; 4] = ["project_id", "run_id", "attribute_path", "attribute_type"];

/// Rows at a time.
const BATCH_ROWS: usize = 8 * 1024;

/// Whether the columns are those of `neptune-exporter`.
pub(super) fn is_export(file: &Path) -> bool {
    let Ok(file) = File::open(file) else { return false };
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(file) else { return false };
    COLUMNS.iter().all(|name| builder.schema().field_with_name(name).is_ok())
}

/// Reads the whole file.
pub(super) fn read(log: &mut Log<'_>, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    if let Err(error) = rows(log.file, sink) {
        sink.problem(Problem { position: "file".into(), message: format!("{error:#}") });
    }
    Ok(document::read())
}

fn rows(file: &Path, sink: &mut dyn Sink) -> anyhow::Result<()> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?;
    for batch in builder.with_batch_size(BATCH_ROWS).build()? {
        let batch = Batch::of(batch?)?;
        (0..batch.rows).for_each(|row| batch.row(row, sink));
    }
    Ok(())
}

/// The columns of some rows; one that is not there holds nothing.
struct Batch {
    rows: usize,
    project: Column,
    run: Column,
    path: Column,
    kind: Column,
    step: Column,
    time: Column,
    int: Column,
    float: Column,
    string: Column,
    boolean: Column,
    date: Column,
    strings: Option<arrow::array::ArrayRef>,
}

/// A column in one type, or none.
struct Column(Option<arrow::array::ArrayRef>);

impl Column {
    fn of(batch: &RecordBatch, name: &str, kind: &DataType) -> anyhow::Result<Self> {
        Ok(Column(batch.column_by_name(name).map(|column| cast(column, kind)).transpose()?))
    }

    /// The column, where the row holds a value.
    fn at(&self, row: usize) -> Option<&dyn Array> {
        self.0.as_deref().filter(|column| column.is_valid(row))
    }

    fn text(&self, row: usize) -> Option<&str> {
        Some(self.at(row)?.as_string_opt::<i32>()?.value(row))
    }

    fn float(&self, row: usize) -> Option<f64> {
        Some(self.at(row)?.as_primitive_opt::<Float64Type>()?.value(row))
    }

    fn int(&self, row: usize) -> Option<i64> {
        Some(self.at(row)?.as_primitive_opt::<Int64Type>()?.value(row))
    }

    fn boolean(&self, row: usize) -> Option<bool> {
        Some(self.at(row)?.as_boolean_opt()?.value(row))
    }

    fn time(&self, row: usize) -> Option<i64> {
        Some(self.at(row)?.as_primitive_opt::<TimestampMillisecondType>()?.value(row))
    }
}

impl Batch {
    fn of(batch: RecordBatch) -> anyhow::Result<Self> {
        let column = |name: &str, kind: DataType| Column::of(&batch, name, &kind);
        let time = || DataType::Timestamp(TimeUnit::Millisecond, None);
        Ok(Batch {
            rows: batch.num_rows(),
            project: column("project_id", DataType::Utf8)?,
            run: column("run_id", DataType::Utf8)?,
            path: column("attribute_path", DataType::Utf8)?,
            kind: column("attribute_type", DataType::Utf8)?,
            // Steps are decimals.
            step: column("step", DataType::Float64)?,
            time: column("timestamp", time())?,
            int: column("int_value", DataType::Int64)?,
            float: column("float_value", DataType::Float64)?,
            string: column("string_value", DataType::Utf8)?,
            boolean: column("bool_value", DataType::Boolean)?,
            date: column("datetime_value", time())?,
            strings: batch.column_by_name("string_set_value").cloned(),
        })
    }

    fn row(&self, row: usize, sink: &mut dyn Sink) {
        let (Some(run), Some(path)) = (self.run.text(row), self.path.text(row)) else { return };
        sink.select_run(run);
        let (step, time) = (self.step.float(row).map(|step| step.floor() as i64), self.time.time(row));
        match self.kind.text(row).unwrap_or_default() {
            "float_series" => {
                if let Some(value) = self.float.float(row) {
                    let key = named(path);
                    sink.point(Point { key: &key, step: step.unwrap_or(0), value, time });
                }
            }
            "string_series" => {
                if let Some(text) = self.string.text(row) {
                    sink.text(Text { key: path.to_owned(), step, time, text: text.to_owned() });
                }
            }
            "float" | "int" | "string" | "bool" | "datetime" | "string_set" => self.single(row, path, sink),
            _ => {}
        }
    }

    /// A value without steps: a fact where Neptune itself keeps it, else configuration.
    fn single(&self, row: usize, path: &str, sink: &mut dyn Sink) {
        let project = self.project.text(row).and_then(filled);
        let none = RunFacts { project, ..RunFacts::default() };
        let text = self.string.text(row).and_then(filled);
        if let Some(field) = path.strip_prefix("sys/") {
            sink.facts(match field {
                "name" => RunFacts { name: text, ..none },
                "description" => RunFacts { notes: text, ..none },
                "hostname" => RunFacts { host: text, ..none },
                "owner" => RunFacts { user_name: text, ..none },
                "creation_time" => RunFacts { created_at: self.date.time(row), ..none },
                "modification_time" => RunFacts { updated_at: self.date.time(row), ..none },
                "tags" => RunFacts { tags: self.set(row), ..none },
                "failed" if self.boolean.boolean(row) == Some(true) => {
                    RunFacts { end: Some(End::Failed), ..none }
                }
                _ => none,
            });
            return;
        }
        if let Some(value) = self.value(row) {
            if let Some(steps) = planned_steps(path, value.number) {
                sink.facts(RunFacts { planned_steps: Some(steps), ..none });
            }
            sink.config(path, value);
        }
    }

    fn value(&self, row: usize) -> Option<ConfigValue> {
        let number = |number: f64| ConfigValue { text: number.to_string(), number: Some(number) };
        let text = |text: String| ConfigValue { text, number: None };
        self.int
            .int(row)
            .map(|int| ConfigValue { text: int.to_string(), number: Some(int as f64) })
            .or_else(|| self.float.float(row).map(number))
            .or_else(|| self.string.text(row).map(|string| text(string.to_owned())))
            .or_else(|| self.boolean.boolean(row).map(|boolean| text(boolean.to_string())))
            .or_else(|| {
                let time = chrono::DateTime::from_timestamp_millis(self.date.time(row)?)?;
                Some(text(time.to_rfc3339()))
            })
            .or_else(|| Some(text(serde_json::to_string(&self.set(row)?).ok()?)))
    }

    fn set(&self, row: usize) -> Option<Vec<String>> {
        let list = self.strings.as_ref()?.as_list_opt::<i32>()?;
        let items = list.is_valid(row).then(|| list.value(row))?;
        let items = cast(&items, &DataType::Utf8).ok()?;
        Some(items.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
    }
}

/// The machine is watched under a hash of host and process.
fn named(path: &str) -> String {
    let rest = path.strip_prefix("monitoring/").and_then(|rest| rest.split_once('/'));
    rest.map_or_else(|| path.to_owned(), |(_, rest)| format!("system/{rest}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::Neptune;
    use super::*;
    use crate::sources::testing::{Memory, in_memory};
    use crate::sources::{Source, Verdict};
    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListBuilder, StringArray,
        StringBuilder, TimestampMillisecondArray,
    };
    use parquet::arrow::ArrowWriter;
    use std::sync::Arc;

    /// A file as the exporter writes it: attribute, type, step, time, float, text, set.
    fn export(file: &Path) {
        let paths =
            ["sys/name", "sys/tags", "lr", "epochs", "ok", "loss", "loss", "log", "monitoring/ab/cpu", "f"];
        let kinds = [
            "string",
            "string_set",
            "float",
            "int",
            "bool",
            "float_series",
            "float_series",
            "string_series",
            "float_series",
            "file",
        ];
        let rows = paths.len();
        let at = |place: usize, value: f64| (0..rows).map(move |row| (row == place).then_some(value));
        let mut floats: Vec<Option<f64>> = at(2, 0.1).collect();
        (floats[5], floats[6], floats[8]) = (Some(0.5), Some(f64::NAN), Some(50.0));
        let mut texts = vec![None; rows];
        (texts[0], texts[7]) = (Some("n"), Some("hello"));
        let steps: Vec<Option<i128>> =
            (0..rows).map(|row| (row >= 5).then_some(row as i128 * 1_000_000)).collect();
        let times = (0..rows).map(|row| (row >= 5).then_some(1_795_198_721_645)).collect::<Vec<_>>();
        let mut sets = ListBuilder::new(StringBuilder::new());
        for row in 0..rows {
            if row == 1 {
                sets.values().append_value("a");
            }
            sets.append(row == 1);
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("project_id", Arc::new(StringArray::from(vec!["w/p"; rows]))),
            (
                "run_id",
                Arc::new(StringArray::from(
                    (0..rows).map(|row| if row == 9 { "B-2" } else { "A-1" }).collect::<Vec<_>>(),
                )),
            ),
            ("attribute_path", Arc::new(StringArray::from(paths.to_vec()))),
            ("attribute_type", Arc::new(StringArray::from(kinds.to_vec()))),
            ("step", Arc::new(Decimal128Array::from(steps).with_precision_and_scale(18, 6).unwrap())),
            ("timestamp", Arc::new(TimestampMillisecondArray::from(times).with_timezone("UTC"))),
            (
                "int_value",
                Arc::new(Int64Array::from((0..rows).map(|row| (row == 3).then_some(7)).collect::<Vec<_>>())),
            ),
            ("float_value", Arc::new(Float64Array::from(floats))),
            ("string_value", Arc::new(StringArray::from(texts))),
            (
                "bool_value",
                Arc::new(BooleanArray::from(
                    (0..rows).map(|row| (row == 4).then_some(true)).collect::<Vec<_>>(),
                )),
            ),
            ("string_set_value", Arc::new(sets.finish())),
        ];
        let batch = RecordBatch::try_from_iter_with_nullable(
            columns.into_iter().map(|(name, column)| (name, column, true)),
        )
        .unwrap();
        let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
    }

    fn read_file(file: &Path) -> Memory {
        let (mut sink, mut none) = (Memory::default(), std::io::Cursor::new(Vec::new()));
        let mut log = Log { file, ..in_memory("A-1_part_0.parquet", "", &mut none, 64) };
        Neptune.read(&mut log, Resume::default(), &mut sink).unwrap();
        sink
    }

    #[test]
    fn rows_of_every_type_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("A-1_part_0.parquet");
        export(&file);
        let head = std::fs::read(&file).unwrap();
        let verdict = Neptune.sniff_file("A-1_part_0.parquet", &head, &file, folder.path());
        assert_eq!(verdict, Verdict::Log { marks: String::new() });
        let sink = read_file(&file);
        assert!(sink.problems.is_empty(), "{:?}", sink.problems);
        assert_eq!((sink.steps("loss"), sink.points[0].value), (vec![5, 6], 0.5));
        assert!(sink.points[1].value.is_nan() && sink.points.iter().all(|point| point.run == "A-1"));
        assert_eq!(
            (sink.line("system/cpu"), sink.points[0].time),
            (vec![(8, 50.0)], Some(1_795_198_721_645))
        );
        assert_eq!((sink.texts[0].step, sink.texts[0].text.as_str()), (Some(7), "hello"));
        let numbers = ["lr", "epochs", "ok"].map(|key| sink.config[key].number);
        assert_eq!(numbers, [Some(0.1), Some(7.0), None]);
        let facts = &sink.facts;
        assert_eq!((facts.name.as_deref(), facts.project.as_deref()), (Some("n"), Some("w/p")));
        assert_eq!(facts.tags.as_deref(), Some(&["a".to_owned()][..]));
    }

    #[test]
    fn damaged_files_are_one_problem() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("A-1_part_0.parquet");
        export(&file);
        let whole = std::fs::read(&file).unwrap();
        for cut in (0..whole.len()).step_by(13) {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(read_file(&file).problems.len(), 1, "cut at {cut}");
            assert!(!is_export(&file));
            let mut harmed = whole.clone();
            harmed[cut] ^= 0xff;
            std::fs::write(&file, &harmed).unwrap();
            read_file(&file);
        }
    }
}
