//! The DataFusion context of one question: options, functions, tables.

use super::runs::RunIndex;
use super::scalar::TextFunction;
use super::system::{CatalogTable, SystemTable};
use super::tables::{Part, StoredTable};
use super::{EngineOptions, guard, secrets};
use crate::records::goal;
use crate::records::schema::Table;
use crate::store::{Catalog, Snapshot};
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion::prelude::{SessionConfig, SessionContext};
use std::sync::{Arc, OnceLock};

/// Most that operators may put on disk when memory is short.
const MAX_SPILL_BYTES: u64 = 20 << 30;

/// A context over what counts in `snapshot`.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn context(
    snapshot: &Snapshot,
    catalog: &Arc<dyn Catalog>,
    options: &EngineOptions,
) -> anyhow::Result<SessionContext> {
    let ctx = bare(options)?;
    let views = bare(options)?;
    views.register_udf(goal_function(options));
    for table in Table::ALL {
        let provider = StoredTable::new(table, Part::Counting, snapshot.clone());
        views.register_table(table.name(), Arc::new(provider))?;
    }
    for (part, name) in [(Part::Superseded, "superseded"), (Part::Internal, "internal")] {
        views.register_table(name, Arc::new(StoredTable::new(Table::Metrics, part, snapshot.clone())))?;
    }
    for table in SystemTable::ALL {
        let provider = Arc::new(CatalogTable::new(table, catalog.clone(), options.below.clone()));
        views.register_table(table.name(), provider.clone())?;
        ctx.register_table(table.name(), provider)?;
    }
    if !options.show_secrets {
        views.register_udf(mask_function("mask_value", 2));
        views.register_udf(mask_function("mask_args", 1));
    }
    for (name, sql) in definitions(options) {
        let sql = narrowed(sql, options);
        let plan = views.sql(&sql).await?.into_unoptimized_plan();
        ctx.register_table(name, Arc::new(ViewTable::new(plan, Some(sql))))?;
    }
    runq_udfs::register_all(&ctx);
    Ok(ctx)
}

fn bare(options: &EngineOptions) -> anyhow::Result<SessionContext> {
    let mut config = SessionConfig::new()
        .with_information_schema(true)
        .with_default_catalog_and_schema("runq", "public")
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
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    Ok(SessionContext::new_with_state(state))
}

/// The public tables, over the stored ones.
fn definitions(options: &EngineOptions) -> Vec<(&'static str, String)> {
    let (args, value) = match options.show_secrets {
        true => ("args", "value"),
        false => ("mask_args(args) as args", "mask_value(key, value) as value"),
    };
    let now_ms = options.now_ms;
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
                    duplicate_of, tags, notes, host, user_name, program, {args}, git_commit, git_branch, git_dirty,
                    git_remote, phase, worst_level, path
                 from runs"
            ),
        ),
        ("configs", format!("select run_id, key, {value}, number from configs")),
        ("metrics", "select run_id, key, step, value, time from metrics".into()),
        (
            "metrics_raw",
            "select run_id, key, step, value, time, segment, seq, false as superseded from metrics
             union all select run_id, key, step, value, time, segment, seq, true as superseded from superseded
             union all select run_id, key, step, value, time, segment, seq, false as superseded from internal"
                .into(),
        ),
        (
            "summary",
            "select run_id, key, axis, count, nan_count, inf_count, first_step, last_step, first, last, min, min_step,
                max, max_step, mean, std, goal,
                case goal when 'min' then min when 'max' then max end as best,
                case goal when 'min' then min_step when 'max' then max_step end as best_step,
                final
             from (select *, goal_of(key, logged_goal) as goal from summary) as s"
                .into(),
        ),
        ("texts", "select run_id, key, step, time, text from texts".into()),
        (
            "alerts",
            "select alert_id, run_id, key, kind, level, step, end_step, detected_step, time, value, baseline, score,
                row_count, title, text, origin, seq from alerts"
                .into(),
        ),
        ("phases", "select run_id, step, time, phase_from, phase_to, reason from phases".into()),
        ("console", "select run_id, line, time, stream, text from console".into()),
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

/// Registers `history` and `wide` over the points that count.
///
/// # Errors
/// When the view over the points cannot be built.
pub async fn register_table_functions(
    ctx: &SessionContext,
    runs: Arc<OnceLock<RunIndex>>,
) -> anyhow::Result<()> {
    let points: Arc<dyn TableProvider> = ctx.table_provider("metrics").await?;
    let resolve = move |word: &str| match runs.get() {
        Some(runs) => runs.resolve(word).map_err(|error| DataFusionError::External(Box::new(error))),
        None => Ok(word.to_string()),
    };
    runq_udfs::register_table_functions(ctx, points, Arc::new(resolve));
    Ok(())
}
