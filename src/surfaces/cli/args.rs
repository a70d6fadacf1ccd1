//! The tree of commands. Those of canned queries come from their headers.

use super::{
    best, code, compare, diagnose, diff, files, globals, history, init, manual, plot, ranked, refresh,
    schema, skill, sql, why,
};
use crate::engine::canned::{Canned, Param, ParamType, ParamValue, literal};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use std::collections::BTreeMap;

/// Values by the name of their parameter; those not given are absent.
pub type Values = BTreeMap<String, ParamValue>;

const ABOUT: &str = "DuckDB for your training runs";

const LONG_ABOUT: &str = "\
DuckDB for your training runs.

Logs under the root are found, converted once, and kept fresh: every command first looks for changes. \
Without a command, runq opens a prompt on a terminal and prints the overview in a pipe.";

const AFTER_HELP: &str = "\
A RUN is an id, a prefix of it, a name, @latest, @latest~1 or @best:METRIC.
Files in .runq/queries/ are commands too.

Examples:
  runq best val_loss
  runq history @latest -k loss,val_loss
  runq sql \"select key, min(finite(value)) from metrics group by key\"

Exit codes: 0 done, 1 failed or not found, 2 wrong use, 3 a --fail-on condition held, 130 interrupted";

/// The whole command line, whose help lists the user's own queries under a heading of theirs. Of queries
/// that share a name the first counts.
pub fn command(queries: &[Canned]) -> Command {
    let own: Vec<&Canned> = queries.iter().filter(|query| !query.built_in).collect();
    let root = full_command(queries);
    let root = own.iter().fold(root, |root, query| match root.find_subcommand(&query.name) {
        Some(_) => root.mut_subcommand(&query.name, |command| command.hide(true)),
        None => root,
    });
    if own.is_empty() {
        return root;
    }
    let width = own.iter().map(|query| query.name.len()).max().unwrap_or(0);
    let lines = own.iter().map(|query| format!("  {:<width$}  {}\n", query.name, query.summary));
    root.after_help(format!("Your own queries:\n{}\n{AFTER_HELP}", lines.collect::<String>()))
}

/// The same with all queries among the commands, as shells and manuals list them.
pub fn full_command(queries: &[Canned]) -> Command {
    let mut root = Command::new("runq")
        .bin_name("runq")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .after_help(AFTER_HELP)
        .subcommand_required(false)
        .args(globals::declarations());
    let own = own();
    let mut taken: Vec<String> = own.iter().map(|command| command.get_name().to_owned()).collect();
    taken.push("help".to_owned());
    for query in queries {
        if query.part_of.is_none() && !taken.contains(&query.name) {
            let free: Vec<&String> = query.aliases.iter().filter(|alias| !taken.contains(alias)).collect();
            root = root.subcommand(canned_command(query, &free));
            taken.extend(free.into_iter().cloned());
            taken.push(query.name.clone());
        }
    }
    root.subcommands(own)
}

/// Commands that are no canned query.
fn own() -> Vec<Command> {
    let own = [
        schema::command(),
        sql::command(),
        refresh::command(),
        files::command(),
        plot::command(),
        code::command(),
        why::command(),
        latest(),
        skill::command(),
        init::command(),
    ];
    own.into_iter().chain(diagnose::commands()).chain(manual::commands()).collect()
}

/// Whether a query of the user's own can be a command; else why not, beginning with its place.
///
/// # Errors
/// When its name or that of a parameter is taken.
pub fn admits(query: &Canned) -> Result<(), String> {
    let is_taken = query.name == "help" || own().iter().any(|command| command.get_name() == query.name);
    if is_taken {
        return Err(format!(": runq has a command \"{}\" of its own", query.name));
    }
    let globals = globals::declarations();
    for param in &query.params {
        let is_global = |arg: &Arg| {
            arg.get_id() == param.name.as_str()
                || arg.get_long() == Some(&param.option())
                || param.short.is_some() && arg.get_short() == param.short
        };
        if globals.iter().any(is_global) || param.name == "help" || param.short == Some('h') {
            let (line, name) = (query.line_of(&param.name), &param.name);
            return Err(format!(
                ":{line}: parameter \"{name}\" has the name or letter of an option of every command"
            ));
        }
    }
    Ok(())
}

fn latest() -> Command {
    Command::new("latest").about("Show the newest run: show @latest")
}

fn canned_command(query: &Canned, aliases: &[&String]) -> Command {
    let command = Command::new(query.name.clone())
        .about(query.summary.clone())
        .visible_aliases(aliases.iter().map(|alias| (*alias).clone()))
        .args(query.params.iter().map(argument))
        .after_help(after_help(query));
    let command = match query.description.is_empty() {
        true => command,
        false => command.long_about(format!("{}\n\n{}", query.summary, query.description)),
    };
    match query.name.as_str() {
        "best" if query.built_in => best::with_options(command),
        "diff" if query.built_in => diff::with_options(command),
        "history" if query.built_in => history::with_options(command),
        "compare" if query.built_in => compare::with_options(command),
        _ if ranked::is_one(query) => ranked::with_options(query, command),
        _ => command,
    }
}

fn argument(param: &Param) -> Arg {
    let arg = Arg::new(param.name.clone()).help(help(param)).required(param.default.is_none());
    let arg = match param.positional {
        true => arg,
        false => arg.long(param.option()),
    };
    let arg = param.short.map_or(arg.clone(), |letter| arg.short(letter));
    let arg = arg.value_name(param.name.to_uppercase());
    let integer = || value_parser!(i64);
    match param.kind {
        ParamType::Flag => Arg::new(param.name.clone())
            .long(param.option())
            .help(param.help.clone())
            .action(ArgAction::SetTrue),
        ParamType::Count => arg.value_parser(integer().range(1..)),
        ParamType::Integer => arg.value_parser(integer()).allow_negative_numbers(true),
        ParamType::Number => arg.value_parser(value_parser!(f64)).allow_negative_numbers(true),
        kind if kind.is_list() && param.positional => arg.num_args(1..),
        kind if kind.is_list() => arg.action(ArgAction::Append),
        // `--sort -loss`
        ParamType::Order => arg.allow_hyphen_values(true),
        _ => arg,
    }
}

fn help(param: &Param) -> String {
    match &param.default {
        None | Some(ParamValue::Null) => param.help.clone(),
        Some(ParamValue::Text(text)) => format!("{} [default: {text}]", param.help),
        Some(value) => format!("{} [default: {}]", param.help, literal(value)),
    }
}

fn after_help(query: &Canned) -> String {
    let width = query.columns.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let columns = query.columns.iter().map(|(name, what)| format!("  {name:<width$}  {what}"));
    let examples = query.examples.iter().map(|example| format!("  {example}"));
    let sections = [("Columns:", columns.collect::<Vec<_>>()), ("Examples:", examples.collect())];
    let filled = sections.iter().filter(|(_, lines)| !lines.is_empty());
    filled.map(|(title, lines)| format!("{title}\n{}", lines.join("\n"))).collect::<Vec<_>>().join("\n\n")
}

/// The values given on the command line.
pub fn values(query: &Canned, matches: &ArgMatches) -> Values {
    let given = query.params.iter().filter_map(|param| Some((param.name.clone(), value(param, matches)?)));
    given.collect()
}

fn value(param: &Param, matches: &ArgMatches) -> Option<ParamValue> {
    let name = param.name.as_str();
    match param.kind {
        ParamType::Flag => matches.get_flag(name).then_some(ParamValue::Flag(true)),
        ParamType::Integer | ParamType::Count => matches.get_one(name).copied().map(ParamValue::Integer),
        ParamType::Number => matches.get_one(name).copied().map(ParamValue::Number),
        kind if kind.is_list() => {
            let words = matches.get_many::<String>(name)?;
            Some(ParamValue::List(words.cloned().collect()))
        }
        _ => matches.get_one(name).cloned().map(ParamValue::Text),
    }
}
