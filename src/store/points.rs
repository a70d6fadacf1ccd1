//! Points to Parquet. A general writer looks at each name and each value anew; here names come once
//! for many points, row groups end where the metric does, and each of them has the encoding that
//! suits its values.

use super::Limits;
use super::chunk::{Chunk, Closed};
use super::dictionary::Dictionary;
use super::encode;
use super::sums::SumWriter;
use super::writer::MAX_BOUND_BYTES;
use crate::records::columns::{Columns, NO_TIME};
use anyhow::Context;
use parquet::basic::Encoding;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};
use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use zstd::bulk::Compressor;

/// On values with noise level 2 is smaller than 3 and 4 (3.67, 3.85 and 3.85 bytes for a float32) and
/// faster; levels from 6 on save a little more for several times the work.
const ZSTD_LEVEL: i32 = 2;

/// Row groups of a metric are at least the whole size divided by this.
const GROUP_PARTS: usize = 16;

/// Pages of times end with a run, and those of values with a metric, once they have the rows of a page
/// divided by this. From one run to the next the clock jumps, and the numbers of a page share what the
/// widest jump among them needs; values of one metric repeat while those of another never do.
const PAGE_PARTS: usize = 32;

/// Distinct values of a dictionary at most.
pub(super) const MAX_DICTIONARY: usize = 1 << 16;

/// Points of one metric of one run.
struct Piece {
    run_id: Arc<str>,
    key: Arc<str>,
    points: Columns,
}

/// Rows of a page: ranges of pieces.
type Rows = Vec<(usize, Range<usize>)>;

/// Writes the points of a file.
pub struct PointWriter {
    writer: SerializedFileWriter<SumWriter<File>>,
    columns: Vec<ColumnDescPtr>,
    project: Option<Arc<str>>,
    zstd: Compressor<'static>,
    limits: Limits,
    /// The row group at hand.
    pieces: Vec<Piece>,
    row_count: usize,
    /// Columns whose points are written, by key.
    spent: Vec<(Arc<str>, Columns)>,
}

impl PointWriter {
    /// Writes to `file`, all of one project.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(
        file: SumWriter<File>,
        schema: &SchemaDescriptor,
        project: Option<&str>,
        limits: Limits,
    ) -> anyhow::Result<Self> {
        let properties = WriterProperties::builder().set_created_by("runq".into()).build();
        Ok(Self {
            writer: SerializedFileWriter::new(file, schema.root_schema_ptr(), Arc::new(properties))?,
            columns: schema.columns().to_vec(),
            project: project.map(Into::into),
            zstd: Compressor::new(ZSTD_LEVEL)?,
            limits,
            pieces: Vec::new(),
            row_count: 0,
            spent: Vec::new(),
        })
    }

    /// Adds points that follow those before in the order of the table.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn append(&mut self, run_id: &str, key: &str, mut points: Columns) -> anyhow::Result<()> {
        let is_other_key = self.pieces.last().is_some_and(|last| *last.key != *key);
        if is_other_key && self.row_count >= self.limits.row_group_rows / GROUP_PARTS {
            self.end_row_group()?;
        }
        while !points.is_empty() {
            let rest = points.split_off(self.limits.row_group_rows.saturating_sub(self.row_count).max(1));
            self.row_count += points.len();
            match self.pieces.last_mut() {
                Some(last) if *last.run_id == *run_id && *last.key == *key => {
                    last.points.extend(&points);
                }
                _ => self.pieces.push(Piece { run_id: run_id.into(), key: key.into(), points }),
            }
            if self.row_count >= self.limits.row_group_rows {
                self.end_row_group()?;
            }
            points = rest;
        }
        Ok(())
    }

    /// Columns that are written and can be used again, with the key they were of.
    pub fn take_spent(&mut self) -> Vec<(Arc<str>, Columns)> {
        std::mem::take(&mut self.spent)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(&mut self) -> anyhow::Result<&SumWriter<File>> {
        self.end_row_group()?;
        self.writer.finish()?;
        Ok(self.writer.inner())
    }

    fn end_row_group(&mut self) -> anyhow::Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        self.row_count = 0;
        let mut row_group = self.writer.next_row_group()?;
        for column in &self.columns {
            let work = ColumnWork { column, pieces: &pieces, limits: self.limits, zstd: &mut self.zstd };
            let closed = match column.name() {
                "run_id" => work.texts(|piece| Some(&piece.run_id)),
                "key" => work.texts(|piece| Some(&piece.key)),
                "project" => work.texts(|_| self.project.as_ref()),
                "step" => work.steps(),
                "value" => work.values(),
                "time" => work.times(),
                "segment" => work.numbers(|points, rows, out| {
                    out.extend(points.segment[rows].iter().map(|segment| i64::from(*segment)));
                }),
                "seq" => work.numbers(|points, rows, out| out.extend_from_slice(&points.seq[rows])),
                other => anyhow::bail!("points have no column {other}"),
            };
            let Closed { bytes, close } =
                closed.with_context(|| format!("cannot write {}", column.name()))?;
            row_group.append_column(&bytes, close)?;
        }
        row_group.close()?;
        self.spent.extend(pieces.into_iter().map(|piece| (piece.key, piece.points)));
        Ok(())
    }
}

/// One column of a row group being written.
struct ColumnWork<'a> {
    column: &'a ColumnDescPtr,
    pieces: &'a [Piece],
    limits: Limits,
    zstd: &'a mut Compressor<'static>,
}

impl<'a> ColumnWork<'a> {
    /// All rows page by page. `part`: a page of so many rows ends with its run.
    fn pages(&self, part: usize) -> Vec<Rows> {
        self.pages_of(0..self.pieces.len(), part)
    }

    fn pages_of(&self, pieces: Range<usize>, part: usize) -> Vec<Rows> {
        let page_rows = self.limits.page_rows.max(1);
        let (mut pages, mut page, mut count) = (Vec::new(), Rows::new(), 0);
        for at in pieces {
            let piece = &self.pieces[at];
            let mut from = 0;
            while from < piece.points.len() {
                let to = piece.points.len().min(from + page_rows - count);
                page.push((at, from..to));
                count += to - from;
                from = to;
                if count == page_rows || (from == piece.points.len() && count >= part) {
                    pages.push(std::mem::take(&mut page));
                    count = 0;
                }
            }
        }
        pages.extend((!page.is_empty()).then_some(page));
        pages
    }

    fn chunk(self, has_bounds: bool) -> Chunk<'a> {
        Chunk::new(self.column.clone(), self.zstd, has_bounds)
    }

    /// Names: each stands in the dictionary once, the pages say how often it is repeated.
    fn texts(self, text_of: impl Fn(&'a Piece) -> Option<&'a Arc<str>>) -> anyhow::Result<Closed> {
        let is_optional = self.column.max_def_level() > 0;
        let pieces = self.pieces;
        let (index, plain) = names(pieces.iter().filter_map(&text_of));
        let width = encode::bit_width(index.len().saturating_sub(1) as u64);
        let pages = self.pages(usize::MAX);
        let has_bounds = !is_optional && index.keys().all(|text| text.len() <= MAX_BOUND_BYTES);
        let mut chunk = self.chunk(has_bounds);
        // Without any name there is nothing but levels.
        let encoding = if index.is_empty() { Encoding::PLAIN } else { Encoding::RLE_DICTIONARY };
        if !index.is_empty() {
            chunk.dictionary(&plain, index.len())?;
        }
        let mut body = Vec::new();
        for rows in pages {
            body.clear();
            let row_count = count_of(&rows);
            if is_optional {
                put_levels(&Levels::Same(!index.is_empty(), row_count), &mut body);
            }
            body.extend((!index.is_empty()).then_some(width));
            let mut bounds = None;
            for (piece, range) in &rows {
                let Some(text) = text_of(&pieces[*piece]) else { continue };
                let number = index.get(&**text).copied().unwrap_or_default();
                encode::repeat(number, range.len(), width, &mut body);
                bounds = Some(widened(bounds, &**text));
            }
            let bounds = bounds.filter(|_| has_bounds);
            let bounds = bounds.map(|(low, high)| [low, high].map(|text: &str| text.as_bytes().to_vec()));
            chunk.page(&body, row_count, encoding, bounds)?;
        }
        let bounds = index.keys().fold(None, |bounds, text| Some(widened(bounds, *text)));
        chunk.finish(bounds.filter(|_| has_bounds).map(|bounds| {
            let (low, high) = (ByteArray::from(bounds.0), ByteArray::from(bounds.1));
            Statistics::byte_array(Some(low), Some(high), None, Some(0), false)
        }))
    }

    fn steps(self) -> anyhow::Result<Closed> {
        let (pieces, pages) = (self.pieces, self.pages(usize::MAX));
        let mut chunk = self.chunk(true);
        let (mut body, mut steps, mut all) = (Vec::new(), Vec::new(), None);
        for rows in pages {
            body.clear();
            steps.clear();
            rows.iter().for_each(|(piece, range)| {
                steps.extend_from_slice(&pieces[*piece].points.step[range.clone()]);
            });
            encode::delta(&steps, &mut body);
            let bounds = steps.iter().fold(None, |bounds, step| Some(widened(bounds, *step)));
            all = steps.iter().fold(all, |all, step| Some(widened(all, *step)));
            let bounds = bounds.map(|(low, high)| [low, high].map(|step| step.to_le_bytes().to_vec()));
            chunk.page(&body, steps.len(), Encoding::DELTA_BINARY_PACKED, bounds)?;
        }
        chunk.finish(all.map(|(low, high)| Statistics::int64(Some(low), Some(high), None, Some(0), false)))
    }

    fn numbers(self, take: impl Fn(&Columns, Range<usize>, &mut Vec<i64>)) -> anyhow::Result<Closed> {
        let (pieces, pages) = (self.pieces, self.pages(usize::MAX));
        let mut chunk = self.chunk(false);
        let (mut body, mut numbers) = (Vec::new(), Vec::new());
        for rows in pages {
            body.clear();
            numbers.clear();
            rows.iter().for_each(|(piece, range)| take(&pieces[*piece].points, range.clone(), &mut numbers));
            encode::delta(&numbers, &mut body);
            chunk.page(&body, numbers.len(), Encoding::DELTA_BINARY_PACKED, None)?;
        }
        chunk.finish(None)
    }

    fn times(self) -> anyhow::Result<Closed> {
        let (pieces, pages) = (self.pieces, self.pages(self.limits.page_rows / PAGE_PARTS));
        let mut chunk = self.chunk(false);
        let (mut body, mut times) = (Vec::new(), Vec::new());
        for rows in pages {
            body.clear();
            times.clear();
            rows.iter().for_each(|(piece, range)| {
                times.extend_from_slice(&pieces[*piece].points.time[range.clone()]);
            });
            let row_count = times.len();
            let levels = match times.contains(&NO_TIME) {
                true => Levels::Each(times.iter().map(|time| u32::from(*time != NO_TIME)).collect()),
                false => Levels::Same(true, row_count),
            };
            put_levels(&levels, &mut body);
            times.retain(|time| *time != NO_TIME);
            encode::delta(&times, &mut body);
            chunk.page(&body, row_count, Encoding::DELTA_BINARY_PACKED, None)?;
        }
        chunk.finish(None)
    }

    /// Metrics whose values share their encoding: each for itself, unless it has few points.
    fn blocks(&self) -> Vec<Block> {
        let least = self.limits.page_rows / PAGE_PARTS;
        let (mut blocks, mut from, mut count) = (Vec::new(), 0, 0);
        for (at, piece) in self.pieces.iter().enumerate() {
            count += piece.points.len();
            let ends = self.pieces.get(at + 1).is_none_or(|next| next.key != piece.key && count >= least);
            if ends {
                let pages = self.pages_of(from..at + 1, usize::MAX);
                let dictionary = dictionary_of(&self.pieces[from..at + 1]);
                blocks.push(Block { pages, dictionary, first: 0 });
                (from, count) = (at + 1, 0);
            }
        }
        blocks
    }

    /// Values that repeat stand in a dictionary, all others as they are.
    fn values(self) -> anyhow::Result<Closed> {
        let (pieces, mut blocks) = (self.pieces, self.blocks());
        let values = join_dictionaries(&mut blocks);
        let mut chunk = self.chunk(false);
        let mut body = Vec::new();
        if !values.is_empty() {
            values.iter().for_each(|bits| body.extend_from_slice(&bits.to_le_bytes()));
            chunk.dictionary(&body, values.len())?;
        }
        for block in &blocks {
            let mut from = 0;
            for rows in &block.pages {
                body.clear();
                let row_count = count_of(rows);
                let encoding = block.page(pieces, rows, from..from + row_count, &mut body);
                chunk.page(&body, row_count, encoding, None)?;
                from += row_count;
            }
        }
        chunk.finish(None)
    }
}

/// Values of one metric, or of some with few points.
struct Block {
    pages: Vec<Rows>,
    dictionary: Option<Dictionary>,
    /// Where its values begin in the dictionary of the row group.
    first: u32,
}

impl Block {
    fn page(&self, pieces: &[Piece], rows: &Rows, range: Range<usize>, body: &mut Vec<u8>) -> Encoding {
        if let Some(dictionary) = &self.dictionary {
            let last = self.first as usize + dictionary.values.len().saturating_sub(1);
            let width = encode::bit_width(last as u64);
            let indices: Vec<u32> =
                dictionary.indices[range].iter().map(|index| self.first + index).collect();
            body.push(width);
            encode::hybrid(&indices, width, body);
            return Encoding::RLE_DICTIONARY;
        }
        for (piece, range) in rows {
            let values = &pieces[*piece].points.value[range.clone()];
            values.iter().for_each(|value| body.extend_from_slice(&value.to_le_bytes()));
        }
        Encoding::PLAIN
    }
}

fn dictionary_of(pieces: &[Piece]) -> Option<Dictionary> {
    let values = pieces.iter().flat_map(|piece| &piece.points.value);
    Dictionary::of(values.map(|value| value.to_bits()), pieces.iter().map(|piece| piece.points.len()).sum())
}

/// The values of all dictionaries, those of the shortest first: their indices take the fewest bits.
fn join_dictionaries(blocks: &mut [Block]) -> Vec<u64> {
    let size = |block: &Block| block.dictionary.as_ref().map_or(0, |dictionary| dictionary.values.len());
    let mut order: Vec<&mut Block> = blocks.iter_mut().collect();
    order.sort_by_key(|block| size(block));
    let mut values = Vec::new();
    for block in order {
        block.first = values.len() as u32;
        match &block.dictionary {
            Some(dictionary) if values.len() + dictionary.values.len() <= MAX_DICTIONARY => {
                values.extend_from_slice(&dictionary.values);
            }
            _ => block.dictionary = None,
        }
    }
    values
}

/// Each name with its number, and all of them in plain form.
fn names<'a>(texts: impl Iterator<Item = &'a Arc<str>>) -> (HashMap<&'a str, u32>, Vec<u8>) {
    let mut index: HashMap<&str, u32> = HashMap::new();
    let mut plain = Vec::new();
    for text in texts {
        let next = index.len() as u32;
        index.entry(text).or_insert_with(|| {
            plain.extend_from_slice(&(text.len() as u32).to_le_bytes());
            plain.extend_from_slice(text.as_bytes());
            next
        });
    }
    (index, plain)
}

/// Bounds that hold `value` as well.
fn widened<T: Ord + Copy>(bounds: Option<(T, T)>, value: T) -> (T, T) {
    bounds.map_or((value, value), |(low, high)| (low.min(value), high.max(value)))
}

fn count_of(rows: &Rows) -> usize {
    rows.iter().map(|(_, range)| range.len()).sum()
}

/// Definition levels: which rows hold a value.
enum Levels {
    /// All of so many rows do, or none.
    Same(bool, usize),
    /// 1 where a row does.
    Each(Vec<u32>),
}

fn put_levels(levels: &Levels, body: &mut Vec<u8>) {
    let mut bytes = Vec::new();
    match levels {
        Levels::Same(known, count) => encode::repeat(u32::from(*known), *count, 1, &mut bytes),
        Levels::Each(flags) => encode::hybrid(flags, 1, &mut bytes),
    }
    body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    body.extend_from_slice(&bytes);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::records::columns::PointRow;
    use crate::records::schema::Table;
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
    use parquet::arrow::ArrowSchemaConverter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    /// Points of a run: steps with gaps, every seventh without a time, values by `value`.
    fn points(count: i64, start: i64, value: impl Fn(i64) -> f64) -> Columns {
        let mut points = Columns::default();
        for i in 0..count {
            let time =
                if i % 7 == 3 { NO_TIME } else { 1_760_000_000_000 + start * 977 + i * 250 + i * i % 97 };
            let segment = (i * 3 / count) as i32;
            points.push(PointRow { step: start + i * 2, value: value(i), time, seq: i * 20, segment });
        }
        points
    }

    fn values() -> Vec<(&'static str, &'static str, Columns)> {
        let noise = |i: i64| (i as f64 * 12.9898).sin() * 43_758.5;
        let nan = |i: i64| if i % 5 == 0 { f64::from_bits(0x7ff8_0000_0000_0001) } else { -0.0 };
        vec![
            ("a", "constant", points(700, 0, |_| 2.5)),
            ("b", "constant", points(1, 5, |_| 2.5)),
            ("c", "constant", points(90, -40, |_| -2.5)),
            ("a", "nan", points(300, 0, nan)),
            ("a", "noise", points(900, 0, noise)),
            ("a", "rounded", points(900, 0, |i| (noise(i) / 1e3).round())),
            ("b", "timeless", {
                let mut points = points(40, 0, noise);
                points.time.fill(NO_TIME);
                points
            }),
        ]
    }

    #[test]
    fn points_are_read_back_bit_by_bit_whatever_the_sizes() {
        for (row_group_rows, page_rows, project) in
            [(64, 16, None), (1 << 20, 100, Some("demo")), (512, 4096, Some("")), (1, 1, None)]
        {
            let limits = Limits { row_group_rows, page_rows, ..Limits::default() };
            let schema = Table::Metrics.stored_schema();
            let file = tempfile::NamedTempFile::new().unwrap();
            let parquet = ArrowSchemaConverter::new().convert(&schema).unwrap();
            let open = SumWriter::new(file.reopen().unwrap());
            let mut writer = PointWriter::new(open, &parquet, project, limits).unwrap();
            for (run_id, key, points) in values() {
                writer.append(run_id, key, points).unwrap();
            }
            writer.finish().unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(file.reopen().unwrap()).unwrap();
            let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
            let batch = concat_batches(&batches.first().unwrap().schema(), &batches).unwrap();
            let mut row = 0;
            for (run_id, key, points) in values() {
                let count = points.len();
                let part = batch.slice(row, count);
                row += count;
                let text = |at: usize| part.column(at).as_string::<i32>().iter().collect::<Vec<_>>();
                assert_eq!(text(0), vec![Some(run_id); count]);
                assert_eq!(text(1), vec![Some(key); count]);
                assert_eq!(text(7), vec![project; count]);
                assert_eq!(part.column(2).as_primitive::<Int64Type>().values(), &points.step[..]);
                let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                let read = part.column(3).as_primitive::<Float64Type>().values();
                assert_eq!(bits(read), bits(&points.value));
                let times = part.column(4).as_primitive::<TimestampMillisecondType>();
                let times: Vec<i64> = times.iter().map(|time| time.unwrap_or(NO_TIME)).collect();
                assert_eq!(times, points.time);
                assert_eq!(part.column(5).as_primitive::<Int32Type>().values(), &points.segment[..]);
                assert_eq!(part.column(6).as_primitive::<Int64Type>().values(), &points.seq[..]);
            }
            assert_eq!(row, batch.num_rows());
        }
    }
}
