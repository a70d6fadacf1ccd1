//! A sink that keeps what it gets, for the tests of readers.

use super::{Log, Resume, Sink, Source};
use crate::records::{Alert, Axis, ConfigValue, ConsoleLine, Goal, Point, Problem, RunFacts, Text};
use std::collections::BTreeMap;
use std::io::{Cursor, Seek, SeekFrom};

/// What a reader told.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct MemorySink {
    pub(crate) run: String,
    pub(crate) segment: i32,
    /// Run, segment, key, step, bits of the value, time.
    pub(crate) points: Vec<(String, i32, String, i64, u64, Option<i64>)>,
    pub(crate) facts: RunFacts,
    pub(crate) config: BTreeMap<String, ConfigValue>,
    pub(crate) axes: BTreeMap<String, Axis>,
    pub(crate) finals: BTreeMap<String, f64>,
    pub(crate) texts: Vec<Text>,
    pub(crate) console: Vec<String>,
    pub(crate) problems: Vec<Problem>,
}

impl MemorySink {
    /// Reads all of `bytes`.
    pub(crate) fn of(source: &dyn Source, path: &str, bytes: &[u8]) -> Self {
        let mut sink = Self::default();
        sink.read(source, path, bytes, Resume::default(), 1 << 20);
        sink
    }

    /// Reads `bytes` from where `from` says.
    pub(crate) fn read(
        &mut self,
        source: &dyn Source,
        path: &str,
        bytes: &[u8],
        from: Resume,
        chunk_bytes: usize,
    ) -> Resume {
        let mut input = Cursor::new(bytes);
        input.seek(SeekFrom::Start(from.offset)).ok();
        self.run.clear();
        let mut log = Log { path, role: "", bytes: &mut input, chunk_bytes };
        source.read(&mut log, from, self).unwrap_or_default()
    }

    /// Steps and values of a metric.
    pub(crate) fn metric(&self, key: &str) -> Vec<(i64, f64)> {
        self.points
            .iter()
            .filter(|point| point.2 == key)
            .map(|point| (point.3, f64::from_bits(point.4)))
            .collect()
    }

    /// Steps of a metric.
    pub(crate) fn steps(&self, key: &str) -> Vec<i64> {
        self.metric(key).into_iter().map(|(step, _)| step).collect()
    }

    /// Names of the metrics.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys: std::collections::BTreeSet<_> = self.points.iter().map(|point| point.2.clone()).collect();
        keys.into_iter().collect()
    }
}

impl Sink for MemorySink {
    fn select_run(&mut self, name: &str) {
        self.run = name.to_string();
    }
    fn facts(&mut self, facts: RunFacts) {
        self.facts.merge(facts);
    }
    fn config(&mut self, key: &str, value: ConfigValue) {
        self.config.insert(key.to_string(), value);
    }
    fn remove_config(&mut self, key: &str) {
        self.config.remove(key);
    }
    fn point(&mut self, point: Point<'_>) {
        let bits = if point.value.is_nan() { f64::NAN.to_bits() } else { point.value.to_bits() };
        self.points.push((
            self.run.clone(),
            self.segment,
            point.key.to_string(),
            point.step,
            bits,
            point.time,
        ));
    }
    fn internal_point(&mut self, _: Point<'_>) {}
    fn axis(&mut self, key: &str, axis: Axis) {
        self.axes.insert(key.to_string(), axis);
    }
    fn goal(&mut self, _: &str, _: Goal) {}
    fn final_value(&mut self, key: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.finals.insert(key.to_string(), value);
        }
    }
    fn text(&mut self, text: Text) {
        self.texts.push(text);
    }
    fn alert(&mut self, _: Alert) {}
    fn console(&mut self, line: ConsoleLine) {
        self.console.push(line.text);
    }
    fn restart(&mut self) {
        self.segment += 1;
    }
    fn rewind(&mut self, _: i64) {}
    fn continue_from_zero(&mut self) {}
    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}
