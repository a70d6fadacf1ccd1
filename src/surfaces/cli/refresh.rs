//! `refresh`: looks for changes, and says what it did or why.

use super::output;
use super::output::Plan;
use super::session::Session;
use crate::report::Format;
use crate::workspace::Outcome;
use anyhow::Result;
use arrow::array::{ArrayRef, UInt64Array};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::sync::Arc;

/// Its declaration.
pub fn command() -> Command {
    Command::new("refresh")
        .about("Look for changes and convert what is new")
        .long_about(
            "Look for changes and convert what is new.\n\nEvery command does so by itself; \
             this one tells what was done.",
        )
        .arg(
            Arg::new("explain")
                .long("explain")
                .action(ArgAction::SetTrue)
                .help("Say for each candidate why it was taken or left"),
        )
        .arg(Arg::new("path").value_name("PATH").requires("explain").help("Explain only this file or folder"))
        .after_help("Examples:\n  runq refresh\n  runq refresh --explain logs/")
}

/// `refresh [--explain [PATH]]`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql("refresh")?;
    if matches.get_flag("explain") {
        session.refresh().await?;
        let workspace = Arc::clone(&session.workspace);
        let path = matches.get_one::<String>("path").cloned();
        let answer = session.blocking(move || workspace.explain(path.as_deref())).await?;
        return output::emit(session, answer).await.map(drop);
    }
    let outcome = session.refresh_now().await?;
    match Plan::of(&session.globals, &session.terminal)?.format {
        Format::Table => output::emit_text(&session.globals, &sentence(&outcome)),
        _ => output::emit_batch(session, &row(&outcome)?),
    }
}

fn sentence(outcome: &Outcome) -> String {
    let Outcome { input_count, run_count, read_bytes, point_count, .. } = outcome;
    let known = format!("{run_count} runs in {input_count} logs");
    match read_bytes {
        0 => format!("{known}; nothing new\n"),
        _ => format!("{known}; read {}, {point_count} points\n", size(*read_bytes)),
    }
}

fn row(outcome: &Outcome) -> Result<RecordBatch> {
    let column = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
    Ok(RecordBatch::try_from_iter([
        ("input_count", column(outcome.input_count)),
        ("run_count", column(outcome.run_count)),
        ("read_bytes", column(outcome.read_bytes)),
        ("point_count", column(outcome.point_count)),
        ("written_files", column(outcome.written_files)),
    ])?)
}

fn size(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_outcome_is_a_sentence_or_a_row() {
        let outcome =
            Outcome { input_count: 3, run_count: 2, read_bytes: 2048, point_count: 9, ..Outcome::default() };
        assert_eq!(sentence(&outcome), "2 runs in 3 logs; read 2.00 KiB, 9 points\n");
        assert_eq!(sentence(&Outcome::default()), "0 runs in 0 logs; nothing new\n");
        assert_eq!(row(&outcome).unwrap().num_columns(), 5);
    }
}
