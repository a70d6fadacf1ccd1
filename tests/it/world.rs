//! Generated projects: logs of several formats that grow, are replaced and deleted, and the model of
//! what the tables must hold then.

use crate::common::Project;
use crate::model::{self, File, Input, Run, Tables, events, jsonl, row, time, wandb};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime};

/// The log of one training.
#[derive(Debug, Clone)]
pub enum Log {
    Jsonl(jsonl::Log, Option<f64>),
    Wandb(wandb::Log),
    Events(events::Log),
}

/// A project and how it comes about.
#[derive(Clone)]
pub struct World {
    /// What is there first, and what takes its place: the same, another log, or nothing.
    pub logs: Vec<(Option<Log>, Option<Log>)>,
    /// Which file grows next, up to which part of what is left of it, and whether a refresh follows.
    turns: Vec<(usize, u8, bool)>,
    /// Part of the end that is missing, by file, out of 255.
    torn: Vec<Option<u8>>,
    /// How long after the last word in any log the question is asked, in seconds.
    pub pause_s: i64,
}

/// What is said, a line each; the bytes of the logs where they are text.
impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut show = |when: &str, log: &Option<Log>| match log {
            Some(Log::Jsonl(log, config)) => {
                let text = String::from_utf8_lossy(&log.file().bytes).into_owned();
                writeln!(f, "{when} {} config {config:?}\n{text}", log.path)
            }
            Some(Log::Wandb(log)) => {
                writeln!(f, "{when} {}", log.id)?;
                log.starts.iter().try_for_each(|start| writeln!(f, "{start:?}"))
            }
            Some(Log::Events(log)) => writeln!(f, "{when} {} {:?}", log.directory, log.entries),
            None => writeln!(f, "{when} nothing"),
        };
        for (before, after) in &self.logs {
            show("before:", before)?;
            show("after:", after)?;
        }
        writeln!(f, "turns {:?}, torn {:?}, pause {} s", self.turns, self.torn, self.pause_s)
    }
}

const FILES: [&str; 4] = ["metrics.jsonl", "crash.jsonl", "train_b.ndjson", "sweep.jsonl"];

fn log(n: usize) -> impl Strategy<Value = Log> {
    let folder = format!("a{n}/größe b");
    let path = select(FILES.to_vec()).prop_map(move |file| format!("{folder}/{file}"));
    let jsonl = path.prop_flat_map(|path| jsonl::log(path, &["seed_1", "seed_2", "été"]));
    let config = prop::option::weighted(0.3, 0.0..1.0f64);
    prop_oneof![
        4 => (jsonl, config).prop_map(|(log, config)| Log::Jsonl(log, config)),
        2 => select(wandb::IDS.to_vec()).prop_flat_map(move |id| wandb::log(format!("w{n}"), id)).prop_map(Log::Wandb),
        2 => events::log(format!("runs/tb_{n}")).prop_map(Log::Events),
    ]
}

/// Any project.
pub fn world() -> impl Strategy<Value = World> {
    let slot = |n: usize| {
        prop_oneof![
            6 => log(n).prop_map(|log| (None, Some(log))),
            2 => (log(n), log(n)).prop_map(|(before, after)| (Some(before), Some(after))),
            1 => log(n).prop_map(|log| (Some(log), None)),
        ]
    };
    let logs = (1usize..4).prop_flat_map(move |count| (0..count).map(slot).collect::<Vec<_>>());
    let turns = prop::collection::vec((0usize..64, any::<u8>(), prop::bool::weighted(0.6)), 0..7);
    let torn = prop::collection::vec(prop::option::weighted(0.2, 0u8..60), 12);
    let pause_s = select(vec![5, 900, 20_000, 40_000_000]);
    (logs, turns, torn, pause_s).prop_map(|(logs, turns, torn, pause_s)| World { logs, turns, torn, pause_s })
}

impl Log {
    pub fn files(&self) -> Vec<File> {
        match self {
            Log::Jsonl(log, _) => vec![log.file()],
            Log::Wandb(log) => log.files(),
            Log::Events(log) => log.files(),
        }
    }

    /// Runs and inputs, with so many bytes of each file there.
    fn meaning(&self, sizes: &[usize], modified_ms: &[i64]) -> (Vec<Run>, Vec<Input>) {
        let files = self.files();
        let said: Vec<usize> = files
            .iter()
            .zip(sizes)
            .map(|(file, size)| file.ends.iter().filter(|end| *end <= size).count())
            .collect();
        let newest = modified_ms
            .iter()
            .zip(&said)
            .filter(|(_, said)| **said > 0)
            .map(|(ms, _)| *ms)
            .max()
            .unwrap_or(0);
        match self {
            Log::Jsonl(log, config) => {
                let (mut runs, mut inputs) =
                    (log.runs(said[0], newest), vec![log.input(said[0], sizes[0], newest)]);
                if let Some((path, text)) = self.config() {
                    inputs.push(config_input(&path, &text));
                    for run in &mut runs {
                        run.inputs.insert(path.clone());
                        for (key, value) in [("lr", config.unwrap_or(0.0)), ("batch", 8.0)] {
                            // The log has the last word.
                            run.config.entry(key.to_string()).or_insert((value.to_string(), Some(value)));
                        }
                    }
                }
                (runs, inputs)
            }
            Log::Wandb(log) => (log.runs(&said, newest), log.inputs(&said, sizes, modified_ms)),
            Log::Events(log) => (log.runs(&said, newest), log.inputs(&said, sizes, modified_ms)),
        }
    }

    /// The configuration beside the log.
    fn config(&self) -> Option<(String, String)> {
        let Log::Jsonl(log, Some(lr)) = self else { return None };
        let folder = log.path.rsplit_once('/').unwrap().0;
        Some((format!("{folder}/config.json"), format!("{{\"lr\": {lr}, \"batch\": 8}}")))
    }
}

/// All configurations were written at one time.
const CONFIG_MS: i64 = 1_770_000_000_000;

fn config_input(path: &str, text: &str) -> Input {
    let shown =
        row(json!({"path": path, "source": "jsonl", "size_bytes": text.len(), "read_bytes": text.len(),
        "modified_at": time(Some(CONFIG_MS)), "row_count": 1, "problem_count": 0}));
    Input { row: shown, problems: Vec::new() }
}

/// A project on its way.
pub struct Growth<'w> {
    world: &'w World,
    project: &'w Project,
    /// Files that are there in the end: all bytes, how many of them are written, and when.
    files: BTreeMap<String, (Vec<u8>, usize, i64)>,
    /// How many bytes of each it takes to know it for a log.
    least: BTreeMap<String, usize>,
    clock_ms: i64,
}

impl<'w> Growth<'w> {
    pub fn new(world: &'w World, project: &'w Project) -> Self {
        let after = world.logs.iter().filter_map(|(_, after)| after.as_ref());
        let files: Vec<File> = after.flat_map(Log::files).collect();
        let is_lines = |file: &File| !file.starts.is_empty();
        let mark = |file: &File| file.ends[if is_lines(file) { file.ends.len().min(14) - 1 } else { 0 }];
        let least: BTreeMap<String, usize> =
            files.iter().map(|file| (file.path.clone(), mark(file))).collect();
        let torn = world.torn.iter().chain(std::iter::repeat(&None));
        let files = files.into_iter().zip(torn).map(|(file, torn)| {
            let missing = file.bytes.len() * usize::from(torn.unwrap_or(0)) / 255;
            let size = (file.bytes.len() - missing).max(least[&file.path]);
            (file.path, (file.bytes[..size].to_vec(), 0, 0))
        });
        let files = files.collect();
        Self { world, project, files, least, clock_ms: CONFIG_MS }
    }

    fn write(&mut self, path: &str, bytes: &[u8], append: bool) -> i64 {
        match append {
            true => self.project.append(path, bytes),
            false => self.project.write(path, bytes),
        }
        self.clock_ms += 1_000;
        self.set_time(path, self.clock_ms);
        self.clock_ms
    }

    fn set_time(&self, path: &str, ms: i64) {
        let file = fs::File::options().append(true).open(self.project.root().join(path)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_millis(ms as u64)).unwrap();
    }

    /// Writes what is there first, and removes what does not stay.
    pub fn begin(&mut self) {
        let before: Vec<File> =
            self.world.logs.iter().filter_map(|(before, _)| before.as_ref()).flat_map(Log::files).collect();
        for file in &before {
            self.write(&file.path, &file.bytes, false);
        }
        self.write_configs(true);
        if !before.is_empty() {
            self.project.refresh();
        }
        for file in before.iter().filter(|file| !self.files.contains_key(&file.path)) {
            fs::remove_file(self.project.root().join(&file.path)).unwrap();
        }
    }

    fn write_configs(&self, first: bool) {
        for (before, after) in &self.world.logs {
            let [before, after] = [before, after].map(|log| log.as_ref().and_then(Log::config));
            match (before, after) {
                (Some((path, _)), None) if !first => drop(fs::remove_file(self.project.root().join(path))),
                (Some((path, text)), _) | (None, Some((path, text))) if first => {
                    self.project.write(&path, text.replace(": 8", ": 16"));
                }
                (_, Some((path, text))) => {
                    self.project.write(&path, text);
                    self.set_time(&path, CONFIG_MS);
                }
                _ => {}
            }
        }
    }

    /// Writes every log as it is in the end.
    pub fn write_all(&mut self) {
        let paths: Vec<String> = self.files.keys().cloned().collect();
        paths.iter().for_each(|path| self.append(path, self.files[path].0.len()));
        self.write_configs(false);
    }

    /// Lets the files grow in turns. `check` is called at moments at which all logs can be told.
    pub fn grow(&mut self, check: &mut dyn FnMut(&Self)) {
        let paths: Vec<String> = self.files.keys().cloned().collect();
        for (turn, part, refresh) in &self.world.turns {
            let Some(path) = paths.get(turn % paths.len().max(1)) else { break };
            let (bytes, size, _) = &self.files[path];
            self.append(path, size + (bytes.len() - size) * usize::from(*part) / 255);
            if *refresh {
                self.project.refresh();
            }
        }
        self.write_configs(false);
        let can_tell = self
            .files
            .iter()
            .all(|(path, (bytes, size, _))| *size >= self.least[path] && size * 2 > bytes.len());
        if can_tell && !self.files.is_empty() {
            self.project.refresh();
            check(self);
        }
        self.write_all();
        self.project.refresh();
    }

    fn append(&mut self, path: &str, end: usize) {
        let (bytes, size, _) = self.files[path].clone();
        if size == 0 || end > size {
            let ms = self.write(path, &bytes[size..end], size > 0);
            self.files.insert(path.to_string(), (bytes, end, ms));
        }
    }

    /// Runs and inputs as they must be now.
    pub fn meaning(&self) -> (Vec<Run>, Vec<Input>) {
        let (mut runs, mut inputs) = (Vec::new(), Vec::new());
        for log in self.world.logs.iter().filter_map(|(_, after)| after.as_ref()) {
            let states: Vec<(usize, i64)> =
                log.files().iter().map(|file| (self.files[&file.path].1, self.files[&file.path].2)).collect();
            let (sizes, times): (Vec<usize>, Vec<i64>) = states.into_iter().unzip();
            let (more, read) = log.meaning(&sizes, &times);
            runs.extend(more);
            inputs.extend(read);
        }
        (runs, inputs)
    }
}

/// The last time in any log, and a while after it.
pub fn now_ms(runs: &[Run], pause_s: i64) -> i64 {
    let times = runs.iter().flat_map(|run| run.points.iter().filter_map(|point| point.time));
    times.max().unwrap_or(CONFIG_MS) + pause_s * 1_000
}

/// All tables as runq shows them. Runs bear a label in place of their id, which only the producer or
/// a hash tells.
pub fn shown(project: &Project, runs: &[Run]) -> Tables {
    use futures::TryStreamExt;
    let workspace = project.open();
    let tables = model::tables(&[], &[], 0);
    let mut shown = crate::common::shared_runtime().block_on(async {
        let engine = workspace.engine().await.unwrap();
        let mut shown = Tables::new();
        for table in tables.keys() {
            // What is found in a run is no word of its log.
            let rows = match *table {
                "alerts" => "* from alerts where origin = 'logged'",
                "runs" => "* except (phase, worst_level) from runs",
                other => &format!("* from {other}"),
            };
            let plan = engine.plan(&format!("select {rows}")).await.unwrap();
            let batches: Vec<_> = engine.execute(plan).await.unwrap().try_collect().await.unwrap();
            shown.insert(table, crate::common::rows(&batches));
        }
        shown
    });
    let label = |run: &model::Row| {
        format!("{}|{}", run["path"].as_str().unwrap(), run["name"].as_str().unwrap_or(""))
    };
    let labels: BTreeMap<String, String> =
        shown["runs"].iter().map(|run| (run["run_id"].as_str().unwrap().to_string(), label(run))).collect();
    check_ids(&labels, runs);
    for row in shown.values_mut().flatten() {
        if let Some(Value::String(id)) = row.get("alert_id") {
            let number: i64 = id.rsplit('-').next().unwrap().parse().unwrap();
            row.insert("alert_id".into(), json!(number));
            row.retain(|name, value| {
                name != "seq" && !(value.is_null() && ALWAYS_NULL.contains(&name.as_str()))
            });
        }
        if let Some(Value::String(id)) = row.get("run_id") {
            let label = labels.get(id).cloned().unwrap_or_else(|| format!("no run has the id {id}"));
            row.insert("run_id".into(), json!(label));
        }
        row.remove("message");
    }
    shown
}

/// The id of each run, by its label.
pub fn label_ids(project: &Project) -> BTreeMap<String, String> {
    let runs = project.ask("select run_id, path, name from runs");
    let cell = |row: &Value, column: &str| row[column].as_str().unwrap_or("").to_string();
    runs.iter()
        .map(|run| (format!("{}|{}", cell(run, "path"), cell(run, "name")), cell(run, "run_id")))
        .collect()
}

/// Fails with the first difference between two answers.
pub fn same_rows(shown: &[model::Row], expected: &[model::Row], what: &str) {
    for (want, have) in expected.iter().zip(shown) {
        for (column, cell) in want {
            let same = have.get(column).is_some_and(|have| same_cell(cell, have, 0.0));
            assert!(
                same,
                "{what}: {column} is {:?}, not {cell}\nexpected {want:?}\nshown    {have:?}",
                have.get(column)
            );
        }
        assert_eq!(have.len(), want.len(), "{what}: columns of {have:?}");
    }
    assert_eq!(shown.len(), expected.len(), "{what}: rows\nexpected {expected:?}\nshown    {shown:?}");
}

/// Columns of `alerts` that logged alerts do not have.
const ALWAYS_NULL: [&str; 7] =
    ["key", "end_step", "detected_step", "value", "baseline", "score", "row_count"];

/// A run bears its producer's id; where several do, `~` and 8 characters follow; without one, 8
/// characters are the id.
fn check_ids(labels: &BTreeMap<String, String>, runs: &[Run]) {
    let expected: BTreeSet<String> = runs.iter().map(Run::label).collect();
    assert_eq!(labels.values().cloned().collect::<BTreeSet<_>>(), expected, "runs");
    for run in runs {
        let id = labels.iter().find(|(_, label)| **label == run.label()).unwrap().0;
        let bearers = runs.iter().filter(|other| run.id.is_some() && other.id == run.id).count();
        let hash = match &run.id {
            Some(own) if bearers == 1 => {
                assert_eq!(id, own);
                continue;
            }
            Some(own) => id.strip_prefix(&format!("{own}~")).unwrap_or_else(|| panic!("{id} for {own}")),
            None => id,
        };
        assert!(hash.len() == 8 && hash.bytes().all(|c| c.is_ascii_alphanumeric()), "{id}");
    }
}

/// Fails with the first difference between two sets of tables.
pub fn assert_same(shown: &Tables, expected: &Tables, when: &str) {
    for (table, want) in expected {
        let (want, have) = (sorted(want), sorted(&shown[table]));
        for (want, have) in want.iter().zip(&have) {
            let columns: BTreeSet<&String> = want.keys().chain(have.keys()).collect();
            for column in columns {
                let [want_cell, have_cell] = [want, have].map(|row| row.get(column).unwrap_or(&Value::Null));
                let tolerance =
                    if ["mean", "std"].contains(&column.as_str()) { tolerance(want) } else { 0.0 };
                let same = same_cell(want_cell, have_cell, tolerance);
                assert!(
                    same,
                    "{when}: {table}.{column} is {have_cell}, not {want_cell}\nexpected {want:?}\nshown    {have:?}"
                );
            }
        }
        let (first, missing) = (have.get(want.len()), want.get(have.len()));
        assert_eq!(
            have.len(),
            want.len(),
            "{when}: rows of {table}; too many: {first:?}; missing: {missing:?}"
        );
    }
}

/// Rounding errors of sums grow with the values.
fn tolerance(summary: &model::Row) -> f64 {
    let size = |column: &str| summary[column].as_f64().unwrap_or(0.0).abs();
    1e-9 * size("min").max(size("max"))
}

fn sorted(rows: &[model::Row]) -> Vec<model::Row> {
    let mut rows = rows.to_vec();
    rows.sort_by_cached_key(|row| {
        ORDER
            .iter()
            .map(|column| {
                row.get(*column).map_or(String::new(), |cell| match cell {
                    Value::Number(number) => {
                        format!("{:020}", number.as_i64().map_or(0, |n| i128::from(n) + (1i128 << 63)))
                    }
                    other => other.to_string(),
                })
            })
            .collect::<Vec<_>>()
    });
    rows
}

/// Columns that tell the rows of any table apart.
const ORDER: [&str; 11] =
    ["run_id", "path", "key", "alert_id", "line", "segment", "seq", "step", "position", "time", "text"];

fn same_cell(want: &Value, have: &Value, tolerance: f64) -> bool {
    match (want, have) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a == b || (a as f64 - b as f64).abs() <= tolerance,
            _ => a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a == b || (a - b).abs() <= tolerance),
        },
        _ => want == have,
    }
}
