//! `sql`: any read-only statement.

use super::output;
use super::session::Session;
use crate::error::UserError;
use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::io::Read;
use std::path::PathBuf;

/// Its declaration.
pub fn command() -> Command {
    Command::new("sql")
        .about("Run one read-only SQL statement")
        .arg(Arg::new("statement").value_name("STATEMENT").help("Statement, or - to read it from stdin"))
        .arg(
            Arg::new("file")
                .short('f')
                .long("file")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with("statement")
                .help("Read the statement from this file"),
        )
        .after_help(
            "Examples:\n  runq sql \"select run_id, count(*) from metrics group by run_id\"\n  \
             runq sql -f report.sql --format parquet -o report.parquet",
        )
}

/// `sql STATEMENT`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    let text = match (matches.get_one::<PathBuf>("file"), matches.get_one::<String>("statement")) {
        (Some(file), _) => {
            std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, Some(text)) if text == "-" => from_stdin()?,
        (None, Some(text)) => text.clone(),
        (None, None) if !session.terminal.is_stdin => from_stdin()?,
        (None, None) => return Err(no_statement()),
    };
    if text.trim().is_empty() {
        return Err(no_statement());
    }
    match session.globals.show_sql {
        true => output::emit_text(session, &format!("{}\n", text.trim_end())),
        false => statement(session, &text).await,
    }
}

/// Runs a statement, and tells of NaN in its answer: ad-hoc SQL keeps the built-ins' meaning.
pub async fn statement(session: &Session, text: &str) -> Result<()> {
    let text = text.trim().trim_end_matches(';');
    let answer = session.workspace.sql(text).await?;
    let written = output::emit(session, answer).await?;
    written.nan_note.iter().for_each(|note| session.terminal.note(note));
    Ok(())
}

fn no_statement() -> anyhow::Error {
    UserError::usage("no statement").hint("runq sql \"select * from runs\"").into()
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).context("cannot read stdin")?;
    Ok(text)
}
