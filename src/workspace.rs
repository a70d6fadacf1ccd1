//! The one door: open a root, bring its cache up to date, ask.

use crate::engine::canned::{self, Canned, ParamValue};
use crate::engine::system::is_below;
use crate::engine::{Engine, EngineOptions, Words, compute};
use crate::error::UserError;
use crate::records::batch::to_batch;
use crate::settings::Settings;
use crate::sources::find::sidecar;
use crate::store::{Catalog, Damage, Limits};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use cache::Cache;
use chrono::{DateTime, Utc};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt};
use place::Place;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

mod cache;
pub mod code;
mod diagnosis;
pub mod git;
mod place;
mod queries;
mod words;

pub use crate::engine::compute::{THREAD_NAME as QUERY_THREAD_NAME, stacks_bytes};
pub use crate::engine::files::TableFile;
pub use crate::ingest::{Outcome, Progress, Quiet};
pub use crate::settings::template as settings_template;
pub use diagnosis::{Case, NotChecked};
pub use queries::Admits;

/// How often a question is asked again because it met damage.
const REPAIRS: usize = 4;

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
    /// Make nothing anew that is found damaged when a question is asked (`--no-refresh`).
    pub read_only: bool,
    /// Whether a query of the user's own may be one; why not.
    pub admits: Option<Admits>,
    /// Sizes at which things happen.
    pub limits: Limits,
    /// The present, milliseconds since 1970; default: the clock. Decides which run is still running.
    pub now_ms: Option<i64>,
}

/// A root with its cache. `Send + Sync`; shared by reference or `Arc`.
pub struct Workspace {
    cache: Arc<Cache>,
    settings: Settings,
    options: Options,
    queries: Vec<Canned>,
    /// What could not be loaded on opening; told with each refresh.
    notes: Vec<String>,
    tell: Option<Tell>,
    kept: Mutex<Option<Kept>>,
}

/// An engine is asked so long after it was opened, at most: which run is still running depends on
/// the clock.
const ENGINE_AGE: Duration = Duration::from_secs(1);

/// The engine of a catalog at a version.
#[derive(Clone)]
struct Kept {
    birth: String,
    version: i64,
    at: Instant,
    engine: Engine,
}

/// Takes a line for people.
type Tell = Box<dyn Fn(&str) + Send + Sync>;

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

impl Workspace {
    /// Finds root and cache; opens and writes nothing yet.
    ///
    /// # Errors
    /// When the root is not there or `runq.toml` is wrong.
    pub fn open(options: Options) -> anyhow::Result<Self> {
        let place = Place::find(&options)?;
        let settings = Settings::load(&place.root)?;
        let folders = settings.queries.iter().map(|folder| place.root.join(folder));
        let own = [place.root.join(".runq/queries"), place.cache.join("queries")];
        let mut folders: Vec<PathBuf> = own.into_iter().chain(folders).collect();
        folders.dedup();
        let (queries, notes) = queries::load(&folders, options.admits);
        let cache = Arc::new(Cache::new(place, &settings, &options)?);
        Ok(Self { cache, settings, options, queries, notes, tell: None, kept: Mutex::default() })
    }

    /// Has told to somebody what is noticed while a question is answered: a part of the cache was
    /// damaged and is made anew.
    pub fn on_note(mut self, tell: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.tell = Some(Box::new(tell));
        self
    }

    /// The folder (or file) whose logs are read.
    pub fn root(&self) -> &Path {
        &self.cache.place.root
    }

    /// The catalog, for those who build on it.
    ///
    /// # Errors
    /// When nothing was converted yet.
    pub fn catalog(&self) -> anyhow::Result<Arc<dyn Catalog>> {
        self.cache.catalog()?.ok_or_else(|| {
            UserError::failed(format!("there is no cache in {}", self.cache.place.cache.display()))
                .hint("leave out --no-refresh once, or run `runq refresh`")
                .into()
        })
    }

    /// Looks for changes under the root and converts what is new. Blocking. One process refreshes
    /// at a time; others wait and then find nothing left to do. What is found damaged is made anew.
    ///
    /// # Errors
    /// When the root cannot be read or the cache cannot be written; it is as it was then.
    pub fn refresh(&self, progress: &dyn Progress) -> anyhow::Result<Outcome> {
        let mut outcome = self.cache.refresh(progress)?;
        outcome.notes.extend(self.notes.iter().cloned());
        if outcome.run_count == 0 {
            let place = self.root().display();
            outcome.notes.push(format!(
                "no logs found in {place}: `runq refresh --explain` tells why files were left"
            ));
        }
        Ok(outcome)
    }

    /// What could not be loaded on opening, in lines for people.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What `runq.toml` sets.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When the cache was last written; `None` where there is nothing to answer from.
    pub fn as_of(&self) -> Option<DateTime<Utc>> {
        let committed_ms = self.cache.catalog().ok()??.committed_ms().ok()??;
        DateTime::from_timestamp_millis(committed_ms)
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
        self.asked(async |engine| self.answer(engine, engine.plan(text).await?).await).await
    }

    /// Runs a canned query. Parameters not given take their defaults; `run` parameters take
    /// anything a user may call a run.
    ///
    /// # Errors
    /// When there is no such query, or a value is missing or names what is not there.
    pub async fn canned(&self, name: &str, params: &BTreeMap<String, ParamValue>) -> anyhow::Result<Answer> {
        let query = self.query(name)?;
        let params = self.with_names(query, params).await?;
        self.asked(async |engine| self.answer(engine, engine.plan_canned(query, &params).await?).await).await
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
        let query = self.query(name)?;
        let params = self.with_names(query, params).await?;
        let values = self.asked(async |engine| engine.checked_values(query, &params).await).await?;
        Ok(canned::literal_sql(query, &values))
    }

    fn tell(&self, note: &str) {
        self.tell.iter().for_each(|tell| tell(note));
    }

    /// What a ranking by a metric looks at, with the columns of `Ranking::counts`: the runs that the values
    /// `project`, `where` and `newest` of [`Workspace::named_values`] select.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn ranking_counts(
        &self,
        metric: &str,
        values: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<Answer> {
        let ranking = self.asked(async |engine| engine.ranking(metric).await).await?;
        self.sql(&ranking.with_values(values).counts()).await
    }

    fn query(&self, name: &str) -> Result<&Canned, UserError> {
        let is_it = |query: &&Canned| query.name == name || query.aliases.iter().any(|alias| alias == name);
        self.queries.iter().find(is_it).ok_or_else(|| UserError::usage(format!("no query \"{name}\"")))
    }

    /// All canned queries: the built-in ones, then the user's own.
    pub fn queries(&self) -> &[Canned] {
        &self.queries
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
        let names = async |engine: &Engine| {
            Ok(Names {
                tables: engine.tables().await?,
                functions: engine.functions(),
                keys: engine.metrics().await?,
                runs: engine.runs().await?.ids().map(str::to_string).collect(),
            })
        };
        self.asked(names).await
    }

    /// The tables as of now, for plans and ad-hoc work beyond the methods here. Questions that follow
    /// each other closely share them.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn engine(&self) -> anyhow::Result<Engine> {
        let catalog = self.catalog()?;
        let (birth, version) = (catalog.birth(), catalog.version()?);
        let known = self.kept().clone();
        let is_it =
            |kept: &Kept| kept.birth == birth && kept.version == version && kept.at.elapsed() < ENGINE_AGE;
        if let Some(kept) = known.filter(is_it) {
            return Ok(kept.engine.within(self.options.timeout));
        }
        let engine = self.new_engine(&catalog).await?;
        let (birth, at) = (birth.to_string(), Instant::now());
        *self.kept() = Some(Kept { birth, version, at, engine: engine.clone() });
        Ok(engine)
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn new_engine(&self, catalog: &Arc<dyn Catalog>) -> anyhow::Result<Engine> {
        let goals = self.settings.goals.iter().map(|(key, goal)| (key.clone(), (*goal).into())).collect();
        let options = EngineOptions {
            limits: self.options.limits,
            memory_bytes: self.memory_bytes(),
            timeout: self.options.timeout,
            now_ms: self.cache.now_ms(),
            goals,
            show_secrets: self.options.show_secrets,
            below: self.cache.place.below.clone(),
            words: Words {
                aliases: self.settings.aliases.clone(),
                primary_metric: self.settings.primary_metric.clone(),
                groups: self.settings.groups.clone(),
                names: self.settings.names.clone(),
            },
            validation_sets: self.settings.validation_sets(),
            per_step: self.settings.per_step.clone(),
        };
        Engine::open(catalog, &options).await
    }

    /// Answers a question; where that meets damage, has it made anew from the logs and asks again.
    async fn asked<T>(&self, ask: impl AsyncFn(&Engine) -> anyhow::Result<T>) -> anyhow::Result<T> {
        for _ in 0..REPAIRS {
            let opened = self.engine().await;
            let (error, damage) = match opened {
                Ok(engine) => match ask(&engine).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => (error, engine.damage()),
                },
                Err(error) => (error, None),
            };
            let Some(damage) = damage.or_else(|| Damage::of(&error)) else { return Err(error) };
            *self.kept() = None;
            self.heal(damage).await?;
        }
        let message = "the cache is damaged again and again";
        Err(UserError::failed(message).hint("look after the disk, or keep the cache elsewhere").into())
    }

    async fn heal(&self, damage: Damage) -> anyhow::Result<()> {
        let cache = Arc::clone(&self.cache);
        let healed = compute::handle()?.spawn_blocking(move || cache.heal(&damage));
        for note in healed.await?? {
            self.tell.iter().for_each(|tell| tell(&note));
        }
        Ok(())
    }

    /// Runs a planned statement. It is waited for its first rows, so that damage shows before any is
    /// handed out.
    async fn answer(&self, engine: &Engine, frame: DataFrame) -> anyhow::Result<Answer> {
        let mut stream = engine.execute(frame).await?;
        let first = stream.next().await.transpose()?;
        let schema = stream.schema();
        let (catalog, snapshot) = (self.catalog()?, engine.snapshot().clone());
        let rest = stream.map_err(move |error| match snapshot.damage() {
            Some(damage) => DataFusionError::External(Box::new(met_late(&damage, catalog.as_ref()))),
            None => error,
        });
        let stream = futures::stream::iter(first.map(Ok)).chain(rest);
        Ok(Answer::new(Box::pin(RecordBatchStreamAdapter::new(schema, stream))))
    }

    /// What a query may use, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.options.memory_bytes.unwrap_or_else(half_of_the_machine)
    }
}

/// Damage that shows when rows were handed out already.
fn met_late(damage: &Damage, catalog: &dyn Catalog) -> UserError {
    if let Damage::File { path, why } = damage {
        // Where nothing can be written, the next question meets it itself.
        let _ = catalog.mark_damaged(path, why);
    }
    UserError::failed(damage.to_string()).hint("ask again: it is made anew from the logs")
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
