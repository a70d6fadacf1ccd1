//! A canned query as a command.

use super::args::Values;
use super::output;
use super::session::Session;
use anyhow::Result;

/// The query that lists metrics by the names they are asked for by.
const KEYS: &str = "keys";

/// Runs it, or prints its SQL.
pub async fn run(session: &Session, name: &str, values: &Values) -> Result<()> {
    if session.globals.show_sql {
        return show_sql(session, name, values).await;
    }
    let answer = session.workspace.canned(name, values).await?;
    match name {
        KEYS => output::emit_names(session, answer).await.map(drop),
        _ => output::emit(session, answer).await.map(drop),
    }
}

/// Prints the SQL that answers it, ready to run.
pub async fn show_sql(session: &Session, name: &str, values: &Values) -> Result<()> {
    let sql = session.workspace.canned_sql(name, values).await?;
    output::emit_text(&session.globals, &format!("{sql};\n"))
}
