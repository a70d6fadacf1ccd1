//! Logs of one job whose processes each write a file: `rank0.log`, `log_rank_1.txt`, `stdout.0`,
//! `attempt_0/1/stdout.log`, `0.monitor.csv` of an environment of Stable-Baselines3. They are one run; what processes beside the first log bears their rank.

use super::judge;
use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text};
use crate::sources::parse::words::{join, split};
use crate::sources::{InputKind, LogFile, RunInput, RunLogs, Sink};
use std::collections::BTreeMap;

/// [`LogFile::marks`] of a file that is a log only because those of other ranks are.
pub const SILENT: &str = "silent";

/// Whether the name of a file tells a rank.
pub fn is_ranked(path: &str) -> bool {
    ranked(path).is_some()
}

/// Groups files into runs: files that differ by a rank only are one, all others one each. The role
/// of an input is the prefix that its metrics get (`rank1/`), nothing for rank 0. Where rank 0 is
/// [silent](SILENT), the first that is not stands for it; where all are, there is no run.
pub fn fold(files: &[LogFile]) -> Vec<RunLogs> {
    let mut jobs: BTreeMap<String, Vec<(u32, &LogFile)>> = BTreeMap::new();
    let mut runs = Vec::new();
    for file in files {
        match ranked(&file.path) {
            Some((job, rank)) => jobs.entry(job).or_default().push((rank, file)),
            None => runs.push(judge::one_run(&file.path)),
        }
    }
    runs.extend(jobs.into_iter().filter_map(|(job, files)| job_run(job, files)));
    runs.sort_by(|a, b| a.path.cmp(&b.path));
    runs
}

fn job_run(job: String, mut files: Vec<(u32, &LogFile)>) -> Option<RunLogs> {
    files.sort_by(|a, b| (a.0, &a.1.path).cmp(&(b.0, &b.1.path)));
    let is_silent = |file: &LogFile| file.marks == SILENT;
    let (speaker, _) = files.iter().find(|(_, file)| !is_silent(file))?;
    let first = if files.iter().any(|(rank, file)| *rank == 0 && is_silent(file)) { *speaker } else { 0 };
    let path = files.first()?.1.path.clone();
    let inputs = files.into_iter().map(|(rank, file)| RunInput {
        path: file.path.clone(),
        kind: InputKind::Log,
        role: if rank == first { String::new() } else { format!("rank{rank}/") },
        segment: 0,
    });
    let name = name_of(&job);
    Some(RunLogs { identity: job, producer_id: None, name, project: None, path, inputs: inputs.collect() })
}

/// The path with `#` in place of its rank, and the rank.
fn ranked(path: &str) -> Option<(String, u32)> {
    let (folder, name) = split(path);
    if let Some((name, rank)) = named(name).or_else(|| numbered(name)) {
        return Some((join(folder, &name), rank));
    }
    // torchrun: `<run id>/attempt_0/<rank>/stdout.log`.
    let (above, parent) = split(folder);
    let is_stream = matches!(name, "stdout.log" | "stderr.log");
    let rank = number(parent).filter(|_| is_stream)?;
    Some((join(above, &format!("#/{name}")), rank))
}

/// `rank0.log`, `log_rank_1.txt`, `output_rank-3.log`.
fn named(name: &str) -> Option<(String, u32)> {
    let lower = name.to_ascii_lowercase();
    let at = lower.rfind("rank")?;
    let before = name.get(..at)?;
    if before.ends_with(char::is_alphanumeric) && !before.to_ascii_lowercase().ends_with("local") {
        return None;
    }
    let rest = name.get(at + 4..)?;
    let digits = rest.strip_prefix(['_', '-', '=']).unwrap_or(rest);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (rank, behind) = digits.split_at_checked(count)?;
    if behind.starts_with(char::is_alphanumeric) {
        return None;
    }
    Some((format!("{before}rank#{behind}"), number(rank)?))
}

/// `stdout.0`, `stderr.12`, `3.monitor.csv`.
fn numbered(name: &str) -> Option<(String, u32)> {
    let (stem, rest) = name.split_once('.')?;
    match (stem, rest) {
        ("stdout" | "stderr", rank) => Some((format!("{stem}.#"), number(rank)?)),
        (rank, "monitor.csv") => Some((format!("#.{rest}"), number(rank)?)),
        _ => None,
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.len() <= 5 && text.bytes().all(|c| c.is_ascii_digit()))
}

/// A job is named as its file would be without the rank; by its folder where nothing is left.
fn name_of(job: &str) -> Option<String> {
    let mut folders: Vec<&str> = job.split('/').collect();
    let name = folders.pop()?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let bare = stem.replace("local_rank#", "").replace("rank#", "");
    let bare = bare.trim_matches(['_', '-', '.', '#']);
    if !bare.is_empty() && !judge::is_generic(bare) {
        return Some(bare.to_string());
    }
    let tells = |folder: &&str| *folder != "#" && !folder.starts_with("attempt_");
    let folder = folders.into_iter().rev().find(tells);
    Some(folder.filter(|folder| !folder.is_empty()).unwrap_or("ranks").to_string())
}

/// A sink that puts a prefix before the names of all that is logged.
pub struct Prefixed<'s> {
    /// Where all goes.
    inner: &'s mut dyn Sink,
    prefix: &'s str,
    name: String,
}

impl<'s> Prefixed<'s> {
    /// Over another sink; an empty prefix changes nothing.
    pub fn new(inner: &'s mut dyn Sink, prefix: &'s str) -> Self {
        Self { inner, prefix, name: prefix.to_string() }
    }

    fn named(&mut self, key: &str) -> &str {
        self.name.truncate(self.prefix.len());
        self.name.push_str(key);
        &self.name
    }
}

impl Sink for Prefixed<'_> {
    fn select_run(&mut self, name: &str) {
        self.inner.select_run(name);
    }
    fn facts(&mut self, facts: RunFacts) {
        self.inner.facts(facts);
    }
    fn config(&mut self, key: &str, value: ConfigValue) {
        // All processes of a job have one configuration.
        self.inner.config(key, value);
    }
    fn remove_config(&mut self, key: &str) {
        self.inner.remove_config(key);
    }
    fn point(&mut self, point: Point<'_>) {
        self.named(point.key);
        self.inner.point(Point { key: &self.name, ..point });
    }
    fn internal_point(&mut self, point: Point<'_>) {
        self.named(point.key);
        self.inner.internal_point(Point { key: &self.name, ..point });
    }
    fn axis(&mut self, key: &str, axis: Axis) {
        self.named(key);
        self.inner.axis(&self.name, axis);
    }
    fn goal(&mut self, key: &str, goal: Goal) {
        self.named(key);
        self.inner.goal(&self.name, goal);
    }
    fn final_value(&mut self, key: &str, value: Option<f64>) {
        self.named(key);
        self.inner.final_value(&self.name, value);
    }
    fn text(&mut self, text: Text) {
        let key = self.named(&text.key).to_string();
        self.inner.text(Text { key, ..text });
    }
    fn alert(&mut self, alert: Alert) {
        self.inner.alert(alert);
    }
    fn console(&mut self, line: ConsoleLine) {
        self.inner.console(line);
    }
    fn restart(&mut self) {
        self.inner.restart();
    }
    fn begin_anew(&mut self) {
        self.inner.begin_anew();
    }
    fn rewind(&mut self, from_step: i64) {
        self.inner.rewind(from_step);
    }
    fn continue_from_zero(&mut self) {
        self.inner.continue_from_zero();
    }
    fn problem(&mut self, problem: Problem) {
        self.inner.problem(problem);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::file;

    fn runs(paths: &[&str]) -> Vec<String> {
        let files: Vec<LogFile> = paths.iter().map(|path| file(path, 1, "")).collect();
        let inputs = |run: &RunLogs| {
            let inputs = run.inputs.iter().map(|input| format!("{}@{}", input.role, input.path));
            inputs.collect::<Vec<_>>().join(" ")
        };
        let shown = |run: RunLogs| format!("{}: {}", run.name.clone().unwrap_or_default(), inputs(&run));
        fold(&files).into_iter().map(shown).collect()
    }

    #[test]
    fn files_of_ranks_are_one_run() {
        assert_eq!(
            runs(&["a/rank0.log", "a/rank1.log", "a/rank10.log", "a/rank2.log"]),
            ["a: @a/rank0.log rank1/@a/rank1.log rank2/@a/rank2.log rank10/@a/rank10.log"]
        );
        assert_eq!(
            runs(&["log_rank_0.txt", "log_rank_1.txt"]),
            ["ranks: @log_rank_0.txt rank1/@log_rank_1.txt"]
        );
        assert_eq!(
            runs(&["x/gpt_rank-0.jsonl", "x/gpt_rank-1.jsonl", "x/gpt_rank-1.csv"]),
            ["gpt: @x/gpt_rank-0.jsonl rank1/@x/gpt_rank-1.jsonl", "gpt: rank1/@x/gpt_rank-1.csv"]
        );
        assert_eq!(runs(&["job/stdout.0", "job/stdout.1"]), ["job: @job/stdout.0 rank1/@job/stdout.1"]);
        assert_eq!(
            runs(&["ppo/0.monitor.csv", "ppo/1.monitor.csv", "ppo/monitor.csv"]),
            ["ppo: @ppo/0.monitor.csv rank1/@ppo/1.monitor.csv", "ppo: @ppo/monitor.csv"]
        );
        assert_eq!(
            runs(&["j/attempt_0/0/stdout.log", "j/attempt_0/1/stdout.log", "j/attempt_1/0/stdout.log"]),
            ["j: @j/attempt_0/0/stdout.log rank1/@j/attempt_0/1/stdout.log", "j: @j/attempt_1/0/stdout.log"]
        );
    }

    #[test]
    fn other_files_are_runs_of_their_own() {
        assert_eq!(
            runs(&["a/log.jsonl", "crank0.log", "rank.log", "ranking1.log", "stdout.log", "log.1"]).len(),
            6
        );
        assert_eq!(runs(&["a/rank1.log"]), ["a: rank1/@a/rank1.log"]);
        assert_eq!(runs(&["0/stdout.log"])[0], "ranks: @0/stdout.log");
    }

    #[test]
    fn ranks_that_log_nothing_are_kept_beside_those_that_do() {
        let run = |marks: [&str; 3]| {
            let files: Vec<_> = marks
                .iter()
                .zip(0..)
                .map(|(marks, rank)| file(&format!("rank{rank}.log"), 1, marks))
                .collect();
            let runs = fold(&files);
            runs.first()
                .map(|run| run.inputs.iter().map(|input| input.role.clone()).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(run(["", SILENT, SILENT]).as_deref(), Some(" rank1/ rank2/"));
        assert_eq!(run([SILENT, SILENT, ""]).as_deref(), Some("rank0/ rank1/ "));
        assert_eq!(run([SILENT; 3]), None);
    }

    #[test]
    fn the_run_of_a_job_stays_the_same_when_ranks_come() {
        let identity = |paths: &[&str]| {
            fold(&paths.iter().map(|p| file(p, 1, "")).collect::<Vec<_>>())[0].identity.clone()
        };
        assert_eq!(identity(&["a/rank0.log"]), identity(&["a/rank0.log", "a/rank1.log"]));
    }
}
