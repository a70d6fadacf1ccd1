//! Metrics as JSON lines, of MMEngine (`scalars.json`) and of mmcv 1.x (`<stamp>.log.json`).
//!
//! Lines of validation name no training step: MMEngine counts epochs there, mmcv batches. They go to
//! the training step they belong to.

use crate::records::{ConfigValue, Point, Problem, RunFacts, Text};
use crate::sources::parse::axis;
use crate::sources::parse::json::{Fields, Json, flatten, parse};
use crate::sources::parse::lines::{Lines, without_blank};
use crate::sources::{Log, Resume, Sink};
use serde::{Deserialize, Serialize};

/// Who wrote the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// MMEngine.
    MmEngine,
    /// mmcv 1.x.
    Mmcv,
}

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// Step of the last line of training.
    step: Option<i64>,
    /// Its epoch.
    epoch: Option<i64>,
    /// Its iteration as logged (mmcv).
    iter: i64,
    /// Iterations of an epoch, once known (mmcv).
    per_epoch: Option<i64>,
    /// Whether iterations go on over epochs (mmcv).
    is_global: bool,
}

/// Reads the lines.
pub fn read(log: &mut Log<'_>, from: Resume, form: Form, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let state: State = serde_json::from_str(&from.state).unwrap_or_default();
    let mut reader = Reader { state, form, sink };
    if from.offset == 0 && form == Form::Mmcv {
        reader.iterations(log.role);
    }
    let mut row_count = from.row_count;
    let mut lines = Lines::new(log.bytes, from.offset, log.chunk_bytes);
    while let Some(line) = lines.peek()? {
        let text = without_blank(line.bytes);
        let blank = line.bytes.len() - text.len();
        let outcome = match parse(text) {
            _ if line.too_long => Err("the line is too long".to_string()),
            _ if text.is_empty() && line.ended => Ok(None),
            Ok((Json::Object(fields), used)) => {
                reader.object(&fields);
                Ok(Some(blank + used))
            }
            _ if !line.ended => break,
            Ok(_) => Err("expected a JSON object".to_string()),
            Err(fault) => Err(format!("no JSON: {fault:?}")),
        };
        row_count += u64::from(outcome != Ok(None));
        match outcome {
            // The end of the line may not be written yet.
            Ok(Some(used)) => lines.advance(used),
            Ok(None) => lines.pass(),
            Err(message) => {
                let position = format!("byte {}", line.offset + blank as u64);
                reader.sink.problem(Problem { position, message });
                lines.pass();
            }
        }
    }
    Ok(Resume { offset: lines.offset(), state: serde_json::to_string(&reader.state)?, row_count })
}

struct Reader<'s> {
    state: State,
    form: Form,
    sink: &'s mut dyn Sink,
}

impl Reader<'_> {
    /// What the text log beside the lines says: `epoch 1000` or `iter 30000`.
    fn iterations(&mut self, role: &str) {
        let Some((kind, total)) = role.split_once(' ') else { return };
        let total: Option<i64> = total.parse().ok();
        if kind == "epoch" {
            self.state.per_epoch = total.filter(|total| *total > 0);
        } else {
            self.state.is_global = true;
            self.sink.facts(RunFacts { planned_steps: total, ..RunFacts::default() });
        }
    }

    fn object(&mut self, fields: &Fields<'_>) {
        match self.form {
            Form::MmEngine => self.mmengine(fields),
            Form::Mmcv => self.mmcv(fields),
        }
    }

    fn mmengine(&mut self, fields: &Fields<'_>) {
        let raw = whole(fields, "step");
        if fields.iter().any(|(key, _)| is_of_training(key)) {
            let step = raw.or(whole(fields, "iter")).or(self.state.step).unwrap_or(0);
            self.state.step = Some(step);
            self.state.epoch = whole(fields, "epoch").or(self.state.epoch);
            self.metrics(fields, step, "");
            return;
        }
        let epoch = raw.filter(|raw| *raw >= 1 && self.state.epoch.is_some_and(|epoch| *raw <= epoch));
        let step = match (self.state.step, raw) {
            (Some(last), Some(raw)) if epoch.is_none() => raw.max(last),
            (Some(last), _) => last,
            (None, raw) => raw.unwrap_or(0),
        };
        self.metrics(fields, step, "");
        if let Some(epoch) = epoch.filter(|epoch| Some(*epoch) != self.state.epoch) {
            self.sink.point(Point { key: "epoch", step, value: epoch as f64, time: None });
        }
    }

    fn mmcv(&mut self, fields: &Fields<'_>) {
        let mode = fields.iter().find(|(key, _)| key == "mode").and_then(|(_, value)| value.as_str());
        let (epoch, iter) = (whole(fields, "epoch"), whole(fields, "iter"));
        match mode {
            None => self.meta(fields),
            Some("train") => {
                let step = self.place(epoch, iter);
                self.metrics(fields, step, "train/");
            }
            Some(mode) => {
                let by_epoch = epoch.zip(self.state.per_epoch).filter(|_| !self.state.is_global);
                let step = by_epoch.and_then(|(epoch, count)| epoch.checked_mul(count));
                let step = step.or(self.state.step).unwrap_or(0);
                self.metrics(fields, step, &format!("{mode}/"));
            }
        }
    }

    /// The training step. Iterations begin anew in each epoch; where no text log tells how many an
    /// epoch has, the largest one of the epoch before stands for it.
    fn place(&mut self, epoch: Option<i64>, iter: Option<i64>) -> i64 {
        let state = &mut self.state;
        let iter = iter.unwrap_or(state.iter);
        if !state.is_global
            && state.per_epoch.is_none()
            && let (Some(before), Some(now)) = (state.epoch, epoch)
            && now > before
        {
            if iter <= state.iter {
                state.per_epoch = Some(state.iter.max(1));
            } else {
                state.is_global = true;
            }
        }
        let count = state.per_epoch.filter(|_| !state.is_global);
        let before = epoch.zip(count).and_then(|(epoch, count)| epoch.checked_sub(1)?.checked_mul(count));
        let step = before.unwrap_or(0).saturating_add(iter);
        (state.epoch, state.iter, state.step) = (epoch.or(state.epoch), iter, Some(step));
        step
    }

    /// The first line of mmcv: where and with what the run was started.
    fn meta(&mut self, fields: &Fields<'_>) {
        for (key, value) in fields {
            match value {
                Json::String(text)
                    if matches!(key.as_ref(), "config" | "env_info") || text.contains('\n') =>
                {
                    self.sink.text(Text {
                        key: key.to_string(),
                        step: None,
                        time: None,
                        text: text.to_string(),
                    });
                }
                value => flatten(key, value, &mut |key, value| {
                    let value: ConfigValue = value.to_config();
                    self.sink.config(key, value);
                }),
            }
        }
    }

    fn metrics(&mut self, fields: &Fields<'_>, step: i64, prefix: &str) {
        for (key, value) in fields.iter().filter(|(key, _)| key != "step" && key != "mode") {
            let is_counter = !prefix.is_empty() && (key == "iter" || key == "epoch");
            flatten(key, value, &mut |key, value| {
                let full = if is_counter || axis::has_split(key) {
                    key.to_string()
                } else {
                    format!("{prefix}{key}")
                };
                // Batches of a validation are no iterations.
                let is_count = is_counter && key == "iter" && prefix != "train/";
                if let Some(value) = value.as_metric().filter(|_| !is_count) {
                    self.sink.point(Point { key: &full, step, value, time: None });
                } else if let Json::String(text) = value {
                    self.sink.text(Text { key: full, step: Some(step), time: None, text: text.to_string() });
                }
            });
        }
    }
}

/// A line without iteration and loss is one of validation.
fn is_of_training(key: &str) -> bool {
    let (before, last) = key.rsplit_once('/').unwrap_or(("", key));
    matches!(last, "iter" | "loss") && matches!(before, "" | "train")
}

fn whole(fields: &Fields<'_>, key: &str) -> Option<i64> {
    let value = fields.iter().find(|(name, _)| name.rsplit('/').next() == Some(key));
    value.and_then(|(_, value)| axis::step_of(value))
}
