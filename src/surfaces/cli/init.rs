//! `init`: the settings of a project, all of them, commented out.

use super::output;
use super::session::Session;
use crate::error::UserError;
use crate::workspace::settings_template;
use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::fs::File;
use std::io::{ErrorKind, Write};

/// Its name.
pub const NAME: &str = "init";

/// Its declaration.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Write a runq.toml with every setting, commented out, beside the logs")
        .arg(Arg::new("print").long("print").action(ArgAction::SetTrue).help("Print it instead"))
        .after_help("Examples:\n  runq init --print")
}

/// `init [--print]`. A file that is there stays as it is.
pub fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(NAME)?;
    let text = settings_template();
    if matches.get_flag("print") {
        return output::emit_text(&session.globals, &text);
    }
    let root = session.workspace.root();
    if root.is_file() {
        return Err(
            UserError::usage(format!("{} is a file: settings are of a folder", root.display())).into()
        );
    }
    let file = root.join("runq.toml");
    let place = file.display();
    let mut opened = File::create_new(&file).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => UserError::failed(format!("{place} is there and stays as it is"))
            .hint("--print shows every setting"),
        _ => UserError::failed(format!("cannot write {place}: {error}")),
    })?;
    opened.write_all(text.as_bytes()).with_context(|| format!("cannot write {place}"))?;
    session.terminal.note(&format!("wrote {place}: everything in it is commented out"));
    Ok(())
}
