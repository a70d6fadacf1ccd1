//! `runs`: for an agent without the runs that are seldom meant, which are counted.

use super::args::Values;
use super::output::{self, Plan, Sink};
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use anyhow::Result;

/// Up to so many runs are found first, and then only their points are read.
const FEW: i64 = 1_000;

/// `runs`.
pub async fn run(session: &Session, mut values: Values) -> Result<()> {
    let is_agent = Plan::of(&session.globals, &session.terminal)?.most_tokens.is_some();
    // Who asks for a state means it.
    if is_agent && !values.contains_key("all") && !values.contains_key("state") {
        values.insert("brief".to_owned(), ParamValue::Flag(true));
    }
    if let Some(metric) = session.workspace.primary_metric().await.filter(|_| !values.contains_key("prefer"))
    {
        values.insert("prefer".to_owned(), ParamValue::Text(metric));
    }
    if session.globals.show_sql {
        return canned::show_sql(session, "runs", &values).await;
    }
    let values = session.workspace.named_values("runs", &values).await?;
    let asked = match values.get("limit") {
        Some(ParamValue::Integer(limit)) if *limit <= FEW => with_ids(session, &values).await?,
        _ => values.clone(),
    };
    let mut answer = session.workspace.canned("runs", &asked).await?;
    let mut sink = Sink::open(session)?;
    if is_agent && values.contains_key("brief") {
        let count = left_out(session, &values).await?;
        if count > 0 {
            sink.remark(format!("{count} crashed or very short left out: --all shows them"));
        }
    }
    let written = sink.answer(&mut answer).await?;
    sink.finish()?;
    if written.row_count == 0 && !values.is_empty() {
        session.terminal.note("no run is like that");
    }
    Ok(())
}

/// The same, by the ids of the runs that are selected: a statement that names them reads only their points.
async fn with_ids(session: &Session, values: &Values) -> Result<Values> {
    let mut bare = values.clone();
    bare.insert("bare".to_owned(), ParamValue::Flag(true));
    let rows = output::collect(session.workspace.canned("runs", &bare).await?).await?;
    let mut values = values.clone();
    values.insert("only".to_owned(), ParamValue::List(output::texts(&rows, "run_id")?));
    Ok(values)
}

/// How many runs are left out only because they are brief.
async fn left_out(session: &Session, values: &Values) -> Result<u64> {
    let mut values = values.clone();
    values.remove("limit");
    values.insert("bare".to_owned(), ParamValue::Flag(true));
    let kept = session.workspace.canned_sql("runs", &values).await?;
    values.remove("brief");
    let all = session.workspace.canned_sql("runs", &values).await?;
    let sql = format!("select (select count(*) from ({all})) - (select count(*) from ({kept})) as n");
    let rows = output::collect(session.workspace.sql(&sql).await?).await?;
    Ok(output::texts(&rows, "n")?.first().and_then(|count| count.parse().ok()).unwrap_or(0))
}
