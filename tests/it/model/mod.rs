//! A plain model of what the tables must hold: everything logged in lists, the rules of the tables
//! said once more in the simplest way. It knows nothing of files in pieces, Parquet or SQL, and
//! shares no code with the conversion.

pub mod events;
pub mod jsonl;
pub mod wandb;

use chrono::DateTime;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A row of a table, by column.
pub type Row = Map<String, Value>;

/// Rows of each table.
pub type Tables = BTreeMap<&'static str, Vec<Row>>;

/// A file of a log, and where each thing said in it begins and is complete.
#[derive(Debug, Clone)]
pub struct File {
    pub path: String,
    pub bytes: Vec<u8>,
    pub starts: Vec<usize>,
    pub ends: Vec<usize>,
}

/// A logged number.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub key: String,
    pub step: i64,
    pub value: f64,
    pub time: Option<i64>,
    pub segment: i32,
    pub seq: i64,
    pub internal: bool,
}

/// A point as the tables show it.
#[derive(Debug, Clone)]
pub struct Placed {
    pub point: Point,
    pub step: i64,
    pub superseded: bool,
}

/// All that the logs of one run say.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub source: &'static str,
    pub path: String,
    /// The producer's id.
    pub id: Option<String>,
    /// Name, project and other columns of `runs` that are told as they are.
    pub facts: Row,
    pub inputs: BTreeSet<String>,
    pub points: Vec<Point>,
    /// What the steps of a metric mean, where they are no training steps.
    pub axes: BTreeMap<String, &'static str>,
    /// From where on points were taken back, and when: (segment, seq, step).
    pub rewinds: Vec<(i32, i64, i64)>,
    pub texts: Vec<(String, Option<i64>, Option<i64>, String)>,
    pub console: Vec<(Option<i64>, Option<&'static str>, String)>,
    /// The file of each line.
    pub console_files: Vec<String>,
    pub alerts: Vec<Row>,
    pub config: BTreeMap<String, (String, Option<f64>)>,
    pub goals: BTreeMap<String, &'static str>,
    pub finals: BTreeMap<String, f64>,
    pub segments: i32,
    pub end: Option<&'static str>,
    pub writes_ends: bool,
    /// Start and last word by the log itself, beside what points, texts, lines and alerts say.
    pub created_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub duration_s: Option<f64>,
    pub planned_steps: Option<i64>,
    /// Latest change of its files.
    pub modified_ms: i64,
}

/// A file that is read.
#[derive(Debug, Clone)]
pub struct Input {
    pub row: Row,
    /// Where something could not be read.
    pub problems: Vec<String>,
}

/// A number as the answers show it.
pub fn number(value: f64) -> Value {
    match value {
        _ if value.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!(value),
    }
}

/// A time as the answers show it.
pub fn time(ms: Option<i64>) -> Value {
    let shown = |ms| DateTime::from_timestamp_millis(ms).unwrap().format("%Y-%m-%dT%H:%M:%S%.3fZ");
    ms.map_or(Value::Null, |ms| json!(shown(ms).to_string()))
}

/// A JSON object as a row.
pub fn row(value: Value) -> Row {
    value.as_object().unwrap().clone()
}

impl Run {
    /// What stands for the run where its id is not known beforehand.
    pub fn label(&self) -> String {
        format!("{}|{}", self.path, self.facts.get("name").and_then(Value::as_str).unwrap_or(""))
    }

    pub fn keys(&self) -> BTreeSet<&str> {
        self.points.iter().filter(|point| !point.internal).map(|point| point.key.as_str()).collect()
    }

    fn axis(&self, key: &str) -> &'static str {
        let points = || self.points.iter().filter(|point| point.key == key && !point.internal);
        let is_constant =
            points().count() > 1 && points().all(|p| Some(p.step) == points().next().map(|p| p.step));
        if is_constant && self.axes.get(key) != Some(&"index") {
            return "index";
        }
        self.axes.get(key).copied().unwrap_or("step")
    }

    /// The points of a metric in order of arrival, at the steps that the tables show.
    pub fn placed(&self, key: &str, internal: bool) -> Vec<Placed> {
        let is_it = |point: &&Point| point.key == key && point.internal == internal;
        let mut points: Vec<Point> = self.points.iter().filter(is_it).cloned().collect();
        points.sort_by_key(|point| (point.segment, point.seq));
        let steps: Vec<i64> = match (internal, self.axes.get(key), self.axis(key)) {
            (true, ..) => points.iter().map(|point| point.step).collect(),
            (_, Some(&"index"), _) => continued(&points),
            (_, _, "index") => (0..points.len() as i64).collect(),
            _ => points.iter().map(|point| point.step).collect(),
        };
        let is_rewound = |point: &Point| {
            // Steps are taken back; where they were counted by the reader there is nothing to compare.
            let has_steps = self.axes.get(key) != Some(&"index");
            let before = |rewind: &&(i32, i64, i64)| (point.segment, point.seq) < (rewind.0, rewind.1);
            has_steps && self.rewinds.iter().filter(before).any(|(.., from)| point.step >= *from)
        };
        let superseded =
            |i: usize| !internal && (steps[i + 1..].contains(&steps[i]) || is_rewound(&points[i]));
        let placed = |(i, point): (usize, &Point)| Placed {
            point: point.clone(),
            step: steps[i],
            superseded: superseded(i),
        };
        points.iter().enumerate().map(placed).collect()
    }

    /// The points that count, by step.
    pub fn counting(&self, key: &str) -> Vec<(i64, f64)> {
        let counting = self.placed(key, false).into_iter().filter(|placed| !placed.superseded);
        let mut points: Vec<(i64, f64)> = counting.map(|placed| (placed.step, placed.point.value)).collect();
        points.sort_by_key(|point| point.0);
        points
    }

    fn metric_rows(&self, raw: bool) -> Vec<Row> {
        let mut keys: Vec<(&str, bool)> = self.keys().into_iter().map(|key| (key, false)).collect();
        let internal: BTreeSet<&str> =
            self.points.iter().filter(|p| p.internal).map(|p| p.key.as_str()).collect();
        keys.extend(internal.into_iter().filter(|_| raw).map(|key| (key, true)));
        let placed = keys.into_iter().flat_map(|(key, internal)| self.placed(key, internal));
        let show = |placed: Placed| {
            let point = placed.point;
            let mut shown = row(json!({"run_id": self.label(), "key": point.key, "step": placed.step,
                "value": number(point.value), "time": time(point.time)}));
            if raw {
                let more =
                    json!({"segment": point.segment, "seq": point.seq, "superseded": placed.superseded});
                shown.extend(row(more));
            }
            shown
        };
        placed.filter(|placed| raw || !placed.superseded).map(show).collect()
    }

    /// The rows of `summary`.
    pub fn summary(&self) -> Vec<Row> {
        let names: BTreeSet<&str> =
            self.keys().into_iter().chain(self.finals.keys().map(String::as_str)).collect();
        let rows = names.into_iter().map(|key| (key, self.counting(key)));
        rows.filter(|(key, points)| !points.is_empty() || self.finals.contains_key(*key))
            .map(|(key, points)| self.summary_row(key, &points))
            .collect()
    }

    fn summary_row(&self, key: &str, points: &[(i64, f64)]) -> Row {
        let finite: Vec<(i64, f64)> = points.iter().copied().filter(|point| point.1.is_finite()).collect();
        // Strict comparisons: ties go to the earlier step.
        let min = finite.iter().copied().reduce(|a, b| if b.1 < a.1 { b } else { a });
        let max = finite.iter().copied().reduce(|a, b| if b.1 > a.1 { b } else { a });
        let (mean, std) = mean_and_std(&finite);
        let goal = self.goals.get(key).copied().or(goal_by_name(key));
        let best = match goal {
            Some("min") => min,
            Some(_) => max,
            None => None,
        };
        let value = |point: Option<(i64, f64)>| point.map_or(Value::Null, |point| number(point.1));
        let step = |point: Option<(i64, f64)>| point.map_or(Value::Null, |point| json!(point.0));
        let (first, last) = (points.first().copied(), points.last().copied());
        row(json!({"run_id": self.label(), "key": key, "axis": self.axis(key), "count": points.len(),
            "nan_count": points.iter().filter(|point| point.1.is_nan()).count(),
            "inf_count": points.iter().filter(|point| point.1.is_infinite()).count(),
            "first_step": step(first), "last_step": step(last), "first": value(first), "last": value(last),
            "min": value(min), "min_step": step(min), "max": value(max), "max_step": step(max),
            "mean": mean.map_or(Value::Null, number), "std": std.map_or(Value::Null, number),
            "goal": goal, "best": value(best), "best_step": step(best),
            "final": self.finals.get(key).map_or(Value::Null, |value| number(*value))}))
    }

    /// Every time that was logged, in order.
    fn times(&self) -> BTreeSet<i64> {
        let alerts = self.alerts.iter().filter_map(|alert| alert["ms"].as_i64());
        let times = self.points.iter().filter_map(|point| point.time);
        times
            .chain(self.texts.iter().filter_map(|text| text.2))
            .chain(self.console.iter().filter_map(|line| line.0))
            .chain(alerts)
            .collect()
    }

    fn state(&self, last_time: Option<i64>, now_ms: i64) -> &'static str {
        let times: Vec<i64> = self.times().into_iter().collect();
        let gaps = times.windows(2).rev().take(10).map(|pair| pair[1] - pair[0]);
        let patience = gaps.max().unwrap_or(0).saturating_mul(3).max(600_000);
        match self.end {
            Some(end) => end,
            None if now_ms - last_time.unwrap_or(self.modified_ms) < patience => "running",
            None if self.writes_ends => "crashed",
            None => "unknown",
        }
    }

    /// The row of `runs`.
    pub fn row(&self, now_ms: i64) -> Row {
        let times = self.times();
        let created_at = self.created_at.or(times.first().copied());
        let logged_at = times.last().copied().max(self.ended_at);
        let wall_s = || Some((logged_at? - created_at?) as f64 / 1000.0);
        let summary = self.summary();
        let counted: Vec<i64> =
            summary.iter().map(|row| row["count"].as_i64().unwrap()).filter(|n| *n > 0).collect();
        let last = |wanted: &dyn Fn(&Row) -> bool| {
            summary.iter().filter(|row| wanted(row)).filter_map(|row| row["last_step"].as_i64()).max()
        };
        let mut shown: Row = COLUMNS.iter().map(|name| (name.to_string(), Value::Null)).collect();
        shown.extend(row(
            json!({"run_id": self.label(), "source": self.source, "path": self.path, "tags": [],
            "state": self.state(logged_at, now_ms), "created_at": time(created_at),
            "updated_at": time(logged_at.or(Some(self.modified_ms))),
            "duration_s": self.duration_s.or_else(wall_s),
            "last_step": last(&|row| row["axis"] == "step").or_else(|| last(&|_| true)),
            "planned_steps": self.planned_steps, "point_count": counted.iter().sum::<i64>(),
            "metric_count": counted.len(), "segment_count": self.segments.max(1)}),
        ));
        shown.extend(self.facts.clone());
        shown
    }
}

/// Columns of `runs` that are null unless a log tells them.
const COLUMNS: [&str; 19] = [
    "name",
    "project",
    "entity",
    "state_detail",
    "exit_code",
    "run_group",
    "job_type",
    "sweep_id",
    "parent_run_id",
    "duplicate_of",
    "notes",
    "host",
    "user_name",
    "program",
    "args",
    "git_commit",
    "git_branch",
    "git_dirty",
    "git_remote",
];

/// A counter that begins again with each start goes on behind the start before.
fn continued(points: &[Point]) -> Vec<i64> {
    let (mut segment, mut offset, mut last): (i32, i64, Option<i64>) = (0, 0, None);
    let mut place = |point: &Point| {
        if point.segment > segment {
            segment = point.segment;
            offset = last.filter(|last| point.step <= *last).map_or(0, |last| last + 1);
        }
        last = last.max(Some(point.step + offset));
        point.step + offset
    };
    points.iter().map(&mut place).collect()
}

/// Mean and sample deviation, scaled so that sums of large values stay finite.
fn mean_and_std(finite: &[(i64, f64)]) -> (Option<f64>, Option<f64>) {
    let n = finite.len() as f64;
    let scale = finite.iter().fold(1.0_f64, |scale, point| scale.max(point.1.abs()));
    let mean = finite.iter().map(|point| point.1 / scale).sum::<f64>() / n;
    let squares: f64 = finite.iter().map(|point| (point.1 / scale - mean).powi(2)).sum();
    let std = (squares / (n - 1.0)).sqrt() * scale;
    ((!finite.is_empty()).then_some(mean * scale), (finite.len() > 1).then_some(std))
}

/// Which way the metrics of the generated logs are better.
fn goal_by_name(key: &str) -> Option<&'static str> {
    let last = key.rsplit(['/', '.', '_', ' ', ',']).next().unwrap();
    match last {
        "loss" => Some("min"),
        "acc" | "f1" => Some("max"),
        _ => None,
    }
}

/// All tables of some runs and their files.
pub fn tables(runs: &[Run], inputs: &[Input], now_ms: i64) -> Tables {
    let of_each = |rows: &dyn Fn(&Run) -> Vec<Row>| runs.iter().flat_map(rows).collect::<Vec<Row>>();
    let problem = |input: &Input, at: &String| row(json!({"path": input.row["path"], "position": at}));
    let problems = inputs.iter().flat_map(|input| input.problems.iter().map(move |at| problem(input, at)));
    Tables::from([
        ("runs", of_each(&|run| vec![run.row(now_ms)])),
        ("metrics", of_each(&|run| run.metric_rows(false))),
        ("metrics_raw", of_each(&|run| run.metric_rows(true))),
        ("summary", of_each(&Run::summary)),
        ("configs", of_each(&config_rows)),
        ("texts", of_each(&text_rows)),
        ("console", of_each(&console_rows)),
        ("alerts", of_each(&alert_rows)),
        (
            "run_inputs",
            of_each(&|run| {
                run.inputs.iter().map(|path| row(json!({"run_id": run.label(), "path": path}))).collect()
            }),
        ),
        ("inputs", inputs.iter().map(|input| input.row.clone()).collect()),
        ("problems", problems.collect()),
    ])
}

fn config_rows(run: &Run) -> Vec<Row> {
    let show = |(key, (text, value)): (&String, &(String, Option<f64>))| {
        row(
            json!({"run_id": run.label(), "key": key, "value": text, "number": value.map_or(Value::Null, number)}),
        )
    };
    run.config.iter().map(show).collect()
}

fn text_rows(run: &Run) -> Vec<Row> {
    let show = |(key, step, at, text): &(String, Option<i64>, Option<i64>, String)| {
        row(json!({"run_id": run.label(), "key": key, "step": step, "time": time(*at), "text": text}))
    };
    run.texts.iter().map(show).collect()
}

fn console_rows(run: &Run) -> Vec<Row> {
    let show = |(line, (at, stream, text)): (usize, &(Option<i64>, Option<&str>, String))| {
        let file = &run.console_files[line];
        let number = run.console_files[..=line].iter().filter(|other| *other == file).count();
        row(json!({"run_id": run.label(), "line": number, "time": time(*at), "stream": stream, "text": text,
            "file": file}))
    };
    run.console.iter().enumerate().map(show).collect()
}

/// `seq` is a matter of the cache; the order within a run is in the id.
fn alert_rows(run: &Run) -> Vec<Row> {
    let show = |(n, alert): (usize, &Row)| {
        row(json!({"alert_id": n + 1, "run_id": run.label(), "kind": "logged", "origin": "logged",
            "level": alert["level"], "step": alert["step"], "time": time(alert["ms"].as_i64()),
            "title": alert["title"], "text": alert["text"]}))
    };
    run.alerts.iter().enumerate().map(show).collect()
}
