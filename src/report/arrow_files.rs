//! Binary formats: Arrow's IPC stream and Parquet.

use super::Render;
use super::cell::unique_names;
use anyhow::Result;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use std::io::Write;
use std::sync::Arc;

type Out<'a> = &'a mut (dyn Write + Send);

/// Arrow's IPC stream.
pub struct Stream<'a> {
    writer: StreamWriter<Out<'a>>,
}

impl<'a> Stream<'a> {
    /// Writes the schema.
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        Ok(Self { writer: StreamWriter::try_new(out, schema)? })
    }
}

impl Render for Stream<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.writer.finish()?;
        Ok(self.writer.get_mut().flush()?)
    }
}

/// A Parquet file.
pub struct ParquetFile<'a> {
    writer: ArrowWriter<Out<'a>>,
    schema: SchemaRef,
}

impl<'a> ParquetFile<'a> {
    /// Opens the file; no statistics, as they leave NaN out and engines believe them.
    pub fn new(schema: &SchemaRef, out: Out<'a>) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let schema = with_unique_names(schema);
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Self { writer, schema })
    }
}

impl Render for ParquetFile<'_> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        Ok(self.writer.write(&batch)?)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        let out = self.writer.into_inner()?;
        Ok(out.flush()?)
    }
}

fn with_unique_names(schema: &SchemaRef) -> SchemaRef {
    let names = unique_names(schema.fields());
    let fields =
        schema.fields().iter().zip(names).map(|(field, name)| field.as_ref().clone().with_name(name));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
