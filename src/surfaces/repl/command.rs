//! What can be typed at the prompt.

use crate::engine::canned::Canned;
use crate::error::UserError;

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\d [TABLE]`
    Describe(Option<String>),
    /// `\format [NAME]`
    Format(Option<String>),
    /// `\timing`
    Timing,
    /// `\NAME ARGUMENTS`: a command of the command line.
    Named(Vec<String>),
    /// A statement, without its semicolon.
    Sql(String),
}

/// Commands of the prompt alone: word, other words, usage, summary.
const OWN: &[(&str, &[&str], &str, &str)] = &[
    ("?", &["h", "help"], "\\?", "This help"),
    ("d", &[], "\\d [TABLE]", "Tables and columns"),
    ("format", &[], "\\format [NAME]", "Format of answers: table, csv, tsv, json, jsonl, md"),
    ("timing", &[], "\\timing", "Say how long each answer took, or stop it"),
    ("q", &["quit", "exit"], "\\q", "Quit (or Ctrl-D)"),
];

/// Commands of the command line that are no canned query.
const NAMED: &[&str] = &[
    "schema", "sql", "refresh", "files", "latest", "plot", "code", "why", "diagnose", "eta", "forecast",
    "stop",
];

/// Every word that may follow a backslash.
pub fn words(queries: &[Canned]) -> Vec<String> {
    let own = OWN.iter().flat_map(|(word, others, _, _)| std::iter::once(word).chain(others.iter()));
    let fixed = own.chain(NAMED).map(|word| (*word).to_owned());
    let canned = asked(queries).flat_map(|query| std::iter::once(&query.name).chain(&query.aliases));
    fixed.chain(canned.cloned()).collect()
}

/// Understands a line; `None` when there is nothing in it.
pub fn parse(line: &str, words: &[String]) -> Result<Option<Command>, UserError> {
    let line = line.trim();
    if ["exit", "quit"].iter().any(|word| line.eq_ignore_ascii_case(word)) {
        return Ok(Some(Command::Quit));
    }
    // A statement that was left unfinished for a command is dropped.
    let last = line.lines().last().unwrap_or_default();
    let line = if last.starts_with('\\') && !ends_statement(line) { last } else { line };
    let Some(rest) = line.strip_prefix('\\') else {
        let statement = line.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
        return Ok((!statement.is_empty()).then(|| Command::Sql(statement.to_owned())));
    };
    let rest = rest.trim_end_matches(|c: char| c == ';' || c.is_whitespace());
    let Some(arguments) = shlex::split(rest) else {
        return Err(UserError::usage("a quote is not closed"));
    };
    let Some((word, arguments)) = arguments.split_first() else {
        return Err(UserError::usage("no command after \\").hint("\\? lists them"));
    };
    command(word, arguments, words).map(Some)
}

fn command(word: &str, arguments: &[String], words: &[String]) -> Result<Command, UserError> {
    let own = OWN.iter().find(|(name, others, _, _)| *name == word || others.contains(&word));
    let Some((name, _, usage, _)) = own else {
        return named(word, arguments, words);
    };
    match (*name, arguments) {
        ("?", []) => Ok(Command::Help),
        ("q", []) => Ok(Command::Quit),
        ("timing", []) => Ok(Command::Timing),
        ("d", []) => Ok(Command::Describe(None)),
        ("d", [table]) => Ok(Command::Describe(Some(table.clone()))),
        ("format", []) => Ok(Command::Format(None)),
        ("format", [format]) => Ok(Command::Format(Some(format.clone()))),
        _ => Err(UserError::usage(format!("too many arguments: {usage}"))),
    }
}

fn named(word: &str, arguments: &[String], words: &[String]) -> Result<Command, UserError> {
    if words.iter().any(|known| known == word) {
        let mut all = vec![word.to_owned()];
        all.extend_from_slice(arguments);
        return Ok(Command::Named(all));
    }
    let known: Vec<&str> = words.iter().map(String::as_str).collect();
    Err(UserError::usage(format!("no command \\{word}")).nearest_of(word, &known, "commands"))
}

/// Whether Enter runs the line: a command always, a statement once it ends with a semicolon that
/// stands in no quotes and no comment.
pub fn is_complete(line: &str) -> bool {
    let line = line.trim();
    let is_word = |word: &str| line.eq_ignore_ascii_case(word);
    // A command after an unfinished statement is meant for the prompt, as in psql.
    let ends_in_command = line.lines().last().is_some_and(|last| last.starts_with('\\'));
    line.is_empty() || ends_in_command || is_word("exit") || is_word("quit") || ends_statement(line)
}

fn ends_statement(text: &str) -> bool {
    let mut rest = text;
    let mut ended = false;
    while let Some(c) = rest.chars().next() {
        let skip = |end: &str, from: usize| {
            rest.get(from..).and_then(|inner| Some(from + inner.find(end)? + end.len()))
        };
        let length = match c {
            '\'' => skip("'", 1),
            '"' => skip("\"", 1),
            '-' if rest.starts_with("--") => Some(skip("\n", 2).unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => skip("*/", 2),
            c => Some(c.len_utf8()),
        };
        // An open quote or comment goes on in the next line.
        let Some(length) = length else {
            return false;
        };
        let is_comment = length > 1 && (c == '-' || c == '/');
        if c == ';' {
            ended = true;
        } else if !c.is_whitespace() && !is_comment {
            ended = false;
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    ended
}

/// The text of `\?`.
pub fn help(queries: &[Canned]) -> String {
    let own = OWN.iter().map(|(_, _, usage, summary)| ((*usage).to_owned(), *summary));
    let canned = asked(queries).map(|query| (usage(query), query.summary.as_str()));
    let rows: Vec<(String, &str)> = own.chain(canned).collect();
    let width = rows.iter().map(|(usage, _)| usage.len()).max().unwrap_or(0);
    let mut text = String::from("A statement ends with ; and may span lines. Commands:\n");
    for (usage, summary) in rows {
        text.push_str(&format!("  {usage:<width$}  {summary}\n"));
    }
    text.push_str(&format!(
        "  and \\{}: as on the command line; \\NAME --help tells more\n",
        NAMED.join(", \\")
    ));
    text
}

/// Queries that are commands themselves.
fn asked(queries: &[Canned]) -> impl Iterator<Item = &Canned> {
    queries.iter().filter(|query| query.part_of.is_none())
}

fn usage(query: &Canned) -> String {
    let positional = query.params.iter().filter(|param| param.positional);
    let words = positional.map(|param| match param.default {
        None => format!(" {}", param.name.to_uppercase()),
        Some(_) => format!(" [{}]", param.name.to_uppercase()),
    });
    format!("\\{}{}", query.name, words.collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::engine::canned::built_in;

    fn parsed(line: &str) -> Command {
        parse(line, &words(built_in())).unwrap().unwrap()
    }

    #[test]
    fn lines_are_understood() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(parsed("\\q"), Command::Quit);
        assert_eq!(parsed("\\h"), Command::Help);
        assert_eq!(parsed("\\d"), Command::Describe(None));
        assert_eq!(parsed("\\d metrics;"), Command::Describe(Some("metrics".to_owned())));
        assert_eq!(parsed("\\format csv"), Command::Format(Some("csv".to_owned())));
        assert_eq!(parsed("\\best 'val loss' -n 3"), Command::Named(words(&["best", "val loss", "-n", "3"])));
        assert_eq!(parsed("\\list"), Command::Named(words(&["list"])));
        assert_eq!(parsed(" select 1 ; "), Command::Sql("select 1".to_owned()));
        assert_eq!(parse("  ;", &[]).unwrap(), None);
    }

    #[test]
    fn unknown_commands_bring_the_nearest() {
        let error = parse("\\bets x", &words(built_in())).unwrap_err();
        assert_eq!(error.message, "no command \\bets");
        assert!(error.hint.unwrap().contains("\"best\""));
        assert!(parse("\\timing now", &[]).is_err());
        assert!(parse("\\best 'x", &[]).is_err());
    }

    #[test]
    fn statements_end_with_a_semicolon_outside_of_quotes() {
        for line in ["select 1;", "select ';';", "select 1; -- done", "\\d", "", "select 1; /* x */ "] {
            assert!(is_complete(line), "{line}");
        }
        for line in
            ["select 1", "select ';", "select 1 -- ;", "select /* ;", "select 1; select", "select \";"]
        {
            assert!(!is_complete(line), "{line}");
        }
    }

    #[test]
    fn help_names_every_command() {
        let help = help(built_in());
        for query in asked(built_in()) {
            assert!(help.contains(&format!("\\{}", query.name)), "{help}");
        }
    }
}
