//! DataFusion over the store. Knows no log format, prints nothing.

mod bounded;
pub mod canned;
pub mod compute;
pub mod context;
pub mod files;
mod functions;
mod guard;
pub mod hints;
mod params;
mod per_step;
pub mod ranking;
mod reader;
pub mod runs;
pub mod scalar;
pub mod secrets;
mod selection;
mod sorted_aggregate;
pub mod system;
pub mod tables;
mod texts;
mod words;

pub use words::Words;

use crate::error::UserError;
use crate::records::Goal;
use crate::records::names::{Meant, ValidationSets, meant};
use crate::records::schema::Table;
use crate::records::step_pattern::StepPattern;
use crate::store::{Catalog, Damage, Limits, Snapshot};
use canned::{Canned, ParamValue};
use datafusion::arrow::array::RecordBatch;
use datafusion::common::ParamValues;
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::{DataFrame, SessionContext};
use futures::{Stream, StreamExt, TryStreamExt};
use hints::Known;
use per_step::PerStep;
use ranking::Ranking;
use runs::RunIndex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use system::SystemTable;
use tokio::runtime::Handle;

/// What a question may use and how the tables look.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Sizes (batches, partitions).
    pub limits: Limits,
    /// Memory of a query in bytes; beyond it operators spill to disk or fail.
    pub memory_bytes: usize,
    /// Longest time of a query.
    pub timeout: Option<Duration>,
    /// Now, milliseconds since 1970: decides which run is still running.
    pub now_ms: i64,
    /// Goals by the settings.
    pub goals: BTreeMap<String, Goal>,
    /// Whether secrets are shown.
    pub show_secrets: bool,
    /// Show only runs at or below this path.
    pub below: Option<String>,
    /// Words of the project for metrics and runs.
    pub words: Words,
    /// Validation sets of the project's own.
    pub validation_sets: ValidationSets,
    /// Names of metrics that hold a step.
    pub per_step: Vec<StepPattern>,
}

/// The tables at one instant, ready to be asked. Clones share them; each has its own time to answer.
#[derive(Clone)]
pub struct Engine {
    ctx: SessionContext,
    snapshot: Snapshot,
    catalog: Arc<dyn Catalog>,
    /// The same for few rows.
    small: SessionContext,
    /// Rows of each table.
    row_counts: Arc<BTreeMap<&'static str, u64>>,
    small_rows: u64,
    deadline: Option<Deadline>,
    /// Now, milliseconds since 1970.
    now_ms: i64,
    index: Arc<OnceLock<RunIndex>>,
    best_runs: BestRuns,
    /// Those of the runs that are shown.
    metrics: Arc<OnceLock<Vec<String>>>,
    words: Words,
}

/// Runs that were asked for as the best of a metric, by the word that was used.
type BestRuns = Arc<Mutex<BTreeMap<String, String>>>;

impl Engine {
    /// Takes a snapshot; tables are planned when they are first asked for.
    ///
    /// # Errors
    /// When the catalog cannot be read; as a [`Damage`] when a file is known to be damaged: what else
    /// there is may speak of its runs too, and no answer is better than half of one.
    pub async fn open(catalog: &Arc<dyn Catalog>, options: &EngineOptions) -> anyhow::Result<Self> {
        let snapshot: Snapshot = catalog.snapshot()?;
        if let Some(damage) = snapshot.damage() {
            return Err(damage.into());
        }
        let per_step = PerStep::new(&options.per_step);
        let ctx = context::context(&snapshot, catalog, options, &per_step)?;
        if let Err(error) = per_step.look(&ctx).await {
            return Err(snapshot.damage().map_or(error, anyhow::Error::from));
        }
        let index: Arc<OnceLock<RunIndex>> = Arc::default();
        let best_runs = BestRuns::default();
        let (runs, best) = (index.clone(), best_runs.clone());
        let resolve = move |word: &str| match (locked(&best).get(word), runs.get()) {
            (Some(run_id), _) => Ok(run_id.clone()),
            (None, Some(runs)) => runs.resolve(word),
            (None, None) => Ok(word.to_string()),
        };
        context::register_table_functions(&ctx, resolve).await?;
        functions::restrict(&ctx);
        let small = context::for_few_rows(&ctx);
        let row_counts = Arc::new(row_counts(&snapshot));
        let small_rows = options.limits.small_rows;
        let catalog = Arc::clone(catalog);
        let (deadline, metrics) = (None, Arc::default());
        Ok(Self {
            ctx,
            snapshot,
            catalog,
            small,
            row_counts,
            small_rows,
            deadline,
            now_ms: options.now_ms,
            index,
            best_runs,
            metrics,
            words: options.words.clone(),
        }
        .within(options.timeout))
    }

    /// The same tables with the clock started anew.
    pub fn within(mut self, timeout: Option<Duration>) -> Self {
        self.deadline = timeout.map(|timeout| Deadline { at: Instant::now() + timeout, timeout });
        self
    }

    /// The files that are read.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Damage of the cache met while questions were answered.
    pub fn damage(&self) -> Option<Damage> {
        self.snapshot.damage().or_else(|| self.catalog.damage())
    }

    /// The context, for plans and names.
    pub fn context(&self) -> &SessionContext {
        &self.ctx
    }

    /// Runs, as people name them; loaded once.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn runs(&self) -> anyhow::Result<&RunIndex> {
        if self.index.get().is_none() {
            let loaded = RunIndex::load(&self.small).await?;
            // Two callers may have loaded it; both read the same snapshot.
            let _ = self.index.set(loaded);
        }
        self.index.get().ok_or_else(|| anyhow::anyhow!("the runs could not be loaded"))
    }

    /// The id of the run a user means by `word`.
    ///
    /// # Errors
    /// When no run, or more than one, goes by that word.
    pub async fn resolve_run(&self, word: &str) -> anyhow::Result<String> {
        let meant = self.words.run(word)?;
        let run_id = match meant.strip_prefix(runs::BEST) {
            None if meant == word => return Ok(self.runs().await?.resolve(word)?),
            None => self.runs().await?.resolve(&meant)?,
            Some(word) => {
                let metric = self.resolve_form(word).await?;
                runs::best_run(&self.small, &metric, &self.ranking(&metric).await?).await?
            }
        };
        locked(&self.best_runs).insert(word.to_string(), run_id.clone());
        Ok(run_id)
    }

    /// The metric a user means by `word`, among those of the runs that are shown: itself, or else the
    /// only one of its normal form.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub async fn resolve_metric(&self, word: &str) -> anyhow::Result<String> {
        match self.meaning(word).await? {
            Meant::One(key) => Ok(key.to_owned()),
            Meant::Several(keys) => Err(hints::several_metrics(self.words.meant(word), &keys).into()),
            Meant::Nothing => Err(self.no_such_metric(word).await?.into()),
        }
    }

    /// As [`Engine::resolve_metric`]; of several of the normal form, `word` stands for all.
    ///
    /// # Errors
    /// When there is none.
    pub async fn resolve_form(&self, word: &str) -> anyhow::Result<String> {
        match self.meaning(word).await? {
            Meant::One(key) => Ok(key.to_owned()),
            Meant::Several(_) => Ok(self.words.meant(word).to_owned()),
            Meant::Nothing => Err(self.no_such_metric(word).await?.into()),
        }
    }

    /// What a word means among the metrics of the runs that are shown: as a name, else as what people call one.
    async fn meaning(&self, word: &str) -> anyhow::Result<Meant<'_>> {
        let known = self.shown_metrics().await?.iter().map(String::as_str);
        let word = self.words.meant(word);
        Ok(match (meant(word, known.clone()), self.words.called(word)) {
            (Meant::Nothing, Some(metric)) => meant(metric, known),
            (found, _) => found,
        })
    }

    async fn no_such_metric(&self, word: &str) -> anyhow::Result<UserError> {
        let word = self.words.meant(word);
        Ok(runs::no_such_metric(word, self.shown_metrics().await?, &self.metrics().await?))
    }

    /// The ranking of all runs by a metric that [`Engine::resolve_form`] gave.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn ranking(&self, metric: &str) -> anyhow::Result<Ranking> {
        Ok(Ranking::by(metric, self.shown_metrics().await?.iter().map(String::as_str)))
    }

    /// Metrics of the runs that are shown, in order; loaded once.
    async fn shown_metrics(&self) -> anyhow::Result<&[String]> {
        if self.metrics.get().is_none() {
            let loaded = runs::shown_metrics(&self.small).await?;
            // Two callers may have loaded them; both read the same snapshot.
            let _ = self.metrics.set(loaded);
        }
        Ok(self.metrics.get().map_or(&[], Vec::as_slice))
    }

    /// All metrics, in order.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub async fn metrics(&self) -> anyhow::Result<Vec<String>> {
        runs::metrics(&self.small).await
    }

    /// Looks up the runs that the table functions of a statement name.
    async fn look_up_runs(&self, sql: &str) -> anyhow::Result<()> {
        if !mentions_table_function(sql) {
            return Ok(());
        }
        self.runs().await?;
        let is_looked_up =
            |word: &&str| word.starts_with(runs::BEST_OF_ALL) || self.words.aliases.contains_key(*word);
        let words = sql.split('\'').filter(is_looked_up);
        for word in words.collect::<BTreeSet<_>>() {
            self.resolve_run(word).await?;
        }
        Ok(())
    }

    /// Tables and their columns.
    ///
    /// # Errors
    /// When a table cannot be opened.
    pub async fn tables(&self) -> anyhow::Result<Vec<(String, Vec<String>)>> {
        let schema = self.ctx.catalog("runq").and_then(|catalog| catalog.schema("public"));
        let mut names = schema.map(|schema| schema.table_names()).unwrap_or_default();
        names.sort_unstable();
        let mut tables = Vec::with_capacity(names.len());
        for name in names {
            let columns = self.ctx.table_provider(name.as_str()).await?.schema();
            tables.push((name, columns.fields().iter().map(|field| field.name().clone()).collect()));
        }
        Ok(tables)
    }

    /// Functions of SQL, ours included.
    pub fn functions(&self) -> Vec<String> {
        let state = self.ctx.state();
        let all = [
            state.scalar_functions().keys().cloned().collect::<Vec<_>>(),
            state.aggregate_functions().keys().cloned().collect(),
            state.window_functions().keys().cloned().collect(),
            state.table_functions().keys().cloned().collect(),
        ];
        let mut names = all.concat();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Plans one read-only statement.
    ///
    /// # Errors
    /// When it is none, or names what is not there.
    pub async fn plan(&self, sql: &str) -> anyhow::Result<DataFrame> {
        guard::check_text(sql)?;
        self.look_up_runs(sql).await?;
        let (ctx, text) = (self.ctx.clone(), sql.to_string());
        let planned = async move { guard::plan(&ctx.state(), &text).await };
        let plan = match apart(self.deadline, planned).await? {
            Ok(plan) => plan,
            Err(error) => return Err(self.explained(&error).await?.into()),
        };
        let ctx = if self.scanned_rows(&plan)? < self.small_rows { &self.small } else { &self.ctx };
        Ok(ctx.execute_logical_plan(plan).await?)
    }

    /// Rows of the tables that a plan reads, without regard to its filters.
    fn scanned_rows(&self, plan: &LogicalPlan) -> Result<u64, DataFusionError> {
        let mut rows = 0;
        plan.apply_with_subqueries(|node| {
            if let LogicalPlan::TableScan(scan) = node {
                // A table function reads points that its name does not tell.
                rows += self.row_counts.get(scan.table_name.table()).copied().unwrap_or(self.small_rows);
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(rows)
    }

    /// Runs a planned statement; the stream ends with an error when the time is over.
    ///
    /// # Errors
    /// When it cannot be planned physically.
    pub async fn execute(&self, frame: DataFrame) -> anyhow::Result<SendableRecordBatchStream> {
        let started = async move { frame.execute_stream().await };
        let stream = match apart(self.deadline, started).await? {
            Ok(stream) => stream,
            Err(error) => return Err(self.explained(&error).await?.into()),
        };
        let explained =
            |error: DataFusionError| DataFusionError::External(Box::new(explain(&error, Known::default())));
        let schema = stream.schema();
        let stream = read_apart(stream, self.deadline, compute::handle()?).map_err(explained);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream)))
    }

    /// The error a person sees.
    async fn explained(&self, error: &DataFusionError) -> anyhow::Result<UserError> {
        let (tables, functions) = (self.tables().await?, self.functions());
        Ok(explain(error, Known { tables: &tables, functions: &functions }))
    }

    /// Plans a canned query with its values bound.
    ///
    /// # Errors
    /// When a value is missing or names what is not there.
    pub async fn plan_canned(
        &self,
        query: &Canned,
        values: &BTreeMap<String, ParamValue>,
    ) -> anyhow::Result<DataFrame> {
        let values = self.checked_values(query, values).await?;
        if query.takes_literals() {
            return self.plan(&canned::literal_sql(query, &values)).await;
        }
        let bound = query
            .params
            .iter()
            .map(|param| (param.name.clone(), params::scalar(param.kind, values.get(&param.name))));
        let bound: HashMap<String, ScalarAndMetadata> =
            bound.map(|(name, value)| (name, value.into())).collect();
        let frame = self.plan(&query.sql).await?;
        Ok(if bound.is_empty() { frame } else { frame.with_param_values(ParamValues::Map(bound))? })
    }
}

/// Rows in the files of each table; the tables of the cache about itself are small.
fn row_counts(snapshot: &Snapshot) -> BTreeMap<&'static str, u64> {
    let mut counts: BTreeMap<&'static str, u64> = SystemTable::ALL.map(|table| (table.name(), 0)).into();
    for table in Table::ALL {
        counts.insert(table.name(), snapshot.files_of(table).map(|file| file.row_count).sum());
    }
    for part in ["superseded", "internal"] {
        counts.insert(part, counts.get(Table::Metrics.name()).copied().unwrap_or_default());
    }
    counts
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What went wrong, in the words of [`hints`], unless it is a [`UserError`] already.
fn explain(error: &DataFusionError, known: Known<'_>) -> UserError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(told) = inner.downcast_ref::<UserError>() {
            return told.clone();
        }
        cause = inner.source();
    }
    hints::explain(&error.strip_backtrace(), known)
}

fn mentions_table_function(sql: &str) -> bool {
    let sql = sql.to_ascii_lowercase();
    ["history", "wide"].iter().any(|name| sql.contains(name))
}

/// When a question must be answered, and how long it had.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    fn passed(self) -> UserError {
        UserError::too_late(self.timeout)
    }
}

/// Runs work on the threads of the engine, so that whoever waits hears the clock and Ctrl-C even while the
/// engine computes without a pause. What cannot be stopped ends with the process.
async fn apart<T: Send + 'static>(
    deadline: Option<Deadline>,
    work: impl Future<Output = T> + Send + 'static,
) -> anyhow::Result<T> {
    let mut task = tokio::task::JoinSet::new();
    task.spawn_on(work, compute::handle()?);
    let joined = match deadline {
        Some(deadline) => {
            let waited = tokio::time::timeout_at(deadline.at.into(), task.join_next()).await;
            waited.map_err(|_| deadline.passed())?
        }
        None => task.join_next().await,
    };
    match joined {
        Some(Ok(result)) => Ok(result),
        _ => Err(UserError::failed("the query crashed; this is a bug").into()),
    }
}

/// Reads a stream on the threads of the engine, one batch ahead.
fn read_apart(
    mut stream: SendableRecordBatchStream,
    deadline: Option<Deadline>,
    threads: &Handle,
) -> impl Stream<Item = Result<RecordBatch, DataFusionError>> + Send + use<> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let mut task = tokio::task::JoinSet::new();
    let reading = async move {
        while let Some(batch) = stream.next().await {
            if sender.send(batch).await.is_err() {
                return;
            }
        }
    };
    task.spawn_on(reading, threads);
    futures::stream::unfold(Some((receiver, task)), move |reading| async move {
        let (mut receiver, mut task) = reading?;
        let received = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline.at.into(), receiver.recv()).await,
            None => Ok(receiver.recv().await),
        };
        match (received, deadline) {
            (Ok(Some(batch)), _) => Some((batch, Some((receiver, task)))),
            (Ok(None), _) => match task.join_next().await {
                Some(Err(error)) => Some((Err(DataFusionError::External(Box::new(error))), None)),
                _ => None,
            },
            (Err(_), Some(deadline)) => {
                Some((Err(DataFusionError::External(Box::new(deadline.passed()))), None))
            }
            (Err(_), None) => None,
        }
    })
}
