//! `show`: the facts of a run, its configuration, what it said at its end when it failed, its metrics.

use super::args::Values;
use super::output::{self, Sink};
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::report::cell::for_people;
use crate::report::{self, Format, record};
use anyhow::Result;
use arrow::record_batch::RecordBatch;

/// Hyperparameters that are shown; the rest is counted.
const CONFIG_ROWS: usize = 30;

/// States of runs that ended badly.
const BAD_ENDS: [&str; 2] = ["failed", "crashed"];

/// `show RUN`. Formats for programs hold one table, the metrics.
pub async fn run(session: &Session, values: Values) -> Result<()> {
    if session.globals.show_sql {
        return canned::show_sql(session, "show", &values).await;
    }
    let values = with_run_found(session, values).await?;
    let mut sink = Sink::open(session)?;
    if sink.format().is_for_people() || sink.tokens_left().is_some() {
        write_about(session, &mut sink, &values).await?;
    }
    let mut metrics = session.workspace.canned("show", &values).await?;
    sink.answer(&mut metrics).await?;
    sink.finish()?;
    metrics.notes.iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

/// `latest`: `show @latest`.
pub async fn latest(session: &Session) -> Result<()> {
    let newest = ParamValue::Text("@latest".to_owned());
    run(session, Values::from([("run".to_owned(), newest)])).await
}

/// Looks the run up once, so that all parts speak of the same.
async fn with_run_found(session: &Session, mut values: Values) -> Result<Values> {
    if let Some(ParamValue::Text(word)) = values.get("run") {
        let run_id = session.workspace.resolve_run(word).await?;
        values.insert("run".to_owned(), ParamValue::Text(run_id));
    }
    Ok(values)
}

/// What stands before the metrics.
async fn write_about(session: &Session, sink: &mut Sink, values: &Values) -> Result<()> {
    let part = async |name| output::collect(session.workspace.canned(name, values).await?).await;
    let facts = part("facts").await?;
    write_pairs(sink, &record::facts(&facts)?, ("fact", "value"))?;
    let config = part("config").await?;
    if config.num_rows() > 0 {
        let keys = output::texts(&config, "key")?;
        let pairs = keys.iter().zip(output::texts(&config, "value")?).take(CONFIG_ROWS);
        let pairs: Vec<_> = pairs.map(|(key, value)| (for_people(key), for_people(&value))).collect();
        write_pairs(sink, &pairs, ("config", "value"))?;
        let more = config.num_rows() - pairs.len();
        if more > 0 {
            session.terminal.note(&format!("{more} more in the configuration: runq config RUN"));
        }
    }
    write_lines(sink, &part("findings").await?)?;
    let state = output::texts(&facts, "state")?;
    if state.first().is_some_and(|state| BAD_ENDS.contains(&state.as_str())) {
        write_lines(sink, &part("errors").await?)?;
    }
    Ok(())
}

/// Names and values: lines for a terminal, a table else.
fn write_pairs(sink: &mut Sink, pairs: &[(String, String)], names: (&str, &str)) -> Result<()> {
    match sink.format() {
        Format::Table => {
            let mut text = Vec::new();
            report::write_facts(pairs, sink.style(), &mut text)?;
            sink.text(&String::from_utf8_lossy(&text))?;
        }
        _ => sink.batch(&record::pairs(pairs, names)?)?,
    }
    sink.text("\n")
}

/// What was found in the run, or what it printed last.
fn write_lines(sink: &mut Sink, lines: &RecordBatch) -> Result<()> {
    if lines.num_rows() == 0 {
        return Ok(());
    }
    sink.batch(lines)?;
    sink.text("\n")
}
