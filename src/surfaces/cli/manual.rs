//! `completions` and `man`: what shells and manuals are told of the commands, the user's own included.

use super::session::Session;
use super::{args, output};
use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use clap_mangen::Man;
use std::path::PathBuf;

/// Name of the command that prints completions.
pub const COMPLETIONS: &str = "completions";
/// Name of the command that prints manual pages.
pub const MAN: &str = "man";

/// Their declarations.
pub fn commands() -> [Command; 2] {
    let completions = Command::new(COMPLETIONS)
        .about("Print the completions of a shell, queries of your own included")
        .arg(
            Arg::new("shell")
                .value_name("SHELL")
                .required(true)
                .value_parser(value_parser!(Shell))
                .help("The shell"),
        )
        .after_help(
            "Bash: put `source <(runq completions bash)` into ~/.bashrc. Others: see the manual of the shell.\n\n\
             Examples:\n  runq completions bash",
        );
    let man = Command::new(MAN)
        .about("Print the manual page, or write one for each command")
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIR")
                .value_parser(value_parser!(PathBuf))
                .help("Write a page for each command into this folder"),
        )
        .after_help("Read it with `runq man | man -l -`.\n\nExamples:\n  runq man");
    [completions, man]
}

/// `completions SHELL`.
pub fn completions(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(COMPLETIONS)?;
    let shell = *matches.get_one::<Shell>("shell").context("no shell was named")?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut args::full_command(session.queries()), "runq", &mut text);
    output::emit_text(&session.globals, &String::from_utf8_lossy(&text))
}

/// `man [--dir DIR]`.
pub fn man(session: &Session, matches: &ArgMatches) -> Result<()> {
    session.refuse_show_sql(MAN)?;
    let command = args::full_command(session.queries());
    match matches.get_one::<PathBuf>("dir") {
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            output::emit_text(&session.globals, &String::from_utf8_lossy(&page))
        }
        Some(folder) => {
            let cannot = || format!("cannot write into {}", folder.display());
            std::fs::create_dir_all(folder).with_context(cannot)?;
            clap_mangen::generate_to(command, folder).with_context(cannot)?;
            session.terminal.note(&format!("wrote the pages into {}", folder.display()));
            Ok(())
        }
    }
}
