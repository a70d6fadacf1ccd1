//! `code`: the code a run was made with, the commands that check it out, and how it differs from what is
//! checked out or from that of another run.

use super::output::{self, Sink};
use super::session::Session;
use crate::error::UserError;
use crate::report::cell::{for_people, harmless};
use crate::report::tokens::estimate;
use crate::report::{self, Format, record};
use crate::workspace::code::{Code, Place, Restore};
use crate::workspace::git::{Changed, Repository, State};
use anyhow::Result;
use arrow::array::{ArrayRef, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::sync::Arc;

/// Its name.
pub const NAME: &str = "code";

/// The word for the files as they lie there.
const NOW: &str = "now";

/// Most characters of a line of a difference that an agent gets.
const LINE_CHARS: usize = 200;

/// Its declaration.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Show the code a run was made with, and the commands that check it out")
        .long_about(
            "Show the code a run was made with, and the commands that check it out.\n\nNothing is changed: \
             the repository around the logs or the working folder is only looked into, and the commands are \
             printed.",
        )
        .arg(
            Arg::new("run")
                .value_name("RUN")
                .help("Run: id, prefix of it, name, @latest, @best:METRIC")
                .default_value("@latest"),
        )
        .arg(
            Arg::new("diff")
                .long("diff")
                .value_name("now|RUN")
                .num_args(0..=1)
                .default_missing_value(NOW)
                .help("Print how the files checked out now, or the code of another run, differ from it"),
        )
        .arg(stat().requires("diff"))
        .after_help(
            "--diff with a --format gives the files that differ, with the lines added and deleted.\n\n\
             Examples:\n  runq code @latest\n  runq code @latest --format json",
        )
}

/// The option for the short form of a difference.
pub fn stat() -> Arg {
    Arg::new("stat")
        .long("stat")
        .action(ArgAction::SetTrue)
        .help("Of the difference only the files, with the lines added and deleted")
}

/// `code RUN`.
pub async fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(NAME)?;
    let word = matches.get_one::<String>("run").map_or("@latest", String::as_str);
    let code = code_of(session, word).await?;
    match matches.get_one::<String>("diff") {
        None => describe(session, &code),
        Some(other) => difference(session, code, other, matches.get_flag("stat")).await,
    }
}

/// The code of the run that a word names.
pub async fn code_of(session: &Session, word: &str) -> Result<Code> {
    let run_id = session.workspace.resolve_run(word).await?;
    session.workspace.code(&run_id).await
}

fn describe(session: &Session, code: &Code) -> Result<()> {
    let restore = code.restore();
    let facts = facts(code);
    let mut sink = Sink::open(session)?;
    let is_agent = sink.tokens_left().is_some();
    match sink.format() {
        Format::Table => {
            let shown: Vec<_> = facts.iter().map(|(name, value)| (name.clone(), for_people(value))).collect();
            let mut text = Vec::new();
            report::write_facts(&shown, sink.style(), &mut text)?;
            sink.text(&String::from_utf8_lossy(&text))?;
            sink.text(&commands(&restore, "\n", "  "))?;
        }
        Format::Md => {
            sink.batch(&record::pairs(&facts, ("fact", "value"))?)?;
            if !restore.commands.is_empty() {
                sink.text(&format!("\n```sh{}```\n", commands(&restore, "\n", "")))?;
            }
        }
        _ if is_agent => {
            sink.batch(&record::pairs(&facts, ("fact", "value"))?)?;
            sink.text(&commands(&restore, "", ""))?;
            restore.notes.iter().for_each(|note| sink.remark(for_people(note)));
        }
        _ => sink.batch(&record::pairs(&with_commands(facts, &restore), ("fact", "value"))?)?,
    }
    let is_for_people = sink.format().is_for_people();
    sink.finish()?;
    if is_for_people {
        restore.notes.iter().for_each(|note| session.terminal.note(note));
    }
    Ok(())
}

/// The commands as lines; they hold words from logs, which a terminal must not obey.
fn commands(restore: &Restore, before: &str, indent: &str) -> String {
    let lines = restore.commands.iter().map(|command| format!("{indent}{}\n", harmless(command)));
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("{before}{lines}") }
}

fn with_commands(mut facts: Vec<(String, String)>, restore: &Restore) -> Vec<(String, String)> {
    let named = |name: &str, texts: &[String]| {
        texts.iter().map(|text| (name.to_owned(), text.clone())).collect::<Vec<_>>()
    };
    facts.extend(named("restore", &restore.commands));
    facts.extend(named("note", &restore.notes));
    facts
}

/// What is known, by name.
fn facts(code: &Code) -> Vec<(String, String)> {
    let kept = &code.kept;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let repository = match &code.place {
        Place::Held(repository) | Place::Lacking(repository) => Some(repository.top.display().to_string()),
        _ => None,
    };
    let base = code.held().filter(|_| code.is_snapshot());
    let base = base.and_then(|(repository, commit)| repository.parent(commit));
    let packages = Some(kept.packages.len()).filter(|count| *count > 0).map(|count| count.to_string());
    let facts = [
        ("run_id", Some(code.run_id.clone())),
        ("source", Some(code.source.clone())),
        ("commit", code.commit.clone()),
        ("base", base),
        ("branch", code.branch.clone()),
        ("dirty", code.dirty.map(|dirty| dirty.to_string())),
        ("remote", code.remote.clone()),
        ("patch", path(&kept.patch)),
        ("upstream_commit", kept.upstream.as_ref().map(|upstream| upstream.commit.clone())),
        ("upstream_patch", kept.upstream.as_ref().map(|upstream| upstream.patch.display().to_string())),
        ("command", code.command.clone()),
        ("working_dir", kept.working_dir.clone()),
        ("host", code.host.clone()),
        ("python", kept.python.clone()),
        ("packages", packages),
        ("requirements", path(&kept.requirements)),
        ("repository", repository),
        ("in_repository", code.commit.as_ref().map(|_| code.held().is_some().to_string())),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

async fn difference(session: &Session, code: Code, other: &str, is_stat: bool) -> Result<()> {
    let other = match other {
        NOW => None,
        word => Some(code_of(session, word).await?),
    };
    let between = Between::of(&code, other.as_ref())?;
    between.notes.iter().for_each(|note| session.terminal.note(note));
    between.write(session, is_stat).await
}

/// Two states of one repository.
#[derive(Debug, Clone)]
pub struct Between {
    repository: Repository,
    a: String,
    b: State,
    notes: Vec<String>,
}

impl Between {
    /// The code of a run and that of another, or what is checked out.
    ///
    /// # Errors
    /// When a log names no commit, or the repository around does not hold it.
    pub fn of(a: &Code, b: Option<&Code>) -> Result<Between> {
        let (repository, commit) = a.held().ok_or_else(|| not_held(a))?;
        let state = match b {
            None => State::Now,
            Some(b) => {
                let commit = b.commit.as_deref().filter(|commit| repository.has(commit));
                State::Commit(commit.ok_or_else(|| not_held(b))?.to_owned())
            }
        };
        let kept = [Some(a), b].into_iter().flatten();
        let notes = kept.filter_map(unseen_changes).collect();
        Ok(Between { repository: repository.clone(), a: commit.to_owned(), b: state, notes })
    }

    /// The command that shows the difference.
    pub fn command(&self) -> String {
        self.repository.diff_command(&self.a, &self.b)
    }

    /// What a difference between commits does not show.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Files that differ.
    ///
    /// # Errors
    /// When git cannot tell.
    pub async fn changed(&self, session: &Session) -> Result<Vec<Changed>> {
        let between = self.clone();
        session.blocking(move || between.repository.changed(&between.a, &between.b)).await
    }

    /// Writes the difference, or only its files.
    ///
    /// # Errors
    /// When git cannot tell, or it cannot be written.
    pub async fn write(&self, session: &Session, is_stat: bool) -> Result<()> {
        let is_agent = session.globals.budget(&session.terminal).is_some();
        let wants_rows = session.globals.format.is_some_and(|format| format != Format::Table);
        if !is_agent && !wants_rows && !is_stat {
            let text = self.text(session).await?;
            if text.is_empty() {
                session.terminal.note("no difference");
            }
            return output::emit_text(&session.globals, &text);
        }
        self.write_to(session, Sink::open(session)?, is_stat).await
    }

    /// The same into an open place: its files, and for an agent the beginning, for people all of it.
    ///
    /// # Errors
    /// When git cannot tell, or it cannot be written.
    pub async fn write_to(&self, session: &Session, mut sink: Sink, is_stat: bool) -> Result<()> {
        let files = self.changed(session).await?;
        let is_agent = sink.tokens_left().is_some();
        sink.batch(&rows(&files)?)?;
        if files.is_empty() {
            sink.remark("no difference".to_owned());
        } else if !is_stat && is_agent {
            self.write_beginning(&mut sink, &self.text(session).await?)?;
        } else if !is_stat && sink.format() == Format::Table {
            sink.text(&format!("\n{}", harmless(&self.text(session).await?)))?;
        }
        sink.finish()
    }

    async fn text(&self, session: &Session) -> Result<String> {
        let between = self.clone();
        session.blocking(move || between.repository.difference(&between.a, &between.b)).await
    }

    /// As much of the difference as an agent may read.
    ///
    /// # Errors
    /// When it cannot be written.
    fn write_beginning(&self, sink: &mut Sink, text: &str) -> Result<()> {
        let command = self.command();
        let line_count = text.lines().count();
        let mut left = sink.tokens_left().unwrap_or_default().saturating_sub(estimate(&command) + 20);
        let (mut shown, mut is_cut) = (0, false);
        let mut beginning = String::new();
        for line in text.lines() {
            let short: String = line.chars().take(LINE_CHARS).collect();
            let short = format!("{}\n", harmless(&short));
            let tokens = estimate(&short);
            if tokens > left {
                break;
            }
            is_cut |= line.chars().nth(LINE_CHARS).is_some();
            left -= tokens;
            shown += 1;
            beginning.push_str(&short);
        }
        if shown < line_count || is_cut {
            sink.remark(format!("{shown} of {line_count} lines of the difference; all: {command}"));
        }
        sink.text(&beginning)
    }
}

/// Changes that a commit does not hold.
fn unseen_changes(code: &Code) -> Option<String> {
    if code.dirty != Some(true) || code.is_snapshot() {
        return None;
    }
    Some(match &code.kept.patch {
        Some(patch) => {
            format!(
                "{} ran with changes on top of its commit that are left out here: {}",
                code.run_id,
                patch.display()
            )
        }
        None => format!("{} ran with changes on top of its commit that were not kept", code.run_id),
    })
}

fn not_held(code: &Code) -> UserError {
    let run_id = &code.run_id;
    match (&code.commit, &code.place) {
        (None, _) => UserError::failed(format!("the log of run \"{run_id}\" names no commit")),
        (_, Place::NoGit) => {
            UserError::failed("git is not installed here").hint("install it, or put it on PATH")
        }
        (Some(commit), Place::Lacking(repository) | Place::Held(repository)) => {
            let top = repository.top.display();
            UserError::failed(format!(
                "the repository {top} does not hold commit {commit} of run \"{run_id}\""
            ))
            .hint(format!("`runq code {run_id}` says how to get it"))
        }
        (Some(commit), _) => {
            let message = format!("no repository is around that holds commit {commit} of run \"{run_id}\"");
            UserError::failed(message).hint(format!("`runq code {run_id}` says how to get it"))
        }
    }
}

fn rows(files: &[Changed]) -> Result<RecordBatch> {
    let paths: ArrayRef = Arc::new(StringArray::from_iter_values(files.iter().map(|file| &file.path)));
    let added: ArrayRef = Arc::new(files.iter().map(|file| file.added).collect::<UInt64Array>());
    let deleted: ArrayRef = Arc::new(files.iter().map(|file| file.deleted).collect::<UInt64Array>());
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("path", paths, false),
        ("added", added, true),
        ("deleted", deleted, true),
    ])?)
}
