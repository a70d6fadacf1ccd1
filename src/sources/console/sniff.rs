//! Whether a text is the printed log of a training.

use super::Console;
use super::position::Position;
use crate::sources::find::judge::{self, Shape};
use crate::sources::find::ranks;
use crate::sources::parse::json::Fields;
use crate::sources::parse::words::split;
use crate::sources::parse::{prefix, terminal};
use crate::sources::{HEAD_BYTES, Verdict};

/// Where so many bytes hold no metrics, none will come.
const WIDE_HEAD_BYTES: usize = 16 * HEAD_BYTES;

/// In a `.txt` so many rows stand together.
const MIN_TEXT_ROWS: usize = 3;

/// Between two of them are no more lines than this.
const MAX_GAP_LINES: usize = 5;

/// A file with more than one zero byte in so many is no text.
const MIN_TEXT_SHARE: usize = 20;

/// Texts of these names are no logs.
const DOCUMENTS: &[&str] = &[
    "readme",
    "requirements",
    "license",
    "licence",
    "notice",
    "changelog",
    "changes",
    "authors",
    "contributing",
    "todo",
    "notes",
    "install",
    "cmakelists",
    "cmakecache",
    "robots",
    "top_level",
    "entry_points",
    "dependency_links",
    "vocab",
    "merges",
    "labels",
    "classes",
    "constraints",
    "environment",
    "prompt",
];

/// Words in the names of printed logs.
const LOG_NAMES: &[&str] = &[
    "train", "log", "console", "slurm", "stdout", "stderr", "output", "nohup", "tune", "rank", "job", "run",
];

/// Words at the start of printed logs.
const LOG_WORDS: &[&str] = &[
    "torch",
    "cuda",
    "optimizer",
    "learning_rate",
    "learning rate",
    "batch_size",
    "epochs",
    "checkpoint",
    "tokens per",
];

/// Whether the name may be that of a printed log.
pub fn may_claim(path: &str) -> bool {
    let name = split(path).1;
    let stem = name.split('.').next().unwrap_or(name).to_ascii_lowercase();
    let is_stream = name.split_once('.').is_some_and(|(stem, rank)| {
        matches!(stem, "stdout" | "stderr") && rank.bytes().all(|c| c.is_ascii_digit())
    });
    let is_log = judge::has_extension(path, &["log", "txt", "out", "err"]) || is_stream;
    is_log
        && !judge::is_other(path)
        && !DOCUMENTS.iter().any(|known| stem == *known || stem.starts_with("readme"))
}

/// Judges a text by its first bytes.
pub fn sniff(console: &Console, path: &str, head: &[u8]) -> Verdict {
    // A crash leaves holes of zeros in a log; programs and arrays are full of them.
    if memchr::memchr_iter(0, head).count() * MIN_TEXT_SHARE > head.len() {
        return judge::other("no text");
    }
    let is_cut = head.len() >= HEAD_BYTES;
    let end = memchr::memrchr(b'\n', head).map_or(0, |end| end + 1);
    let text = String::from_utf8_lossy(head.get(..end).unwrap_or_default());
    let lines: Vec<String> =
        text.lines().map(terminal::shown).filter(|line| !line.trim().is_empty()).collect();
    let sample = Sample::of(console, &lines);
    match sample.verdict(path, is_cut) {
        Some(verdict @ Verdict::Log { .. }) => verdict,
        // Often one rank alone logs; what the others printed belongs to the run.
        _ if !lines.is_empty() && ranks::is_ranked(path) => Verdict::Log { marks: ranks::SILENT.to_string() },
        Some(verdict) => verdict,
        None if head.len() >= WIDE_HEAD_BYTES => judge::other("no rows of metrics in its first 256 KB"),
        None if may_become(path, &text) || is_cut_short(path, head) => Verdict::TooEarly,
        None => judge::other("no rows of metrics"),
    }
}

/// Whether more of the file must be seen: in a log, what is printed before the first row may be long.
fn is_cut_short(path: &str, head: &[u8]) -> bool {
    head.len() == HEAD_BYTES && !judge::has_extension(path, &["txt"])
}

/// Whether metrics may still come: a long preamble (settings, the environment) is common.
fn may_become(path: &str, text: &str) -> bool {
    let name = split(path).1.to_ascii_lowercase();
    let stem = name.rsplit_once('.').map_or(name.as_str(), |(stem, _)| stem);
    let text = text.to_ascii_lowercase();
    LOG_NAMES.iter().any(|word| stem.contains(word)) || LOG_WORDS.iter().any(|word| text.contains(word))
}

/// The rows at the start of a text.
#[derive(Default)]
struct Sample<'l> {
    /// Rows that tell a step, or the form of which says enough.
    rows: Vec<Fields<'l>>,
    /// Those among them whose form says enough.
    telling: usize,
    /// Most rows that stand together. It only grows as the text does: what is a log remains one.
    together: usize,
    by_pattern: bool,
}

impl<'l> Sample<'l> {
    fn of(console: &Console, lines: &'l [String]) -> Self {
        let mut sample = Sample::default();
        let (mut run, mut gap) = (0, 0);
        let mut position = Position::default();
        for line in lines {
            let message = prefix::split(line);
            sample.by_pattern |= console.patterns.iter().any(|pattern| pattern.read(line).is_some());
            position.pass_line();
            let row = console.row(line, &message);
            let placed = row.and_then(|mut row| position.settle(&mut row).then_some(row));
            let Some(row) = placed.filter(|row| !row.needs_step) else {
                gap += 1;
                continue;
            };
            run = if gap > MAX_GAP_LINES { 1 } else { run + 1 };
            gap = 0;
            sample.together = sample.together.max(run);
            sample.telling += usize::from(row.is_telling);
            sample.rows.push(row.fields);
        }
        sample
    }

    /// The verdict, unless more rows are needed for one.
    fn verdict(&self, path: &str, is_cut: bool) -> Option<Verdict> {
        let log = Verdict::Log { marks: String::new() };
        if self.by_pattern || self.telling >= 2 || self.telling == 1 && is_cut {
            return Some(log);
        }
        if self.rows.len() < 2 {
            return None;
        }
        if judge::has_extension(path, &["txt"]) && self.together < MIN_TEXT_ROWS {
            return None;
        }
        let mut keys = self.rows.iter().flatten().map(|(key, _)| key);
        if !keys.any(|key| judge::is_training(key)) {
            return Some(judge::other("no word of training"));
        }
        Some(judge::judge(&self.rows, is_cut, Shape::Objects)).filter(|verdict| *verdict != Verdict::TooEarly)
    }
}
