//! The text log of a start: everything that was printed, with its times; how far the run means to
//! go; and the metrics, where nothing else holds them.

use super::group::WITH_METRICS;
use super::text::{self, Mode, Progress};
use crate::records::{ConsoleLine, Point, RunFacts, Text, TimeMs};
use crate::sources::parse::lines::{Printed, each_line};
use crate::sources::parse::{prefix, terminal};
use crate::sources::{Log, Resume, Sink};
use serde::{Deserialize, Serialize};

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    max_epochs: Option<i64>,
    planned_steps: Option<i64>,
    exp_name: String,
    /// Step of the last line of training.
    step: Option<i64>,
}

/// Reads what was printed.
pub fn read(log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let with_metrics = log.role == WITH_METRICS;
    let mut reader = Reader { state, with_metrics };
    let (offset, row_count) = each_line(
        log,
        &from,
        sink,
        &mut Printed(|line: &[u8], sink: &mut dyn Sink| {
            reader.line(&terminal::shown(String::from_utf8_lossy(line).trim_end()), sink);
        }),
    )?;
    Ok(Resume { offset, state: serde_json::to_string(&reader.state)?, row_count })
}

struct Reader {
    state: State,
    with_metrics: bool,
}

impl Reader {
    fn line(&mut self, line: &str, sink: &mut dyn Sink) {
        if line.trim().is_empty() {
            return;
        }
        let message = prefix::split(line);
        sink.console(ConsoleLine { time: message.time, stream: None, text: line.to_string() });
        if let Some(progress) = text::progress(message.text) {
            self.plan(&progress, sink);
            if self.with_metrics {
                self.metrics(&progress, message.time, sink);
            }
        } else if let Some(name) = message.text.strip_prefix("Exp name: ") {
            self.exp_name(name.trim(), message.time, sink);
        } else if self.state.max_epochs.is_none() {
            self.state.max_epochs = max_epochs(message.text);
        }
    }

    fn exp_name(&mut self, name: &str, time: Option<TimeMs>, sink: &mut dyn Sink) {
        if !name.is_empty() && self.state.exp_name != name {
            self.state.exp_name = name.to_string();
            let (key, text) = ("exp_name".to_string(), name.to_string());
            sink.text(Text { key, step: None, time, text });
        }
    }

    fn plan(&mut self, progress: &Progress<'_>, sink: &mut dyn Sink) {
        let Some(total) = progress.total.filter(|_| progress.mode == Mode::Train) else { return };
        let planned = match (progress.epoch, self.state.max_epochs) {
            (None, _) => Some(total),
            (Some(_), Some(epochs)) => epochs.checked_mul(total),
            (Some(_), None) => None,
        };
        if planned.is_some() && self.state.planned_steps != planned {
            self.state.planned_steps = planned;
            sink.facts(RunFacts { planned_steps: planned, ..RunFacts::default() });
        }
    }

    /// Results of a validation belong to the last step of training before them.
    fn metrics(&mut self, progress: &Progress<'_>, time: Option<TimeMs>, sink: &mut dyn Sink) {
        if progress.is_underway() {
            return;
        }
        self.state.step = progress.step().or(self.state.step);
        let step = self.state.step.unwrap_or(0);
        let counters = [("epoch", progress.epoch), ("iter", progress.step())];
        for (key, count) in counters.into_iter().filter(|_| progress.mode == Mode::Train) {
            if let Some(count) = count {
                sink.point(Point { key, step, value: count as f64, time });
            }
        }
        for (key, value, _) in progress.metrics() {
            sink.point(Point { key: &key, step, value, time });
        }
    }
}

/// `train_cfg = dict(by_epoch=True, max_epochs=12, val_interval=1)` in the configuration that is printed.
fn max_epochs(text: &str) -> Option<i64> {
    let (_, rest) = text.split_once("max_epochs")?;
    let rest = rest.trim_start().strip_prefix(['=', ':'])?.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok().filter(|epochs| *epochs > 0)
}
