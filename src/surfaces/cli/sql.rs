//! `sql`: any read-only statement, in a process of its own.

use super::globals::{Globals, parse_bytes};
use super::output::{self, Bounds};
use super::session::Session;
use crate::error::UserError;
use crate::surfaces::terminal::Terminal;
use crate::surfaces::worker::{Asker, Request};
use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// Rows shown on a screen.
const SCREEN_ROWS: u64 = 10_000;

/// Longest answer unless `--max-output` says more.
const MAX_OUTPUT_BYTES: u64 = 10 << 30;

/// Most that is read of a statement; the engine takes less.
const MAX_READ_BYTES: u64 = 1 << 20;

/// Its name.
pub const NAME: &str = "sql";

/// Its declaration.
pub fn command() -> Command {
    Command::new(NAME)
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
        .arg(
            Arg::new("max-output")
                .long("max-output")
                .value_name("SIZE")
                .help("Refuse to write more than this, as in 50G; default: 10G"),
        )
        .after_help(
            "The statement runs in a process of its own, with limits on memory (--memory) and time (--timeout).\n\n\
             Examples:\n  runq sql \"select run_id, count(*) from metrics group by run_id\"\n  \
             runq sql -f report.sql --format parquet -o report.parquet",
        )
}

/// `sql STATEMENT`: has it run and its answer or error printed. The exit code.
pub async fn run(asker: &Asker, globals: &Globals, terminal: &Terminal, matches: &ArgMatches) -> Result<u8> {
    let text = text(terminal, matches)?;
    if globals.show_sql {
        return output::emit_text(globals, &format!("{}\n", text.trim_end())).map(|()| 0);
    }
    let most = matches.get_one::<String>("max-output").map(|text| parse_bytes(text)).transpose()?;
    let mut request = request(text, globals, terminal);
    request.max_output_bytes = most.map_or(request.max_output_bytes, |bytes| bytes as u64);
    asker.ask(&request).await
}

/// A statement with the options of the caller.
pub fn request(statement: String, globals: &Globals, terminal: &Terminal) -> Request {
    Request { statement, max_output_bytes: MAX_OUTPUT_BYTES, globals: globals.for_sql(terminal) }
}

fn text(terminal: &Terminal, matches: &ArgMatches) -> Result<String> {
    let text = match (matches.get_one::<PathBuf>("file"), matches.get_one::<String>("statement")) {
        (Some(file), _) => {
            let read = File::open(file).and_then(read);
            read.with_context(|| format!("cannot read {}", file.display()))?
        }
        (None, Some(text)) if text == "-" => from_stdin()?,
        (None, Some(text)) => text.clone(),
        (None, None) if !terminal.is_stdin => from_stdin()?,
        (None, None) => return Err(no_statement()),
    };
    match text.trim().is_empty() {
        true => Err(no_statement()),
        false => Ok(text),
    }
}

/// Runs a statement, and tells of NaN in its answer: ad-hoc SQL keeps the built-ins' meaning.
pub async fn statement(session: &Session, text: &str, max_output_bytes: u64) -> Result<()> {
    let text = text.trim().trim_end_matches(';');
    let answer = session.workspace.sql(text).await?;
    let bounds = Bounds { screen_rows: SCREEN_ROWS, bytes: max_output_bytes };
    let written = output::emit_bounded(session, answer, bounds).await?;
    written.nan_note.iter().for_each(|note| session.terminal.note(note));
    if written.is_cut {
        let rows = written.row_count;
        session.terminal.note(&format!("the first {rows} rows; all of them: -o FILE, or in a pipe"));
    }
    Ok(())
}

fn no_statement() -> anyhow::Error {
    UserError::usage("no statement").hint("runq sql \"select * from runs\"").into()
}

fn from_stdin() -> Result<String> {
    read(std::io::stdin()).context("cannot read stdin")
}

fn read(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(MAX_READ_BYTES).read_to_string(&mut text)?;
    Ok(text)
}
