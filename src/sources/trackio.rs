//! Trackio: a SQLite database for each project, and rows that wait in an inbox beside it.
//!
//! Columns are asked for by name, as every version of Trackio has others; without `run_id` (before
//! 0.24) the name of a run is its id. Trackio writes neither ends nor states.

use super::find::judge;
use super::parse::json::{Fields, Json, flatten, flatten_but, parse_whole, text_of};
use super::parse::lines::each_line;
use super::parse::words::{join, split};
use super::parse::{axis, sqlite};
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, StartOver, Verdict};
use crate::records::roles::BYTES_PER_GIB;
use crate::records::{Alert, Axis, Level, Point, Problem, RunFacts, Text, TimeMs};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Rows read at a time.
const PAGE_ROWS: usize = 10_000;

/// Reader of Trackio's databases and inboxes.
pub struct Trackio;

/// How far a database was read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// Last `id` of each table, and a hash of its row: a table that was made anew has another.
    tables: BTreeMap<String, (i64, u64)>,
    /// Hash of what was told of each run.
    runs: BTreeMap<String, u64>,
    /// System rows of each run.
    system_rows: BTreeMap<String, i64>,
}

impl Source for Trackio {
    fn name(&self) -> &'static str {
        "trackio"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        is_inbox(path) || judge::has_extension(path, &["db"]) && !split(path).1.starts_with("registry-")
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        if !is_inbox(path) {
            return judge::other("no database");
        }
        let line = head.split(|c| *c == b'\n').next().unwrap_or_default();
        let Some(row) = parse_whole(line) else { return judge::other("no rows of an inbox") };
        match (row.get("project"), row.get("run")) {
            (Some(Json::String(project)), Some(_)) => Verdict::Log { marks: canonical(project) },
            _ => judge::other("no rows of an inbox"),
        }
    }

    fn sniff_file(&self, path: &str, head: &[u8], file: &Path, scratch: &Path) -> Verdict {
        if is_inbox(path) {
            return self.sniff(path, head);
        }
        if !head.is_empty() && !head.starts_with(sqlite::MAGIC) {
            return judge::other("no database");
        }
        match sqlite::read(file, scratch, &mut |connection| sqlite::columns(connection, "metrics")) {
            Ok(columns) if ["run_name", "step", "metrics"].iter().all(|name| sqlite::has(&columns, name)) => {
                Verdict::Log { marks: String::new() }
            }
            Ok(columns) if columns.is_empty() => judge::other("no table of Trackio"),
            Ok(_) => judge::other("a table `metrics` of something else"),
            Err(error) => judge::other(&format!("{error:#}")),
        }
    }

    /// A run of logs is a database with its inbox; its runs have ids of their own.
    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut databases: BTreeMap<String, Vec<RunInput>> = BTreeMap::new();
        for file in files {
            let (database, kind) = match inbox_folder(&file.path) {
                Some(folder) => (join(folder, &format!("{}.db", file.marks)), InputKind::Log),
                None => (file.path.clone(), InputKind::Database),
            };
            databases.entry(database).or_default().push(RunInput::new(&file.path, kind));
        }
        databases.into_iter().map(|(database, inputs)| logs(&database, inputs)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        if is_inbox(log.path) {
            return read_inbox(log, from, sink);
        }
        let before: State = serde_json::from_str(&from.state).unwrap_or_default();
        let page = sqlite::read(log.file, log.scratch, &mut |connection| Page::read(connection, &before))?;
        let row_count = from.row_count + page.rows.len() as u64;
        let state = page.tell(before, sink);
        Ok(Resume { offset: from.offset, state: serde_json::to_string(&state)?, row_count })
    }
}

/// `inbox/<writer>/00000001.jsonl`
fn is_inbox(path: &str) -> bool {
    inbox_folder(path).is_some()
}

/// The folder that holds the inbox of a row file.
fn inbox_folder(path: &str) -> Option<&str> {
    let (folder, name) = split(path);
    let number = name.strip_suffix(".jsonl")?;
    let is_number = number.len() == 8 && number.bytes().all(|c| c.is_ascii_digit());
    let (above, inbox) = split(split(folder).0);
    (is_number && inbox == "inbox").then_some(above)
}

/// The name of a project's database: letters, digits, `-` and `_` of its own.
fn canonical(project: &str) -> String {
    let name: String = project.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).collect();
    if name.is_empty() { "default".to_string() } else { name }
}

fn logs(database: &str, mut inputs: Vec<RunInput>) -> RunLogs {
    // What waits in the inbox came last.
    inputs.sort_by_key(|input| input.kind != InputKind::Database);
    let project = split(database).1.trim_end_matches(".db").to_string();
    RunLogs { project: Some(project), ..RunLogs::of_inputs(database, inputs) }
}

/// A row of any of the tables.
struct Record {
    run: String,
    name: String,
    time: Option<TimeMs>,
    what: What,
}

enum What {
    Metrics { step: i64, json: Vec<u8> },
    System { json: Vec<u8> },
    Alert { step: Option<i64>, title: String, text: String, level: Level },
}

/// What one call reads of a database.
#[derive(Default)]
struct Page {
    rows: Vec<Record>,
    /// New ends of the tables.
    tables: BTreeMap<String, (i64, u64)>,
    /// Name and configuration of each run, by the table of configurations.
    configs: BTreeMap<String, (String, Vec<u8>)>,
    /// What kept it from reading on.
    damage: Option<String>,
}

impl Page {
    fn read(connection: &Connection, before: &State) -> anyhow::Result<Self> {
        let mut page = Self::default();
        for table in ["metrics", "system_metrics", "alerts"] {
            page.read_table(connection, table, before)?;
        }
        page.read_configs(connection)?;
        for run in before.runs.keys().filter(|run| !page.configs.contains_key(*run)) {
            // Without a configuration a run is its rows: were they deleted?
            let columns = sqlite::columns(connection, "metrics")?;
            let sql = format!("select 1 from metrics where {} = ?1 limit 1", id_column(&columns));
            if !connection.prepare(&sql)?.exists([run])? {
                return Err(StartOver.into());
            }
        }
        Ok(page)
    }

    fn read_table(&mut self, connection: &Connection, table: &str, before: &State) -> anyhow::Result<()> {
        let columns = sqlite::columns(connection, table)?;
        let known = before.tables.get(table).copied();
        if columns.is_empty() {
            return if known.is_some() { Err(StartOver.into()) } else { Ok(()) };
        }
        let sql = select(table, &columns);
        if let Some((last, hash)) = known
            && row_hash(connection, &sql, last)? != Some(hash)
        {
            return Err(StartOver.into());
        }
        let after = known.map_or(i64::MIN, |(last, _)| last);
        let (before, mut end) = (self.rows.len(), None);
        let outcome = self.read_rows(connection, table, &format!("{sql} where id > {after}"), &mut end);
        // Rows before damage count; it is met again by the next call, which tells it.
        if let Err(error) = outcome {
            let message = format!("table {table}: {error}");
            self.damage = (self.rows.len() == before).then_some(message).or(self.damage.take());
        }
        if let Some((end, hash)) = end.and_then(|end| Some((end, row_hash(connection, &sql, end).ok()??))) {
            self.tables.insert(table.to_string(), (end, hash));
        }
        Ok(())
    }

    fn read_rows(
        &mut self,
        connection: &Connection,
        table: &str,
        sql: &str,
        end: &mut Option<i64>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(&format!("{sql} order by id limit {PAGE_ROWS}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            *end = Some(row.get(0)?);
            self.rows.push(record(table, row)?);
        }
        Ok(())
    }

    fn read_configs(&mut self, connection: &Connection) -> anyhow::Result<()> {
        let columns = sqlite::columns(connection, "configs")?;
        if columns.is_empty() {
            return Ok(());
        }
        let sql = format!("select {}, run_name, config from configs", id_column(&columns));
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.configs.insert(text(row, 0), (text(row, 1), bytes(row, 2)));
        }
        Ok(())
    }

    /// Hands over what was read; returns how far that is.
    fn tell(self, mut state: State, sink: &mut dyn Sink) -> State {
        let mut names: BTreeMap<&str, &str> =
            self.configs.iter().map(|(run, (name, _))| (run.as_str(), name.as_str())).collect();
        for row in &self.rows {
            names.entry(&row.run).or_insert(&row.name);
        }
        for (run, name) in names {
            let config = self.configs.get(run).map(|(_, config)| config.as_slice()).unwrap_or_default();
            let hash = axis::hash_of(&[name.as_bytes(), b"\0", config].concat());
            if state.runs.insert(run.to_string(), hash) != Some(hash) {
                sink.select_run(run);
                tell_run(name, config, sink);
            }
        }
        for row in &self.rows {
            sink.select_run(&row.run);
            row.tell(&mut state, sink);
        }
        if let Some(message) = self.damage {
            sink.problem(Problem { position: "file".to_string(), message });
        }
        state.tables.extend(self.tables);
        state
    }
}

/// The column that tells runs apart.
fn id_column(columns: &[String]) -> &'static str {
    if sqlite::has(columns, "run_id") { "run_id" } else { "run_name" }
}

/// The columns that [`record`] reads, in its order; those that a version lacks are null.
fn select(table: &str, columns: &[String]) -> String {
    let or_null = |name: &'static str| if sqlite::has(columns, name) { name } else { "null" };
    let own = match table {
        "metrics" => ["step", "metrics", "null", "null"],
        "system_metrics" => ["null", "metrics", "null", "null"],
        _ => ["step", "title", "text", "level"],
    };
    let [a, b, c, d] = own.map(or_null);
    format!(
        "select id, {}, run_name, {}, {a}, {b}, {c}, {d} from {table}",
        id_column(columns),
        or_null("timestamp")
    )
}

fn record(table: &str, row: &Row<'_>) -> rusqlite::Result<Record> {
    let step: Option<i64> = row.get(4)?;
    let what = match table {
        "metrics" => What::Metrics { step: step.unwrap_or_default(), json: bytes(row, 5) },
        "system_metrics" => What::System { json: bytes(row, 5) },
        _ => What::Alert { step, title: text(row, 5), text: text(row, 6), level: level(&text(row, 7)) },
    };
    let time = axis::time_of(&Json::String(text(row, 3).into()));
    Ok(Record { run: text(row, 1), name: text(row, 2), time, what })
}

/// Text or blob: columns of text hold blobs in newer versions.
fn bytes(row: &Row<'_>, column: usize) -> Vec<u8> {
    match row.get_ref(column) {
        Ok(ValueRef::Text(bytes) | ValueRef::Blob(bytes)) => bytes.to_vec(),
        _ => Vec::new(),
    }
}

fn text(row: &Row<'_>, column: usize) -> String {
    text_of(&bytes(row, column)).into_owned()
}

fn level(word: &str) -> Level {
    match word.to_ascii_lowercase().as_str() {
        "error" => Level::Error,
        "info" => Level::Info,
        _ => Level::Warn,
    }
}

/// What tells a row from another of the same number; `None` where there is no such row. The name may
/// change: runs are renamed.
fn row_hash(connection: &Connection, sql: &str, id: i64) -> anyhow::Result<Option<u64>> {
    let hash = |row: &Row<'_>| Ok(axis::hash_of(&[1, 3, 5].map(|column| bytes(row, column)).join(&0)));
    Ok(connection.prepare(&format!("{sql} where id = ?1"))?.query_row([id], hash).optional()?)
}

fn tell_run(name: &str, config: &[u8], sink: &mut dyn Sink) {
    let config = parse_whole(config).unwrap_or(Json::Null);
    let word = |key: &str| config.get(key).and_then(Json::as_str).map(str::to_string);
    sink.facts(RunFacts {
        name: Some(name.to_string()).filter(|name| !name.is_empty()),
        created_at: config.get("_Created").and_then(axis::time_of),
        run_group: word("_Group"),
        user_name: word("_Username"),
        ..RunFacts::default()
    });
    let Json::Object(fields) = &config else { return };
    for (key, value) in fields.iter().filter(|(key, _)| !key.starts_with('_')) {
        flatten(key, value, &mut |key, value| sink.config(key, value.to_compact_config()));
    }
}

impl Record {
    fn tell(&self, state: &mut State, sink: &mut dyn Sink) {
        match &self.what {
            What::Metrics { step, json } => tell_row(json, "", *step, self.time, sink),
            What::System { json } => {
                let count = state.system_rows.entry(self.run.clone()).or_default();
                let step = *count;
                *count += 1;
                if step == 0 {
                    tell_gpus(json, sink);
                }
                tell_row(json, "system/", step, self.time, sink);
            }
            What::Alert { step, title, text, level } => sink.alert(Alert {
                level: *level,
                step: *step,
                time: self.time,
                title: title.clone(),
                text: text.clone(),
            }),
        }
    }
}

/// What there is of accelerators, by a row of system metrics: `gpu/<i>/total_memory`, in GiB.
fn tell_gpus(json: &[u8], sink: &mut dyn Sink) {
    let Some(row) = parse_whole(json) else { return };
    let (mut gpu_count, mut gpu_memory_bytes) = (None, None);
    flatten("", &row, &mut |key, value| {
        let Some((index, what)) = key.strip_prefix("gpu/").and_then(|key| key.split_once('/')) else {
            return;
        };
        let Ok(index) = index.parse::<u16>() else { return };
        gpu_count = gpu_count.max(Some(u32::from(index) + 1));
        let total = value.as_metric().filter(|total| what == "total_memory" && *total > 0.0);
        if let Some(bytes) = total.map(|total| (total * BYTES_PER_GIB) as u64) {
            gpu_memory_bytes = Some(gpu_memory_bytes.map_or(bytes, |other: u64| other.min(bytes)));
        }
    });
    if gpu_count.is_some() {
        sink.facts(RunFacts { gpu_count, gpu_memory_bytes, ..RunFacts::default() });
    }
}

/// Media and tables are objects with a type.
fn is_media(fields: &Fields<'_>) -> bool {
    fields.iter().any(|(key, _)| key == "_type")
}

fn tell_row(json: &[u8], prefix: &str, step: i64, time: Option<TimeMs>, sink: &mut dyn Sink) {
    let Some(row) = parse_whole(json) else {
        let message = "the row is no JSON".to_string();
        return sink.problem(Problem { position: format!("step {step}"), message });
    };
    let is_system = !prefix.is_empty();
    flatten_but(is_media, "", &row, &mut |key, value| {
        let key = format!("{prefix}{key}");
        match (value.as_metric(), value) {
            (Some(value), _) => {
                if is_system && step == 0 {
                    sink.axis(&key, Axis::Index);
                }
                sink.point(Point { key: &key, step, value, time });
            }
            (None, Json::String(text)) => {
                sink.text(Text { key, step: Some(step), time, text: text.to_string() });
            }
            _ => {}
        }
    });
}

/// Rows of an inbox: they appear in whole files, which go away once the database has them.
fn read_inbox(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let take = &mut |line: &[u8], sink: &mut dyn Sink| match parse_whole(line).and_then(|row| waiting(&row)) {
        Some((record, config)) => {
            sink.select_run(&record.run);
            if state.runs.insert(record.run.clone(), 0).is_none() {
                tell_run(&record.name, config.as_bytes(), sink);
            }
            record.tell(&mut state, sink);
            Ok(())
        }
        None if line.trim_ascii().is_empty() => Ok(()),
        None => Err("no row of an inbox".into()),
    };
    let (offset, row_count) = each_line(log, &from, sink, take)?;
    Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
}

/// A row that waits, and the configuration it brings.
fn waiting(row: &Json<'_>) -> Option<(Record, String)> {
    let word = |key: &str| row.get(key).and_then(Json::as_str).map(str::to_string);
    let json = |key: &str| row.get(key).map(|value| value.to_text().into_bytes()).unwrap_or_default();
    let name = word("run").or_else(|| word("run_name"))?;
    let step = row.get("step").and_then(axis::step_of);
    let what = match word("kind")?.as_str() {
        "metric" => What::Metrics { step: step.unwrap_or_default(), json: json("metrics") },
        "system_metric" => What::System { json: json("metrics") },
        "alert" => What::Alert {
            step,
            title: word("title").unwrap_or_default(),
            text: word("text").unwrap_or_default(),
            level: level(&word("level").unwrap_or_default()),
        },
        _ => return None,
    };
    let time = row.get("timestamp").and_then(axis::time_of);
    let config = row.get("config").map(Json::to_text).unwrap_or_default();
    Some((Record { run: word("run_id").unwrap_or_else(|| name.clone()), name, time, what }, config))
}
