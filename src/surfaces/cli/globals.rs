//! The options every command takes.

use super::args;
use crate::error::UserError;
use crate::report::Format;
use crate::surfaces::terminal::{Colour, Terminal};
use crate::workspace::Options;
use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, builder::PossibleValuesParser, value_parser};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Longest time for ad-hoc SQL without a terminal.
const UNWATCHED: Duration = Duration::from_secs(600);

/// Longest time that is one: 30 years.
const LONGEST_S: f64 = 1e9;

/// Tokens an agent is given unless it asks for others.
const AGENT_TOKENS: usize = 3_000;

/// Variables by which agents tell that they are reading.
const AGENT_VARIABLES: [&str; 8] = [
    "AI_AGENT",
    "AGENT",
    "CLAUDECODE",
    "CODEX_CI",
    "CODEX_SANDBOX",
    "CODEX_THREAD_ID",
    "CURSOR_AGENT",
    "GEMINI_CLI",
];

/// What was asked for besides the command.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Globals {
    #[serde(with = "any_path")]
    root: Option<PathBuf>,
    #[serde(with = "any_path")]
    cache: Option<PathBuf>,
    memory_bytes: Option<usize>,
    /// Longest time for a query.
    pub timeout: Option<Duration>,
    show_secrets: bool,
    colour: Colour,
    quiet: bool,
    /// Answer from the cache as it is.
    pub no_refresh: bool,
    /// Format asked for.
    pub format: Option<Format>,
    /// File to write to.
    #[serde(with = "any_path")]
    pub output: Option<PathBuf>,
    /// Print the SQL instead of running it.
    pub show_sql: bool,
    /// Whether an agent reads, where that was said.
    agent: Option<bool>,
    max_tokens: Option<usize>,
    /// The words of the command line, without the program.
    words: Vec<String>,
}

impl Globals {
    /// Reads them from anywhere on the command line.
    pub fn of(matches: &ArgMatches) -> Result<Self> {
        let text = |id: &str| matches.get_one::<String>(id);
        Ok(Self {
            root: matches.get_one::<PathBuf>("root").cloned(),
            cache: matches.get_one::<PathBuf>("cache").cloned().or_else(cache_of_environment),
            memory_bytes: text("memory").map(|text| parse_bytes(text)).transpose()?,
            timeout: text("timeout").map(|text| parse_duration(text)).transpose()?,
            show_secrets: matches.get_flag("show-secrets"),
            colour: matches.get_one::<Colour>("color").copied().unwrap_or_default(),
            quiet: matches.get_flag("quiet"),
            no_refresh: matches.get_flag("no-refresh"),
            format: text("format").and_then(|name| Format::from_name(name)),
            output: matches.get_one::<PathBuf>("output").cloned(),
            show_sql: matches.get_flag("show-sql"),
            agent: agent_of(matches),
            max_tokens: matches.get_one::<u64>("max-tokens").map(|tokens| *tokens as usize),
            words: Vec::new(),
        })
    }

    /// The same, which know how they were given.
    pub fn with_words(mut self, words: impl IntoIterator<Item = String>) -> Self {
        self.words = words.into_iter().collect();
        self
    }

    /// What an agent may read, in tokens; `None` where none reads, or it asked for a format or a file.
    pub fn budget(&self, terminal: &Terminal) -> Option<usize> {
        let is_asked = self.format.is_some() || self.output.is_some();
        let is_agent = match self.agent {
            Some(is_agent) => is_agent,
            None => self.max_tokens.is_some() || terminal.is_pipe && is_agent_near(),
        };
        (is_agent && !is_asked).then(|| self.max_tokens.unwrap_or(AGENT_TOKENS))
    }

    /// The command that shows what an agent was not shown.
    pub fn command_for_all(&self) -> String {
        let mut words = vec!["runq"];
        let mut given = self.words.iter().map(String::as_str);
        while let Some(word) = given.next() {
            match word {
                "--agent" => {}
                "--max-tokens" => drop(given.next()),
                word if word.starts_with("--max-tokens=") => {}
                word => words.push(word),
            }
        }
        words.extend(["--format", "csv"]);
        // A word with a NUL, which no command line holds, cannot be quoted.
        shlex::try_join(words).unwrap_or_else(|_| "the same with --format csv".to_owned())
    }

    /// The standard streams, looked at with these options.
    pub fn terminal(&self) -> Terminal {
        Terminal::new(self.colour, self.quiet)
    }

    /// How to open the workspace.
    pub fn options(&self) -> Options {
        Options {
            root: self.root.clone(),
            cache: self.cache.clone(),
            memory_bytes: self.memory_bytes,
            timeout: self.timeout,
            show_secrets: self.show_secrets,
            read_only: self.no_refresh,
            admits: Some(args::admits),
            ..Options::default()
        }
    }

    /// The same for a statement of the caller's own making: where nobody watches who could press
    /// Ctrl-C, it does not run for ever.
    pub fn for_sql(&self, terminal: &Terminal) -> Globals {
        let is_watched = terminal.is_stdout || terminal.is_stderr;
        let timeout = self.timeout.or((!is_watched).then_some(UNWATCHED));
        let is_agent = self.budget(terminal).is_some();
        Globals { timeout, agent: Some(is_agent), ..self.clone() }
    }

    /// Whether the caller wants an answer in a certain form: then no REPL is opened.
    pub fn asks_for_data(&self) -> bool {
        self.format.is_some() || self.output.is_some() || self.show_sql
    }

    /// Options of one command inside a session: what the session says, unless the command says more
    /// about its answer.
    pub fn within(self, session: &Globals) -> Self {
        Self {
            quiet: self.quiet || session.quiet,
            no_refresh: self.no_refresh || session.no_refresh,
            format: self.format.or(session.format),
            output: self.output,
            show_sql: self.show_sql,
            agent: self.agent.or(session.agent),
            max_tokens: self.max_tokens.or(session.max_tokens),
            ..session.clone()
        }
    }
}

fn agent_of(matches: &ArgMatches) -> Option<bool> {
    match (matches.get_flag("agent"), matches.get_flag("no-agent")) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    }
}

/// Whether the environment is that of an agent.
fn is_agent_near() -> bool {
    let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    AGENT_VARIABLES.into_iter().any(is_set)
        || std::env::vars_os().any(|(name, value)| {
            name.to_str().is_some_and(|name| name.starts_with("COPILOT_")) && !value.is_empty()
        })
}

/// Paths that are no Unicode go from process to process as well.
mod any_path {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::ffi::OsString;
    use std::path::PathBuf;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str()).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<OsString>::deserialize(deserializer)?.map(PathBuf::from))
    }
}

/// Their declarations.
pub fn declarations() -> Vec<Arg> {
    let formats = PossibleValuesParser::new(Format::ALL.map(Format::name));
    let path = || value_parser!(PathBuf);
    let declared = vec![
        option("root", "DIR", "Look for logs in this folder or file").short('C').value_parser(path()),
        option("cache", "DIR", "Keep the cache in this folder (or RUNQ_CACHE)").value_parser(path()),
        flag("no-refresh", "Answer from the cache without looking for changes"),
        option("format", "FORMAT", "Write in this format; default: table on a terminal, csv in a pipe")
            .value_parser(formats),
        option("output", "FILE", "Write to this file; its extension names the format")
            .short('o')
            .value_parser(path()),
        flag(
            "agent",
            "Write CSV that fits a few tokens; default in a pipe where an agent's environment is found",
        )
        .overrides_with("no-agent"),
        flag("no-agent", "Write all, whoever reads"),
        option("max-tokens", "N", "Most tokens of an answer for an agent; default: 3000")
            .value_parser(value_parser!(u64).range(100..)),
        option("memory", "SIZE", "Limit the memory of a query, as in 4G; default: half of the machine"),
        option(
            "timeout",
            "TIME",
            "Stop a query after this time, as in 30s; default: never, but 10m for sql without a terminal",
        ),
        flag("show-sql", "Print the SQL that answers the command instead of the answer"),
        flag("show-secrets", "Show secrets instead of masking them"),
        option("color", "WHEN", "Use colours; default: auto").value_parser(value_parser!(Colour)),
        flag("quiet", "Print no notes, warnings or progress").short('q'),
    ];
    declared.into_iter().map(|arg| arg.global(true).help_heading("Global options")).collect()
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

/// Root and cache, found without knowing the commands: the user's own queries, which are commands
/// too, lie below the root.
pub fn early_options(argv: &[OsString]) -> Options {
    let words: Vec<&str> = argv.iter().filter_map(|word| word.to_str()).collect();
    let value = |names: &[&str]| {
        words.iter().enumerate().find_map(|(index, word)| {
            names.iter().find_map(|name| match word.strip_prefix(name)? {
                "" => words.get(index + 1).map(PathBuf::from),
                rest if name.starts_with("--") => rest.strip_prefix('=').map(PathBuf::from),
                rest => Some(PathBuf::from(rest.trim_start_matches('='))),
            })
        })
    };
    Options {
        root: value(&["--root", "-C"]),
        cache: value(&["--cache"]).or_else(cache_of_environment),
        admits: Some(args::admits),
        ..Options::default()
    }
}

fn cache_of_environment() -> Option<PathBuf> {
    std::env::var_os("RUNQ_CACHE").filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// `4G`, `512MiB`, `100000`: powers of 1024.
pub fn parse_bytes(text: &str) -> Result<usize> {
    let (number, unit) = split_unit(text);
    let factor = match unit.to_ascii_lowercase().trim_end_matches("ib").trim_end_matches('b') {
        "" => Some(1.0),
        "k" => Some(1024.0),
        "m" => Some(1024.0 * 1024.0),
        "g" => Some(1024.0 * 1024.0 * 1024.0),
        "t" => Some(1024.0 * 1024.0 * 1024.0 * 1024.0),
        _ => None,
    };
    match (number.parse::<f64>(), factor) {
        // The cast of a float saturates.
        (Ok(number), Some(factor)) if number > 0.0 => Ok((number * factor) as usize),
        _ => Err(UserError::usage(format!("\"{text}\" is no size")).hint("write it as 512M or 4G").into()),
    }
}

/// `30s`, `500ms`, `5m`, `1h`; seconds without a unit.
pub fn parse_duration(text: &str) -> Result<Duration> {
    let (number, unit) = split_unit(text);
    let factor = match unit {
        "ms" => Some(0.001),
        "" | "s" => Some(1.0),
        "m" | "min" => Some(60.0),
        "h" => Some(3600.0),
        _ => None,
    };
    let seconds = number.parse::<f64>().ok().zip(factor).map(|(number, factor)| number * factor);
    let duration =
        seconds.filter(|s| *s > 0.0 && *s <= LONGEST_S).and_then(|s| Duration::try_from_secs_f64(s).ok());
    duration.ok_or_else(|| {
        UserError::usage(format!("\"{text}\" is no time")).hint("write it as 30s or 5m").into()
    })
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].trim(), text[end..].trim())
}
