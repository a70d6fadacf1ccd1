//! A folder of logs, a workspace over it, and answers as JSON.

use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use runq::report::{self, Format, Style};
use runq::store::Limits;
use runq::workspace::{Options, Outcome, Quiet, Workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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
        kept_watch_points: 300,
        reread_points: 200,
        ..Limits::default()
    }
}

/// The program, as nobody's agent runs it.
pub fn runq() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runq"));
    let variables = [
        "AI_AGENT",
        "AGENT",
        "CLAUDECODE",
        "CODEX_CI",
        "CODEX_SANDBOX",
        "CODEX_THREAD_ID",
        "CURSOR_AGENT",
        "GEMINI_CLI",
    ];
    for name in variables {
        command.env_remove(name);
    }
    let copilot = std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COPILOT_"));
    for (name, _) in copilot {
        command.env_remove(name);
    }
    command.env_remove("RUNQ_CACHE").env_remove("COLUMNS").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// A folder of logs that is gone at the end.
pub struct Project {
    /// Gone with the project, unless it is that of somebody else.
    _folder: tempfile::TempDir,
    root: PathBuf,
    pub limits: Limits,
    pub now_ms: i64,
}

impl Project {
    pub fn empty() -> Self {
        Self::at(tempfile::tempdir().unwrap())
    }

    fn at(folder: tempfile::TempDir) -> Self {
        // Marks the root, whatever lies in the folders above.
        let root = folder.path().to_path_buf();
        fs::write(root.join("runq.toml"), "").unwrap();
        Self { _folder: folder, root, limits: small_limits(), now_ms: tomorrow_ms() }
    }

    /// In a file system in memory, where there is one: for tests that write much and need no disk.
    pub fn in_memory() -> Self {
        match tempfile::tempdir_in("/dev/shm") {
            Ok(folder) => Self::at(folder),
            Err(_) => Self::empty(),
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
        &self.root
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

    /// The same by the clock.
    pub fn open_now(&self) -> Workspace {
        let options = Options { root: Some(self.root.clone()), limits: self.limits, ..Options::default() };
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
        everything(&self.open())
    }
}

/// All public tables as text.
pub fn everything(workspace: &Workspace) -> String {
    let tables = [
        ("runs", "path, run_id"),
        ("configs", "run_id, key"),
        ("summary", "run_id, key"),
        ("metrics", "run_id, key, step"),
        ("metrics_raw", "run_id, key, segment, seq, step"),
        ("texts", "run_id, key, step, text, time"),
        ("console", "run_id, file, line"),
        ("run_inputs", "run_id, path"),
    ];
    let mut all = String::new();
    for (table, order) in tables {
        all += &format!("== {table}\n");
        for row in ask(workspace, &format!("select * from {table} order by {order}")).unwrap() {
            all += &format!("{row}\n");
        }
    }
    all + &findings(workspace)
}

/// All findings and changes of phase as text.
pub fn findings(workspace: &Workspace) -> String {
    // Which number a finding bears is a matter of the cache.
    let alerts =
        "select alert_id, run_id, key, kind, level, step, end_step, detected_step, time, value, baseline,
        score, row_count, title, text from alerts where origin = 'detected' order by alert_id, level";
    let mut all = String::new();
    for sql in [alerts, "select * from phases order by run_id, step"] {
        all += "==\n";
        for row in ask(workspace, sql).unwrap() {
            all += &format!("{row}\n");
        }
    }
    all
}

/// The same log read at once from an empty cache.
pub fn read_at_once(project: &Project) -> String {
    let fresh = Project::empty().with_limits(Limits::default());
    copy(project.root(), fresh.root());
    let _ = fs::remove_dir_all(fresh.root().join(".runq"));
    // File times are facts about a log without times of its own; copies get new ones.
    fresh.refresh();
    fresh.everything()
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

const CHILD_ROOT: &str = "RUNQ_TEST_CHILD_ROOT";

/// The test binary itself, to run one test as a child over the same logs: limits are no option of
/// the command.
pub fn child(project: &Project, test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--nocapture"]).env(CHILD_ROOT, project.root());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// In such a child: the project of its parent.
pub fn is_child() -> Option<Project> {
    let root = PathBuf::from(std::env::var_os(CHILD_ROOT)?);
    Some(Project { root, ..Project::empty() })
}

/// How long the tests of endurance last: a few seconds, or as many as the environment says (`.ci/run`
/// asks for a minute).
pub fn seconds(default: u64) -> u64 {
    std::env::var("RUNQ_TEST_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Files in the cache that no catalog entry names, and those being written.
pub fn leftovers(project: &Project) -> Vec<String> {
    let cache = project.root().join(".runq");
    let known = project.open().catalog().unwrap().all_paths().unwrap();
    let relative = |path: &Path| path.strip_prefix(&cache).unwrap().to_str().unwrap().to_string();
    let files = all_files(&cache).into_iter().map(|path| relative(&path));
    files.filter(|path| path.contains('/') && !known.contains(path)).collect()
}

pub fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

/// Numbers without a pattern, the same in every run of a test (xorshift, Marsaglia 2003).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}
