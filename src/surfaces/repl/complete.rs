//! What Tab offers: keywords, tables, columns, functions; metric keys and run ids inside quotes.

use crate::report::cell::for_people;
use crate::workspace::Names;

const KEYWORDS: &[&str] = &[
    "and",
    "as",
    "asc",
    "between",
    "by",
    "case",
    "cast",
    "count",
    "cross",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "false",
    "filter",
    "first",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "is",
    "join",
    "last",
    "left",
    "like",
    "limit",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "right",
    "rows",
    "select",
    "then",
    "true",
    "union",
    "using",
    "when",
    "where",
    "with",
];

/// Where the word at `position` begins, and what it may become, sorted.
pub fn complete(line: &str, position: usize, names: &Names, commands: &[String]) -> (usize, Vec<String>) {
    let before = line.get(..position).unwrap_or(line);
    let is_command = before.trim_start().starts_with('\\');
    let (start, candidates) = match open_quote(before) {
        Some(start) => (start, quoted(names)),
        None if is_command => command_word(before, names, commands),
        None => sql_word(before, names),
    };
    (start, matching(before.get(start..).unwrap_or_default(), candidates))
}

/// Position after the single quote that is still open.
fn open_quote(before: &str) -> Option<usize> {
    let quotes: Vec<usize> = before.match_indices('\'').map(|(index, _)| index + 1).collect();
    (quotes.len() % 2 == 1).then(|| quotes.last().copied()).flatten()
}

/// Names that can be shown and typed as they are.
fn quoted(names: &Names) -> Vec<String> {
    let names = names.keys.iter().chain(&names.runs);
    names.filter(|name| for_people(name) == **name).cloned().collect()
}

fn command_word(before: &str, names: &Names, commands: &[String]) -> (usize, Vec<String>) {
    let start = before.rfind(char::is_whitespace).map_or(0, |index| index + 1);
    match before.get(start..).unwrap_or_default().strip_prefix('\\') {
        Some(_) => (start + 1, commands.to_vec()),
        None => {
            let tables = names.tables.iter().map(|(name, _)| name.clone());
            (start, tables.chain(quoted(names)).collect())
        }
    }
}

fn sql_word(before: &str, names: &Names) -> (usize, Vec<String>) {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let start = before
        .rfind(|c| !is_part(c))
        .map_or(0, |index| index + before[index..].chars().next().map_or(1, char::len_utf8));
    let head = &before[..start];
    let qualifier = head.strip_suffix('.').map(|head| head.rsplit(|c| !is_part(c)).next().unwrap_or(head));
    let table = qualifier.and_then(|name| names.tables.iter().find(|(table, _)| table == name));
    let columns = names.tables.iter().flat_map(|(_, columns)| columns);
    let candidates = match (qualifier, table) {
        (_, Some((_, columns))) => columns.clone(),
        // An alias: any table may stand behind it.
        (Some(_), None) => columns.cloned().collect(),
        (None, _) => {
            let tables = names.tables.iter().map(|(name, _)| name.clone());
            let words = KEYWORDS.iter().map(|word| (*word).to_owned());
            words.chain(tables).chain(columns.cloned()).chain(names.functions.iter().cloned()).collect()
        }
    };
    (start, candidates)
}

fn matching(word: &str, candidates: Vec<String>) -> Vec<String> {
    let word = word.to_lowercase();
    let mut found: Vec<String> =
        candidates.into_iter().filter(|candidate| candidate.to_lowercase().starts_with(&word)).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Names {
            tables: vec![
                ("metrics".to_owned(), words(&["run_id", "key", "step", "value"])),
                ("runs".to_owned(), words(&["run_id", "name", "state"])),
            ],
            functions: words(&["lttb", "sparkline", "sqrt"]),
            keys: words(&["val/loss", "val/acc"]),
            runs: words(&["abc123"]),
        }
    }

    fn offered(line: &str) -> (usize, Vec<String>) {
        complete(line, line.len(), &names(), &["best".to_owned(), "runs".to_owned()])
    }

    #[test]
    fn words_of_sql() {
        assert_eq!(offered("sel"), (0, vec!["select".to_owned()]));
        assert_eq!(offered("select s").1, ["select", "sparkline", "sqrt", "state", "step"]);
        assert_eq!(offered("select * from met"), (14, vec!["metrics".to_owned()]));
        assert_eq!(offered("select metrics.").1, ["key", "run_id", "step", "value"]);
        assert_eq!(offered("select m.na").1, ["name"]);
        assert_eq!(offered("SELECT SPARK").1, ["sparkline"]);
    }

    #[test]
    fn keys_and_runs_inside_quotes() {
        assert_eq!(offered("where key = 'val/l"), (13, vec!["val/loss".to_owned()]));
        assert_eq!(offered("where run_id = 'a").1, ["abc123"]);
        assert_eq!(offered("where key = 'val/loss' a").1, ["and", "as", "asc"]);
    }

    #[test]
    fn commands_and_their_arguments() {
        assert_eq!(offered("\\be"), (1, vec!["best".to_owned()]));
        assert_eq!(offered("\\best va").1, ["val/acc", "val/loss"]);
        assert_eq!(offered("\\d me").1, ["metrics"]);
    }
}
