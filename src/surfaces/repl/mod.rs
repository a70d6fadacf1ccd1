//! The prompt: statements until `;`, commands after `\`.

mod command;
mod complete;
mod helper;

use super::cli::{args, output, schema, session::Session};
use super::cli::{command as run_command, interruptible, request, run_sql, user_error};
use super::terminal::print_usage;
use super::worker::Asker;
use crate::error::UserError;
use crate::report::Format;
use anyhow::{Context, Result};
use command::Command;
use helper::Helper;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};
use std::path::PathBuf;
use std::time::Instant;

const HISTORY_LINES: usize = 5_000;

/// Reads and answers until `\q` or Ctrl-D.
pub async fn run(session: &Session) -> Result<()> {
    let mut repl = Repl::new(session)?;
    repl.learn().await;
    repl.greet()?;
    loop {
        match repl.editor.readline("runq> ") {
            Ok(line) => match repl.answer(&line).await {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => repl.session.terminal.error(&user_error(&error)),
            },
            // What was typed is thrown away, as in a shell.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error).context("cannot read from the terminal"),
        }
    }
    repl.save_history();
    repl.asker.finish().await;
    Ok(())
}

struct Repl {
    session: Session,
    /// Runs the statements; it is there from the first one on.
    asker: Asker,
    editor: Editor<Helper, FileHistory>,
    shows_timing: bool,
}

impl Repl {
    fn new(session: &Session) -> Result<Self> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .max_history_size(HISTORY_LINES)?
            .history_ignore_dups(true)?
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Helper::new(command::words(session.queries()))));
        if let Some(file) = history_file() {
            // The first time there is none.
            let _ = editor.load_history(&file);
        }
        Ok(Self { session: session.clone(), asker: Asker::default(), editor, shows_timing: false })
    }

    fn greet(&self) -> Result<()> {
        let version = env!("CARGO_PKG_VERSION");
        let text = format!("runq {version}: SQL until ;  \\d tables  \\? help  \\q quit\n");
        output::emit_text(&self.session.globals, &text)
    }

    /// Refreshes, and learns the names for completion. A failure shows when a statement is run.
    async fn learn(&mut self) {
        if let Err(error) = interruptible(self.session.refresh()).await {
            self.session.terminal.warning(&user_error(&error).message);
        }
        if let (Ok(names), Some(helper)) = (self.session.workspace.names().await, self.editor.helper_mut()) {
            helper.set_names(names);
        }
    }

    /// Whether it is time to quit.
    async fn answer(&mut self, line: &str) -> Result<bool> {
        let Some(command) = command::parse(line, &command::words(self.session.queries()))? else {
            return Ok(false);
        };
        let started = Instant::now();
        match command {
            Command::Quit => return Ok(true),
            Command::Help => {
                output::emit_text(&self.session.globals, &command::help(self.session.queries()))?
            }
            Command::Format(name) => self.set_format(name.as_deref())?,
            Command::Timing => self.shows_timing = !self.shows_timing,
            other => self.run(other).await?,
        }
        if self.shows_timing {
            self.session.terminal.note(&format!("{:.3} s", started.elapsed().as_secs_f64()));
        }
        Ok(false)
    }

    /// What asks the workspace. Ctrl-C stops it, not the program.
    async fn run(&mut self, command: Command) -> Result<()> {
        let session = self.session.clone();
        let asker = &self.asker;
        let outcome = interruptible(async {
            match command {
                Command::Describe(table) => {
                    session.refresh().await?;
                    schema::describe(&session, table.as_deref()).await
                }
                // The worker looks for changes, and has told of any error.
                Command::Sql(text) => {
                    asker.ask(&request(text, &session.globals, &session.terminal)).await.map(drop)
                }
                Command::Named(words) => named(&session, asker, &words).await,
                _ => Ok(()),
            }
        });
        outcome.await?;
        if let (Ok(names), Some(helper)) = (self.session.workspace.names().await, self.editor.helper_mut()) {
            helper.set_names(names);
        }
        Ok(())
    }

    fn set_format(&mut self, name: Option<&str>) -> Result<()> {
        let known = Format::ALL.map(Format::name);
        let Some(name) = name else {
            let format = self.session.globals.format.unwrap_or(Format::Table).name();
            return output::emit_text(
                &self.session.globals,
                &format!("{format} (of {})\n", known.join(", ")),
            );
        };
        let format = Format::from_name(name).filter(|format| !format.is_binary());
        let unknown = || UserError::usage(format!("no format \"{name}\" for a terminal"));
        self.session.globals.format =
            Some(format.ok_or_else(|| unknown().nearest_of(name, &known, "formats"))?);
        Ok(())
    }

    fn save_history(&mut self) {
        let Some(file) = history_file() else {
            return;
        };
        // A history that cannot be kept is no reason to complain.
        let _ = file.parent().map(std::fs::create_dir_all);
        let _ = self.editor.save_history(&file);
    }
}

/// A command of the command line, with its arguments and options.
async fn named(session: &Session, asker: &Asker, words: &[String]) -> Result<()> {
    let argv = std::iter::once("runq".to_owned()).chain(words.iter().cloned());
    let matches = match args::command(session.queries()).try_get_matches_from(argv) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // Help was asked for.
            print_usage(error);
            return Ok(());
        }
        Err(error) => return Err(UserError::usage(usage_message(&error)).into()),
    };
    match matches.subcommand() {
        Some((name, inner)) => {
            let session = session.with_options_of(&matches, words)?;
            match name {
                "sql" => run_sql(asker, &session.globals, &session.terminal, inner).await.map(drop),
                name => run_command(&session, name, inner).await,
            }
        }
        None => Ok(()),
    }
}

/// The first line of clap's error, without its `error: `.
fn usage_message(error: &clap::Error) -> String {
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    lines.fold(first, |text, line| format!("{text} {line}"))
}

/// In the user's state folder, not in the project.
fn history_file() -> Option<PathBuf> {
    let folder = dirs::state_dir().or_else(dirs::data_local_dir).or_else(dirs::cache_dir)?;
    Some(folder.join("runq").join("history.txt"))
}
