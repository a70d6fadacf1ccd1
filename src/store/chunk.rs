//! One column of one row group, page by page.

use anyhow::Context;
use bytes::Bytes;
use parquet::basic::{Compression, Encoding, PageType, ZstdLevel};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::statistics::Statistics;
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;
use std::collections::BTreeMap;
use zstd::bulk::Compressor;

/// A column chunk in memory.
pub struct Chunk<'z> {
    column: ColumnDescPtr,
    zstd: &'z mut Compressor<'static>,
    sink: TrackedWrite<Vec<u8>>,
    row_count: u64,
    uncompressed_bytes: usize,
    dictionary_at: Option<u64>,
    pages_at: Option<u64>,
    page_counts: BTreeMap<(u8, Encoding), i32>,
    places: OffsetIndexBuilder,
    bounds: Option<ColumnIndexBuilder>,
}

/// A chunk that is complete.
pub struct Closed {
    /// Its pages.
    pub bytes: Bytes,
    /// What the footer says of it.
    pub close: ColumnCloseResult,
}

impl<'z> Chunk<'z> {
    /// An empty chunk; `has_bounds`: each page comes with its bounds.
    pub fn new(column: ColumnDescPtr, zstd: &'z mut Compressor<'static>, has_bounds: bool) -> Self {
        let bounds = has_bounds.then(|| ColumnIndexBuilder::new(column.physical_type()));
        Self {
            column,
            zstd,
            sink: TrackedWrite::new(Vec::new()),
            row_count: 0,
            uncompressed_bytes: 0,
            dictionary_at: None,
            pages_at: None,
            page_counts: BTreeMap::new(),
            places: OffsetIndexBuilder::new(),
            bounds,
        }
    }

    /// Writes the dictionary: `count` values in plain form. It comes before all pages.
    pub fn dictionary(&mut self, values: &[u8], count: usize) -> anyhow::Result<()> {
        let buf = self.compress(values)?;
        let page = Page::DictionaryPage {
            buf,
            num_values: u32::try_from(count)?,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.dictionary_at =
            Some(self.put(page, values.len(), PageType::DICTIONARY_PAGE, Encoding::PLAIN)?.0);
        Ok(())
    }

    /// Writes a page of `rows` rows: levels, then values. `bounds` are its smallest and largest value.
    pub fn page(
        &mut self,
        body: &[u8],
        rows: usize,
        encoding: Encoding,
        bounds: Option<[Vec<u8>; 2]>,
    ) -> anyhow::Result<()> {
        let buf = self.compress(body)?;
        let page = Page::DataPage {
            buf,
            num_values: u32::try_from(rows)?,
            encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let (at, size) = self.put(page, body.len(), PageType::DATA_PAGE, encoding)?;
        self.pages_at.get_or_insert(at);
        self.row_count += rows as u64;
        self.places.append_row_count(rows as i64);
        self.places.append_offset_and_size(at as i64, i32::try_from(size)?);
        if let (Some(index), Some([low, high])) = (self.bounds.as_mut(), bounds) {
            index.append(false, low, high, 0);
        }
        Ok(())
    }

    fn compress(&mut self, bytes: &[u8]) -> anyhow::Result<Bytes> {
        Ok(self.zstd.compress(bytes).context("cannot compress a page")?.into())
    }

    /// Returns where the page stands and how many bytes it takes.
    fn put(
        &mut self,
        page: Page,
        plain_bytes: usize,
        kind: PageType,
        encoding: Encoding,
    ) -> anyhow::Result<(u64, usize)> {
        let page = CompressedPage::new(page, plain_bytes);
        let written = SerializedPageWriter::new(&mut self.sink).write_page(page)?;
        self.uncompressed_bytes += written.uncompressed_size;
        *self.page_counts.entry((kind as u8, encoding)).or_default() += 1;
        Ok((written.offset, written.compressed_size))
    }

    /// Ends the chunk; `statistics` are those of all its values.
    pub fn finish(self, statistics: Option<Statistics>) -> anyhow::Result<Closed> {
        let bytes: Bytes = self.sink.into_inner()?.into();
        let kind = |kind: u8| {
            if kind == PageType::DICTIONARY_PAGE as u8 {
                PageType::DICTIONARY_PAGE
            } else {
                PageType::DATA_PAGE
            }
        };
        let counts = self.page_counts.iter().map(|((page, encoding), count)| PageEncodingStats {
            page_type: kind(*page),
            encoding: *encoding,
            count: *count,
        });
        let mut encodings: Vec<Encoding> = self.page_counts.keys().map(|(_, encoding)| *encoding).collect();
        encodings.push(Encoding::RLE);
        let mut metadata = ColumnChunkMetaData::builder(self.column)
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_encodings(encodings)
            .set_page_encoding_stats(counts.collect())
            .set_total_compressed_size(bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_num_values(self.row_count as i64)
            .set_data_page_offset(self.pages_at.unwrap_or_default() as i64)
            .set_dictionary_page_offset(self.dictionary_at.map(|at| at as i64));
        if let Some(statistics) = statistics {
            metadata = metadata.set_statistics(statistics);
        }
        let close = ColumnCloseResult {
            bytes_written: bytes.len() as u64,
            rows_written: self.row_count,
            metadata: metadata.build()?,
            bloom_filter: None,
            column_index: self.bounds.map(ColumnIndexBuilder::build).transpose()?,
            offset_index: Some(self.places.build()),
        };
        Ok(Closed { bytes, close })
    }
}
