//! What a refresh has to do: found logs and the catalog in, jobs out. Pure.

use super::ids::RunKey;
use super::known::Known;
use crate::sources::{InputKind, RunInput, RunLogs};
use crate::store::InputRecord;
use std::collections::{BTreeMap, BTreeSet};

/// Size and time of a file when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Size.
    pub size_bytes: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub modified_ns: i64,
    /// Whether nobody has written to it for a while.
    pub is_at_rest: bool,
}

/// A log with what was seen of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundRun {
    /// Source that groups it.
    pub source: &'static str,
    /// The logs.
    pub logs: RunLogs,
}

/// Work on one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The log.
    pub run: FoundRun,
    /// Whether everything known of it is thrown away first.
    pub reset: bool,
    /// Inputs to read and from where (`None`: from the start).
    pub inputs: Vec<(RunInput, Option<InputRecord>)>,
}

impl Job {
    /// Nothing is read of the log; something is done with its runs.
    pub fn idle(run: &FoundRun) -> Self {
        Self { run: run.clone(), reset: false, inputs: Vec::new() }
    }
}

/// All that is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Logs with something to read, in path order.
    pub jobs: Vec<Job>,
    /// Logs that are no longer there: (source, identity).
    pub gone: Vec<(String, String)>,
}

impl Plan {
    /// Adds the logs of which nothing is to be read.
    pub fn add_unchanged(&mut self, found: &[FoundRun]) {
        let log = |run: &FoundRun| (run.source, run.logs.identity.clone());
        let busy: BTreeSet<_> = self.jobs.iter().map(|job| log(&job.run)).collect();
        let idle = found.iter().filter(|run| !busy.contains(&log(run)));
        self.jobs.extend(idle.map(Job::idle));
    }
}

/// Finds out what changed. `same_start` tells whether a file still begins (and continues up to what
/// was read) as it did; it is asked only about files whose size or time moved.
pub fn plan(
    found: &[FoundRun],
    stats: &BTreeMap<String, Stat>,
    known: &Known,
    renamed: &BTreeSet<RunKey>,
    same_start: &mut dyn FnMut(&InputRecord) -> bool,
) -> Plan {
    let mut gone = known.logs();
    let renamed: BTreeSet<(&str, &str)> = renamed.iter().map(|key| (&*key.source, &*key.identity)).collect();
    let mut jobs = Vec::new();
    for run in found {
        let log = (run.source, run.logs.identity.as_str());
        gone.remove(&log);
        let inputs = known.of_log(log.0, log.1);
        let is_renamed = renamed.contains(&log);
        jobs.extend(job(run, &inputs, stats, is_renamed, same_start));
    }
    let owned = |(source, identity): (&str, &str)| (source.to_string(), identity.to_string());
    Plan { jobs, gone: gone.into_iter().map(owned).collect() }
}

fn job(
    run: &FoundRun,
    known: &[&InputRecord],
    stats: &BTreeMap<String, Stat>,
    renamed: bool,
    same_start: &mut dyn FnMut(&InputRecord) -> bool,
) -> Option<Job> {
    let all = |run: &FoundRun| run.logs.inputs.iter().map(|input| (input.clone(), None)).collect();
    if known.is_empty() {
        return Some(Job { inputs: all(run), reset: false, run: run.clone() });
    }
    match if renamed { None } else { grown(&run.logs, known, stats, same_start) } {
        None => Some(Job { inputs: all(run), reset: true, run: run.clone() }),
        Some(inputs) if inputs.is_empty() => None,
        Some(inputs) => Some(Job { run: run.clone(), reset: false, inputs }),
    }
}

/// Inputs that only grew or are new behind the others; `None` when the run must be read anew.
fn grown(
    logs: &RunLogs,
    known: &[&InputRecord],
    stats: &BTreeMap<String, Stat>,
    same_start: &mut dyn FnMut(&InputRecord) -> bool,
) -> Option<Vec<(RunInput, Option<InputRecord>)>> {
    let known: BTreeMap<&str, &InputRecord> =
        known.iter().map(|input| (input.path.as_str(), *input)).collect();
    let newest = known.values().map(|input| input.segment).max().unwrap_or_default();
    let still_there = logs.inputs.iter().filter(|input| known.contains_key(input.path.as_str())).count();
    if still_there < known.len() {
        return None;
    }
    let mut inputs = Vec::new();
    for input in &logs.inputs {
        let Some(record) = known.get(input.path.as_str()) else {
            if input.kind != InputKind::Document && input.segment < newest {
                return None;
            }
            inputs.push((input.clone(), None));
            continue;
        };
        let stat = stats.get(&input.path)?;
        match change(input, record, *stat, same_start) {
            Change::None => {}
            Change::Grown => inputs.push((input.clone(), Some((*record).clone()))),
            Change::Document => inputs.push((input.clone(), None)),
            Change::Rewritten => return None,
        }
    }
    Some(inputs)
}

enum Change {
    None,
    Grown,
    Document,
    Rewritten,
}

fn change(
    input: &RunInput,
    record: &InputRecord,
    stat: Stat,
    same_start: &mut dyn FnMut(&InputRecord) -> bool,
) -> Change {
    let moved = stat.size_bytes != record.size_bytes || stat.modified_ns != record.modified_ns;
    match input.kind {
        _ if input.segment != record.segment || input.role != record.role => Change::Rewritten,
        // What stands at its end without a line end may be taken for whole now.
        InputKind::Log
            if !moved && stat.is_at_rest && record.waits_for_rest && record.offset < stat.size_bytes =>
        {
            Change::Grown
        }
        _ if !moved => Change::None,
        InputKind::Document => Change::Document,
        InputKind::Database => Change::Grown,
        InputKind::Snapshot => Change::Rewritten,
        InputKind::Log if stat.size_bytes <= record.size_bytes && stat.size_bytes < record.offset => {
            Change::Rewritten
        }
        // Same size, other time: written over in place, or only touched. Reading again is never wrong.
        InputKind::Log if stat.size_bytes <= record.size_bytes && record.offset <= record.size_bytes => {
            Change::Rewritten
        }
        InputKind::Log if same_start(record) => Change::Grown,
        InputKind::Log => Change::Rewritten,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(path: &str, segment: i32) -> RunInput {
        RunInput { path: path.into(), kind: InputKind::Log, role: String::new(), segment }
    }

    fn found(inputs: Vec<RunInput>) -> FoundRun {
        let logs = RunLogs {
            identity: "run".into(),
            producer_id: None,
            name: None,
            project: None,
            path: "run".into(),
            inputs,
        };
        FoundRun { source: "test", logs }
    }

    fn record(path: &str, segment: i32, size_bytes: u64) -> InputRecord {
        InputRecord {
            path: path.into(),
            source: "test".into(),
            identity: "run".into(),
            segment,
            size_bytes,
            offset: size_bytes,
            modified_ns: 1,
            ..InputRecord::default()
        }
    }

    /// What happens to a run of files `known` when the files `now` are found:
    /// `-` nothing, `reset`, or the files to read on.
    fn outcome(known: &[(&str, i32, u64)], now: &[(&str, i32, u64, i64)], same_start: bool) -> String {
        let records: Vec<InputRecord> = known.iter().map(|(p, s, b)| record(p, *s, *b)).collect();
        let stats = now
            .iter()
            .map(|(p, _, size_bytes, modified_ns)| {
                let (size_bytes, modified_ns) = (*size_bytes, *modified_ns);
                (p.to_string(), Stat { size_bytes, modified_ns, is_at_rest: false })
            })
            .collect();
        let runs = vec![found(now.iter().map(|(p, s, ..)| input(p, *s)).collect())];
        let plan = plan(&runs, &stats, &Known::new(records), &BTreeSet::new(), &mut |_| same_start);
        match plan.jobs.first() {
            None => "-".into(),
            Some(job) if job.reset => "reset".into(),
            Some(job) => job
                .inputs
                .iter()
                .map(|(input, from)| format!("{}@{}", input.path, from.as_ref().map_or(0, |r| r.offset)))
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn only_what_changed_is_read() {
        assert_eq!(outcome(&[], &[("a", 0, 10, 1)], true), "a@0");
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 10, 1)], true), "-");
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 20, 2)], true), "a@10");
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 10, 1), ("b", 1, 5, 2)], true), "b@0");
    }

    #[test]
    fn what_is_no_growth_is_read_anew() {
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 20, 2)], false), "reset", "rewritten and longer");
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 5, 2)], true), "reset", "truncated");
        assert_eq!(outcome(&[("a", 0, 10)], &[("a", 0, 10, 2)], true), "reset", "written in place");
        assert_eq!(
            outcome(&[("a", 0, 10), ("b", 1, 5)], &[("b", 1, 5, 1)], true),
            "reset",
            "a start is gone"
        );
        assert_eq!(
            outcome(&[("b", 1, 10)], &[("a", 0, 5, 1), ("b", 1, 10, 1)], true),
            "reset",
            "an earlier start"
        );
    }

    #[test]
    fn a_log_that_is_no_longer_there_is_gone() {
        let known = [record("a", 0, 10)];
        let plan = plan(&[], &BTreeMap::new(), &Known::new(known.to_vec()), &BTreeSet::new(), &mut |_| true);
        assert_eq!(plan.gone, [("test".to_string(), "run".to_string())]);
    }
}
