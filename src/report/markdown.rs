//! A Markdown table, unpadded.

use super::Render;
use super::cell::{Cells, Form, for_people};
use super::people::is_number;
use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

type Out<'a> = &'a mut (dyn Write + Send);

/// Rows between bars.
pub struct Markdown<'a> {
    out: Out<'a>,
}

impl<'a> Markdown<'a> {
    /// Writes the header.
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let names = schema.fields().iter().map(|field| escaped(field.name()));
        let rules = schema.fields().iter().map(|field| match is_number(field) {
            true => "---:".to_owned(),
            false => "---".to_owned(),
        });
        writeln!(out, "{}\n{}", line(names), line(rules))?;
        Ok(Self { out })
    }
}

impl Render for Markdown<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let cells = columns.iter().map(|cells| {
                let mut text = String::new();
                cells.write_text(row, Form::Short, &mut text);
                escaped(&text)
            });
            writeln!(self.out, "{}", line(cells))?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        Ok(self.out.flush()?)
    }
}

fn line(cells: impl Iterator<Item = String>) -> String {
    format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
}

/// Text that stays text: no end of the cell, no code, no HTML, no link and no image.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in for_people(text).chars() {
        if "\\|`<[".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}
