//! `why B A`: what may explain that a run did better or worse than another, the likeliest first.

use super::args::Values;
use super::compare::ENOUGH_STEPS;
use super::output;
use super::session::Session;
use crate::engine::canned::ParamValue;
use crate::error::UserError;
use crate::records::names::normal_form;
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
    let compared = pair.compared(metric.as_deref()).await?;
    let judged = compared.first().filter(|row| !row.verdict.is_empty());
    let ends = pair.ends(judged.map_or("", |row| &row.key)).await?;
    let mut lines = vec![("outcome", pair.outcome(judged, metric.as_deref()))];
    lines.extend(judged.and_then(|row| last(row, &ends)));
    lines.extend(pair.config().await?);
    // Behind what may have bent them.
    lines.extend(curves(&compared));
    lines.extend(pair.findings().await?);
    lines.extend(pair.code(&ends));
    let column = |texts: Vec<&str>| Arc::new(StringArray::from(texts)) as ArrayRef;
    let about = column(lines.iter().map(|(about, _)| *about).collect());
    let texts = column(lines.iter().map(|(_, text)| text.as_str()).collect());
    output::emit_batch(session, &RecordBatch::try_from_iter([("about", about), ("text", texts)])?)
}

type Line = (&'static str, String);

/// A metric of both runs, each value at its best; numbers as text of four digits.
struct Compared {
    key: String,
    verdict: String,
    base: String,
    base_step: String,
    value: String,
    step: String,
    percent: String,
    correlation: Option<f64>,
    part_step: Option<i64>,
    common_steps: u64,
}

/// How a run ended.
struct End {
    last: String,
    commit: String,
    is_dirty: bool,
}

/// Two runs; the second is explained.
struct Pair<'s> {
    session: &'s Session,
    a: String,
    b: String,
}

impl Pair<'_> {
    /// Cells of a part of the command, numbers with four digits.
    async fn rows<const N: usize>(
        &self,
        query: &str,
        values: &Values,
        names: [&str; N],
    ) -> Result<Vec<[String; N]>> {
        let batch = output::collect(self.session.workspace.canned(query, values).await?).await?;
        let columns =
            names.into_iter().map(|name| output::brief_texts(&batch, name)).collect::<Result<Vec<_>>>()?;
        let row = |nth: usize| std::array::from_fn(|column| columns[column][nth].clone());
        Ok((0..batch.num_rows()).map(row).collect())
    }

    fn sides(&self) -> Values {
        let text = |run: &String| ParamValue::Text(run.clone());
        Values::from([("a".to_owned(), text(&self.a)), ("b".to_owned(), text(&self.b))])
    }

    /// Metrics of both, the one to judge by first.
    async fn compared(&self, metric: Option<&str>) -> Result<Vec<Compared>> {
        let values = Values::from([
            ("runs".to_owned(), ParamValue::List(vec![self.a.clone(), self.b.clone()])),
            ("at".to_owned(), ParamValue::Text("best".to_owned())),
            ("all".to_owned(), ParamValue::Flag(true)),
        ]);
        let names = ["key", "verdict", "base", "base_step", "value", "step", "percent"];
        let numbers = ["correlation", "part_step", "common_steps"];
        let batch = output::collect(self.session.workspace.canned("compare", &values).await?).await?;
        let told = names.map(|name| output::brief_texts(&batch, name));
        let [key, verdict, base, base_step, value, step, percent] = all(told)?;
        let [correlation, part_step, common_steps] = all(numbers.map(|name| output::texts(&batch, name)))?;
        let row = |nth: usize| Compared {
            key: key[nth].clone(),
            verdict: verdict[nth].clone(),
            base: base[nth].clone(),
            base_step: base_step[nth].clone(),
            value: value[nth].clone(),
            step: step[nth].clone(),
            percent: percent[nth].trim_start_matches('-').to_owned(),
            correlation: correlation[nth].parse().ok(),
            part_step: part_step[nth].parse().ok(),
            common_steps: common_steps[nth].parse().unwrap_or(0),
        };
        let is_machine = |row: &Compared| row.key.starts_with("system/");
        let mut rows: Vec<_> = (0..batch.num_rows()).map(row).filter(|row| !is_machine(row)).collect();
        let form = metric.map(normal_form);
        rows.sort_by_key(|row| {
            let is_asked = form.as_ref().is_some_and(|form| normal_form(&row.key) == *form);
            (!is_asked, row.verdict.is_empty())
        });
        Ok(rows)
    }

    fn outcome(&self, judged: Option<&Compared>, metric: Option<&str>) -> String {
        let (a, b) = (&self.a, &self.b);
        let Some(row) = judged else {
            let asked = metric
                .map_or_else(|| "no metric with a goal".to_owned(), |metric| format!("\"{metric}\" not"));
            return format!("{asked} in both runs");
        };
        let is = match row.verdict.as_str() {
            "equal" => "as good as",
            "within noise" => "within noise of",
            "better" => "better than",
            _ => "worse than",
        };
        let apart = match row.percent.as_str() {
            "" => String::new(),
            percent => format!(", {percent} % apart"),
        };
        let Compared { key, base, base_step, value, step, .. } = row;
        format!(
            "{b} is {is} {a}: best {key} {value} at step {step} against {base} at step {base_step}{apart}"
        )
    }

    /// How both ended, the one that is held against first.
    async fn ends(&self, key: &str) -> Result<Vec<End>> {
        let mut values = self.sides();
        values.insert("key".to_owned(), ParamValue::Text(key.to_owned()));
        let rows = self.rows("why_ends", &values, ["last", "git_commit", "git_dirty"]).await?;
        let end = |[last, commit, dirty]: [String; 3]| End { last, commit, is_dirty: dirty == "true" };
        Ok(rows.into_iter().map(end).collect())
    }

    /// Hyperparameters that differ, and the state.
    async fn config(&self) -> Result<Vec<Line>> {
        let rows = self.rows("why_config", &self.sides(), ["key", "a", "b"]).await?;
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
        let names = ["run_id", "level", "kind", "step", "key", "n"];
        let rows = self.rows("why_findings", &self.sides(), names).await?;
        let line = |[run, level, kind, step, key, n]: [String; 6]| {
            let metric = if key.is_empty() { String::new() } else { format!(" in {key}") };
            let at = if step.is_empty() { String::new() } else { format!(" at step {step}") };
            let more = if n == "1" { String::new() } else { format!(", {n} times") };
            ("finding", format!("{run}: {level} {kind}{metric}{at}{more}"))
        };
        Ok(rows.into_iter().map(line).collect())
    }

    /// Whether the code is another one, as far as it is known.
    fn code(&self, ends: &[End]) -> Option<Line> {
        let [of_a, of_b] = ends else { return None };
        let (from, to) = (&of_a.commit, &of_b.commit);
        if from.is_empty() || to.is_empty() {
            return None;
        }
        let how = format!("runq diff {} {}; runq code {} --diff {}", self.a, self.b, self.a, self.b);
        let told = match (from == to, of_a.is_dirty || of_b.is_dirty) {
            (false, _) => format!("{from} -> {to}: {how}"),
            (true, true) => format!("the same commit {from}, with changes: {how}"),
            (true, false) => format!("the same: {from}"),
        };
        Some(("code", told))
    }
}

/// The last values, and whether it is known what is noise.
fn last(row: &Compared, ends: &[End]) -> Option<Line> {
    let [of_a, of_b] = ends else { return None };
    let unsure = match row.common_steps {
        count if count < ENOUGH_STEPS && row.verdict != "equal" => {
            format!("; {count} common steps are too few to tell noise")
        }
        _ => String::new(),
    };
    Some(("outcome", format!("last {} against {}{unsure}", of_b.last, of_a.last)))
}

/// Where curves part, the earliest first.
fn curves(compared: &[Compared]) -> Option<Line> {
    // The schedule of a learning rate is configuration.
    let is_schedule = |key: &str| key == "lr" || key.ends_with("/lr");
    let parted = compared.iter().filter(|row| !is_schedule(&row.key));
    let mut parted: Vec<_> = parted.filter_map(|row| Some((row.part_step?, row))).collect();
    parted.sort_by(|(one, row), (other, next)| (one, &row.key).cmp(&(other, &next.key)));
    let told = parted.iter().take(CURVES).map(|(step, row)| {
        let correlation = row.correlation.map_or_else(String::new, |correlation| {
            format!(" (correlation {})", (correlation * 1000.0).round() / 1000.0)
        });
        format!("{} parts at step {step}{correlation}", row.key)
    });
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then_some(("curves", told))
}

/// All of them, or the first error.
fn all<T, const N: usize>(results: [Result<T>; N]) -> Result<[T; N]> {
    let values = results.into_iter().collect::<Result<Vec<T>>>()?;
    values.try_into().map_err(|_| anyhow::anyhow!("a column is missing"))
}
