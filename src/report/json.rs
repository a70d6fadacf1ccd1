//! JSON, always valid: NaN and infinities are strings.

use super::Render;
use super::cell::{Cells, unique_names, write_json_text};
use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use std::io::Write;

type Out<'a> = &'a mut (dyn Write + Send);

/// How the objects are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One array of all objects.
    Array,
    /// One object a line.
    Lines,
}

/// One object a row.
pub struct Json<'a> {
    out: Out<'a>,
    shape: Shape,
    /// `"name":` of each column, quoted once.
    keys: Vec<String>,
    row_count: u64,
}

impl<'a> Json<'a> {
    /// Nothing is written before the first row.
    pub fn new(shape: Shape, schema: &SchemaRef, out: Out<'a>) -> Self {
        let keys = unique_names(schema.fields()).iter().map(|name| quoted_key(name)).collect();
        Self { out, shape, keys, row_count: 0 }
    }

    fn separator(&self) -> &'static str {
        match (self.shape, self.row_count) {
            (Shape::Array, 0) => "[\n",
            (Shape::Array, _) => ",\n",
            (Shape::Lines, _) => "",
        }
    }
}

impl Render for Json<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        let mut text = String::new();
        for row in 0..batch.num_rows() {
            text.clear();
            text.push_str(self.separator());
            write_object(&self.keys, &columns, row, &mut text);
            if self.shape == Shape::Lines {
                text.push('\n');
            }
            self.out.write_all(text.as_bytes())?;
            self.row_count += 1;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<()> {
        match (self.shape, self.row_count) {
            (Shape::Array, 0) => self.out.write_all(b"[]\n")?,
            (Shape::Array, _) => self.out.write_all(b"\n]\n")?,
            (Shape::Lines, _) => {}
        }
        Ok(self.out.flush()?)
    }
}

fn write_object(keys: &[String], columns: &[Cells], row: usize, text: &mut String) {
    text.push('{');
    for (index, (key, cells)) in keys.iter().zip(columns).enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(key);
        cells.write_json(row, text);
    }
    text.push('}');
}

fn quoted_key(name: &str) -> String {
    let mut key = String::new();
    write_json_text(name, &mut key);
    key.push(':');
    key
}
