//! The DataFusion context of one question: options, functions, tables.

use super::per_step::PerStep;
use super::reader::LocalFiles;
use super::scalar::TextFunction;
use super::sorted_aggregate::AggregateSorted;
use super::system::{CatalogTable, SystemTable};
use super::tables::{Part, StoredTable};
use super::{EngineOptions, guard, secrets, texts};
use crate::error::UserError;
use crate::records::goal;
use crate::records::schema::Table;
use crate::store::{Catalog, Snapshot};
use async_trait::async_trait;
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider, SchemaProvider, TableProvider,
};
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most that operators may put on disk when memory is short.
const MAX_SPILL_BYTES: u64 = 20 << 30;

/// Catalog and schema of the public tables.
pub const CATALOG: &str = "runq";
/// See [`CATALOG`].
pub const SCHEMA: &str = "public";

/// A context over what counts in `snapshot`.
///
/// # Errors
/// When the options cannot be met.
pub fn context(
    snapshot: &Snapshot,
    catalog: &Arc<dyn Catalog>,
    options: &EngineOptions,
    per_step: &PerStep,
) -> anyhow::Result<SessionContext> {
    let state = bare(options)?;
    let views = over_stored_tables(state.clone(), snapshot, options)?;
    per_step.functions().into_iter().for_each(|function| views.register_udf(function));
    let definitions = definitions(options, per_step, !snapshot.duplicates.is_empty());
    let mut tables = PublicTables::new(views, definitions, options);
    for table in SystemTable::ALL {
        let provider = CatalogTable::new(table, catalog.clone(), options.below.clone());
        tables.add(table.name(), Arc::new(provider))?;
    }
    let ctx = with_schema(state, Arc::new(tables))?;
    texts::functions(&options.validation_sets).into_iter().for_each(|function| ctx.register_udf(function));
    runq_udfs::register_all(&ctx);
    Ok(ctx)
}

/// The stored tables as they are, and the functions that only the definitions of the public ones need.
fn over_stored_tables(
    state: SessionState,
    snapshot: &Snapshot,
    options: &EngineOptions,
) -> anyhow::Result<SessionContext> {
    let ctx = with_schema(state, Arc::new(MemorySchemaProvider::new()))?;
    ctx.register_udf(goal_function(options));
    ctx.register_udf(duplicate_function(snapshot));
    if !options.show_secrets {
        ctx.register_udf(mask_function("mask_value", 2));
        ctx.register_udf(mask_function("mask_args", 1));
    }
    let files = Arc::new(LocalFiles::default());
    let stored = |table, part| Arc::new(StoredTable::new(table, part, snapshot.clone(), files.clone()));
    for table in Table::ALL {
        ctx.register_table(table.name(), stored(table, Part::Counting))?;
    }
    ctx.register_table("superseded", stored(Table::Metrics, Part::Superseded))?;
    ctx.register_table("internal", stored(Table::Metrics, Part::Internal))?;
    Ok(ctx)
}

fn bare(options: &EngineOptions) -> anyhow::Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_batch_size(options.limits.batch_rows)
        .set_bool("datafusion.execution.parquet.pushdown_filters", true)
        .set_bool("datafusion.execution.parquet.reorder_filters", true)
        .set_bool("datafusion.sql_parser.enable_ident_normalization", true)
        .set_usize("datafusion.sql_parser.recursion_limit", guard::PARSER_DEPTH)
        // A recursion without an end needs no memory, only time.
        .set_bool("datafusion.execution.enable_recursive_ctes", false);
    if let Some(partitions) = options.limits.partitions {
        config = config.with_target_partitions(partitions);
    }
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(options.memory_bytes)))
        .with_max_temp_directory_size(MAX_SPILL_BYTES)
        .build_arc()?;
    let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime);
    let builder = builder.with_default_features().with_physical_optimizer_rule(Arc::new(AggregateSorted));
    Ok(builder.build())
}

/// A context with a catalog of its own, in which `schema` is the only schema.
fn with_schema(state: SessionState, schema: Arc<dyn SchemaProvider>) -> anyhow::Result<SessionContext> {
    let catalog = MemoryCatalogProvider::new();
    catalog.register_schema(SCHEMA, schema)?;
    let catalogs = MemoryCatalogProviderList::new();
    catalogs.register_catalog(CATALOG.into(), Arc::new(catalog));
    let builder = SessionStateBuilder::new_from_existing(state).with_catalog_list(Arc::new(catalogs));
    Ok(SessionContext::new_with_state(builder.build()))
}

/// The same for few rows: there more than one partition, and a second look for a better plan, cost more
/// than they save.
pub fn for_few_rows(ctx: &SessionContext) -> SessionContext {
    let mut state = ctx.state();
    let options = state.config_mut().options_mut();
    options.execution.target_partitions = 1;
    options.optimizer.max_passes = 1;
    // Filters that are found while a join or a sort runs, to read less.
    options.optimizer.enable_dynamic_filter_pushdown = false;
    options.optimizer.enable_join_dynamic_filter_pushdown = false;
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    options.optimizer.enable_aggregate_dynamic_filter_pushdown = false;
    SessionContext::new_with_state(state)
}

/// The public tables. Each is planned when it is first asked for: a question names few of them.
struct PublicTables {
    views: SessionContext,
    definitions: BTreeMap<&'static str, String>,
    tables: Mutex<HashMap<String, Arc<dyn TableProvider>>>,
}

impl PublicTables {
    fn new(views: SessionContext, definitions: Vec<(&'static str, String)>, options: &EngineOptions) -> Self {
        let definitions = definitions.into_iter().map(|(name, sql)| (name, narrowed(sql, options)));
        Self { views, definitions: definitions.collect(), tables: Mutex::default() }
    }

    /// A table that needs no definition; the definitions of others may name it.
    fn add(&mut self, name: &str, table: Arc<dyn TableProvider>) -> anyhow::Result<()> {
        self.views.register_table(name, table.clone())?;
        self.tables().insert(name.to_string(), table);
        Ok(())
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, Arc<dyn TableProvider>>> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PublicTables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.definitions.keys()).finish()
    }
}

#[async_trait]
impl SchemaProvider for PublicTables {
    fn table_names(&self) -> Vec<String> {
        let system = SystemTable::ALL.into_iter().map(SystemTable::name);
        self.definitions.keys().copied().chain(system).map(str::to_string).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let known = self.tables().get(name).cloned();
        let Some(sql) = self.definitions.get(name).filter(|_| known.is_none()) else { return Ok(known) };
        let plan = self.views.sql(sql).await?.into_unoptimized_plan();
        let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, Some(sql.clone())));
        self.tables().insert(name.to_string(), view.clone());
        Ok(Some(view))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.definitions.contains_key(name) || self.tables().contains_key(name)
    }
}

/// The public tables, over the stored ones.
fn definitions(
    options: &EngineOptions,
    per_step: &PerStep,
    has_duplicates: bool,
) -> Vec<(&'static str, String)> {
    let (args, remote, value) = match options.show_secrets {
        true => ("args", "git_remote", "value"),
        false => (
            "mask_args(args) as args",
            "mask_value('', git_remote) as git_remote",
            "mask_value(key, value) as value",
        ),
    };
    let now_ms = options.now_ms;
    let duplicate_of = if has_duplicates { "duplicate_of(run_id) as duplicate_of" } else { "duplicate_of" };
    vec![
        (
            "runs",
            format!(
                "select run_id, name, project, entity, source,
                    case when logged_end is not null then logged_end
                         when {now_ms} - cast(last_seen_at as bigint) < silence_limit_ms then 'running'
                         when writes_ends then 'crashed'
                         else 'unknown' end as state,
                    state_detail, exit_code, created_at, updated_at, duration_s, last_step, planned_steps,
                    point_count, metric_count, segment_count, run_group, job_type, sweep_id, parent_run_id,
                    {duplicate_of}, tags, notes, host, user_name, program, {args}, git_commit, git_branch, git_dirty,
                    {remote}, phase, worst_level, path
                 from runs"
            ),
        ),
        ("configs", format!("select run_id, key, {value}, number from configs")),
        ("metrics", per_step.metrics()),
        (
            "metrics_raw",
            "select run_id, key, step, value, time, segment, seq, false as superseded from metrics
             union all select run_id, key, step, value, time, segment, seq, true as superseded from superseded
             union all select run_id, key, step, value, time, segment, seq, false as superseded from internal"
                .into(),
        ),
        (
            "summary",
            format!(
                "select run_id, key, axis, count, nan_count, inf_count, first_step, last_step, first, last, min,
                    min_step, max, max_step, mean, std, goal,
                    case goal when 'min' then min when 'max' then max end as best,
                    case goal when 'min' then min_step when 'max' then max_step end as best_step,
                    final
                 from (select *, goal_of(key, logged_goal) as goal from {}) as s",
                per_step.summary()
            ),
        ),
        ("texts", "select run_id, key, step, time, text from texts".into()),
        (
            "alerts",
            "select alert_id, run_id, key, kind, level, step, end_step, detected_step, time, value, baseline, score,
                row_count, title, text, origin, seq from alerts
             union all select alert_id, run_id, key, kind, level, step, end_step, detected_step, time, value, baseline,
                score, row_count, title, text, origin, seq from findings"
                .into(),
        ),
        ("phases", "select run_id, step, time, phase_from, phase_to, reason from phases".into()),
        ("console", "select run_id, line, time, stream, text, file from console".into()),
    ]
}

/// The same rows, but only those of runs at or below the path that was asked for, or fed by it.
fn narrowed(sql: String, options: &EngineOptions) -> String {
    let Some(below) = &options.below else { return sql };
    let path = below.replace('\'', "''");
    format!(
        "select * from ({sql}) as t where run_id in (
            select run_id from runs where path = '{path}' or starts_with(path, '{path}/')
            union all select run_id from run_inputs where path = '{path}')"
    )
}

/// `goal_of(key, logged)`: the tracker's word, then the settings', then the name's.
fn goal_function(options: &EngineOptions) -> ScalarUDF {
    let goals = options.goals.clone();
    TextFunction::new("goal_of", 2, move |texts| {
        let key = texts[0]?;
        let by_settings = || goals.get(key).copied();
        match texts[1] {
            Some(logged) => Some(logged.to_string()),
            None => by_settings().or_else(|| goal::goal_of(key)).map(|goal| goal.as_str().to_string()),
        }
    })
    .into()
}

/// `duplicate_of(run_id)`: the run that is shown in its place.
fn duplicate_function(snapshot: &Snapshot) -> ScalarUDF {
    let duplicates = Arc::clone(&snapshot.duplicates);
    TextFunction::new("duplicate_of", 1, move |texts| duplicates.get(texts[0]?).cloned()).into()
}

fn mask_function(name: &'static str, arguments: usize) -> ScalarUDF {
    TextFunction::new(name, arguments, move |texts| {
        let text = texts[arguments - 1]?;
        let masked = match texts {
            [key, value] => secrets::mask_value((*key)?, (*value)?),
            _ => secrets::mask_args(text),
        };
        Some(masked.unwrap_or_else(|| text.to_string()))
    })
    .into()
}

/// Registers `history` and `wide` over the points that count; `resolve` finds the run a word means.
///
/// # Errors
/// When the view over the points cannot be built.
pub async fn register_table_functions(
    ctx: &SessionContext,
    resolve: impl Fn(&str) -> Result<String, UserError> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let points: Arc<dyn TableProvider> = ctx.table_provider("metrics").await?;
    let resolve = move |word: &str| resolve(word).map_err(|error| DataFusionError::External(Box::new(error)));
    runq_udfs::register_table_functions(ctx, points, Arc::new(resolve));
    Ok(())
}
