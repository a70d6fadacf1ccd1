//! `diagnose`, `eta`, `forecast`, `stop`: what is wrong with a run, and what to do.

use super::args::Values;
use super::output::{self, Sink};
use super::session::Session;
use crate::engine::canned::{ParamValue, quoted};
use crate::error::UserError;
use crate::workspace::Case;
use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use runq_udfs::kernels::diagnosis::{Finding, Kind, Level};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows shown before and after an onset.
const AROUND: usize = 5;
/// More findings of one kind and level than these are shown as the first ones, the worst, and a count.
const MANY: usize = 5;
const FIRST: usize = 3;

/// Their declarations.
pub fn commands() -> [Command; 4] {
    let run = || {
        Arg::new("run")
            .value_name("RUN")
            .help("Run: id, prefix of it, name, @latest, @best:METRIC")
            .default_value("@latest")
    };
    let kinds: Vec<&str> = Kind::every().map(Kind::as_str).collect();
    [
        Command::new("diagnose")
            .about("Tell what went wrong in a run, where, how sure, and what to do")
            .arg(run())
            .arg(Arg::new("evidence").long("evidence").action(ArgAction::SetTrue).help("Print the rows around each finding"))
            .arg(
                Arg::new("fail-on")
                    .long("fail-on")
                    .value_name("LEVEL")
                    .value_parser(PossibleValuesParser::new(["error", "warn"]))
                    .help("Exit with code 3 where there is a finding of this level or a worse one"),
            )
            .arg(
                Arg::new("explain")
                    .long("explain")
                    .value_name("KIND")
                    .value_parser(PossibleValuesParser::new(kinds))
                    .help("Print a kind's rule, its thresholds and its source instead"),
            )
            .after_help("Examples:\n  runq diagnose @latest\n  runq diagnose RUN --fail-on error\n  runq diagnose --explain plateau"),
        Command::new("eta").about("Tell when a run will end, with an 80 % interval").arg(run()).after_help("Examples:\n  runq eta @latest"),
        Command::new("forecast")
            .about("Tell where a loss will be at the planned end, with an 80 % interval")
            .arg(Arg::new("run").value_name("RUN").required(true).help("Run: id, prefix of it, name, @latest, @best:METRIC"))
            .arg(Arg::new("metric").value_name("METRIC").required(true).help("A loss or validation metric"))
            .after_help("Examples:\n  runq forecast @latest val_loss"),
        Command::new("stop").about("Tell whether to stop a run, why, and which checkpoint to keep").arg(run()).after_help("Examples:\n  runq stop @latest"),
    ]
}

/// Whether a command is one of these.
pub fn is_one(name: &str) -> bool {
    matches!(name, "diagnose" | "eta" | "forecast" | "stop")
}

/// Runs one of them.
pub async fn run(session: &Session, name: &str, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(name)?;
    if let Some(kind) = option(name, matches, "explain").and_then(Kind::from_name) {
        return explain(session, kind);
    }
    let word = matches.get_one::<String>("run").map_or("@latest", String::as_str);
    let run_id = session.workspace.resolve_run(word).await?;
    let case = session.workspace.diagnose(&run_id).await?;
    match name {
        "eta" => eta(session, &case),
        "forecast" => {
            let metric = matches.get_one::<String>("metric").map_or("", String::as_str);
            let metric = session.workspace.resolve_metric(metric).await?;
            output::emit_batch(session, &forecast(&case, &metric)?)
        }
        "stop" => stop(session, &case).await,
        _ => diagnose(session, &case, matches).await,
    }
}

fn option<'a>(name: &str, matches: &'a ArgMatches, option: &str) -> Option<&'a str> {
    (name == "diagnose").then(|| matches.get_one::<String>(option)).flatten().map(String::as_str)
}

async fn diagnose(session: &Session, case: &Case, matches: &ArgMatches) -> Result<()> {
    let shown = shown(&case.findings);
    let headline = headline(case, &state(session, &case.run_id).await?);
    let mut sink = Sink::open(session)?;
    let is_agent = sink.tokens_left().is_some();
    let is_read = is_agent || sink.format().is_for_people();
    let is_bare = is_read && case.findings.is_empty();
    if sink.format().is_for_people() || is_agent && is_bare {
        sink.text(&format!("{headline}\n"))?;
    }
    if !is_bare {
        sink.batch(&table(case, &shown, &epochs(session, case).await?)?)?;
        if sink.format().is_for_people() {
            sink.text(&checks(case))?;
        }
        if matches.get_flag("evidence") {
            sink.batch(&evidence(case, &shown)?)?;
        }
    }
    sink.finish()?;
    if shown.len() < case.findings.len() {
        let left = case.findings.len() - shown.len();
        session.terminal.note(&format!("{left} more findings like the first of their kind were left out"));
    }
    let limit = option("diagnose", matches, "fail-on")
        .map(|word| if word == "warn" { Level::Warn } else { Level::Error });
    fail_on(case, limit)
}

/// The state of the run.
async fn state(session: &Session, run_id: &str) -> Result<String> {
    let sql = format!("select state from runs where run_id = {}", quoted(run_id));
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    Ok(output::texts(&rows, "state")?.pop().unwrap_or_default())
}

/// Epochs by metric and step, as far as the run logged any.
type Epochs = HashMap<(String, i64), f64>;

/// The epochs in which the findings lie.
async fn epochs(session: &Session, case: &Case) -> Result<Epochs> {
    let list = |text: &dyn Fn(&Finding) -> String| ParamValue::List(case.findings.iter().map(text).collect());
    let values = Values::from([
        ("run".to_owned(), ParamValue::Text(case.run_id.clone())),
        ("keys".to_owned(), list(&|finding| case.key(finding).to_owned())),
        ("steps".to_owned(), list(&|finding| finding.step.to_string())),
    ]);
    let rows = output::collect(session.workspace.canned("epochs", &values).await?).await?;
    let column = |name| output::texts(&rows, name);
    let rows = column("key")?.into_iter().zip(column("step")?).zip(column("epoch")?);
    Ok(rows
        .filter_map(|((key, step), epoch)| Some(((key, step.parse().ok()?), epoch.parse().ok()?)))
        .collect())
}

fn fail_on(case: &Case, limit: Option<Level>) -> Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    let worst =
        case.findings.iter().filter(|finding| finding.level >= limit).max_by_key(|finding| finding.level);
    match worst {
        Some(worst) => {
            Err(UserError::condition(format!("{}: {}", worst.level, worst.message(case.key(worst)))).into())
        }
        None => Ok(()),
    }
}

/// One line: the run, its phase, and how it is.
fn headline(case: &Case, state: &str) -> String {
    let phase =
        case.transitions.last().map_or("no loss to judge by".to_owned(), |change| change.to.to_string());
    let worst = case.findings.iter().map(|finding| finding.level).max();
    let verdict = match worst {
        None => "nothing found".to_owned(),
        Some(level) if case.findings.len() == 1 => format!("1 finding, {level}"),
        Some(level) => format!("{} findings, worst: {level}", case.findings.len()),
    };
    // What the metrics do not tell.
    let end = match state {
        "failed" | "crashed" => format!("; it {state}: runq show {}", case.run_id),
        _ => String::new(),
    };
    format!("{}: {verdict} ({phase}){end}", case.run_id)
}

/// What was looked at, and what could not be.
fn checks(case: &Case) -> String {
    let roles: Vec<String> =
        case.run.curves.iter().map(|curve| format!("{} = {}", curve.role.as_str(), curve.key)).collect();
    let mut not: Vec<(&str, Vec<&str>)> = Vec::new();
    for check in &case.not_checked {
        match not.iter_mut().find(|(why, _)| *why == check.why) {
            Some((_, kinds)) => kinds.push(check.kind.as_str()),
            None => not.push((&check.why, vec![check.kind.as_str()])),
        }
    }
    let not: Vec<String> = not.iter().map(|(why, kinds)| format!("{} ({why})", kinds.join(", "))).collect();
    let mut text = format!("\nroles: {}\n", roles.join(", "));
    if !not.is_empty() {
        text.push_str(&format!("not checked: {}\n", not.join(", ")));
    }
    text
}

/// The findings, the worst first; of many of one kind and level the first ones and the worst.
fn shown(findings: &[Finding]) -> Vec<&Finding> {
    let mut all: Vec<&Finding> = findings.iter().collect();
    all.sort_by_key(|finding| (std::cmp::Reverse(finding.level), finding.step));
    let like = |finding: &Finding| -> Vec<&Finding> {
        findings.iter().filter(|other| (other.kind, other.level) == (finding.kind, finding.level)).collect()
    };
    all.retain(|finding| {
        let group = like(finding);
        let place = group.iter().position(|other| std::ptr::eq(*other, *finding)).unwrap_or(0);
        let worst = group.iter().max_by(|left, right| left.score.total_cmp(&right.score));
        group.len() <= MANY || place < FIRST || worst.is_some_and(|worst| std::ptr::eq(*worst, *finding))
    });
    all
}

fn table(case: &Case, findings: &[&Finding], epochs: &Epochs) -> Result<RecordBatch> {
    let of = |text: &dyn Fn(&Finding) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(findings.iter().map(|finding| text(finding))))
    };
    let steps = |step: &dyn Fn(&Finding) -> Option<i64>| -> ArrayRef {
        Arc::new(findings.iter().map(|finding| step(finding)).collect::<Int64Array>())
    };
    let epoch = |finding: &Finding| epochs.get(&(case.key(finding).to_owned(), finding.step)).copied();
    let epoch: ArrayRef = Arc::new(findings.iter().map(|finding| epoch(finding)).collect::<Float64Array>());
    let columns = [
        ("level", of(&|finding| finding.level.to_string())),
        ("kind", of(&|finding| finding.kind.to_string())),
        ("metric", of(&|finding| case.key(finding).to_owned())),
        ("step", steps(&|finding| Some(finding.step))),
        ("epoch", epoch),
        ("end_step", steps(&|finding| finding.end_step)),
        ("detected_step", steps(&|finding| Some(finding.detected_step))),
        ("message", of(&|finding| finding.message(case.key(finding)))),
        ("advice", of(&Finding::advice)),
    ];
    let is_told = |name: &str| name != "epoch" || !epochs.is_empty();
    Ok(RecordBatch::try_from_iter(columns.into_iter().filter(|(name, _)| is_told(name)))?)
}

/// The rows around each onset.
fn evidence(case: &Case, findings: &[&Finding]) -> Result<RecordBatch> {
    let mut rows: Vec<(String, &str, i64, f64)> = Vec::new();
    for finding in findings {
        let Some(curve) = case.run.curves.get(finding.curve) else { continue };
        let onset = curve.steps.partition_point(|step| *step < finding.step);
        let around = onset.saturating_sub(AROUND)..(onset + AROUND + 1).min(curve.steps.len());
        rows.extend(
            around.map(|row| {
                (finding.kind.to_string(), curve.key.as_str(), curve.steps[row], curve.values[row])
            }),
        );
    }
    let kinds: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.0.as_str())));
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
    let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.3)));
    Ok(RecordBatch::try_from_iter([("kind", kinds), ("metric", keys), ("step", steps), ("value", values)])?)
}

fn eta(session: &Session, case: &Case) -> Result<()> {
    let message = || format!("run \"{}\" has too few times to tell its rate", case.run_id);
    let eta = case.eta.ok_or_else(|| UserError::failed(message()))?;
    let left = eta.left;
    let number = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let count = |value: Option<i64>| -> ArrayRef { Arc::new(Int64Array::from(vec![value])) };
    let run: ArrayRef = Arc::new(StringArray::from(vec![case.run_id.as_str()]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("run_id", run, false),
        ("planned_steps", count(case.run.facts.planned_steps), true),
        ("steps_left", count(left.map(|left| left.steps)), true),
        ("seconds_per_step", number(Some(eta.seconds_per_step)), false),
        ("eta_s", number(left.map(|left| left.eta_s)), true),
        ("low_s", number(left.map(|left| left.low_s)), true),
        ("high_s", number(left.map(|left| left.high_s)), true),
        ("downtime_s", number(Some(eta.downtime_s)), false),
    ])?;
    output::emit_batch(session, &batch)?;
    if left.is_none() {
        session.terminal.note("no ETA: the planned length is not known, or is over");
    }
    Ok(())
}

fn forecast(case: &Case, metric: &str) -> Result<RecordBatch> {
    let forecast = case.forecast(metric)?;
    let number = |value: f64| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let run: ArrayRef = Arc::new(StringArray::from(vec![case.run_id.as_str()]));
    let metric: ArrayRef = Arc::new(StringArray::from(vec![metric]));
    let planned: ArrayRef = Arc::new(Int64Array::from(vec![case.run.facts.planned_steps]));
    Ok(RecordBatch::try_from_iter([
        ("run_id", run),
        ("metric", metric),
        ("planned_steps", planned),
        ("forecast", number(forecast.point)),
        ("low", number(forecast.low)),
        ("high", number(forecast.high)),
        ("stay", number(forecast.stay)),
    ])?)
}

async fn stop(session: &Session, case: &Case) -> Result<()> {
    let state = state(session, &case.run_id).await?;
    let left_h = case.eta.and_then(|eta| eta.left).map(|left| left.eta_s / 3600.0);
    let advice = match state.as_str() {
        _ if case.stop.is_some() => "stop",
        "finished" | "failed" | "crashed" => "it has ended",
        _ => "go on",
    };
    let reason = case.stop.and_then(|stop| {
        let is_it = |finding: &&Finding| (finding.kind, finding.step) == (stop.kind, stop.since_step);
        case.findings.iter().find(is_it).map(|finding| finding.message(case.key(finding)))
    });
    let saved_h = left_h.filter(|_| case.stop.is_some());
    let text = |value: Option<&str>| -> ArrayRef { Arc::new(StringArray::from(vec![value])) };
    let number = |value: Option<f64>| -> ArrayRef { Arc::new(Float64Array::from(vec![value])) };
    let checkpoint: ArrayRef = Arc::new(Int64Array::from(vec![case.stop.map(|stop| stop.checkpoint_step)]));
    let gpu_h = saved_h.zip(case.run.facts.gpu_count).map(|(hours, gpus)| hours * f64::from(gpus));
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("run_id", text(Some(&case.run_id)), false),
        ("advice", text(Some(advice)), false),
        ("reason", text(reason.as_deref()), true),
        ("checkpoint_step", checkpoint, true),
        ("saved_h", number(saved_h), true),
        ("saved_gpu_h", number(gpu_h), true),
    ])?;
    output::emit_batch(session, &batch)
}

/// `--explain KIND`: the rule, its source, and the thresholds that hold here.
fn explain(session: &Session, kind: Kind) -> Result<()> {
    let (section, limits) = kind.limits(session.workspace.thresholds());
    let mut text = format!("{kind}: {}\nSource: {}\n", kind.rule(), kind.source());
    if !limits.is_empty() {
        text.push_str(&format!("\nThresholds, in runq.toml under [thresholds.{section}]:\n"));
    }
    let width = limits.iter().map(|limit| limit.name.len()).max().unwrap_or(0);
    for limit in limits {
        text.push_str(&format!("  {:width$} = {:<8} {}\n", limit.name, limit.value, limit.meaning));
    }
    output::emit_text(&session.globals, &text)
}
