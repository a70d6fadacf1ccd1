//! `plot`: curves of one run or several as a picture, on the terminal or in a file.

use super::args::Values;
use super::history::default_keys_of;
use super::output::{self, Plan, Sink};
use super::session::Session;
use crate::engine::canned::{ParamValue, quoted};
use crate::error::UserError;
use crate::report::Format;
use crate::report::brief::Brief;
use crate::report::plot::{Curve, Picture, Plot};
use crate::report::tokens::estimate;
use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// Its name.
pub const NAME: &str = "plot";

/// Size of a chart where no terminal tells one, in characters.
const SCREEN: (u16, u16) = (100, 24);
/// Size of a picture in pixels.
const PICTURE: (u32, u32) = (1_000, 600);
/// Points of a curve: more than a picture has columns.
const POINTS: i64 = 2_000;
/// Least points of a curve.
const LEAST: i64 = 3;
/// A point as an agent gets it, behind its run and key: to share a budget among curves.
const POINT: &str = "100000,1.234e-05\n";
/// How often curves are sampled anew, for fewer points, to fit a budget.
const TRIES: usize = 4;

/// Its declaration.
pub fn command() -> Command {
    let count = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("N")
            .value_parser(value_parser!(u16).range(8..=10_000))
            .help(help)
    };
    let step = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name("STEP")
            .value_parser(value_parser!(i64))
            .allow_negative_numbers(true)
            .help(help)
    };
    Command::new(NAME)
        .about("Draw curves of one run or several, on the terminal or as PNG, SVG or HTML")
        .arg(
            Arg::new("runs")
                .value_name("RUN")
                .num_args(0..)
                .help("Runs: id, prefix of it, name, @latest, @best:METRIC [default: @latest]"),
        )
        .arg(
            Arg::new("keys")
                .short('k')
                .long("keys")
                .value_name("KEYS")
                .action(ArgAction::Append)
                .help("Metrics, separated by commas, or -k once for each; default: the losses"),
        )
        .arg(Arg::new("log").long("log").action(ArgAction::SetTrue).help("Draw powers of ten at equal distances"))
        .arg(step("from", "First step"))
        .arg(step("to", "Last step"))
        .arg(count("width", "Width in characters, of a picture in pixels"))
        .arg(count("height", "Height in characters, of a picture in pixels"))
        .after_help(
            "-o FILE with the extension png, svg or html writes a picture; a --format gives the points that would \
             be drawn.\n\nExamples:\n  runq plot @latest\n  runq plot @latest -k train/loss,val_loss --log\n  \
             runq plot @latest @latest~1 -k val_loss -o curves.svg",
        )
}

/// `plot [RUN...]`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(NAME)?;
    let picture = session.globals.output.as_deref().and_then(picture_of);
    let size = |name| matches.get_one::<u16>(name).copied();
    if picture.is_none() {
        let plan = Plan::of(&session.globals, &session.terminal)?;
        // A table is what people read, and people read a chart.
        let is_for_people = session.globals.output.is_none()
            && session.globals.format.is_none_or(|format| format == Format::Table);
        if plan.most_tokens.is_some() {
            return fitted(session, matches).await;
        }
        if !is_for_people {
            return output::emit_batch(session, &points(&curves(session, matches, None).await?)?);
        }
    }
    let curves = curves(session, matches, None).await?;
    let plot = plot(session, &curves, matches.get_flag("log"))?;
    match (picture, session.globals.output.as_deref()) {
        (Some(picture), Some(file)) => {
            let (width, height) =
                (size("width").map_or(PICTURE.0, u32::from), size("height").map_or(PICTURE.1, u32::from));
            output::write_file(file, &plot.to_file(picture, width, height)?)
        }
        _ => {
            let style = session.terminal.style();
            let width = size("width").or(style.width).unwrap_or(SCREEN.0).max(20);
            let text = plot.on_screen(width, size("height").unwrap_or(SCREEN.1), style.colour)?;
            output::emit_drawing(&text)
        }
    }
}

fn picture_of(file: &Path) -> Option<Picture> {
    Picture::from_extension(file.extension()?.to_str()?)
}

/// A curve, and where it comes from.
struct Drawn {
    run_id: String,
    key: String,
    axis: String,
    points: Vec<(i64, f64)>,
}

/// The metrics of each run, each in its own spelling.
async fn curves(session: &Session, matches: &ArgMatches, tokens: Option<usize>) -> Result<Vec<Drawn>> {
    let words: Vec<&str> =
        matches.get_many::<String>("runs").map_or_else(Vec::new, |words| words.map(String::as_str).collect());
    let words = if words.is_empty() { vec!["@latest"] } else { words };
    let mut keys: Vec<String> =
        matches.get_many("keys").map_or_else(Vec::new, |keys| keys.cloned().collect());
    let mut curves = Vec::new();
    for word in words.iter() {
        let run_id = session.workspace.resolve_run(word).await?;
        if keys.is_empty() {
            keys = losses(default_keys_of(session, &run_id).await?);
        }
        let own = session.workspace.resolve_metrics_of(&run_id, &keys).await?;
        let share = tokens.map(|tokens| tokens / words.len());
        curves.extend(curves_of(session, matches, &run_id, own, share).await?);
    }
    let axes: BTreeSet<&str> = curves.iter().map(|curve: &Drawn| curve.axis.as_str()).collect();
    match axes.len() {
        0 | 1 => Ok(curves),
        _ => {
            let axes: Vec<&str> = axes.into_iter().collect();
            let message = format!("the steps of these metrics mean {}", axes.join(" and "));
            Err(UserError::failed(message).hint("draw them apart: -k says which").into())
        }
    }
}

/// The losses among the metrics, which share a scale; without one the first.
fn losses(keys: Vec<String>) -> Vec<String> {
    let losses: Vec<String> =
        keys.iter().filter(|key| key.to_lowercase().contains("loss")).cloned().collect();
    if losses.is_empty() { keys.into_iter().take(1).collect() } else { losses }
}

async fn curves_of(
    session: &Session,
    matches: &ArgMatches,
    run_id: &str,
    keys: Vec<String>,
    share: Option<usize>,
) -> Result<Vec<Drawn>> {
    let limit = share.map_or(POINTS, |tokens| {
        let dearest = keys.iter().map(|key| estimate(&format!("{run_id},{key},{POINT}"))).max();
        let share = tokens / (keys.len().max(1) * dearest.unwrap_or(1).max(1));
        i64::try_from(share).map_or(POINTS, |share| share.clamp(LEAST, POINTS))
    });
    let mut values = Values::from([
        ("run".to_owned(), ParamValue::Text(run_id.to_owned())),
        ("keys".to_owned(), ParamValue::List(keys.clone())),
        ("limit".to_owned(), ParamValue::Integer(limit)),
    ]);
    for name in ["from", "to"] {
        if let Some(step) = matches.get_one::<i64>(name) {
            values.insert(name.to_owned(), ParamValue::Integer(*step));
        }
    }
    let rows = output::collect(session.workspace.canned("curve", &values).await?).await?;
    let axes = axes(session, run_id).await?;
    let names = output::texts(&rows, "key")?;
    let (steps, numbers) = (output::texts(&rows, "step")?, output::texts(&rows, "value")?);
    let points: Vec<(String, i64, f64)> = names
        .into_iter()
        .zip(steps.iter().zip(&numbers))
        .filter_map(|(key, (step, number))| Some((key, step.parse().ok()?, number.parse().ok()?)))
        .collect();
    let curve = |key: String| Drawn {
        run_id: run_id.to_owned(),
        axis: axes.iter().find(|(name, _)| *name == key).map_or_else(String::new, |(_, axis)| axis.clone()),
        points: points
            .iter()
            .filter(|(name, ..)| *name == key)
            .map(|(_, step, value)| (*step, *value))
            .collect(),
        key,
    };
    Ok(keys.into_iter().map(curve).collect())
}

async fn axes(session: &Session, run_id: &str) -> Result<Vec<(String, String)>> {
    let sql = format!("select key, axis from summary where run_id = {}", quoted(run_id));
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    Ok(output::texts(&rows, "key")?.into_iter().zip(output::texts(&rows, "axis")?).collect())
}

fn plot(session: &Session, curves: &[Drawn], is_log: bool) -> Result<Plot> {
    let looks = session.workspace.settings().looks();
    let name = |curve: &Drawn| looks.name(&curve.key).to_owned();
    let count = |of: fn(&Drawn) -> &String| curves.iter().map(of).collect::<BTreeSet<_>>().len();
    let (runs, keys) = (count(|curve| &curve.run_id), count(|curve| &curve.key));
    let label = |curve: &Drawn| match (runs, keys) {
        (1, _) => name(curve),
        (_, 1) => curve.run_id.clone(),
        _ => format!("{} {}", curve.run_id, name(curve)),
    };
    let first = curves.first().ok_or_else(|| UserError::failed("there is nothing to draw"))?;
    let title = match (runs, keys) {
        (1, 1) => format!("{} {}", first.run_id, name(first)),
        (1, _) => first.run_id.clone(),
        (_, 1) => name(first),
        _ => format!("{runs} runs"),
    };
    let axis = first.axis.clone();
    let format_of = |curve: &Drawn| looks.formats.get(&curve.key).copied();
    let format =
        format_of(first).filter(|format| curves.iter().all(|curve| format_of(curve) == Some(*format)));
    let curves =
        curves.iter().map(|curve| Curve { label: label(curve), points: curve.points.clone() }).collect();
    Ok(Plot { title, axis, curves, is_log, format })
}

/// As many points of each curve as an agent's budget holds.
async fn fitted(session: &Session, matches: &ArgMatches) -> Result<()> {
    let mut sink = Sink::open(session)?;
    let budget = sink.tokens_left().unwrap_or_default();
    let mut tokens = budget;
    for trial in 1..=TRIES {
        let curves = curves(session, matches, Some(tokens)).await?;
        let rows = points(&curves)?;
        let mut brief = Brief::new(&rows.schema(), budget)?;
        brief.write(&rows)?;
        if brief.is_cut() && trial < TRIES {
            tokens = tokens * usize::try_from(brief.written_rows)? / rows.num_rows().max(1);
            continue;
        }
        let total = point_count(session, matches, &curves).await?;
        let used = estimate(brief.text()).max(1);
        if trial == 1 && brief.written_rows < total && used * 10 < budget * 8 {
            // Points are seldom as long as they may be.
            tokens = tokens * budget * 19 / (used * 20);
            continue;
        }
        let shown = format!("{} of {total} points", brief.written_rows);
        if total > POINTS.unsigned_abs() * curves.len() as u64 {
            sink.remark(format!("{shown}; {POINTS} of each curve: {}", session.globals.command_for_all()));
        } else if brief.written_rows < total {
            sink.left_out(shown);
        }
        sink.text(brief.text())?;
        break;
    }
    sink.finish()
}

/// Points of the curves, drawn or not.
async fn point_count(session: &Session, matches: &ArgMatches, curves: &[Drawn]) -> Result<u64> {
    let step = |name: &str| matches.get_one::<i64>(name);
    let from = step("from").map_or_else(String::new, |step| format!(" and step >= {step}"));
    let to = step("to").map_or_else(String::new, |step| format!(" and step <= {step}"));
    let one =
        |curve: &Drawn| format!("(run_id = {} and key = {})", quoted(&curve.run_id), quoted(&curve.key));
    let curves = curves.iter().map(one).collect::<Vec<_>>().join(" or ");
    let sql = format!("select count(*) as n from metrics where ({curves}){from}{to}");
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    Ok(output::texts(&rows, "n")?.first().and_then(|count| count.parse().ok()).unwrap_or(0))
}

/// The points as rows.
fn points(curves: &[Drawn]) -> Result<RecordBatch> {
    let rows: Vec<(&Drawn, &(i64, f64))> =
        curves.iter().flat_map(|curve| curve.points.iter().map(move |point| (curve, point))).collect();
    let texts = |of: fn(&Drawn) -> &String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(curve, _)| of(curve))))
    };
    let (runs, keys) = (texts(|curve| &curve.run_id), texts(|curve| &curve.key));
    let steps: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|(_, point)| point.0)));
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(rows.iter().map(|(_, point)| point.1)));
    Ok(RecordBatch::try_from_iter([("run_id", runs), ("key", keys), ("step", steps), ("value", values)])?)
}
