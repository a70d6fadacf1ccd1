//! Which files of a work folder make a run.

use crate::sources::parse::words::split;
use crate::sources::{InputKind, LogFile, RunInput, RunLogs};
use std::collections::BTreeMap;

/// [`RunInput::role`] of a text log that is read for its metrics as well.
pub const WITH_METRICS: &str = "metrics";

/// What a file is by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `vis_data/scalars.json`.
    Scalars,
    /// `vis_data/<stamp>.json`, the same lines.
    Copy,
    /// `vis_data/config.py`.
    Config,
    /// `<stamp>/<stamp>.log`.
    Text,
    /// `<stamp>.log` in the work folder itself.
    Flat,
    /// `<stamp>.log.json` of mmcv.
    Meta,
}

/// What a path is, if it is ours.
pub fn file_of(path: &str) -> Option<File> {
    let (folder, name) = split(path);
    let parent = split(folder).1;
    let stem = |suffix: &str| name.strip_suffix(suffix).filter(|stem| is_stamp(stem));
    match parent {
        "vis_data" if name == "scalars.json" => Some(File::Scalars),
        "vis_data" if name == "config.py" => Some(File::Config),
        "vis_data" => stem(".json").map(|_| File::Copy),
        _ if stem(".log.json").is_some() => Some(File::Meta),
        _ => stem(".log").map(|stem| if stem == parent { File::Text } else { File::Flat }),
    }
}

/// `20261120_181315`.
fn is_stamp(name: &str) -> bool {
    name.len() == 15
        && name.bytes().enumerate().all(|(at, c)| if at == 8 { c == b'_' } else { c.is_ascii_digit() })
}

/// The work folder of a file and the stamp of its start.
fn place(path: &str, file: File) -> (&str, &str) {
    let (folder, name) = split(path);
    match file {
        File::Flat | File::Meta => (folder, name.get(..15).unwrap_or(name)),
        File::Text => split(folder),
        File::Scalars | File::Copy | File::Config => {
            let start = split(folder).0;
            if is_stamp(split(start).1) { split(start) } else { (start, "") }
        }
    }
}

/// The files of one start.
#[derive(Default)]
struct Start<'f> {
    metrics: Option<(File, &'f LogFile)>,
    text: Option<&'f LogFile>,
    config: Option<&'f LogFile>,
}

/// A run is a work folder; resumed starts lie in it side by side.
pub fn group(files: &[LogFile]) -> Vec<RunLogs> {
    let mut runs: BTreeMap<&str, BTreeMap<&str, Start<'_>>> = BTreeMap::new();
    for file in files {
        let Some(kind) = file_of(&file.path) else { continue };
        let (folder, stamp) = place(&file.path, kind);
        let start = runs.entry(folder).or_default().entry(stamp).or_default();
        match kind {
            File::Config => start.config = Some(file),
            File::Text | File::Flat => start.text = Some(file),
            // Of lines written twice those of scalars.json are read.
            File::Copy if start.metrics.is_some() => {}
            kind => start.metrics = Some((kind, file)),
        }
    }
    runs.into_iter().filter_map(|(folder, starts)| run_logs(folder, starts)).collect()
}

fn run_logs(folder: &str, starts: BTreeMap<&str, Start<'_>>) -> Option<RunLogs> {
    let starts = starts.into_values().filter(|start| start.metrics.is_some() || start.text.is_some());
    let inputs: Vec<RunInput> =
        starts.zip(0..).flat_map(|(start, segment)| inputs(&start, segment)).collect();
    let first = inputs.first()?;
    let path = if folder.is_empty() { first.path.split('/').next()? } else { folder };
    Some(RunLogs {
        identity: if folder.is_empty() { ".".to_string() } else { folder.to_string() },
        producer_id: None,
        name: Some(split(path).1.trim_end_matches(".json").trim_end_matches(".log").to_string()),
        project: None,
        path: path.to_string(),
        inputs,
    })
}

fn inputs(start: &Start<'_>, segment: i32) -> Vec<RunInput> {
    let input = |file: &LogFile, kind, role: &str| RunInput {
        path: file.path.clone(),
        kind,
        role: role.to_string(),
        segment,
    };
    // The text log of mmcv knows how many iterations an epoch has.
    let iterations = start.text.map_or("", |text| text.marks.as_str());
    let metrics = start.metrics.map(|(_, file)| input(file, InputKind::Log, iterations));
    let role = if metrics.is_some() { "" } else { WITH_METRICS };
    let text = start.text.map(|file| input(file, InputKind::Log, role));
    let config = start.config.map(|file| input(file, InputKind::Document, ""));
    config.into_iter().chain(metrics).chain(text).collect()
}
