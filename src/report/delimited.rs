//! CSV and TSV: complete, exact, unpadded; null is empty.

use super::cell::{Cells, Form, harmless};
use super::{Render, Style};
use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

type Out<'a> = &'a mut (dyn Write + Send);

/// Values between delimiters, one row a line.
pub struct Delimited<'a> {
    writer: csv::Writer<Out<'a>>,
    terminal: bool,
}

impl<'a> Delimited<'a> {
    /// Writes the header.
    pub fn new(delimiter: u8, schema: &SchemaRef, style: Style, out: Out<'a>) -> Result<Self> {
        let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(out);
        if !schema.fields().is_empty() {
            writer.write_record(schema.fields().iter().map(|field| shown(field.name(), style.terminal)))?;
        }
        Ok(Self { writer, terminal: style.terminal })
    }
}

impl Render for Delimited<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            for cells in &columns {
                text.clear();
                cells.write_text(row, Form::Exact, &mut text);
                match self.terminal {
                    true => self.writer.write_field(harmless(&text))?,
                    false => self.writer.write_field(&text)?,
                }
            }
            self.writer.write_record(None::<&[u8]>)?;
        }
        // What is there is shown at once: the next batch may take a while.
        Ok(self.writer.flush()?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

fn shown(name: &str, terminal: bool) -> String {
    if terminal { harmless(name) } else { name.to_owned() }
}
