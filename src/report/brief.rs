//! CSV within a budget of tokens: four significant digits, short texts, and a count of what was left out.

use super::cell::{Cells, Form, one_line};
use super::tokens::estimate;
use anyhow::Result;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

/// Most characters of a text; the other formats hold all of it.
pub const TEXT_CHARS: usize = 160;

/// Most characters of a word that is not cut.
const WORD_CHARS: usize = 30;

/// An answer as far as it fits.
pub struct Brief {
    text: String,
    tokens_left: usize,
    /// Rows that were written.
    pub written_rows: u64,
    /// Rows there are.
    pub row_count: u64,
    /// Texts that were cut.
    pub cut_texts: u64,
}

impl Brief {
    /// Writes the header.
    ///
    /// # Errors
    /// When a name cannot be written.
    pub fn new(schema: &SchemaRef, tokens: usize) -> Result<Self> {
        let mut brief =
            Self { text: String::new(), tokens_left: tokens, written_rows: 0, row_count: 0, cut_texts: 0 };
        let names = schema.fields().iter().map(|field| brief_text(field.name()).0);
        brief.push(&line(names)?);
        Ok(brief)
    }

    /// Writes the rows of a batch that fit, up to the first that does not, and counts all.
    ///
    /// # Errors
    /// When a cell cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.columns().iter().map(Cells::of).collect::<Result<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            if !self.is_cut() {
                self.write_row(&columns, row)?;
            }
            self.row_count += 1;
        }
        Ok(())
    }

    fn write_row(&mut self, columns: &[Cells], row: usize) -> Result<()> {
        let mut cut_texts = 0;
        let cells = columns.iter().map(|cells| {
            let mut text = String::new();
            cells.write_text(row, Form::Brief, &mut text);
            let (text, is_cut) = brief_text(&text);
            cut_texts += u64::from(is_cut);
            text
        });
        let line = line(cells)?;
        if self.push(&line) {
            self.written_rows += 1;
            self.cut_texts += cut_texts;
        }
        Ok(())
    }

    /// Whether a row was left out.
    pub fn is_cut(&self) -> bool {
        self.written_rows < self.row_count
    }

    /// What was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the line fits, and was written.
    fn push(&mut self, line: &str) -> bool {
        let tokens = estimate(line);
        let fits = tokens <= self.tokens_left;
        if fits {
            self.tokens_left -= tokens;
            self.text.push_str(line);
        }
        fits
    }
}

fn line(cells: impl Iterator<Item = String>) -> Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(cells)?;
    Ok(String::from_utf8_lossy(&writer.into_inner()?).into_owned())
}

/// One line of at most [`TEXT_CHARS`] characters, and whether that is less than there was. It is cut before a
/// word or a number, unless that is long itself.
fn brief_text(text: &str) -> (String, bool) {
    match text.char_indices().nth(TEXT_CHARS) {
        None => (one_line(text), false),
        Some((end, _)) => {
            let head = &text[..end];
            let word = head.rfind(char::is_whitespace).filter(|at| head[*at..].chars().count() <= WORD_CHARS);
            (format!("{}…", one_line(&head[..word.unwrap_or(end)])), true)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use arrow::array::{ArrayRef, Float64Array, StringArray};
    use std::sync::Arc;

    fn batch(rows: usize) -> RecordBatch {
        let values: ArrayRef =
            Arc::new((0..rows).map(|i| Some(i as f64 + 0.123_456)).collect::<Float64Array>());
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|_| "x y\nz")));
        RecordBatch::try_from_iter([("value", values), ("text", texts)]).unwrap()
    }

    #[test]
    fn what_fits_is_written_and_the_rest_is_counted() {
        let mut brief = Brief::new(&batch(1).schema(), 40).unwrap();
        brief.write(&batch(3)).unwrap();
        brief.write(&batch(100)).unwrap();
        brief.write(&batch(7)).unwrap();
        assert!(brief.text().starts_with("value,text\n0.1235,x y z\n1.123,x y z\n"), "{}", brief.text());
        assert!(estimate(brief.text()) <= 40);
        assert_eq!((brief.row_count, brief.written_rows as usize + 1), (110, brief.text().lines().count()));
        assert!(brief.is_cut());
    }

    #[test]
    fn long_texts_are_cut_and_counted() {
        let long: ArrayRef = Arc::new(StringArray::from(vec!["é".repeat(500)]));
        let batch = RecordBatch::try_from_iter([("text", long)]).unwrap();
        let mut brief = Brief::new(&batch.schema(), 10_000).unwrap();
        brief.write(&batch).unwrap();
        assert_eq!((brief.cut_texts, brief.is_cut()), (1, false));
        assert_eq!(brief.text().chars().count(), "text\n".len() + TEXT_CHARS + 2);
        let (text, _) = brief_text(&format!("{} 12345 and more", "x".repeat(TEXT_CHARS - 4)));
        assert_eq!(text, format!("{}…", "x".repeat(TEXT_CHARS - 4)));
    }
}
