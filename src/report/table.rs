//! A table for people: numbers to the right and never cut, text wrapped where it must.

use super::cell::{Cells, Form, for_people};
use super::people::is_number;
use super::{Render, Style, record};
use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell, CellAlignment, ColumnConstraint, ContentArrangement, Width};
use std::io::Write;

type Out<'a> = &'a mut (dyn Write + Send);

/// Rows held back to find the widths; more come as further tables, so that memory stays bounded.
const CHUNK_ROWS: usize = 10_000;

/// Text columns are wrapped down to this width before columns are left out.
const NARROWEST_TEXT: u16 = 16;

/// A box-drawn table.
pub struct Table<'a> {
    out: Out<'a>,
    style: Style,
    schema: SchemaRef,
    rows: Vec<Vec<String>>,
    /// The first row on its side, for an answer of one row that is too wide.
    record: Vec<(String, String)>,
    is_first: bool,
}

impl<'a> Table<'a> {
    /// Nothing is written before the rows are known.
    pub fn new(schema: &SchemaRef, style: Style, out: Out<'a>) -> Self {
        let schema = SchemaRef::clone(schema);
        Self { out, style, schema, rows: Vec::new(), record: Vec::new(), is_first: true }
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        let shown = shown_columns(&self.schema, &rows, self.style.width);
        let hidden = hidden_names(&self.schema, &shown);
        if self.is_first && rows.len() == 1 && !hidden.is_empty() {
            return self.flush_record();
        }
        self.is_first = false;
        let table = drawn(&self.schema, &rows, &shown, self.style);
        writeln!(self.out, "{table}")?;
        if !hidden.is_empty() {
            let names = hidden.join(", ");
            let columns = if hidden.len() == 1 { "column" } else { "columns" };
            writeln!(self.out, "{} more {columns} (--format csv shows all): {names}", hidden.len())?;
        }
        Ok(())
    }

    fn flush_record(&mut self) -> Result<()> {
        write_facts(&self.record, self.style, self.out)
    }
}

impl Render for Table<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        if self.is_first && self.rows.is_empty() {
            self.record = record::facts(batch)?;
        }
        for row in 0..batch.num_rows() {
            self.rows.push(columns.iter().map(|cells| short(cells, row)).collect());
            if self.rows.len() == CHUNK_ROWS {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        if self.is_first || !self.rows.is_empty() {
            self.flush()?;
        }
        Ok(self.out.flush()?)
    }
}

/// Writes names and values, one line each, names padded to one width.
pub fn write_facts(facts: &[(String, String)], style: Style, out: Out<'_>) -> Result<()> {
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in facts {
        let padded = format!("{name:<width$}");
        match style.colour {
            true => writeln!(out, "\x1b[1m{padded}\x1b[0m  {value}")?,
            false => writeln!(out, "{padded}  {value}")?,
        }
    }
    Ok(())
}

fn short(cells: &Cells, row: usize) -> String {
    let mut text = String::new();
    cells.write_text(row, Form::Short, &mut text);
    for_people(&text)
}

/// Indices of the leading columns that fit, at least one.
fn shown_columns(schema: &SchemaRef, rows: &[Vec<String>], width: Option<u16>) -> Vec<usize> {
    let all: Vec<usize> = (0..schema.fields().len()).collect();
    let Some(width) = width else {
        return all;
    };
    let widths = drawn(schema, rows, &all, Style::default()).column_max_content_widths();
    let mut used = 1_usize;
    let mut fits = |index: &usize| {
        let content = widths.get(*index).copied().unwrap_or(0);
        let is_number = is_number(schema.field(*index));
        let least = if is_number { content } else { content.min(NARROWEST_TEXT) };
        // Two spaces of padding and a border.
        used += usize::from(least) + 3;
        used <= usize::from(width) || *index == 0
    };
    all.into_iter().take_while(|index| fits(index)).collect()
}

fn hidden_names(schema: &SchemaRef, shown: &[usize]) -> Vec<String> {
    schema.fields().iter().skip(shown.len()).map(|field| for_people(field.name())).collect()
}

fn drawn(schema: &SchemaRef, rows: &[Vec<String>], shown: &[usize], style: Style) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    // The caller knows the terminal; the crate shall not look for itself.
    table.force_no_tty();
    if style.colour {
        table.enforce_styling();
    }
    table.set_header(shown.iter().map(|index| {
        let cell = Cell::new(for_people(schema.field(*index).name()));
        if style.colour { cell.add_attribute(Attribute::Bold) } else { cell }
    }));
    for row in rows {
        table.add_row(shown.iter().filter_map(|index| row.get(*index)));
    }
    arrange(&mut table, schema, shown, style);
    table
}

fn arrange(table: &mut comfy_table::Table, schema: &SchemaRef, shown: &[usize], style: Style) {
    table.set_content_arrangement(ContentArrangement::Disabled);
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let widths = table.column_max_content_widths();
    for ((column, index), content) in table.column_iter_mut().zip(shown).zip(widths) {
        if is_number(schema.field(*index)) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        } else if content > NARROWEST_TEXT {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(NARROWEST_TEXT + 2)));
        } else {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}
