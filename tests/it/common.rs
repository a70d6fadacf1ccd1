//! A folder of logs, a workspace over it, and answers as JSON.

use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use runq::report::{self, Format, Style};
use runq::store::Limits;
use runq::workspace::{Options, Outcome, Quiet, Workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// The present of all tests: a day after the logs were copied, so that none of them is still running.
fn tomorrow_ms() -> i64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    clock.as_millis() as i64 + 24 * 3_600_000
}

/// Limits that small logs meet: several flushes, compactions, partitions and slices.
pub fn small_limits() -> Limits {
    Limits {
        flush_points: 1_000,
        compact_files: 4,
        batch_rows: 64,
        row_group_rows: 2_048,
        page_rows: 64,
        read_bytes: 4 << 10,
        slice_bytes: 16 << 10,
        partitions: Some(3),
        small_rows: 0,
        threads: Some(3),
        ..Limits::default()
    }
}

/// A folder of logs that is gone at the end.
pub struct Project {
    pub folder: tempfile::TempDir,
    pub limits: Limits,
    pub now_ms: i64,
}

impl Project {
    pub fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Marks the root, whatever lies in the folders above.
        fs::write(folder.path().join("runq.toml"), "").unwrap();
        Self { folder, limits: small_limits(), now_ms: tomorrow_ms() }
    }

    /// An empty one in memory where the system has such a place: for tests that commit much.
    pub fn in_memory() -> Self {
        let project = Self::empty();
        match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => {
                fs::write(folder.path().join("runq.toml"), "").unwrap();
                Self { folder, ..project }
            }
            Err(_) => project,
        }
    }

    /// A copy of `tests/data/NAME`.
    pub fn of(name: &str) -> Self {
        let project = Self::empty();
        copy(&data(name), project.root());
        project
    }

    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub fn root(&self) -> &Path {
        self.folder.path()
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn append(&self, path: &str, text: impl AsRef<[u8]>) {
        use std::io::Write;
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_ref()).unwrap();
    }

    pub fn open(&self) -> Workspace {
        let root = Some(self.root().to_path_buf());
        let options = Options { root, limits: self.limits, now_ms: Some(self.now_ms), ..Options::default() };
        Workspace::open(options).unwrap()
    }

    pub fn refresh(&self) -> Outcome {
        self.open().refresh(&Quiet).unwrap()
    }

    /// Rows of an answer, without a refresh.
    pub fn ask(&self, sql: &str) -> Vec<Value> {
        ask(&self.open(), sql).unwrap()
    }

    /// One column of an answer as text.
    pub fn column(&self, sql: &str) -> Vec<String> {
        self.ask(sql).iter().map(|row| text(row.as_object().unwrap().values().next().unwrap())).collect()
    }

    /// All public tables as text: what must be the same after any way to get there.
    pub fn everything(&self) -> String {
        let tables = [
            ("runs", "path, run_id"),
            ("configs", "run_id, key"),
            ("summary", "run_id, key"),
            ("metrics", "run_id, key, step"),
            ("metrics_raw", "run_id, key, segment, seq, step"),
            ("texts", "run_id, key, step, text"),
            ("console", "run_id, line"),
            ("run_inputs", "run_id, path"),
        ];
        let workspace = self.open();
        let mut all = String::new();
        for (table, order) in tables {
            all += &format!("== {table}\n");
            for row in ask(&workspace, &format!("select * from {table} order by {order}")).unwrap() {
                all += &format!("{row}\n");
            }
        }
        all
    }
}

pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows of an answer as JSON objects; the error as text.
pub fn ask(workspace: &Workspace, sql: &str) -> Result<Vec<Value>, String> {
    runtime().block_on(async {
        use futures::TryStreamExt;
        let answer = workspace.sql(sql).await.map_err(|error| format!("{error:#}"))?;
        let schema = answer.schema.clone();
        let batches: Vec<_> = answer.stream.try_collect().await.map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        let mut render = report::open(Format::Jsonl, Style::default(), &schema, &mut out).unwrap();
        batches.iter().for_each(|batch| render.write(batch).unwrap());
        render.finish().unwrap();
        let lines = String::from_utf8(out).unwrap();
        Ok(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

/// Rows of batches as JSON objects.
pub fn rows(batches: &[arrow::record_batch::RecordBatch]) -> Vec<serde_json::Map<String, Value>> {
    let Some(first) = batches.first() else { return Vec::new() };
    let mut out = Vec::new();
    let mut render = report::open(Format::Jsonl, Style::default(), &first.schema(), &mut out).unwrap();
    batches.iter().for_each(|batch| render.write(batch).unwrap());
    render.finish().unwrap();
    let lines = String::from_utf8(out).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// So many generated cases, or as many as `PROPTEST_CASES` says. What a failing test prints holds the
/// seed, with which `PROPTEST_RNG_SEED` makes the same cases again.
#[allow(clippy::print_stdout)]
pub fn cases(count: u32) -> ProptestConfig {
    let told = ProptestConfig::default();
    let seed = match told.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => {
            let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            clock.as_nanos() as u64
        }
    };
    println!("PROPTEST_RNG_SEED={seed}");
    let cases = std::env::var("PROPTEST_CASES").map_or(count, |cases| cases.parse().unwrap());
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases, rng_seed, failure_persistence: None, max_shrink_iters: 0, ..told }
}

/// A runtime for tests that ask many questions.
pub fn shared_runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: std::sync::OnceLock<tokio::runtime::Runtime> = std::sync::OnceLock::new();
    RUNTIME.get_or_init(runtime)
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(16 << 20)
        .enable_all()
        .build()
        .unwrap()
}

pub fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Copies a folder; symlinks stay symlinks.
pub fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else if kind.is_symlink() {
            #[cfg(unix)]
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), &target).unwrap();
        } else {
            fs::copy(entry.path(), &target).unwrap();
            let modified = entry.metadata().unwrap().modified().unwrap();
            fs::File::options().append(true).open(&target).unwrap().set_modified(modified).unwrap();
        }
    }
}
