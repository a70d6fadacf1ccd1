//! `why B A`: what may explain that a run did better or worse than another, the likeliest first.

use super::args::Values;
use super::output;
use super::session::Session;
use crate::engine::canned::{ParamValue, quoted};
use crate::error::UserError;
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgMatches, Command};
use std::sync::Arc;

/// Name of the command.
pub const NAME: &str = "why";

/// Hyperparameters that are told one by one; the rest is counted.
const CONFIG_LINES: usize = 8;

/// Curves that are told where they part.
const CURVES: usize = 5;

/// Findings of each run that are told.
const FINDINGS: usize = 3;

/// Its declaration.
pub fn command() -> Command {
    let run = |name: &'static str, help: &'static str| {
        Arg::new(name).value_name(name.to_uppercase()).required(true).help(help)
    };
    Command::new(NAME)
        .about("Tell what may explain that a run did better or worse than another")
        .long_about(
            "Tell what may explain that a run did better or worse than another.\n\n\
             First the outcome by the best value of a metric, then the hyperparameters that differ (by the \
             ratio of numbers; texts count as a factor of ten; seeds and labels last), where curves part \
             beyond noise (see `runq compare --help`), what was found in each run, and the code.",
        )
        .arg(run("b", "Run to explain: id, prefix of it, name, @latest, @best:METRIC"))
        .arg(run("a", "Run it is held against"))
        .arg(
            Arg::new("metric")
                .short('m')
                .long("metric")
                .value_name("METRIC")
                .help("Metric to judge by; default: the first with a goal, validation before training"),
        )
        .after_help(
            "Columns:\n  about  outcome, config, curves, finding or code\n  text   what differs, from A to B\n\n\
             Examples:\n  runq why @latest @latest~1\n  runq why @best:val_loss @latest -m val_loss",
        )
}

/// `why B A`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(NAME)?;
    let word = |name| matches.get_one::<String>(name).map_or("", String::as_str);
    let b = session.workspace.resolve_run(word("b")).await?;
    let a = session.workspace.resolve_run(word("a")).await?;
    if a == b {
        return Err(UserError::usage(format!("run \"{a}\" is given twice")).into());
    }
    let metric = match matches.get_one::<String>("metric") {
        Some(word) => Some(session.workspace.resolve_form(word).await?),
        None => None,
    };
    let pair = Pair { session, a, b };
    let mut lines = pair.curves(metric.as_deref()).await?;
    let config = pair.config().await?;
    // The outcome stands first, the curves behind what may have bent them.
    lines.splice(1..1, config);
    lines.extend(pair.findings().await?);
    lines.extend(pair.code().await?);
    let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let about = column(lines.iter().map(|(about, _)| *about).collect());
    let texts = column(lines.iter().map(|(_, text)| text.as_str()).collect());
    output::emit_batch(session, &RecordBatch::try_from_iter([("about", about), ("text", texts)])?)
}

type Line = (&'static str, String);

/// Two runs; the second is explained.
struct Pair<'s> {
    session: &'s Session,
    a: String,
    b: String,
}

impl Pair<'_> {
    fn values(&self) -> Values {
        Values::from([("runs".to_owned(), ParamValue::List(vec![self.a.clone(), self.b.clone()]))])
    }

    /// Rows of a statement, cell by cell as text.
    async fn rows<const N: usize>(&self, sql: &str, names: [&str; N]) -> Result<Vec<[String; N]>> {
        let batch = output::collect(self.session.workspace.sql(sql).await?).await?;
        let columns =
            names.into_iter().map(|name| output::texts(&batch, name)).collect::<Result<Vec<_>>>()?;
        let row = |nth: usize| std::array::from_fn(|column| columns[column][nth].clone());
        Ok((0..batch.num_rows()).map(row).collect())
    }

    /// The outcome, then where the curves part.
    async fn curves(&self, metric: Option<&str>) -> Result<Vec<Line>> {
        let mut values = self.values();
        values.insert("at".to_owned(), ParamValue::Text("best".to_owned()));
        values.insert("all".to_owned(), ParamValue::Flag(true));
        let compared = self.session.workspace.canned_sql("compare", &values).await?;
        let is_it = metric.map_or_else(String::new, |metric| {
            format!("normal_key(key) = normal_key({}) desc, ", quoted(metric))
        });
        let sql = format!(
            "select key, coalesce(verdict, '') as verdict, short(base) as base, base_step, short(value) as value,
                 step, short(abs(percent)) as percent, short(round(correlation, 3)) as correlation, part_step
             from ({compared})
             where not starts_with(key, 'system/')
             order by {is_it}verdict is null, not starts_with(role_key(key), 'val/'),
                 role_key(key) not in ('val/loss', 'train/loss', 'loss'), length(key), key"
        );
        let names =
            ["key", "verdict", "base", "base_step", "value", "step", "percent", "correlation", "part_step"];
        let rows = self.rows(&sql, names).await?;
        let mut outcome = self.outcome(rows.first(), metric);
        if let Some([key, verdict, ..]) = rows.first()
            && !verdict.is_empty()
        {
            outcome.push_str(&self.last(key).await?);
        }
        let mut lines = vec![("outcome", outcome)];
        let mut parted: Vec<_> =
            rows.iter().filter_map(|row| Some((row[8].parse::<i64>().ok()?, &row[0], &row[7]))).collect();
        // The schedule of a learning rate is configuration.
        parted.retain(|(_, key, _)| *key != "lr" && !key.ends_with("/lr"));
        parted.sort();
        if !parted.is_empty() {
            let told = parted.iter().take(CURVES).map(|(step, key, correlation)| {
                format!("{key} parts at step {step} (correlation {correlation})")
            });
            lines.push(("curves", told.collect::<Vec<_>>().join(", ")));
        }
        Ok(lines)
    }

    fn outcome(&self, first: Option<&[String; 9]>, metric: Option<&str>) -> String {
        let (a, b) = (&self.a, &self.b);
        let asked =
            metric.map_or_else(|| "no metric with a goal".to_owned(), |metric| format!("\"{metric}\" not"));
        match first {
            Some([key, verdict, base, base_step, value, step, percent, ..]) if !verdict.is_empty() => {
                let is = match verdict.as_str() {
                    "equal" => "as good as",
                    "within noise" => "within noise of",
                    "better" => "better than",
                    _ => "worse than",
                };
                let apart = if percent.is_empty() { String::new() } else { format!(", {percent} % apart") };
                format!(
                    "{b} is {is} {a}: best {key} {value} at step {step} against {base} at step {base_step}{apart}"
                )
            }
            _ => format!("{asked} in both runs"),
        }
    }

    /// Where both ended, as a part of the outcome.
    async fn last(&self, key: &str) -> Result<String> {
        let (a, b, key) = (quoted(&self.a), quoted(&self.b), quoted(key));
        let sql = format!(
            "select run_id, first_value(short(last) order by key <> {key}, key) as last from summary
             where run_id in ({a}, {b}) and (key = {key} or normal_key(key) = normal_key({key}))
             group by run_id order by run_id = {a}"
        );
        Ok(match self.rows(&sql, ["run_id", "last"]).await?.as_slice() {
            [[_, b], [_, a]] => format!("; last {b} against {a}"),
            _ => String::new(),
        })
    }

    /// Hyperparameters that differ, and the state.
    async fn config(&self) -> Result<Vec<Line>> {
        let differences = self.session.workspace.canned_sql("differences", &self.values()).await?;
        let (a, b) = (quoted(&self.a), quoted(&self.b));
        let sql = format!(
            "select key, coalesce(a, '(none)') as a, coalesce(b, '(none)') as b
             from (
                 select key, max(value) filter (where run_id = {a}) as a, max(value) filter (where run_id = {b}) as b
                 from ({differences})
                 where key not in ('name', 'project', 'last_step', 'duration_s', 'git_commit', 'git_dirty')
                 group by key
             )
             order by key <> 'state', config_role(key) is not null,
                 coalesce(finite(abs(log10(abs(try_cast(a as double) / try_cast(b as double))))), 1) desc, key"
        );
        let rows = self.rows(&sql, ["key", "a", "b"]).await?;
        let told = rows.iter().take(CONFIG_LINES).map(|[key, a, b]| {
            (if key == "state" { "outcome" } else { "config" }, format!("{key}: {a} -> {b}"))
        });
        let mut lines: Vec<Line> = told.collect();
        if rows.len() > lines.len() {
            let more = rows.len() - lines.len();
            lines.push(("config", format!("{more} more differ: runq diff {} {}", self.a, self.b)));
        }
        if rows.is_empty() {
            lines.push(("config", "no hyperparameter differs".to_owned()));
        }
        Ok(lines)
    }

    /// The worst that was found in each run.
    async fn findings(&self) -> Result<Vec<Line>> {
        let (a, b) = (quoted(&self.a), quoted(&self.b));
        let sql = format!(
            "select run_id, level, kind, step, key, n from (
                 select run_id, level, kind, min(step) as step, first_value(key order by step, key) as key,
                     count(*) as n, row_number() over (partition by run_id order by level, min(step), kind) as nth
                 from alerts
                 where run_id in ({a}, {b}) and origin = 'detected' and level <> 'info'
                 group by run_id, level, kind
             )
             where nth <= {FINDINGS}
             order by run_id = {a}, nth"
        );
        let rows = self.rows(&sql, ["run_id", "level", "kind", "step", "key", "n"]).await?;
        let line = |[run, level, kind, step, key, n]: [String; 6]| {
            let metric = if key.is_empty() { String::new() } else { format!(" in {key}") };
            let at = if step.is_empty() { String::new() } else { format!(" at step {step}") };
            let more = if n == "1" { String::new() } else { format!(", {n} times") };
            ("finding", format!("{run}: {level} {kind}{metric}{at}{more}"))
        };
        Ok(rows.into_iter().map(line).collect())
    }

    /// Whether the code is another one, as far as it is known.
    async fn code(&self) -> Result<Vec<Line>> {
        let (a, b) = (quoted(&self.a), quoted(&self.b));
        let sql = format!(
            "select left(git_commit, 12) as git_commit, git_dirty from runs
             where run_id in ({a}, {b}) order by run_id = {b}"
        );
        let rows = self.rows(&sql, ["git_commit", "git_dirty"]).await?;
        let [[from, from_dirty], [to, to_dirty]] = rows.as_slice() else { return Ok(Vec::new()) };
        let how = format!("runq diff {} {}; runq code {} --diff {}", self.a, self.b, self.a, self.b);
        let is_dirty = from_dirty == "true" || to_dirty == "true";
        Ok(match (from.is_empty() || to.is_empty(), from == to, is_dirty) {
            (true, ..) => Vec::new(),
            (false, false, _) => vec![("code", format!("{from} -> {to}: {how}"))],
            (false, true, true) => vec![("code", format!("the same commit {from}, with changes: {how}"))],
            (false, true, false) => vec![("code", format!("the same: {from}"))],
        })
    }
}
