//! DataFusion's error texts become short messages with the nearest names.

use super::functions::why_left_out;
use crate::error::UserError;

/// The names an SQL statement can use.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// Table name and its column names.
    pub tables: &'a [(String, Vec<String>)],
    /// Functions, ours included.
    pub functions: &'a [String],
}

/// The error a person sees for a DataFusion error's text. Pure.
pub fn explain(text: &str, known: Known<'_>) -> UserError {
    let text = without_prefixes(text);
    unknown_table(text, known)
        .or_else(|| unknown_column(text, known))
        .or_else(|| unknown_function(text, known))
        .or_else(|| wrong_call(text))
        .or_else(|| ambiguous(text))
        .or_else(|| syntax(text))
        .or_else(|| not_allowed(text))
        .or_else(|| exhausted(text))
        .or_else(|| panicked(text))
        .unwrap_or_else(|| UserError::failed(first_line(text)))
}

/// What is told where a metric of another spelling stands for `word`.
pub fn taken_for(word: &str, metric: &str) -> String {
    format!("no metric \"{word}\": taken for \"{metric}\"")
}

/// More than one metric is written like `word`.
pub fn several_metrics(word: &str, keys: &[&str]) -> UserError {
    let error = UserError::failed(format!("metric \"{word}\" not found, and {} are named so", keys.len()));
    error.hint(format!("it may be {}", keys.join(", ")))
}

const PREFIXES: &[&str] = &[
    "DataFusion error: ",
    "Error during planning: ",
    "Schema error: ",
    "SQL error: ",
    "Execution error: ",
    "External error: ",
    "Arrow error: ",
    "type_coercion",
    "caused by",
    "Internal error: ",
    "This feature is not implemented: ",
    "\n",
];

fn without_prefixes(mut text: &str) -> &str {
    let optimizer = |text: &'_ str| -> Option<usize> {
        let rest = text.strip_prefix("Optimizer rule '")?;
        Some(text.len() - rest.split_once("' failed")?.1.len())
    };
    loop {
        let prefix = PREFIXES.iter().find(|prefix| text.starts_with(*prefix)).map(|prefix| prefix.len());
        match prefix.or_else(|| optimizer(text)) {
            Some(length) => text = text.get(length..).unwrap_or_default(),
            None => return text,
        }
    }
}

/// `table 'datafusion.public.metrcs' not found`
fn unknown_table(text: &str, known: Known<'_>) -> Option<UserError> {
    if let Some(function) = between(text, "table function '", "' not found") {
        return Some(function_error(function, known));
    }
    let full = between(text, "table '", "' not found")?;
    let name = full.rsplit('.').next().unwrap_or(full);
    let names: Vec<&str> = known.tables.iter().map(|(name, _)| name.as_str()).collect();
    let error = UserError::failed(format!("no table \"{name}\""));
    Some(error.nearest_of(name, &names, "tables"))
}

/// `No field named m.stpe. Did you mean 'm.step'?\nValid fields are m.run_id, m.key.`
fn unknown_column(text: &str, known: Known<'_>) -> Option<UserError> {
    let rest = text.strip_prefix("No field named ")?;
    let full = rest.lines().next().unwrap_or(rest);
    let full = full.split(". Did you mean").next().unwrap_or(full).trim_end_matches('.');
    let valid = between(rest, "Valid fields are ", ".\n").or_else(|| after(rest, "Valid fields are "));
    let valid: Vec<String> = valid.map_or_else(Vec::new, |list| {
        list.trim_end().trim_end_matches('.').split(", ").map(|name| last_part(name).to_owned()).collect()
    });
    let name = last_part(full);
    let error = UserError::failed(format!("no column \"{name}\"{}", in_table(full, &valid, known)));
    let mut names: Vec<&str> = valid.iter().map(String::as_str).collect();
    names.dedup();
    Some(match full.starts_with('"') && names.is_empty() {
        true => error.hint("texts stand in single quotes"),
        false => error.nearest_of(name, &names, "columns"),
    })
}

/// ` in metrics`, where the valid names are just that table's.
fn in_table(full: &str, valid: &[String], known: Known<'_>) -> String {
    let fits = |columns: &[String]| !valid.is_empty() && columns == valid;
    let table = known.tables.iter().find(|(_, columns)| fits(columns)).map(|(name, _)| name.as_str());
    let qualifier = full.rsplit_once('.').map(|(qualifier, _)| last_part(qualifier));
    table.or(qualifier).map_or_else(String::new, |table| format!(" in {table}"))
}

/// `Invalid function 'maxx'.\nDid you mean 'max'?`
fn unknown_function(text: &str, known: Known<'_>) -> Option<UserError> {
    Some(function_error(between(text, "Invalid function '", "'")?, known))
}

fn function_error(name: &str, known: Known<'_>) -> UserError {
    if let Some(reason) = why_left_out(name) {
        return UserError::failed(format!("the function {name} is left out: {reason}"));
    }
    let names: Vec<&str> = known.functions.iter().map(String::as_str).collect();
    let error = UserError::failed(format!("no function \"{name}\""));
    let hinted = error.clone().nearest_of(name, &names, "");
    // The list of all functions is too long for a hint.
    match hinted.hint.as_deref().is_some_and(|hint| hint.starts_with("did you mean")) {
        true => hinted,
        false => error,
    }
}

/// `Failed to coerce arguments to satisfy a call to 'lttb' function ...`, with a list of signatures.
fn wrong_call(text: &str) -> Option<UserError> {
    let name = between(text, "a call to '", "' function")?;
    let error = UserError::failed(format!("wrong arguments for {name}: {}", first_line(text)));
    let signatures = after(text, "Candidate functions:")?;
    let signatures: Vec<&str> = signatures.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Some(error.hint(format!("it takes {}", signatures.join(" or "))))
}

/// `Ambiguous reference to unqualified field run_id`
fn ambiguous(text: &str) -> Option<UserError> {
    let name = first_line(after(text, "Ambiguous reference to unqualified field ")?);
    let error = UserError::failed(format!("column \"{name}\" is in more than one table"));
    Some(error.hint(format!("write it as table.{name}")))
}

/// `ParserError("Expected: an expression, found: EOF at Line: 1, Column: 9")`
fn syntax(text: &str) -> Option<UserError> {
    let inner = after(text, "ParserError(").or_else(|| after(text, "TokenizerError("))?.trim_end();
    let inner = inner.trim_end_matches(')').trim_matches('"');
    let message =
        inner.replace("\\\"", "\"").replace(" at Line: ", " at line ").replace(", Column: ", ", column ");
    Some(UserError::failed(format!("syntax error: {}", lower_first(&message))))
}

/// What the engine could do but may not.
fn not_allowed(text: &str) -> Option<UserError> {
    if text.starts_with("RecursionLimitExceeded") {
        return Some(UserError::usage("the statement nests too deep"));
    }
    let is_recursive = text.starts_with("Recursive CTEs are not enabled");
    let error = || UserError::usage("recursive queries are not allowed: they may have no end");
    is_recursive.then(|| error().hint("generate_series(1, n) counts"))
}

/// `task 9 panicked with message "offset overflow"`: what the engine does where an answer has no room.
fn panicked(text: &str) -> Option<UserError> {
    let message = first_line(after(text, " panicked with message ")?).trim_matches('"');
    Some(UserError::failed(format!("the engine gave up: {message}")).hint("ask for less, or in another way"))
}

/// `Resources exhausted: Failed to allocate ...`
fn exhausted(text: &str) -> Option<UserError> {
    after(text, "Resources exhausted: ")?;
    Some(
        UserError::failed("the query needs more memory than it may use")
            .hint("allow more with --memory, as in --memory 8G"),
    )
}

fn last_part(name: &str) -> &str {
    // A quoted name may hold dots itself: metrics."val.loss".
    match name.strip_suffix('"') {
        Some(open) => open.rsplit_once('"').map_or(name, |(_, inner)| inner),
        None => name.rsplit('.').next().unwrap_or(name),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or(text).trim()
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    after(text, begin)?.split_once(end).map(|(inner, _)| inner)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn explained(text: &str) -> (String, String) {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let tables = vec![
            ("metrics".to_owned(), columns(&["run_id", "key", "step", "value", "time"])),
            ("runs".to_owned(), columns(&["run_id", "name"])),
        ];
        let functions = columns(&["max", "min", "lttb", "sparkline", "history"]);
        let error = explain(text, Known { tables: &tables, functions: &functions });
        (error.message, error.hint.unwrap_or_default())
    }

    #[test]
    fn messages_are_short_and_name_what_is_near() {
        for (text, message, hint) in [
            (
                "Error during planning: table 'datafusion.public.metrcs' not found",
                "no table \"metrcs\"",
                "did you mean \"metrics\"?",
            ),
            (
                "Error during planning: table 'datafusion.public.qqq' not found",
                "no table \"qqq\"",
                "tables: metrics, runs",
            ),
            (
                "Schema error: No field named stpe. Did you mean 'metrics.step'?\nValid fields are \
                 metrics.run_id, metrics.\"key\", metrics.step, metrics.\"value\", metrics.time.",
                "no column \"stpe\" in metrics",
                "did you mean \"step\" or \"time\"?",
            ),
            (
                "Schema error: No field named m.zzz.\nValid fields are m.a, m.b.",
                "no column \"zzz\" in m",
                "columns: a, b",
            ),
            (
                "Error during planning: Invalid function 'spark_line'.\nDid you mean 'character_length'?",
                "no function \"spark_line\"",
                "did you mean \"sparkline\"?",
            ),
            (
                "Error during planning: table function 'histroy' not found",
                "no function \"histroy\"",
                "did you mean \"history\"?",
            ),
            (
                "Schema error: Ambiguous reference to unqualified field run_id",
                "column \"run_id\" is in more than one table",
                "write it as table.run_id",
            ),
            (
                "SQL error: ParserError(\"Expected: an expression, found: EOF at Line: 1, Column: 9\")",
                "syntax error: expected: an expression, found: EOF at line 1, column 9",
                "",
            ),
            (
                "Resources exhausted: Failed to allocate additional 5.0 MB",
                "the query needs more memory than it may use",
                "allow more with --memory, as in --memory 8G",
            ),
            (
                "SQL error: TokenizerError(\"Unterminated string literal at Line: 1, Column: 8\")",
                "syntax error: unterminated string literal at line 1, column 8",
                "",
            ),
            ("Execution error: Division by zero\nbacktrace", "Division by zero", ""),
            (
                "This feature is not implemented: Recursive CTEs are not enabled",
                "recursive queries are not allowed: they may have no end",
                "generate_series(1, n) counts",
            ),
            (
                "External error: task 9 panicked with message \"offset overflow\"",
                "the engine gave up: offset overflow",
                "ask for less, or in another way",
            ),
            ("SQL error: RecursionLimitExceeded (current limit: 200)", "the statement nests too deep", ""),
        ] {
            assert_eq!(explained(text), (message.to_owned(), hint.to_owned()), "{text}");
        }
    }

    #[tokio::test]
    async fn the_texts_are_those_of_datafusion() {
        let context = datafusion::prelude::SessionContext::new();
        context
            .sql("create table metrics (run_id text, \"key\" text, step bigint, value double, time text)")
            .await
            .unwrap();
        for (sql, message, hint) in [
            ("select * from metrcs", "no table \"metrcs\"", "did you mean \"metrics\"?"),
            (
                "select stpe from metrics",
                "no column \"stpe\" in metrics",
                "did you mean \"step\" or \"time\"?",
            ),
            (
                "select m.stpe from metrics m",
                "no column \"stpe\" in metrics",
                "did you mean \"step\" or \"time\"?",
            ),
            (
                "select * from metrics where key = \"loss\"",
                "no column \"loss\" in metrics",
                "columns: run_id, key, step, value, time",
            ),
            ("select maxx(value) from metrics", "no function \"maxx\"", "did you mean \"max\"?"),
            ("select * from histroy('a')", "no function \"histroy\"", "did you mean \"history\"?"),
            (
                "select run_id from metrics a, metrics b",
                "column \"run_id\" is in more than one table",
                "write it as table.run_id",
            ),
            ("select * fro", "syntax error: ", ""),
        ] {
            let error = context.sql(sql).await.expect_err(sql);
            let (got, got_hint) = explained(&error.strip_backtrace());
            assert!(got.starts_with(message), "{sql}: {got}\n{error}");
            assert_eq!(got_hint, hint, "{sql}");
        }
    }
}
