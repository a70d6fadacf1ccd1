//! Headers of `queries/*.sql`: parsed, checked, and bound.
//!
//! The header is the block of comment lines at the top of a file, each `-- key: value`:
//!
//! ```text
//! -- summary: Rank runs by their best value of a metric      (once; one line, imperative)
//! -- description: Ties go to the earlier step.               (may repeat: one paragraph)
//! -- alias: top                                              (may repeat)
//! -- part-of: history                                        (no command: another one asks it)
//! -- param: metric metric_form positional  Metric to rank by
//! -- param: limit integer -n = 10  Rows at most
//! -- param: project text optional  Only runs of this project
//! -- column: run_id  run
//! -- example: runq best val_loss
//! ```
//!
//! A parameter is `NAME TYPE [positional] [-X] [= DEFAULT | optional]`, two spaces, its help.
//! Without default and `optional` it is required; a flag is `false` by itself. Texts stand in
//! single quotes. The SQL below uses each parameter as `$name`. The types are those of [`ParamType`].

use crate::error::{UserError, nearest};
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

mod param;

pub use param::{OF_RANKING, Param, ParamType, ParamValue, told_goal};

/// A canned query.
#[derive(Debug, Clone, PartialEq)]
pub struct Canned {
    /// Name of the file without `.sql`; the subcommand.
    pub name: String,
    /// One line, imperative, no full stop.
    pub summary: String,
    /// Longer help, may be empty.
    pub description: String,
    /// Other names of the subcommand.
    pub aliases: Vec<String>,
    /// The command that asks it, where it is none itself.
    pub part_of: Option<String>,
    /// Parameters in the order of the header.
    pub params: Vec<Param>,
    /// Column name and what it holds.
    pub columns: Vec<(String, String)>,
    /// Command lines.
    pub examples: Vec<String>,
    /// The statement, comments included.
    pub sql: String,
    /// Whether it came with runq or from the user's folder.
    pub built_in: bool,
}

impl Canned {
    /// The parameter of that name.
    pub fn param(&self, name: &str) -> Option<&Param> {
        self.params.iter().find(|param| param.name == name)
    }

    /// The line of the file that declares a parameter.
    pub fn line_of(&self, param: &str) -> usize {
        param_line(&self.sql, param)
    }

    /// Whether it can be planned only with its values in place: a table function takes literals, a rolling
    /// window has a literal width, and conditions are part of the statement.
    pub fn takes_literals(&self) -> bool {
        let sql = self.sql.to_ascii_lowercase();
        let calls = ["history(", "wide(", "roll_median(", "roll_mad("].iter().any(|name| sql.contains(name));
        calls || self.params.iter().any(|param| param.kind.is_literal())
    }

    /// Whether `word` is its name or an alias.
    pub fn is_called(&self, word: &str) -> bool {
        self.name == word || self.aliases.iter().any(|alias| alias == word)
    }
}

macro_rules! built_in_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../queries/", $name, ".sql")))),*]
    };
}

/// The files of `queries/`, in the order help shows them.
const FILES: &[(&str, &str)] = built_in_files![
    "overview",
    "runs",
    "find",
    "anomalies",
    "alerts",
    "show",
    "facts",
    "findings",
    "errors",
    "config",
    "notes",
    "stats",
    "history",
    "points",
    "curve",
    "stability",
    "at",
    "console",
    "phases",
    "epochs",
    "best",
    "diff",
    "at_best",
    "compare",
    "differences",
    "why_config",
    "why_findings",
    "why_ends",
    "sweep",
    "seeds",
    "pareto",
    "tried",
    "cost",
    "keys"
];

/// The queries that come with runq. A test parses every file.
pub fn built_in() -> &'static [Canned] {
    static QUERIES: LazyLock<Vec<Canned>> =
        LazyLock::new(|| FILES.iter().filter_map(|(name, text)| parse(name, text, true).ok()).collect());
    &QUERIES
}

/// The queries of a user's folder, by name; none where there is no folder.
pub fn load_folder(path: &Path) -> Result<Vec<Canned>> {
    load_each(path)?.into_iter().map(|(_, query)| query).collect()
}

/// The same, file by file, so that a bad file does not take the others with it.
pub fn load_each(path: &Path) -> Result<Vec<(PathBuf, Result<Canned>)>> {
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files.into_iter().map(|file| (file.clone(), load(&file))).collect())
}

fn load(file: &Path) -> Result<Canned> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    // Errors begin with the name of the file: its folder completes it.
    let folder = file.parent().unwrap_or(Path::new(""));
    parse(name, &text, false).map_err(|error| anyhow!("{}", folder.join(error.to_string()).display()))
}

/// Parses a file. `name` is its name without `.sql`; errors begin with `NAME.sql:LINE`.
pub fn parse(name: &str, text: &str, built_in: bool) -> Result<Canned> {
    if !is_name(name) {
        bail!("{name}.sql: a query is named by letters, digits, - and _");
    }
    let mut query = Canned {
        name: name.to_owned(),
        summary: String::new(),
        description: String::new(),
        aliases: Vec::new(),
        part_of: None,
        params: Vec::new(),
        columns: Vec::new(),
        examples: Vec::new(),
        sql: text.to_owned(),
        built_in,
    };
    for (index, line) in text.lines().enumerate().take_while(|(_, line)| line.starts_with("--")) {
        take_header_line(&mut query, line).map_err(|error| anyhow!("{name}.sql:{}: {error}", index + 1))?;
    }
    check(&query).map_err(|error| anyhow!("{name}.sql{error}"))?;
    Ok(query)
}

fn take_header_line(query: &mut Canned, line: &str) -> Result<()> {
    let Some((key, value)) = line.trim_start_matches('-').trim_start().split_once(':') else {
        bail!("expected \"-- key: value\"; put other comments below an empty line");
    };
    let value = value.trim();
    match key.trim_end() {
        "summary" if !query.summary.is_empty() => bail!("a second summary"),
        "summary" if value.ends_with('.') => bail!("the summary ends with a full stop"),
        "summary" => query.summary = value.to_owned(),
        "description" => {
            let space = if query.description.is_empty() { "" } else { " " };
            query.description = format!("{}{space}{value}", query.description);
        }
        "alias" if !is_name(value) => bail!("an alias is one word"),
        "alias" => query.aliases.push(value.to_owned()),
        "part-of" => query.part_of = Some(value.to_owned()),
        "param" => query.params.push(parse_param(value)?),
        "column" => {
            let (column, what) =
                value.split_once("  ").context("expected a name, two spaces, what it holds")?;
            query.columns.push((column.to_owned(), what.trim().to_owned()));
        }
        "example" => query.examples.push(value.to_owned()),
        other => {
            bail!(
                "unknown key \"{other}\"; known are summary, description, alias, part-of, param, column, example"
            )
        }
    }
    Ok(())
}

fn parse_param(text: &str) -> Result<Param> {
    let (words, help) = split_help(text);
    let mut words = words.into_iter();
    let name = words.next().filter(|name| is_identifier(name)).context("a parameter begins with its name")?;
    let kind = words.next().unwrap_or_default();
    let known = ParamType::ALL.iter().find(|(word, _)| *word == kind);
    let Some((_, kind)) = known else {
        let known: Vec<&str> = ParamType::ALL.iter().map(|(word, _)| *word).collect();
        bail!("unknown type \"{kind}\"; known are {}", known.join(", "));
    };
    let default = (*kind == ParamType::Flag).then_some(ParamValue::Flag(false));
    let mut param = Param { name, kind: *kind, positional: false, short: None, default, help };
    while let Some(word) = words.next() {
        match word.as_str() {
            "positional" => param.positional = true,
            "optional" => param.default = Some(ParamValue::Null),
            "=" => param.default = Some(parse_default(*kind, words.next())?),
            other => param.short = Some(parse_short(other)?),
        }
    }
    match param {
        Param { kind: ParamType::Flag, positional: true, .. } => bail!("a flag has no position"),
        Param { positional: true, short: Some(_), .. } => bail!("a positional parameter has no letter"),
        Param { ref help, .. } if help.is_empty() => bail!("no help after two spaces"),
        param => Ok(param),
    }
}

/// Splits at single spaces up to the first two in a row outside of quotes; the rest is the help.
fn split_help(text: &str) -> (Vec<String>, String) {
    let mut quoted = false;
    let mut end = text.len();
    let mut words = vec![String::new()];
    for (index, c) in text.char_indices() {
        quoted ^= c == '\'';
        match c {
            ' ' if !quoted && text[index..].starts_with("  ") => {
                end = index;
                break;
            }
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().map(|word| word.push(c)).unwrap_or_default(),
        }
    }
    words.retain(|word| !word.is_empty());
    (words, text[end..].trim().to_owned())
}

fn parse_default(kind: ParamType, word: Option<String>) -> Result<ParamValue> {
    let word = word.context("no default after \"=\"")?;
    if !kind.is_text() {
        return kind.parse(&word).map_err(|message| anyhow!(message));
    }
    let inner = word.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    Ok(ParamValue::Text(inner.context("a text stands in single quotes")?.replace("''", "'")))
}

fn parse_short(word: &str) -> Result<char> {
    let mut letters = word.strip_prefix('-').unwrap_or_default().chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if letter.is_ascii_alphanumeric() => Ok(letter),
        _ => bail!("unexpected \"{word}\""),
    }
}

/// What only the whole file tells. The message begins with its place.
fn check(query: &Canned) -> Result<()> {
    if query.summary.is_empty() {
        bail!(":1: no summary");
    }
    let used = placeholders(&query.sql);
    for placeholder in &used {
        if query.param(&placeholder.name).is_none() {
            let line = query.sql[..placeholder.start].lines().count().max(1);
            bail!(":{line}: ${} is not declared", placeholder.name);
        }
    }
    let ranks = query.params.iter().any(|param| param.kind == ParamType::Ranking);
    let is_used = |name: &str| {
        ranks && OF_RANKING.contains(&name) || used.iter().any(|placeholder| placeholder.name == name)
    };
    for (index, param) in query.params.iter().enumerate() {
        let line = param_line(&query.sql, &param.name);
        if !is_used(&param.name) {
            bail!(":{line}: parameter \"{}\" is not used", param.name);
        }
        let earlier = query.params.iter().take(index);
        if earlier.clone().any(|other| other.name == param.name) {
            bail!(":{line}: parameter \"{}\" is declared twice", param.name);
        }
        if param.short.is_some() && earlier.clone().any(|other| other.short == param.short) {
            bail!(":{line}: parameter \"{}\" has the letter of another", param.name);
        }
    }
    match statement(&query.sql).is_empty() {
        true => bail!(": no statement"),
        false => Ok(()),
    }
}

fn param_line(text: &str, name: &str) -> usize {
    let declares = |line: &str| {
        line.split_once("param:").is_some_and(|(_, rest)| rest.split_whitespace().next() == Some(name))
    };
    text.lines().position(declares).map_or(1, |index| index + 1)
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(is_identifier_start) && text.chars().all(is_identifier_part)
}

fn is_identifier_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_identifier_part(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A `$name` in a statement: bytes `start..end`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Placeholder {
    start: usize,
    end: usize,
    name: String,
}

/// Every `$name` outside of strings, quoted names and comments.
fn placeholders(sql: &str) -> Vec<Placeholder> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let mut length = skipped(rest);
        if length.is_none() && c == '$' && rest[1..].starts_with(is_identifier_start) {
            let end = rest[1..].find(|c| !is_identifier_part(c)).map_or(rest.len(), |index| index + 1);
            found.push(Placeholder { start: at, end: at + end, name: rest[1..end].to_owned() });
            length = Some(end);
        }
        at += length.unwrap_or(c.len_utf8());
    }
    found
}

/// Length of the string, quoted name or comment that begins here.
fn skipped(rest: &str) -> Option<usize> {
    let after = |offset: usize, end: &str| {
        rest[offset..].find(end).map_or(rest.len(), |index| offset + index + end.len())
    };
    match rest.as_bytes() {
        [b'\'', ..] => Some(after(1, "'")),
        [b'"', ..] => Some(after(1, "\"")),
        [b'-', b'-', ..] => Some(after(2, "\n")),
        [b'/', b'*', ..] => Some(after(2, "*/")),
        // `$$text$$` and `$tag$text$tag$` are strings too.
        [b'$', ..] => {
            let tag = 1 + rest[1..].find(|c| !is_identifier_part(c))?;
            rest[tag..].starts_with('$').then(|| after(tag + 1, &rest[..=tag]))
        }
        _ => None,
    }
}

/// The text below the header, without spaces around and semicolons at its end.
fn statement(text: &str) -> &str {
    let header: usize =
        text.split_inclusive('\n').take_while(|line| line.starts_with("--")).map(str::len).sum();
    text[header..].trim_start().trim_end_matches(|c: char| c == ';' || c.is_whitespace())
}

/// All values of a query: those given, checked against their types, and the defaults of the others.
pub fn with_values(
    query: &Canned,
    given: &BTreeMap<String, ParamValue>,
) -> Result<BTreeMap<String, ParamValue>, UserError> {
    for (name, value) in given {
        let Some(param) = query.param(name) else {
            return Err(unknown_param(query, name));
        };
        if !param.kind.accepts(value) {
            let message = format!("{} of {} takes {}", name, query.name, param.kind.a_value());
            return Err(UserError::usage(message));
        }
    }
    query.params.iter().map(|param| Ok((param.name.clone(), value_of(query, param, given)?))).collect()
}

fn value_of(
    query: &Canned,
    param: &Param,
    given: &BTreeMap<String, ParamValue>,
) -> Result<ParamValue, UserError> {
    let value = given.get(&param.name).filter(|value| **value != ParamValue::Null);
    match (value, &param.default, param.kind) {
        // A whole number serves as a number; SQL should see one type.
        (Some(ParamValue::Integer(value)), _, ParamType::Number) => Ok(ParamValue::Number(*value as f64)),
        (Some(value), _, _) => Ok(value.clone()),
        (None, Some(default), _) => Ok(default.clone()),
        (None, None, _) => {
            let message = format!("{} needs {}: {}", query.name, param.name.to_uppercase(), param.help);
            let error = UserError::usage(message);
            Err(match query.examples.first() {
                Some(example) => error.hint(example.clone()),
                None => error,
            })
        }
    }
}

fn unknown_param(query: &Canned, name: &str) -> UserError {
    let known: Vec<&str> = query.params.iter().map(|param| param.name.as_str()).collect();
    let near = nearest(name, known.iter().copied(), 1);
    let error = UserError::usage(format!("{} has no parameter \"{name}\"", query.name));
    match (near.first(), known.is_empty()) {
        (Some(near), _) => error.hint(format!("did you mean \"{near}\"?")),
        (None, false) => error.hint(format!("parameters: {}", known.join(", "))),
        (None, true) => error,
    }
}

/// The statement with its values in place as SQL literals, without the header, ready to run.
/// Names without a value become `null`.
pub fn literal_sql(query: &Canned, values: &BTreeMap<String, ParamValue>) -> String {
    let statement = statement(&query.sql);
    let mut sql = String::with_capacity(statement.len() + 64);
    let mut at = 0;
    for placeholder in placeholders(statement) {
        sql.push_str(&statement[at..placeholder.start]);
        let literal = literal(values.get(&placeholder.name).unwrap_or(&ParamValue::Null));
        // Two minus signs would begin a comment.
        if sql.ends_with('-') && literal.starts_with('-') {
            sql.push(' ');
        }
        sql.push_str(&literal);
        at = placeholder.end;
    }
    sql.push_str(&statement[at..]);
    sql
}

/// A value as an SQL literal.
pub fn literal(value: &ParamValue) -> String {
    match value {
        ParamValue::Null => "null".to_owned(),
        ParamValue::Text(text) => quoted(text),
        ParamValue::Integer(value) => value.to_string(),
        ParamValue::Number(value) if value.is_nan() => "cast('NaN' as double)".to_owned(),
        ParamValue::Number(value) if *value == f64::INFINITY => "cast('Infinity' as double)".to_owned(),
        ParamValue::Number(value) if value.is_infinite() => "cast('-Infinity' as double)".to_owned(),
        ParamValue::Number(value) => format!("{value:?}"),
        ParamValue::Flag(value) => value.to_string(),
        ParamValue::List(texts) => {
            format!("make_array({})", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
        }
        ParamValue::Query(sql) => format!("({sql})"),
    }
}

/// A text as an SQL string.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests;
