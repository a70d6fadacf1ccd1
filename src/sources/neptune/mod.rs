//! Neptune without its service: what the client queued in `.neptune` (a line for each operation), and the
//! Parquet files that `neptune-exporter` saved from the service.

mod export;
mod operations;

use super::parse::words::split;
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use std::collections::BTreeMap;
use std::path::Path;

/// Reader of Neptune's files.
pub struct Neptune;

impl Source for Neptune {
    fn name(&self) -> &'static str {
        "neptune"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        queue(path).is_some() || part(path).is_some()
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let is_ours = match queue(path) {
            Some(_) => (!head.trim_ascii().is_empty()).then(|| head.trim_ascii_start().starts_with(b"{")),
            None if head.len() < export::MAGIC.len() => None,
            None => Some(head.starts_with(export::MAGIC)),
        };
        match is_ours {
            Some(true) => Verdict::Log { marks: String::new() },
            Some(false) => Verdict::Other { reason: "not written for Neptune".into() },
            None => Verdict::TooEarly,
        }
    }

    /// Of a Parquet file the columns tell.
    fn sniff_file(&self, path: &str, head: &[u8], file: &Path, _scratch: &Path) -> Verdict {
        match self.sniff(path, head) {
            Verdict::Log { .. } if part(path).is_some() && !export::is_export(file) => {
                Verdict::Other { reason: "no columns of neptune-exporter".into() }
            }
            verdict => verdict,
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut queues: BTreeMap<&str, Vec<(&str, u64, &str)>> = BTreeMap::new();
        let mut exports: BTreeMap<&str, Vec<(u64, &str)>> = BTreeMap::new();
        for file in files {
            if let Some((folder, _, number)) = queue(&file.path) {
                queues.entry(folder).or_default().push((split(&file.path).0, number, &file.path));
            } else if let Some((stem, number)) = part(&file.path) {
                exports.entry(stem).or_default().push((number, &file.path));
            }
        }
        let queued = queues.into_iter().map(|(folder, mut files)| {
            files.sort_unstable();
            let id = split(folder).1.split("__").nth(1).map(str::to_owned);
            let paths = files.into_iter().map(|(.., path)| path);
            run_logs(folder, folder, id, paths, InputKind::Log)
        });
        let exported = exports.into_iter().map(|(stem, mut parts)| {
            parts.sort_unstable();
            let first = parts.first().map_or(stem, |(_, path)| path);
            run_logs(stem, first, None, parts.iter().map(|(_, path)| *path), InputKind::Snapshot)
        });
        queued.chain(exported).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        match part(log.path) {
            Some(_) => export::read(log, sink),
            None => operations::read(log, from, sink),
        }
    }
}

/// `.neptune/<mode>/run__<id>__.../[...]/data-<n>.log`: folder of the run, its id and the number.
fn queue(path: &str) -> Option<(&str, &str, u64)> {
    let number = split(path).1.strip_prefix("data-")?.strip_suffix(".log")?.parse().ok()?;
    let mut end = 0;
    for name in path.split('/') {
        let begin = end;
        end = begin + name.len();
        if let Some(rest) = name.strip_prefix("run__") {
            let is_queue = path.get(..begin)?.split('/').any(|folder| folder == ".neptune");
            let id = rest.split("__").next().filter(|_| is_queue)?;
            return Some((path.get(..end)?, id, number));
        }
        end += 1;
    }
    None
}

/// `<run>_part_<n>.parquet`: the path without number and ending, and the number.
fn part(path: &str) -> Option<(&str, u64)> {
    let (stem, number) = path.strip_suffix(".parquet")?.rsplit_once("_part_")?;
    Some((stem, number.parse().ok()?))
}

fn run_logs<'p>(
    identity: &str,
    path: &str,
    producer_id: Option<String>,
    paths: impl Iterator<Item = &'p str>,
    kind: InputKind,
) -> RunLogs {
    let inputs = paths.map(|path| RunInput::new(path, kind)).collect();
    RunLogs { identity: identity.to_owned(), producer_id, ..RunLogs::of_inputs(path, inputs) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::testing::file;

    #[test]
    fn queues_and_exports_have_their_place() {
        let folder = ".neptune/async/run__0b1c__e4f5__12__key";
        let paths = [
            format!("{folder}/exec-1/data-1.log"),
            format!("{folder}/exec-1/data-10.log"),
            format!("{folder}/exec-1/data-2.log"),
            "exports/p/RUN-1_part_0.parquet".to_owned(),
            "exports/p/RUN-1_part_10.parquet".to_owned(),
            "exports/p/RUN-1_part_2.parquet".to_owned(),
        ];
        let files: Vec<_> = paths.iter().map(|path| file(path, 9, "")).collect();
        let runs = Neptune.group(&files);
        assert_eq!((runs.len(), runs[0].producer_id.as_deref()), (2, Some("0b1c")));
        let order = |at: usize| runs[at].inputs.iter().map(|input| input.path.as_str());
        assert!(order(0).eq([&*paths[0], &paths[2], &paths[1]]));
        assert!(order(1).eq([&*paths[3], &paths[5], &paths[4]]));
        assert!(!Neptune.may_claim("run__a/data-1.log"), "not in a queue");
        assert!(!Neptune.may_claim(".neptune/offline/project__a/data-1.log"), "no run");
        assert!(!Neptune.may_claim("part_0.parquet"));
    }
}
