//! Parquet files as DataFusion reads them here: straight from the file system, on the threads of the
//! query, with each footer read once.
//!
//! An object store would hand every read to another thread; these files are local and mostly in the
//! page cache, where that costs more than the read. The footers live as long as the snapshot.

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{ParquetFileMetrics, ParquetFileReaderFactory};
use datafusion::error::Result;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader};
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    fn of(&self, path: &Path, file: &File) -> ParquetResult<Arc<ParquetMetaData>> {
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
        let location = file.object_meta.location.as_ref();
        // An object store leaves out the root.
        let path = Path::new("/").join(location);
        let metrics = ParquetFileMetrics::new(partition_index, location, metrics);
        Ok(Box::new(LocalFile { path, file: None, footers: self.footers.clone(), metrics }))
    }
}

/// One file, opened when it is first read.
struct LocalFile {
    path: PathBuf,
    file: Option<File>,
    footers: Arc<Footers>,
    metrics: ParquetFileMetrics,
}

impl LocalFile {
    fn open(&mut self) -> ParquetResult<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path).map_err(|error| named(&self.path, &error))?,
        };
        Ok(self.file.insert(file))
    }

    fn read(&mut self, range: Range<u64>) -> ParquetResult<Bytes> {
        let length = usize::try_from(range.end.saturating_sub(range.start))?;
        self.metrics.bytes_scanned.add(length);
        let file = self.open()?;
        let read = file.seek(SeekFrom::Start(range.start)).and_then(|_| {
            // Not the length that a damaged footer may claim, but what is there.
            let mut bytes = Vec::with_capacity(length.min(1 << 26));
            file.take(length as u64).read_to_end(&mut bytes)?;
            if bytes.len() == length { Ok(bytes) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
        });
        read.map(Bytes::from).map_err(|error| named(&self.path, &error))
    }
}

fn named(path: &Path, error: &std::io::Error) -> ParquetError {
    ParquetError::External(format!("{}: {error}", path.display()).into())
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
        let (footers, path) = (self.footers.clone(), self.path.clone());
        let footer = self.open().and_then(|file| footers.of(&path, file));
        async move { footer }.boxed()
    }
}
