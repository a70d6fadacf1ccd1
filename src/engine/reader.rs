//! Parquet files as DataFusion reads them here: straight from the file system, on the threads of the
//! query, with each footer read once and every byte checked.
//!
//! An object store would hand every read to another thread; these files are local and mostly in the
//! page cache, where that costs more than the read. The footers live as long as the snapshot.

use crate::store::sums::{CheckedFile, Sums};
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::{DataFusionError, Result};
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::Result as ParquetResult;
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a file of a plan carries along, so that it can be opened and checked.
#[derive(Debug, Clone)]
pub struct Stored {
    /// Absolute path.
    pub path: PathBuf,
    /// Its checksums.
    pub sums: Arc<Sums>,
}

/// Opens files and keeps their footers.
#[derive(Debug, Default)]
pub struct LocalFiles {
    footers: Arc<Footers>,
}

#[derive(Debug, Default)]
struct Footers(Mutex<HashMap<PathBuf, Arc<ParquetMetaData>>>);

impl Footers {
    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<ParquetMetaData>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The footer with its page index.
    fn of(&self, path: &Path, file: &CheckedFile) -> ParquetResult<Arc<ParquetMetaData>> {
        if let Some(footer) = self.known().get(path) {
            return Ok(footer.clone());
        }
        let policy = PageIndexPolicy::Optional;
        let footer = ParquetMetaDataReader::new().with_page_index_policy(policy).parse_and_finish(file)?;
        let footer = Arc::new(footer);
        self.known().insert(path.to_path_buf(), footer.clone());
        Ok(footer)
    }
}

impl ParquetFileReaderFactory for LocalFiles {
    fn create_reader(
        &self,
        partition_index: usize,
        file: PartitionedFile,
        _: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let stored = file.extension::<Stored>().cloned();
        let stored = stored.ok_or_else(|| DataFusionError::Internal("a file without checksums".into()))?;
        let metrics = ParquetFileMetrics::new(partition_index, file.object_meta.location.as_ref(), metrics);
        Ok(Box::new(LocalFile { stored, file: None, footers: self.footers.clone(), metrics }))
    }
}

/// One file, opened when it is first read.
struct LocalFile {
    stored: Stored,
    file: Option<CheckedFile>,
    footers: Arc<Footers>,
    metrics: ParquetFileMetrics,
}

impl LocalFile {
    fn open(&mut self) -> ParquetResult<&CheckedFile> {
        let file = match self.file.take() {
            Some(file) => file,
            None => CheckedFile::open(&self.stored.path, &self.stored.sums)?,
        };
        Ok(self.file.insert(file))
    }

    fn read(&mut self, range: Range<u64>) -> ParquetResult<Bytes> {
        self.metrics.bytes_scanned.add(usize::try_from(range.end.saturating_sub(range.start))?);
        self.open()?.read(range)
    }
}

impl AsyncFileReader for LocalFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        let read = self.read(range);
        async move { read }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let (footers, path) = (self.footers.clone(), self.stored.path.clone());
        let footer = self.open().and_then(|file| footers.of(&path, file));
        async move { footer }.boxed()
    }
}
