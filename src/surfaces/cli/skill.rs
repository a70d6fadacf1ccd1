//! `skill`: what an agent should know of runq, as the text of a SKILL.md.

use super::output;
use super::session::Session;
use crate::error::UserError;
use anyhow::{Context, Result};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::path::{Path, PathBuf};

/// Its name.
pub const NAME: &str = "skill";

/// The text.
const TEXT: &str = include_str!("SKILL.md");

const FILE: &str = "SKILL.md";

/// Its declaration.
pub fn command() -> Command {
    Command::new(NAME)
        .about("Print what an agent should know of runq, as a SKILL.md")
        .arg(
            Arg::new("write")
                .long("write")
                .value_name("PATH")
                .value_parser(value_parser!(PathBuf))
                .help("Write it there instead: a file, or a folder for it, as in .claude/skills/runq"),
        )
        .arg(
            Arg::new("force")
                .long("force")
                .action(ArgAction::SetTrue)
                .requires("write")
                .help("Replace a file that differs"),
        )
        .after_help("Examples:\n  runq skill")
}

/// `skill [--write PATH]`.
pub fn run(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(NAME)?;
    match matches.get_one::<PathBuf>("write") {
        None => output::emit_text(&session.globals, TEXT),
        Some(path) => write(session, &file_at(path), matches.get_flag("force")),
    }
}

/// A path without an extension is a folder.
fn file_at(path: &Path) -> PathBuf {
    let is_file = !path.is_dir() && path.extension().is_some();
    if is_file { path.to_owned() } else { path.join(FILE) }
}

fn write(session: &Session, file: &Path, is_forced: bool) -> Result<()> {
    let place = file.display();
    match std::fs::read(file) {
        Ok(text) if text == TEXT.as_bytes() => {
            session.terminal.note(&format!("{place} is up to date"));
            return Ok(());
        }
        Ok(_) if !is_forced => {
            return Err(UserError::failed(format!("{place} is there and differs"))
                .hint("--force replaces it")
                .into());
        }
        _ => {}
    }
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    output::write_file(file, TEXT.as_bytes())?;
    session.terminal.note(&format!("wrote {place}"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_or_a_folder() {
        for (path, file) in [("a", "a/SKILL.md"), ("a/b/", "a/b/SKILL.md"), ("AGENTS.md", "AGENTS.md")] {
            assert_eq!(file_at(Path::new(path)), Path::new(file));
        }
    }
}
