//! `diff`: what differs between two runs, in the tables and in what their trackers keep beside the logs.

use super::args::Values;
use super::code::{self, Between};
use super::output::{self, Sink};
use super::{canned, session::Session};
use crate::engine::canned::ParamValue;
use crate::report::Format;
use crate::report::cell::for_people;
use crate::workspace::code::Code;
use crate::workspace::git::{is_hash, shell};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray};
use arrow::compute::{cast, concat_batches};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeSet;
use std::sync::Arc;

const CODE: &str = "code";

/// The options the query itself has no use for.
pub fn with_options(command: Command) -> Command {
    command
        .arg(
            Arg::new(CODE)
                .long(CODE)
                .action(ArgAction::SetTrue)
                .help("Add how the files differ between the commits"),
        )
        .arg(code::stat().requires(CODE))
}

/// `diff A B`.
pub async fn run(session: &Session, values: Values, matches: &ArgMatches) -> Result<()> {
    if session.globals.show_sql {
        return canned::show_sql(session, "diff", &values).await;
    }
    let (a, b) = (side(session, &values, "a").await?, side(session, &values, "b").await?);
    let ids = [("a", &a), ("b", &b)];
    let ids = ids.map(|(name, code)| (name.to_owned(), ParamValue::Text(code.run_id.clone())));
    let answer = session.workspace.canned("diff", &Values::from(ids)).await?;
    let rows = with_packages(&output::collect(answer).await?, &a, &b)?;
    let between = between(&a, &b);
    let is_asked = matches.get_flag(CODE);
    if is_asked && a.commit != b.commit && between.is_none() {
        // Says which of the two is not at hand.
        Between::of(&a, Some(&b))?;
    }
    let shown = Shown { rows, a: &a, b: &b, between: between.as_ref() };
    match (&shown.between, is_asked) {
        (Some(between), true) => shown.with_code(session, between, matches.get_flag("stat")).await,
        _ => shown.write(session),
    }
}

async fn side(session: &Session, values: &Values, name: &str) -> Result<Code> {
    let word = match values.get(name) {
        Some(ParamValue::Text(word)) => word.as_str(),
        _ => "@latest",
    };
    code::code_of(session, word).await
}

/// The commits, where they differ and one repository holds both.
fn between(a: &Code, b: &Code) -> Option<Between> {
    (a.commit != b.commit).then(|| Between::of(a, Some(b)).ok())?
}

/// The rows, and those of packages that differ, where both trackers list them.
fn with_packages(rows: &RecordBatch, a: &Code, b: &Code) -> Result<RecordBatch> {
    let (of_a, of_b) = (&a.kept.packages, &b.kept.packages);
    if of_a.is_empty() || of_b.is_empty() {
        return Ok(rows.clone());
    }
    let names: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let differing = names.into_iter().filter(|name| of_a.get(*name) != of_b.get(*name));
    let found = differing.map(|name| Row {
        part: "packages",
        key: name.clone(),
        a: of_a.get(name).cloned(),
        b: of_b.get(name).cloned(),
    });
    added(rows, found.collect())
}

struct Row {
    part: &'static str,
    key: String,
    a: Option<String>,
    b: Option<String>,
}

/// The rows, and more of the same columns.
fn added(rows: &RecordBatch, more: Vec<Row>) -> Result<RecordBatch> {
    let schema = rows.schema();
    let texts =
        |of: fn(&Row) -> Option<&str>| Arc::new(more.iter().map(of).collect::<StringArray>()) as ArrayRef;
    let columns = [
        texts(|row| Some(row.part)),
        texts(|row| Some(row.key.as_str())),
        texts(|row| row.a.as_deref()),
        texts(|row| row.b.as_deref()),
    ];
    let columns = columns.iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type()));
    let more = RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)?;
    Ok(concat_batches(&schema, [rows, &more])?)
}

struct Shown<'s> {
    rows: RecordBatch,
    a: &'s Code,
    b: &'s Code,
    between: Option<&'s Between>,
}

impl Shown<'_> {
    /// Rows, or that there are none; and the command that shows how the code differs.
    fn write(&self, session: &Session) -> Result<()> {
        let mut sink = Sink::open(session)?;
        self.write_rows(&mut sink)?;
        let command = self.command();
        let is_agent = sink.tokens_left().is_some();
        match (&command, sink.format()) {
            (Some(command), _) if is_agent => sink.remark(format!("code: {command}")),
            (Some(command), Format::Table | Format::Md) => sink.text(&format!("\ncode: {command}\n"))?,
            _ => {}
        }
        let is_told = is_agent || sink.format().is_for_people();
        sink.finish()?;
        if self.rows.num_rows() == 0 && !is_told {
            session.terminal.note(&self.no_difference());
        }
        self.tell(session);
        Ok(())
    }

    fn write_rows(&self, sink: &mut Sink) -> Result<()> {
        let is_bare = sink.format().is_for_people() || sink.tokens_left().is_some();
        match self.rows.num_rows() {
            0 if is_bare => sink.text(&format!("{}\n", for_people(&self.no_difference()))),
            _ => sink.batch(&self.rows),
        }
    }

    fn no_difference(&self) -> String {
        format!("no difference between {} and {}", self.a.run_id, self.b.run_id)
    }

    /// The rows, and how the files differ.
    async fn with_code(&self, session: &Session, between: &Between, is_stat: bool) -> Result<()> {
        let is_agent = session.globals.budget(&session.terminal).is_some();
        let sink = Sink::open(session)?;
        if is_agent || sink.format().is_for_people() && session.globals.output.is_none() {
            let mut sink = sink;
            self.write_rows(&mut sink)?;
            sink.text("\n")?;
            between.write_to(session, sink, is_stat).await?;
        } else {
            drop(sink);
            let files = between.changed(session).await?;
            let rows = files.into_iter().map(|file| Row {
                part: "files",
                key: file.path,
                a: file.deleted.map(|lines| lines.to_string()),
                b: file.added.map(|lines| lines.to_string()),
            });
            output::emit_batch(session, &added(&self.rows, rows.collect())?)?;
        }
        self.tell(session);
        Ok(())
    }

    /// The command that shows the difference, where there are two commits.
    fn command(&self) -> Option<String> {
        // Other words from a log are no commits, and could be options.
        let commit = |code: &'_ Code| code.commit.clone().filter(|commit| is_hash(commit));
        let (a, b) = (commit(self.a)?, commit(self.b)?);
        let words = ["git".as_ref(), "diff".as_ref(), a.as_ref(), b.as_ref()];
        (a != b).then(|| self.between.map_or_else(|| shell(&words), Between::command))
    }

    fn tell(&self, session: &Session) {
        let is_unheld = self.command().is_some() && self.between.is_none();
        if is_unheld {
            session.terminal.note("no repository around holds both commits");
        }
        if self.a.kept.packages.is_empty() != self.b.kept.packages.is_empty() {
            session.terminal.note("only one of the runs lists its packages: they are not compared");
        }
        self.between.iter().flat_map(|between| between.notes()).for_each(|note| session.terminal.note(note));
    }
}
