//! The one door: open a root, bring its cache up to date, ask.

use crate::engine::canned::{self, Canned, ParamValue};
use crate::engine::system::is_below;
use crate::engine::{Engine, EngineOptions};
use crate::error::UserError;
use crate::ingest::Refresh;
use crate::records::batch::to_batch;
use crate::settings::Settings;
use crate::sources::{discover, sidecar};
use crate::store::{Catalog, Limits, SqliteCatalog, layout};
use anyhow::Context;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use crate::engine::compute::stacks_bytes;
pub use crate::engine::files::TableFile;
pub use crate::ingest::{Outcome, Progress, Quiet};

/// How to open a workspace. `Default` is what a plain `runq` in a folder means.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where to look for logs (`-C`); default: the nearest folder upwards with `.runq/` or
    /// `runq.toml`, else the working folder.
    pub root: Option<PathBuf>,
    /// Where the cache lies (`--cache`); default: `.runq/` beside the logs' root.
    pub cache: Option<PathBuf>,
    /// Memory of a query in bytes (`--memory`); default: half of the machine.
    pub memory_bytes: Option<usize>,
    /// Longest time for a query (`--timeout`).
    pub timeout: Option<Duration>,
    /// Show secrets instead of masking them (`--show-secrets`).
    pub show_secrets: bool,
    /// Sizes at which things happen.
    pub limits: Limits,
    /// The present, milliseconds since 1970; default: the clock. Decides which run is still running.
    pub now_ms: Option<i64>,
}

/// A root with its cache. `Send + Sync`; shared by reference or `Arc`.
pub struct Workspace {
    place: Place,
    settings: Settings,
    /// Opened when first needed, so that a mistyped command leaves nothing behind.
    catalog: OnceLock<Opened>,
    options: Options,
    queries: Vec<Canned>,
    /// What could not be loaded on opening; told with each refresh.
    notes: Vec<String>,
    kept: Mutex<Option<Kept>>,
}

/// An engine is asked so long after it was opened, at most: which run is still running depends on
/// the clock.
const ENGINE_AGE: Duration = Duration::from_secs(1);

/// The engine of a catalog version.
#[derive(Clone)]
struct Kept {
    version: i64,
    at: Instant,
    engine: Engine,
}

/// An open catalog and the folder it speaks of.
struct Opened {
    cache: PathBuf,
    catalog: Arc<dyn Catalog>,
}

/// An answer: a stream of record batches.
pub struct Answer {
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rows.
    pub stream: SendableRecordBatchStream,
    /// Lines for stderr.
    pub notes: Vec<String>,
}

impl Answer {
    fn new(stream: SendableRecordBatchStream) -> Self {
        Self { schema: stream.schema(), stream, notes: Vec::new() }
    }
}

/// What a REPL can complete.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Table name and its column names.
    pub tables: Vec<(String, Vec<String>)>,
    /// Functions of SQL, ours included.
    pub functions: Vec<String>,
    /// Metric keys.
    pub keys: Vec<String>,
    /// Run ids.
    pub runs: Vec<String>,
}

/// Where logs and cache lie.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    root: PathBuf,
    cache: PathBuf,
    /// Part of the root that was asked for, `/` separated.
    below: Option<String>,
}

impl Workspace {
    /// Finds root and cache and opens the catalog.
    ///
    /// # Errors
    /// When the root is not there or no cache can be written.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        let place = Place::find(&options)?;
        let settings = Settings::load(&place.root)?;
        let folders = settings.queries.iter().map(|folder| place.root.join(folder));
        let own = [place.root.join(".runq/queries"), place.cache.join("queries")];
        let mut folders: Vec<PathBuf> = own.into_iter().chain(folders).collect();
        folders.dedup();
        let (queries, notes) = load_queries(&folders)?;
        Ok(Self {
            place,
            settings,
            catalog: OnceLock::new(),
            options,
            queries,
            notes,
            kept: Mutex::default(),
        })
    }

    /// Opens the cache; `None` where there is none yet. Where the root cannot be written, the cache
    /// is in the user's cache folder.
    fn open_catalog(&self, create: bool) -> anyhow::Result<Option<&Opened>> {
        if self.catalog.get().is_none() {
            let opened = match self.catalog_in(&self.place.cache, create) {
                Ok(Some(catalog)) => Some(catalog),
                found if self.options.cache.is_some() => found?,
                found => match self.catalog_in(&user_cache(&self.place.root)?, create && found.is_err())? {
                    Some(catalog) => Some(catalog),
                    None => found?,
                },
            };
            if let Some(catalog) = opened {
                // Two threads may open it at once; one handle is kept.
                let _ = self.catalog.set(catalog);
            }
        }
        Ok(self.catalog.get())
    }

    fn catalog_in(&self, cache: &Path, create: bool) -> anyhow::Result<Option<Opened>> {
        let exists = layout::catalog(cache).exists();
        if !exists && !create {
            return Ok(None);
        }
        let catalog: Arc<dyn Catalog> = Arc::new(SqliteCatalog::open(cache)?);
        Ok(Some(Opened { cache: cache.to_path_buf(), catalog }))
    }

    /// The folder (or file) whose logs are read.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The catalog, for those who build on it.
    ///
    /// # Errors
    /// When nothing was converted yet.
    pub fn catalog(&self) -> anyhow::Result<&Arc<dyn Catalog>> {
        match self.open_catalog(false)? {
            Some(opened) => Ok(&opened.catalog),
            None => Err(UserError::failed(format!("there is no cache in {}", self.place.cache.display()))
                .hint("leave out --no-refresh once, or run `runq refresh`")
                .into()),
        }
    }

    /// Looks for changes under the root and converts what is new. Blocking. One process refreshes
    /// at a time; others wait and then find nothing left to do.
    ///
    /// # Errors
    /// When the root cannot be read or the cache cannot be written.
    pub fn refresh(&self, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let opened = self.open_catalog(true)?.context("the cache could not be opened")?;
        let lock_path = layout::lock(&opened.cache);
        let lock =
            File::create(&lock_path).with_context(|| format!("cannot create {}", lock_path.display()))?;
        lock.lock().with_context(|| format!("cannot lock {}", lock_path.display()))?;
        let refresh = Refresh {
            root: &self.place.root,
            cache: &opened.cache,
            catalog: opened.catalog.as_ref(),
            settings: &self.discover_settings(),
            limits: self.options.limits,
            now_ms: self.now_ms(),
        };
        let mut outcome = refresh.run(progress)?;
        outcome.notes.extend(self.notes.iter().cloned());
        if outcome.run_count == 0 {
            let place = self.place.root.display();
            outcome.notes.push(format!(
                "no logs found in {place}: `runq refresh --explain` tells why files were left"
            ));
        }
        Ok(outcome)
    }

    fn discover_settings(&self) -> discover::Settings<'static> {
        discover::Settings { ignore: self.settings.ignore.clone(), ..discover::Settings::default() }
    }

    /// `refresh --explain [PATH]`: each candidate, whether it was taken, and why.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn explain(&self, path: Option<&str>) -> anyhow::Result<Answer> {
        let verdicts = self.catalog()?.verdicts()?;
        let inputs = self.catalog()?.inputs()?;
        let wanted =
            |candidate: &str| path.is_none_or(|path| is_below(candidate, path.trim_start_matches("./")));
        let mut rows: BTreeMap<String, [String; 3]> = BTreeMap::new();
        for verdict in verdicts.into_values() {
            let (taken, why) = match verdict.source {
                Some(source) => ("taken", format!("read as {source}")),
                None => ("left", verdict.text),
            };
            rows.insert(verdict.path.clone(), [verdict.path, taken.to_string(), why]);
        }
        for input in inputs {
            let why = match input.role.as_str() {
                sidecar::ROLE => "read as configuration of the logs beside it".to_string(),
                _ => format!("read as {}", input.source),
            };
            rows.insert(input.path.clone(), [input.path, "taken".to_string(), why]);
        }
        let rows = rows.into_values().filter(|row| wanted(&row[0])).map(|row| row.map(Into::into).to_vec());
        let text = |name| Field::new(name, DataType::Utf8, false);
        let schema: SchemaRef = Arc::new(Schema::new(vec![text("path"), text("verdict"), text("reason")]));
        let batch = to_batch(schema.clone(), &rows.collect::<Vec<_>>())?;
        let stream = futures::stream::iter([Ok(batch)]);
        Ok(Answer::new(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
    }

    /// Runs one read-only statement.
    ///
    /// # Errors
    /// When it is none, names what is not there, or fails.
    pub async fn sql(&self, text: &str) -> anyhow::Result<Answer> {
        let engine = self.engine().await?;
        let frame = engine.plan(text).await?;
        Ok(Answer::new(engine.execute(frame).await?))
    }

    /// Runs a canned query. Parameters not given take their defaults; `run` parameters take
    /// anything a user may call a run.
    ///
    /// # Errors
    /// When there is no such query, or a value is missing or names what is not there.
    pub async fn canned(&self, name: &str, params: &BTreeMap<String, ParamValue>) -> anyhow::Result<Answer> {
        let engine = self.engine().await?;
        let frame = engine.plan_canned(self.query(name)?, params).await?;
        Ok(Answer::new(engine.execute(frame).await?))
    }

    /// The SQL that answers a canned query, with its values in place, ready to run.
    ///
    /// # Errors
    /// As [`Workspace::canned`].
    pub async fn canned_sql(
        &self,
        name: &str,
        params: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<String> {
        let engine = self.engine().await?;
        let query = self.query(name)?;
        let values = engine.checked_values(query, params).await?;
        Ok(canned::literal_sql(query, &values))
    }

    fn query(&self, name: &str) -> Result<&Canned, UserError> {
        let is_it = |query: &&Canned| query.name == name || query.aliases.iter().any(|alias| alias == name);
        self.queries.iter().find(is_it).ok_or_else(|| UserError::usage(format!("no query \"{name}\"")))
    }

    /// All canned queries: the built-in ones, then the user's own.
    pub fn queries(&self) -> &[Canned] {
        &self.queries
    }

    /// The run a user means by `word`: id, unique prefix, name, `@latest`, `@latest~1`, `@best:METRIC`.
    ///
    /// # Errors
    /// When no run, or more than one, goes by that word.
    pub async fn resolve_run(&self, word: &str) -> anyhow::Result<String> {
        self.engine().await?.resolve_run(word).await
    }

    /// The files of a table that count today (for `metrics`: those that `metrics` reads).
    ///
    /// # Errors
    /// When there is no such table.
    pub fn files(&self, table: &str) -> anyhow::Result<Vec<TableFile>> {
        crate::engine::files::list(&self.catalog()?.snapshot()?, table)
    }

    /// `create view` statements with which DuckDB reads the cache.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn duckdb_views(&self) -> anyhow::Result<String> {
        Ok(crate::engine::files::duckdb_views(&self.catalog()?.snapshot()?))
    }

    /// Names for completion and hints.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn names(&self) -> anyhow::Result<Names> {
        let engine = self.engine().await?;
        Ok(Names {
            tables: engine.tables().await?,
            functions: engine.functions(),
            keys: engine.metrics().await?,
            runs: engine.runs().await?.ids().map(str::to_string).collect(),
        })
    }

    /// The tables as of now, for plans and ad-hoc work beyond the methods here. Questions that follow
    /// each other closely share them.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn engine(&self) -> anyhow::Result<Engine> {
        let version = self.catalog()?.version()?;
        let known = self.kept().clone();
        if let Some(kept) = known.filter(|kept| kept.version == version && kept.at.elapsed() < ENGINE_AGE) {
            return Ok(kept.engine.within(self.options.timeout));
        }
        let engine = self.new_engine().await?;
        *self.kept() = Some(Kept { version, at: Instant::now(), engine: engine.clone() });
        Ok(engine)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn new_engine(&self) -> anyhow::Result<Engine> {
        let goals = self.settings.goals.iter().map(|(key, goal)| (key.clone(), (*goal).into())).collect();
        let options = EngineOptions {
            limits: self.options.limits,
            memory_bytes: self.memory_bytes(),
            timeout: self.options.timeout,
            now_ms: self.now_ms(),
            goals,
            show_secrets: self.options.show_secrets,
            below: self.place.below.clone(),
        };
        Engine::open(self.catalog()?, &options).await
    }

    /// What a query may use, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.options.memory_bytes.unwrap_or_else(half_of_the_machine)
    }

    fn now_ms(&self) -> i64 {
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        self.options.now_ms.unwrap_or_else(clock)
    }
}

impl Place {
    fn find(options: &Options) -> anyhow::Result<Place> {
        let asked = match &options.root {
            Some(root) => root.clone(),
            None => std::env::current_dir().context("the working folder is gone")?,
        };
        let asked = std::fs::canonicalize(&asked)
            .map_err(|error| UserError::failed(format!("cannot read {}: {error}", asked.display())))?;
        let home = nearest_root(&asked);
        let root = home.clone().unwrap_or_else(|| asked.clone());
        let below = asked.strip_prefix(&root).ok().map(|path| path.to_string_lossy().replace('\\', "/"));
        let cache = match &options.cache {
            Some(cache) => std::path::absolute(cache)?,
            None if root.is_file() => user_cache(&root)?,
            None => root.join(".runq"),
        };
        Ok(Place { root, cache, below: below.filter(|below| !below.is_empty()) })
    }
}

/// The nearest folder upwards, itself included, with a cache or settings.
fn nearest_root(from: &Path) -> Option<PathBuf> {
    let is_root = |folder: &&Path| {
        folder.join(".runq").join("catalog.sqlite").is_file() || folder.join("runq.toml").is_file()
    };
    from.ancestors().find(is_root).map(Path::to_path_buf)
}

/// A folder of the user's cache for a root that has none of its own.
fn user_cache(root: &Path) -> anyhow::Result<PathBuf> {
    let base = dirs::cache_dir()
        .ok_or_else(|| UserError::failed("no cache folder is known").hint("give one with --cache"))?;
    let hash = Sha256::digest(root.to_string_lossy().as_bytes());
    let name: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    Ok(base.join("runq").join(name))
}

/// Canned queries: the built-in ones, then the user's; a file that is wrong is a note.
fn load_queries(folders: &[PathBuf]) -> anyhow::Result<(Vec<Canned>, Vec<String>)> {
    let mut queries = canned::built_in().to_vec();
    let mut notes = Vec::new();
    for folder in folders {
        for query in canned::load_each(folder)? {
            match query {
                Ok(query) if queries.iter().any(|known| known.built_in && known.is_called(&query.name)) => {
                    notes.push(format!("{}: runq has a command of this name", query.name));
                }
                Ok(query) => {
                    queries.retain(|known| known.name != query.name);
                    queries.push(query);
                }
                Err(error) => notes.push(format!("{error:#}")),
            }
        }
    }
    Ok((queries, notes))
}

/// Half of the memory of the machine; 2 GiB where it cannot be told.
fn half_of_the_machine() -> usize {
    let kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?.to_string();
        line.split_whitespace().nth(1)?.parse::<usize>().ok()
    });
    kib.map_or(2 << 30, |kib| kib * 1024 / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workspace_is_shared_between_threads() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Workspace>();
    }
}
