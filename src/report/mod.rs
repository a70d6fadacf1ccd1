//! Arrow batches become text or files; knows neither store nor engine.
//!
//! A [`Render`] takes the batches of one answer as they come and writes them to one `Write`.
//! Only [`table`] holds rows back (a column is as wide as its widest cell), and that a chunk at a
//! time.

mod arrow_files;
pub mod brief;
pub mod cell;
mod delimited;
mod json;
mod markdown;
pub mod nan;
pub mod number;
pub mod people;
pub mod plot;
pub mod record;
mod table;
pub mod tokens;

pub use table::write_facts;

use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use std::io::Write;

/// How an answer is written. The only list of formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Format {
    /// Box-drawn table for people.
    Table,
    /// Comma-separated, exact.
    Csv,
    /// Tab-separated, exact.
    Tsv,
    /// One array of objects.
    Json,
    /// One object a line.
    Jsonl,
    /// Markdown table.
    Md,
    /// Arrow IPC stream.
    Arrow,
    /// Parquet file.
    Parquet,
}

impl Format {
    /// All formats, in the order help shows them.
    pub const ALL: [Format; 8] = [
        Format::Table,
        Format::Csv,
        Format::Tsv,
        Format::Json,
        Format::Jsonl,
        Format::Md,
        Format::Arrow,
        Format::Parquet,
    ];

    /// The word for `--format`.
    pub fn name(self) -> &'static str {
        match self {
            Format::Table => "table",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Json => "json",
            Format::Jsonl => "jsonl",
            Format::Md => "md",
            Format::Arrow => "arrow",
            Format::Parquet => "parquet",
        }
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format a file name's extension asks for.
    pub fn from_extension(extension: &str) -> Option<Format> {
        match extension.to_ascii_lowercase().as_str() {
            "txt" => Some(Format::Table),
            "ndjson" => Some(Format::Jsonl),
            "arrows" => Some(Format::Arrow),
            "markdown" => Some(Format::Md),
            other => Format::from_name(other).filter(|format| *format != Format::Table),
        }
    }

    /// Whether it is no text and has no place on a terminal.
    pub fn is_binary(self) -> bool {
        matches!(self, Format::Arrow | Format::Parquet)
    }

    /// Whether it is made to be read by people: short numbers and times.
    pub fn is_for_people(self) -> bool {
        matches!(self, Format::Table | Format::Md)
    }
}

/// Where the text goes, as far as its look depends on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Columns of the terminal; `None`: as wide as it needs.
    pub width: Option<u16>,
    /// Bold header.
    pub colour: bool,
    /// A terminal reads it: control characters are replaced in every text format.
    pub terminal: bool,
}

/// Writes the batches of one answer.
pub trait Render {
    /// Writes the rows of a batch; all batches have the schema given to [`open`].
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;

    /// Writes what is held back and the end. An answer without rows is still a valid document.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Begins a document of this format.
pub fn open<'a>(
    format: Format,
    style: Style,
    schema: &SchemaRef,
    out: &'a mut (dyn Write + Send),
) -> Result<Box<dyn Render + 'a>> {
    Ok(match format {
        Format::Table => Box::new(table::Table::new(schema, style, out)),
        Format::Csv => Box::new(delimited::Delimited::new(b',', schema, style, out)?),
        Format::Tsv => Box::new(delimited::Delimited::new(b'\t', schema, style, out)?),
        Format::Json => Box::new(json::Json::new(json::Shape::Array, schema, out)),
        Format::Jsonl => Box::new(json::Json::new(json::Shape::Lines, schema, out)),
        Format::Md => Box::new(markdown::Markdown::new(schema, out)?),
        Format::Arrow => Box::new(arrow_files::Stream::new(schema, out)?),
        Format::Parquet => Box::new(arrow_files::ParquetFile::new(schema, out)?),
    })
}

/// Writes a whole answer that is already in memory.
pub fn write_all(
    format: Format,
    style: Style,
    batch: &RecordBatch,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let mut render = open(format, style, &batch.schema(), out)?;
    render.write(batch)?;
    render.finish()
}

#[cfg(test)]
mod tests;
