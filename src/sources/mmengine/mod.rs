//! MMEngine (MMDetection 3.x, MMSegmentation 1.x, ...) and mmcv 1.x: a work folder with one set of
//! logs for each start. JSON lines hold the metrics, a text log beside them the times and what was
//! printed; a start that left only its text log is read from it.

mod config;
mod group;
mod printed;
mod scalars;
pub mod text;

use super::find::judge;
use super::parse::prefix;
use super::{HEAD_BYTES, Log, LogFile, Resume, RunLogs, Sink, Source, Verdict};
use group::File;

/// A text log of mmcv that tells no iterations in so many bytes is left alone.
const WIDE_HEAD_BYTES: usize = 16 * HEAD_BYTES;

/// Reader of MMEngine's and mmcv's logs.
pub struct MmEngine;

impl Source for MmEngine {
    fn name(&self) -> &'static str {
        "mmengine"
    }

    fn may_claim(&self, path: &str) -> bool {
        group::file_of(path).is_some()
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        let text = String::from_utf8_lossy(head);
        match group::file_of(path) {
            _ if text.trim().is_empty() => Verdict::TooEarly,
            Some(File::Config) => log(""),
            Some(File::Scalars | File::Copy | File::Meta) if text.trim_start().starts_with('{') => log(""),
            Some(File::Text) if text.lines().take(50).any(text::is_prefixed) => log(""),
            Some(File::Flat) if text.lines().take(50).any(text::is_prefixed) => flat(&text, head.len()),
            _ => judge::other("no log of MMEngine"),
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        group::group(files)
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        match group::file_of(log.path) {
            Some(File::Config) => config::read(log, sink),
            Some(File::Scalars | File::Copy) => scalars::read(log, from, scalars::Form::MmEngine, sink),
            Some(File::Meta) => scalars::read(log, from, scalars::Form::Mmcv, sink),
            _ => printed::read(log, from, sink),
        }
    }
}

fn log(marks: &str) -> Verdict {
    Verdict::Log { marks: marks.to_string() }
}

/// A text log that lies in the work folder itself: the first line of progress makes it one, and
/// tells how many iterations an epoch has.
fn flat(text: &str, size: usize) -> Verdict {
    let mut messages = text.lines().map(|line| prefix::split(line).text);
    let total = messages.find_map(|message| {
        let found = text::progress(message).filter(|found| found.mode == text::Mode::Train)?;
        let kind = if found.epoch.is_some() { "epoch" } else { "iter" };
        Some(format!("{kind} {}", found.total?))
    });
    match total {
        Some(total) => log(&total),
        None if size < WIDE_HEAD_BYTES => Verdict::TooEarly,
        None => judge::other("no iterations in the first part of the log"),
    }
}

#[cfg(test)]
mod tests;
