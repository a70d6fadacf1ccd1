//! `show`: the facts of a run, then its metrics.

use super::args::Values;
use super::output::{self, Sink};
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::report::{self, Format, record};
use anyhow::Result;
use arrow::record_batch::RecordBatch;

/// `show RUN`. Formats for programs hold one table, the metrics.
pub async fn run(session: &Session, values: Values) -> Result<()> {
    if session.globals.show_sql {
        return canned::show_sql(session, "show", &values).await;
    }
    let values = with_run_found(session, values).await?;
    let mut sink = Sink::open(session)?;
    if sink.format().is_for_people() {
        let facts = session.workspace.canned("facts", &values).await?;
        write_facts(&mut sink, &output::collect(facts).await?)?;
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

/// Looks the run up once, so that both parts speak of the same.
async fn with_run_found(session: &Session, mut values: Values) -> Result<Values> {
    if let Some(ParamValue::Text(word)) = values.get("run") {
        let run_id = session.workspace.resolve_run(word).await?;
        values.insert("run".to_owned(), ParamValue::Text(run_id));
    }
    Ok(values)
}

fn write_facts(sink: &mut Sink, facts: &RecordBatch) -> Result<()> {
    match sink.format() {
        Format::Md => sink.batch(&record::on_its_side(facts, ("fact", "value"))?)?,
        _ => {
            let mut text = Vec::new();
            report::write_facts(&record::facts(facts)?, sink.style(), &mut text)?;
            sink.text(&String::from_utf8_lossy(&text))?;
        }
    }
    sink.text("\n")
}
