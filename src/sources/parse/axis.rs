//! What the keys of a row mean: step, epoch, time, split, run, config, or simply a metric. Shared
//! by all formats whose rows are named values without a schema.

use super::json::Json;
use crate::records::TimeMs;
use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Step keys, the most telling first.
const STEP_KEYS: &[&str] = &[
    "_step",
    "step",
    "global_step",
    "globalstep",
    "iter",
    "iteration",
    "it",
    "train_step",
    "current_steps",
    "steps",
    "batch",
    "update",
    "num_updates",
    "trainer/global_step",
    "train/global_step",
    "training_iteration",
    "total_timesteps",
    "time/total_timesteps",
    "num_timesteps",
];

/// Step keys that mean other things in tables that are no logs, or count within an epoch.
const WEAK_STEP_KEYS: &[&str] = &["it", "batch", "update", "steps"];

const EPOCH_KEYS: &[&str] = &["epoch", "epochs", "ep", "current_epoch", "train/epoch"];

/// Keys of wall clocks. Elapsed times are metrics: milliseconds of a day look like a clock.
const TIME_KEYS: &[&str] =
    &["_timestamp", "timestamp", "time", "ts", "created_at", "datetime", "date", "wall_time", "wall time"];

const KIND_KEYS: &[&str] = &["mode", "split", "phase", "stage", "type", "event", "kind", "msg"];

/// What a logger of Python says of the place where a row was written.
const LOGGER_KEYS: &[&str] = &[
    "lineno",
    "line",
    "levelno",
    "pid",
    "process",
    "process_id",
    "thread",
    "thread_id",
    "msecs",
    "relativecreated",
];

const RUN_KEYS: &[&str] = &["run_id", "run", "run_name", "trial_id", "experiment", "exp_name"];

const CONFIG_KEYS: &[&str] = &["config", "hparams", "hyperparameters", "args", "params", "hyperparams"];

const PLAN_KEYS: &[&str] = &["max_steps", "num_iterations", "max_iters", "total_steps"];

/// Names that mean the same in a configuration; in a row of a log they may be metrics.
const CONFIG_PLAN_KEYS: &[&str] = &["max_iterations", "num_train_steps", "train_steps", "total_iterations"];

const SPLIT_WORDS: &[&str] = &["train", "val", "valid", "validation", "eval", "test"];

const START_WORDS: &[&str] = &["config", "start", "run_start", "train_start", "training_start", "header"];

const END_WORDS: &[&str] = &["end", "finish", "finished", "done", "complete", "completed"];

const FAILURE_WORDS: &[&str] = &["failed", "crashed", "killed", "interrupted", "aborted", "error"];

/// Epochs above this are seconds since 1970.
const MAX_EPOCH: f64 = 1e6;

/// What a key of a row means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A step; the smaller number is the better step.
    Step(u8),
    /// An epoch.
    Epoch,
    /// A time; the smaller number is preferred.
    Time(u8),
    /// A split (`train`, `val`), or the kind of the row.
    Kind,
    /// Names the run of the row; the smaller number is preferred.
    Run(u8),
    /// Holds the configuration when it is an object.
    Config,
    /// Says how many steps are meant to be made.
    Plan,
    /// Says where in the program the row was written.
    Logger,
    /// Nothing special.
    Metric,
}

/// The role of a top-level key.
pub fn role_of(key: &str) -> Role {
    let key = key.trim().to_ascii_lowercase();
    let place = |list: &[&str]| list.iter().position(|known| *known == key).map(|at| at as u8);
    if let Some(at) = place(STEP_KEYS) {
        return Role::Step(at);
    }
    if let Some(at) = place(TIME_KEYS) {
        return Role::Time(at);
    }
    if let Some(at) = place(RUN_KEYS) {
        return Role::Run(at);
    }
    match () {
        () if place(EPOCH_KEYS).is_some() => Role::Epoch,
        () if place(KIND_KEYS).is_some() => Role::Kind,
        () if place(CONFIG_KEYS).is_some() => Role::Config,
        () if place(PLAN_KEYS).is_some() => Role::Plan,
        () if place(LOGGER_KEYS).is_some() => Role::Logger,
        () => Role::Metric,
    }
}

/// Whether a step key alone does not make a table a log.
pub fn is_weak_step(key: &str) -> bool {
    WEAK_STEP_KEYS.contains(&key.trim().to_ascii_lowercase().as_str())
}

/// What the word under a [`Role::Kind`] key says about its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The metrics of the row belong to this split.
    Split,
    /// The row holds the configuration.
    Start,
    /// The run ended well.
    End,
    /// The run ended badly.
    Failure,
    /// The row sums up the run.
    Summary,
    /// Some other word.
    Other,
}

/// Reads the word under a [`Role::Kind`] key.
pub fn kind_of(key: &str, word: &str) -> Kind {
    let word = word.trim().to_ascii_lowercase();
    let is_event = matches!(key.trim().to_ascii_lowercase().as_str(), "type" | "event");
    let bare = ["run_", "train_", "training_"].iter().find_map(|p| word.strip_prefix(p)).unwrap_or(&word);
    match () {
        () if SPLIT_WORDS.contains(&word.as_str()) => Kind::Split,
        () if !is_event => Kind::Other,
        () if START_WORDS.contains(&word.as_str()) => Kind::Start,
        () if END_WORDS.contains(&bare) => Kind::End,
        () if FAILURE_WORDS.contains(&bare) && bare != "error" => Kind::Failure,
        () if word == "summary" => Kind::Summary,
        () => Kind::Other,
    }
}

/// Whether a word for the state of a run says that it failed.
pub fn is_failure(word: &str) -> bool {
    FAILURE_WORDS.contains(&word.trim().to_ascii_lowercase().as_str())
}

/// Whether a metric's name tells its split already.
pub fn has_split(key: &str) -> bool {
    let mut words = key.split(['/', '_', '.', '-', ' ']);
    let is_split = |word: &str| SPLIT_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word));
    words.next().is_some_and(is_split) || words.next_back().is_some_and(is_split)
}

/// The whole number a value stands for, if it does: `3`, `3.0` and `"3"`.
pub fn step_of(value: &Json<'_>) -> Option<i64> {
    match value {
        Json::Number(number, raw) => whole(*number, raw),
        Json::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn whole(number: f64, raw: &[u8]) -> Option<i64> {
    match number {
        _ if number.fract() != 0.0 => None,
        _ if number.abs() < 9e15 => Some(number as i64),
        _ => std::str::from_utf8(raw).ok()?.parse().ok(),
    }
}

/// Whether a number is too large to be a step.
pub fn is_huge(value: &Json<'_>) -> bool {
    matches!(value, Json::Number(number, _) if number.is_finite() && number.abs() >= 9.2e18)
}

/// The epoch a value stands for.
pub fn epoch_of(value: &Json<'_>) -> Option<f64> {
    let epoch = match value {
        Json::Number(number, _) => *number,
        Json::String(text) => text.trim().parse().ok()?,
        _ => return None,
    };
    (epoch.abs() <= MAX_EPOCH).then_some(epoch)
}

/// The wall time a value stands for; elapsed times give `None`.
pub fn time_of(value: &Json<'_>) -> Option<TimeMs> {
    match value {
        Json::Number(number, _) => clock(*number),
        Json::String(text) => clock_text(text.trim()),
        _ => None,
    }
}

/// The unit of a number that counts time since 1970 is told by its size.
fn clock(number: f64) -> Option<TimeMs> {
    let millis = match number {
        _ if !(number > 1e8 && number < 1e20) => return None,
        _ if number > 1e17 => number / 1e6,
        _ if number > 1e14 => number / 1e3,
        _ if number > 1e11 => number,
        _ => number * 1e3,
    };
    Some(millis.round() as TimeMs)
}

fn clock_text(text: &str) -> Option<TimeMs> {
    if let Ok(number) = text.parse::<f64>() {
        return clock(number);
    }
    if !text.get(..5)?.ends_with(['-', '/']) {
        return None;
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%z"))
    {
        return Some(time.timestamp_millis());
    }
    let text = text.replace(',', ".").replace('T', " ").replace('/', "-");
    let text = text.trim_end_matches(['Z', ' ']).trim_end_matches("UTC").trim_end();
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%d_%H-%M-%S"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0))
        .map(|time| time.and_utc().timestamp_millis())
}

/// Whether a string is a duration such as `0:12:03` or `1 day, 2:03:04`: it changes with every row
/// and says nothing that the time does not.
pub fn is_duration(text: &str) -> bool {
    let clock = text.rsplit(' ').next().unwrap_or(text);
    let days = text.strip_suffix(clock).unwrap_or_default().trim_end_matches([' ', ',']);
    let is_day = days.is_empty() || days.ends_with("day") || days.ends_with("days");
    is_day && clock.contains(':') && clock.bytes().all(|c| c.is_ascii_digit() || c == b':' || c == b'.')
}

/// The steps a run means to make, where a hyperparameter says it.
pub fn planned_steps(key: &str, number: Option<f64>) -> Option<i64> {
    let last = key.rsplit(['.', '/']).next().unwrap_or(key).to_ascii_lowercase();
    let number = number.filter(|number| *number >= 1.0 && number.fract() == 0.0 && *number < 9e15)?;
    let is_plan = [PLAN_KEYS, CONFIG_PLAN_KEYS].iter().any(|keys| keys.contains(&last.as_str()));
    is_plan.then_some(number as i64)
}

/// A hash that is the same in every build, to remember texts by.
pub fn hash_of(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn text(text: &str) -> Json<'_> {
        Json::String(text.into())
    }

    #[test]
    fn keys_have_roles() {
        assert_eq!(role_of("step"), Role::Step(1));
        assert_eq!(role_of("Global_Step"), Role::Step(2));
        assert_eq!(role_of(" epoch "), Role::Epoch);
        assert_eq!(role_of("ts"), Role::Time(3));
        assert_eq!(role_of("id"), Role::Metric);
        assert_eq!(role_of("loss"), Role::Metric);
        assert_eq!(kind_of("mode", "VAL"), Kind::Split);
        assert_eq!(kind_of("mode", "end"), Kind::Other);
        assert_eq!(kind_of("event", "train_end"), Kind::End);
        assert_eq!(kind_of("msg", "done"), Kind::Other);
        assert_eq!(role_of("elapsed_ms"), Role::Metric);
        assert_eq!(kind_of("event", "crashed"), Kind::Failure);
        assert!(has_split("val/loss") && has_split("loss_val") && has_split("train_loss"));
        assert!(!has_split("value/loss") && !has_split("loss"));
    }

    #[test]
    fn times_in_every_unit() {
        for value in [1.76e9, 1.76e12, 1.76e15, 1.76e18] {
            assert_eq!(time_of(&Json::Number(value, b"")), Some(1_760_000_000_000), "{value}");
        }
        assert_eq!(time_of(&Json::Number(12.5, b"")), None);
        assert_eq!(time_of(&Json::Number(f64::INFINITY, b"")), None);
        for spelling in [
            "2026-01-02T03:04:05.678Z",
            "2026-01-02T03:04:05.678+00:00",
            "2026-01-02 03:04:05,678",
            "2026-01-02 03:04:05.678",
            "2026/01/02 03:04:05.678",
            "2026-01-02T04:04:05.678+01:00",
            "2026-01-02 04:04:05.678+0100",
            "1767323045.678",
        ] {
            assert_eq!(time_of(&text(spelling)), Some(1_767_323_045_678), "{spelling}");
        }
        assert_eq!(time_of(&text("2026-01-02")), Some(1_767_312_000_000));
        assert_eq!(time_of(&text("2026-01-02_03-04-05")), Some(1_767_323_045_000));
        assert_eq!(time_of(&text("0:01:02")), None);
        assert_eq!(time_of(&text("ééééé")), None);
        assert!(is_duration("0:01:02") && is_duration("1 day, 2:03:04") && !is_duration("a: b"));
    }

    #[test]
    fn steps_are_whole_numbers() {
        assert_eq!(step_of(&Json::Number(3.0, b"3.0")), Some(3));
        assert_eq!(step_of(&Json::Number(0.5, b"0.5")), None);
        assert_eq!(step_of(&Json::Number(9007199254740993.0, b"9007199254740993")), Some(9007199254740993));
        assert_eq!(step_of(&Json::Number(1e300, b"1e300")), None);
        assert_eq!(step_of(&Json::Number(f64::NAN, b"NaN")), None);
        assert_eq!(step_of(&text("12")), Some(12));
        assert_eq!(epoch_of(&Json::Number(1.7e9, b"")), None);
        let steps = Some(500.0);
        assert_eq!(planned_steps("train.max_steps", steps), Some(500));
        assert_eq!(planned_steps("num_train_steps", steps), Some(500));
        assert_eq!(planned_steps("steps", steps), None);
    }
}
