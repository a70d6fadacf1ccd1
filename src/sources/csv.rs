//! Tables of metrics: Keras, Lightning, Ultralytics, timm, DeepSpeed and hand-made CSV. One header,
//! one row a line; rows may be short, long, sparse or a repetition of the header.

use super::find::{judge, ranks};
use super::parse::axis;
use super::parse::json::{self, Fields, Json, parse_non_finite, parse_number_like};
use super::parse::lines::{TakeLine, each_line};
use super::parse::rows::Tracker;
use super::parse::words::split;
use super::{InputKind, Log, LogFile, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{Axis, RunFacts};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

const DELIMITERS: &[u8] = b",\t;";

/// Columns beyond these are left out.
const MAX_COLUMNS: usize = 100_000;

/// Files with these prefixes are DeepSpeed's: one table a metric, steps count samples. The names of
/// the metrics have `/` in the place of these `_`.
const SAMPLES_PREFIXES: &[&str] = &["Train_Samples_", "Train_Eigenvalues_"];

/// Columns of an environment of Stable-Baselines3: reward, length and end of each episode.
const MONITOR_COLUMNS: &[&str] = &["r", "l", "t"];

/// A column that only tables of Ray Tune have. Each row names the trial, and more than one id of the run.
const TRIAL_COLUMN: &str = "training_iteration";

/// Reader of tables.
pub struct Csv;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    rows: String,
    header: Vec<String>,
    delimiter: u8,
    /// Whether long rows were told already.
    told_long: bool,
}

impl Source for Csv {
    fn name(&self) -> &'static str {
        "csv"
    }

    fn may_claim(&self, path: &str) -> bool {
        judge::has_extension(path, &["csv", "tsv"]) && !judge::is_other(path) || is_of_keras(path)
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        sniff(path, head)
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        group(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        let sink = &mut ranks::Prefixed::new(sink, log.role);
        let mut rows = Tracker::load(&state.rows, sink);
        rows.expect_no_config();
        let key = samples_key(log.path);
        if key.is_some() {
            rows.set_unit(Axis::Samples);
        }
        let is_first = log.role.is_empty();
        let mut reader = Reader { state, rows, key, is_first };
        let (offset, row_count) = each_line(log, &from, sink, &mut reader)?;
        let Reader { mut state, rows, .. } = reader;
        state.rows = rows.save();
        Ok(Resume { offset, state: serde_json::to_string(&state)?, row_count })
    }
}

struct Reader {
    state: State,
    rows: Tracker,
    /// The metric of a table of one, where the name of the file says more than its column.
    key: Option<String>,
    /// Whether it is the first of several processes.
    is_first: bool,
}

impl TakeLine for Reader {
    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) -> Result<(), String> {
        let text = text_of(line);
        match () {
            () if text.starts_with('#') && self.state.header.is_empty() => {
                monitor_facts(&text, self.is_first, sink);
            }
            () if text.starts_with('#') || text.trim().is_empty() => {}
            () if self.state.header.is_empty() => self.header(&text),
            () => return self.row(&text, sink),
        }
        Ok(())
    }

    /// A row that has a cell for each column.
    fn is_whole(&self, line: &[u8]) -> bool {
        let (text, width) = (text_of(line), self.state.header.len());
        width > 0 && !text.starts_with('#') && cells(&text, self.state.delimiter, width).len() >= width
    }
}

impl Reader {
    fn row(&mut self, text: &str, sink: &mut dyn Sink) -> Result<(), String> {
        let width = self.state.header.len();
        let cells = cells(text, self.state.delimiter, width + 1);
        if is_header_again(&cells, &self.state.header) {
            // DeepSpeed writes it once a start.
            if self.key.is_some() {
                self.rows.restart(sink);
            }
            return Ok(());
        }
        let is_long = cells.len() > width && !self.state.told_long;
        self.state.told_long |= is_long;
        let mut row = row_of(&self.state.header, &cells);
        if let (Some(key), [_, (name, _)]) = (&self.key, row.as_mut_slice()) {
            *name = Cow::Borrowed(key);
        }
        self.rows.row(&row, sink)?;
        match is_long {
            true => Err(format!("more cells than the {width} of the header")),
            false => Ok(()),
        }
    }

    fn header(&mut self, text: &str) {
        self.state.delimiter = delimiter_of(text);
        let cells = cells(text, self.state.delimiter, MAX_COLUMNS);
        self.state.header = cells.iter().map(|cell| cell.trim().to_string()).collect();
        if self.state.header.iter().any(|name| name == TRIAL_COLUMN) {
            self.rows.expect_one_run();
        }
    }
}

fn text_of(line: &[u8]) -> Cow<'_, str> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    json::text_of(line)
}

/// The delimiter that splits a header most often.
fn delimiter_of(header: &str) -> u8 {
    let count = |delimiter: &u8| header.bytes().filter(|c| c == delimiter).count();
    DELIMITERS.iter().rev().copied().max_by_key(count).unwrap_or(b',')
}

/// Cells of a line, at most `most`. Quotes are rare, so only lines with some take the long way.
fn cells(line: &str, delimiter: u8, most: usize) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(char::from(delimiter)).take(most).map(Cow::Borrowed).collect();
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(true) => record.iter().take(most).map(|cell| Cow::Owned(cell.to_string())).collect(),
        _ => Vec::new(),
    }
}

fn is_header_again(cells: &[Cow<'_, str>], header: &[String]) -> bool {
    cells.len() == header.len() && cells.iter().zip(header).all(|(cell, name)| cell.trim() == name)
}

/// Short rows lack their last cells, long rows lose what is beyond the header.
fn row_of<'r>(header: &'r [String], cells: &'r [Cow<'_, str>]) -> Fields<'r> {
    let pairs = header.iter().zip(cells).filter(|(name, _)| !name.is_empty());
    pairs.map(|(name, cell)| (Cow::Borrowed(name.as_str()), cell_value(cell.trim()))).collect()
}

fn cell_value(cell: &str) -> Json<'_> {
    if is_missing(cell) {
        return Json::Null;
    }
    // A share keeps its unit, as in what is printed.
    match parse_number_like(cell.strip_suffix('%').unwrap_or(cell)) {
        Some(number) => Json::Number(number, cell.as_bytes()),
        None if cell.len() <= 16 && parse_non_finite(cell).is_some() => Json::Null,
        None => match cell {
            "True" | "true" | "False" | "false" => Json::Bool(cell.starts_with(['T', 't'])),
            _ if cell.starts_with('[') => Json::Array(Vec::new()),
            _ => Json::String(Cow::Borrowed(cell)),
        },
    }
}

fn is_missing(cell: &str) -> bool {
    matches!(cell, "" | "-" | "NA" | "N/A" | "n/a" | "None" | "none" | "null" | "NULL")
}

/// What the first line of an environment of Stable-Baselines3 says: `#{"t_start": ..., "env_id": ...}`.
/// The first of several environments tells when the run began.
fn monitor_facts(line: &str, is_first: bool, sink: &mut dyn Sink) {
    let Some(value) = line.strip_prefix('#').and_then(|text| json::parse_whole(text.as_bytes())) else {
        return;
    };
    let started = value.get("t_start").and_then(axis::time_of);
    if let Some(created_at) = started.filter(|_| is_first) {
        sink.facts(RunFacts { created_at: Some(created_at), ..RunFacts::default() });
    }
    if let Some(env) = value.get("env_id").filter(|env| started.is_some() && env.as_str().is_some()) {
        sink.config("env_id", env.to_config());
    }
}

/// The name that the documentation of Keras gives its `CSVLogger`.
fn is_of_keras(path: &str) -> bool {
    path.rsplit('/').next() == Some("training.log")
}

fn sniff(path: &str, head: &[u8]) -> Verdict {
    let is_cut = head.len() >= super::HEAD_BYTES;
    let end = match memchr::memrchr(b'\n', head) {
        Some(end) => end,
        None if is_cut => return judge::other("a first line without end"),
        None => 0,
    };
    let texts: Vec<_> = head.get(..end).unwrap_or_default().split(|c| *c == b'\n').map(text_of).collect();
    let mut lines = texts.iter().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let Some(first) = lines.next() else { return Verdict::TooEarly };
    let delimiter = delimiter_of(first);
    let header: Vec<String> =
        cells(first, delimiter, MAX_COLUMNS).iter().map(|cell| cell.trim().to_string()).collect();
    let is_monitor = texts.iter().any(|line| line.starts_with("#{"))
        && header.iter().zip(MONITOR_COLUMNS).filter(|(name, known)| name == known).count() == 3;
    let is_exact = is_monitor || samples_key(path).is_some() && header.len() == 2 && header[0] == "step";
    if is_of_keras(path) && header[0] != "epoch" {
        return judge::other("no table of Keras");
    }
    if header.len() < 2 || header.iter().any(|name| parse_number_like(name).is_some()) {
        return judge::other("no header");
    }
    let table: Vec<_> = lines
        .map(|line| cells(line, delimiter, header.len() + 1))
        .filter(|row| !is_header_again(row, &header))
        .collect();
    if table.is_empty() {
        return if is_cut { judge::other("no rows") } else { Verdict::TooEarly };
    }
    if is_exact {
        return Verdict::Log { marks: String::new() };
    }
    let rows: Vec<Fields<'_>> = table.iter().map(|cells| row_of(&header, cells)).collect();
    judge::judge(&rows, is_cut, judge::Shape::Table)
}

/// Name of the metric of a table of DeepSpeed: `Train/Samples/train_loss` of `Train_Samples_train_loss.csv`.
fn samples_key(path: &str) -> Option<String> {
    let stem = split(path).1.strip_suffix(".csv")?;
    let prefix = SAMPLES_PREFIXES.iter().find(|prefix| stem.starts_with(*prefix))?;
    let name = stem.strip_prefix(prefix).filter(|name| !name.is_empty())?;
    Some(format!("{}{name}", prefix.replace('_', "/")))
}

/// One run a file, but for DeepSpeed's tables, which are one run a folder.
fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let is_part = |file: &LogFile| samples_key(&file.path).is_some() && file.path.contains('/');
    let (parts, whole): (Vec<LogFile>, Vec<LogFile>) = files.iter().cloned().partition(is_part);
    let mut runs = ranks::fold(&whole);
    let mut folders: BTreeMap<&str, RunLogs> = BTreeMap::new();
    for file in &parts {
        let folder = split(&file.path).0;
        let run = folders.entry(folder).or_insert_with(|| RunLogs {
            name: Some(split(folder).1.to_string()),
            path: folder.to_string(),
            identity: folder.to_string(),
            inputs: Vec::new(),
            ..judge::one_run(&file.path)
        });
        let path = file.path.clone();
        run.inputs.push(RunInput { path, kind: InputKind::Log, role: String::new(), segment: 0 });
    }
    runs.extend(folders.into_values());
    runs.sort_by(|a, b| a.path.cmp(&b.path));
    runs
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::StartOver;
    use crate::sources::testing::{Memory, assert_survives, in_memory, read_on, read_whole, samples};
    use proptest::prelude::*;

    fn data(path: &str) -> Vec<u8> {
        std::fs::read(samples("").join(path)).unwrap()
    }

    fn read(text: &str) -> Memory {
        read_whole(&Csv, ("a.csv", ""), text.as_bytes())
    }

    fn logged(path: &str) -> Memory {
        let bytes = data(path);
        assert!(matches!(Csv.sniff(path, &bytes), Verdict::Log { .. }), "{path}");
        read_whole(&Csv, (path, ""), &bytes)
    }

    #[test]
    fn lightning() {
        let sink = logged("lightning/logs/csv/lightning_logs/clean/metrics.csv");
        let count = |key: &str| {
            let steps = sink.steps(key);
            (steps.len(), steps.first().copied(), steps.last().copied())
        };
        assert_eq!(count("epoch"), (25, Some(4), Some(74)));
        assert_eq!(count("grad_norm"), (15, Some(4), Some(74)));
        assert_eq!(count("train_loss_step"), (15, Some(4), Some(74)));
        assert_eq!(count("val_loss"), (5, Some(14), Some(74)));
        assert_eq!(count("train_loss_epoch"), (5, Some(14), Some(74)));
        assert_eq!(sink.line("train_loss_step")[0], (4, 3.3621394634246826));
        assert_eq!((sink.segment, sink.axes.len(), sink.texts.len()), (0, 0, 0));
        assert!(
            logged("lightning/logs/csv/lightning_logs/nan/metrics.csv")
                .line("val_loss")
                .iter()
                .any(|(_, value)| value.is_nan())
        );
        assert_eq!(logged("lightning/logs/csv/lightning_logs/resume/metrics.csv").steps("val_loss")[0], 44);
    }

    #[test]
    fn keras() {
        let sink = logged("keras/keras/clean/training.csv");
        assert_eq!(sink.steps("loss"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(sink.axes.get("val_auc"), Some(&Axis::Epoch));
        assert!(!sink.keys().contains(&"epoch".to_string()));
        let resume = logged("keras/keras/resume/training.csv");
        assert_eq!((resume.steps("loss"), resume.segment), (vec![0, 1, 2, 2, 3, 4, 5], 0));
        assert!(logged("keras/keras/nan/training.csv").line("loss").iter().any(|(_, value)| value.is_nan()));
        let again = read("epoch,loss,val_loss\n0,3,NA\n1,2,3\n0,3,4\n1,2,4\n");
        assert_eq!((again.segment, again.steps("val_loss")), (1, vec![1, 0, 1]));
    }

    #[test]
    fn ultralytics() {
        let sink = logged("ultralytics/runs/detect/det_base/results.csv");
        assert_eq!(sink.line("metrics/mAP50(B)").len(), 4);
        assert_eq!(sink.line("time")[1], (2, 13.0341));
        assert_eq!(sink.axes.get("time"), Some(&Axis::Epoch));
        let padded = "               epoch,      train/box_loss,     val/box_loss\n                   0,              2.0066,            inf\n                   1,              1.5,            nan\n";
        assert!(matches!(Csv.sniff("results.csv", padded.as_bytes()), Verdict::Log { .. }));
        let sink = read(padded);
        assert_eq!(sink.line("train/box_loss"), [(0, 2.0066), (1, 1.5)]);
        assert_eq!(sink.line("val/box_loss")[0].1, f64::INFINITY);
    }

    #[test]
    fn rows_of_all_kinds() {
        let sink = read(
            "# made by hand\nstep;loss;\"a \"\"b\"\";c\"\r\n1;2.5;7;x\r\nstep;loss;\"a \"\"b\"\";c\"\r\n2;1.5\r\n\r\n3;1;8;9;10\n4;1;8;y\n5;None;\"nan\";y\n6;1",
        );
        assert_eq!(sink.line("loss"), [(1, 2.5), (2, 1.5), (3, 1.0), (4, 1.0)]);
        assert_eq!(sink.steps("a \"b\";c"), [1, 3, 4, 5]);
        assert_eq!(sink.problems.len(), 1);
        let tabs = read("step\tloss\n1\t2\n");
        assert_eq!(tabs.line("loss"), [(1, 2.0)]);
        let samples = read_whole(&Csv, ("j/Train_Samples_lr.csv", ""), b"step,lr\n32,0.1\nstep,lr\n64,0.2\n");
        let key = "Train/Samples/lr";
        assert_eq!((samples.steps(key), samples.axes[key]), (vec![32, 64], Axis::Samples));
    }

    #[test]
    fn runs_are_named_and_grouped() {
        let file = |path: &str| LogFile { path: path.into(), size_bytes: 1, marks: String::new() };
        let paths = ["ds/job/Train_Samples_lr.csv", "ds/job/Train_Samples_train_loss.csv", "v0/metrics.csv"];
        let runs = Csv.group(&paths.map(file));
        let names: Vec<_> = runs.iter().map(|run| (run.name.as_deref().unwrap(), run.inputs.len())).collect();
        assert_eq!(names, [("job", 2), ("v0", 1)]);
    }

    #[test]
    fn environments_of_stable_baselines() {
        let text =
            "#{\"t_start\": 1700000000.5, \"env_id\": \"CartPole-v1\"}\nr,l,t\n18.0,18,0.5\n31.0,31,0.9\n";
        assert!(matches!(Csv.sniff("0.monitor.csv", text.as_bytes()), Verdict::Log { .. }));
        let sink = read(text);
        assert_eq!(sink.line("r"), [(0, 18.0), (1, 31.0)]);
        assert_eq!((sink.axes["r"], sink.steps("l")), (Axis::Index, vec![0, 1]));
        assert_eq!(sink.facts.created_at, Some(1_700_000_000_500));
        assert_eq!(sink.config["env_id"].text, "CartPole-v1");
        let plain = Csv.sniff("a.csv", b"r,l,t\n18.0,18,0.5\n31.0,31,0.9\n");
        assert!(matches!(plain, Verdict::Other { .. }));
    }

    #[test]
    fn tables_with_marks_of_their_own_survive() {
        let deepspeed = b"step,lr\n32,0.1\n64,0.2\nstep,lr\n64,0.1\n96,nan\n";
        assert_survives(&Csv, ("j/Train_Samples_lr.csv", ""), deepspeed);
        let monitor =
            b"#{\"t_start\": 1700000000.5, \"env_id\": \"Cart\"}\nr,l,t\n18.0,18,0.5\n31.0,31,0.9\n";
        assert_survives(&Csv, ("env/monitor.csv", ""), monitor);
    }

    #[test]
    fn too_early_and_other() {
        for text in ["", "\n", "step,loss", "step,loss\n", "step,loss\n1,", "step,temperature\n1,2\n"] {
            assert_eq!(Csv.sniff("a.csv", text.as_bytes()), Verdict::TooEarly, "{text}");
        }
        for text in ["1,2\n3,4\n", "loss\n1\n2\n"] {
            assert!(matches!(Csv.sniff("a.csv", text.as_bytes()), Verdict::Other { .. }), "{text}");
        }
    }

    #[test]
    fn pieces_equal_the_whole() {
        let text = "step,epoch,loss,note\n1,0,2.5,a\n\n2,0,nan,\"b,c\"\r\n0,1,7,é\n1,1,1,1,1\n1,0,3,b\nlast";
        let samples = [
            text.as_bytes().to_vec(),
            data("lightning/logs/csv/lightning_logs/resume/metrics.csv"),
            data("keras/keras/resume/training.csv"),
        ];
        for bytes in samples {
            let mut whole = Memory::default();
            let place = ("a.csv", "");
            let start = Resume::default;
            let end = read_on(&Csv, place, &bytes, 1 << 20, start(), &mut whole);
            for cut in 0..=bytes.len() {
                let mut pieces = Memory::default();
                let middle = read_on(&Csv, place, &bytes[..cut], 1 + cut % 7, start(), &mut pieces);
                assert_eq!(read_on(&Csv, place, &bytes, 3, middle, &mut pieces), end, "cut at {cut}");
                assert_eq!(pieces, whole, "cut at {cut}");
            }
        }
    }

    #[test]
    fn the_last_line_of_a_file_at_rest_needs_no_end() {
        let read = |text: &str, is_at_rest, from: Resume, sink: &mut Memory| {
            let mut bytes = std::io::Cursor::new(text);
            bytes.set_position(from.offset);
            let mut log = Log { is_at_rest, ..in_memory("a.csv", "", &mut bytes, 3) };
            Csv.read(&mut log, from, sink)
        };
        let text = "step,note,loss\n1,x,2\n2,y,0.5";
        let mut growing = Memory::default();
        let early = read(text, false, Resume::default(), &mut growing).unwrap();
        assert_eq!(growing.line("loss"), [(1, 2.0)]);
        let resting = read(text, true, early, &mut growing).unwrap();
        assert_eq!((growing.line("loss"), resting.row_count), (vec![(1, 2.0), (2, 0.5)], 3));
        for is_at_rest in [false, true] {
            let same = read(text, is_at_rest, resting.clone(), &mut growing).unwrap();
            assert_eq!(same, resting, "nothing new");
        }
        for more in ["\n3,y,1\n", "\r\n3,y,1\n"] {
            let mut sink = growing.clone();
            let text = format!("{text}{more}");
            let end = read(&text, false, resting.clone(), &mut sink).unwrap();
            assert_eq!((end.offset, end.row_count), (text.len() as u64, 4), "{more}");
            assert_eq!(sink.line("loss"), [(1, 2.0), (2, 0.5), (3, 1.0)], "{more}");
        }
        let went_on = read(&format!("{text}5\n3,y,1\n"), false, resting, &mut growing);
        assert!(went_on.unwrap_err().is::<StartOver>());
        let mut short = Memory::default();
        read("step,note,loss\n1,x,2\n2,y", true, Resume::default(), &mut short).unwrap();
        assert_eq!(short.line("loss"), [(1, 2.0)]);
    }

    #[test]
    fn flipped_bytes_never_panic() {
        let bytes = data("keras/keras/clean/training.csv");
        for at in 0..bytes.len() {
            for flip in [1, 0x0e, 0x80] {
                let mut bytes = bytes.clone();
                bytes[at] ^= flip;
                Csv.sniff("a.csv", &bytes);
                read_whole(&Csv, ("a.csv", ""), &bytes);
            }
        }
    }

    #[test]
    fn cells_without_end_under_a_short_header() {
        let sink = read(&format!("step,loss\n0,1{}\n1,2,3\n", ",9".repeat(1_000_000)));
        assert_eq!(sink.line("loss"), [(0, 1.0), (1, 2.0)]);
        assert_eq!(sink.problems.len(), 1);
        assert_eq!(sink.problems[0].message, "more cells than the 2 of the header");
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            read_whole(&Csv, ("a.csv", ""), &bytes);
            Csv.sniff("a.csv", &bytes);
        }
    }
}
