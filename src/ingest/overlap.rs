//! Which of several points at one step counts: the last arrival, unless the producer took it back.

use super::state::KeyState;
use crate::records::columns::{Columns, NO_TIME, PointRow};
use crate::records::schema::Table;
use crate::store::merge::{Merge, SortedFile, column, rows_where, texts, times};
use crate::store::rows::RowSet;
use crate::store::{FileRecord, Limits};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use std::collections::BTreeMap;
use std::path::Path;

/// Points taken back by the producer: (segment, arrival, from step).
pub type Rewind = (i32, i64, i64);

/// Whether a later rewind took the point back.
pub fn is_rewound(rewinds: &[Rewind], step: i64, arrival: (i32, i64)) -> bool {
    rewinds.iter().any(|(segment, seq, from_step)| arrival < (*segment, *seq) && step >= *from_step)
}

/// Indices of rows that do not count. Rows are sorted by (step, arrival).
pub fn superseded(rows: &Columns, rewinds: &[Rewind]) -> Vec<usize> {
    let replaced = |i: usize| rows.step.get(i + 1).is_some_and(|next| *next == rows.step[i]);
    let rewound = |i: usize| !rewinds.is_empty() && is_rewound(rewinds, rows.step[i], rows.arrival(i));
    (0..rows.len()).filter(|i| replaced(*i) || rewound(*i)).collect()
}

/// A metric whose new points may touch stored ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// First step at which they may.
    pub from_step: i64,
    /// Whether the statistics must be made anew from the stored points.
    pub recompute: bool,
    /// The rewinds that concern the metric.
    pub rewinds: Vec<Rewind>,
}

impl Overlap {
    /// Takes in what `other` touches besides.
    pub fn widen(&mut self, other: &Overlap) {
        self.from_step = self.from_step.min(other.from_step);
        self.recompute |= other.recompute;
    }
}

/// Metrics of runs (by their index in a batch) whose new points may touch stored ones.
pub type Overlaps = BTreeMap<usize, BTreeMap<String, Overlap>>;

/// What [`resolve`] found.
#[derive(Debug, Default)]
pub struct Resolved {
    /// Rows that no longer count, by index of the file.
    pub superseded: BTreeMap<usize, RowSet>,
    /// Points of metrics to recompute.
    pub states: BTreeMap<String, KeyState>,
}

/// Reads the stored points of `keys` of one run and decides which count; `see` is shown those that do of
/// metrics to recompute, by key and step. Streams: memory does not grow with the run.
///
/// # Errors
/// When a file cannot be read.
pub fn resolve(
    cache: &Path,
    run_id: &str,
    keys: &BTreeMap<String, Overlap>,
    files: &[FileRecord],
    limits: Limits,
    see: &mut dyn FnMut(&str, PointRow),
) -> anyhow::Result<Resolved> {
    let recompute = keys.values().any(|overlap| overlap.recompute);
    let from_step = keys.values().map(|overlap| overlap.from_step).min().unwrap_or(i64::MIN);
    let touched = |file: &FileRecord| recompute || file.step_bounds.is_none_or(|(_, last)| last >= from_step);
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        let wanted = match touched(file) {
            true => rows_where(cache, file, |run, key| run == run_id && keys.contains_key(key))?,
            false => RowSet::new(),
        };
        let skip = RowSet::all(file.row_count).minus(&wanted.minus(&file.dropped));
        inputs.push(SortedFile::new(cache, file, skip));
    }
    let mut merge = Merge::open(
        &inputs,
        Table::Metrics.stored_schema(),
        Table::Metrics.sort_columns(),
        limits.batch_rows,
    )?;
    let mut judge = Judge::new(keys, see);
    while let Some((batch, places)) = merge.next_rows(limits.batch_rows)? {
        let (Some(steps), Some(segments), Some(seqs), Some(values)) = (
            column::<Int64Type>(&batch, "step"),
            column::<Int32Type>(&batch, "segment"),
            column::<Int64Type>(&batch, "seq"),
            column::<Float64Type>(&batch, "value"),
        ) else {
            anyhow::bail!("a metrics file lacks a column");
        };
        let times = times(&batch);
        let names = texts(&batch, "key");
        for (i, place) in places.iter().enumerate() {
            let row = PointRow {
                step: steps[i],
                value: values[i],
                time: times.get(i).copied().unwrap_or(NO_TIME),
                seq: seqs[i],
                segment: segments[i],
            };
            judge.row(names.get(i).copied().unwrap_or_default(), row, (place.file, place.row));
        }
    }
    Ok(judge.finish())
}

/// Sees points in order of (key, step, arrival) and holds one back until the next is known.
struct Judge<'a> {
    keys: &'a BTreeMap<String, Overlap>,
    held: Option<(String, PointRow, (usize, u64))>,
    losers: BTreeMap<usize, Vec<u64>>,
    states: BTreeMap<String, KeyState>,
    see: &'a mut dyn FnMut(&str, PointRow),
}

impl<'a> Judge<'a> {
    fn new(keys: &'a BTreeMap<String, Overlap>, see: &'a mut dyn FnMut(&str, PointRow)) -> Self {
        let states = keys.iter().filter(|(_, overlap)| overlap.recompute);
        let states = states.map(|(key, _)| (key.clone(), KeyState::default())).collect();
        Self { keys, held: None, losers: BTreeMap::new(), states, see }
    }

    fn row(&mut self, key: &str, row: PointRow, place: (usize, u64)) {
        let replaces = self.held.as_ref().is_some_and(|(name, held, _)| name == key && held.step == row.step);
        self.settle(replaces);
        self.held = Some((key.to_string(), row, place));
    }

    fn settle(&mut self, replaced: bool) {
        let Some((key, row, (file, number))) = self.held.take() else { return };
        let rewinds = self.keys.get(&key).map_or(&[][..], |overlap| &overlap.rewinds);
        if replaced || is_rewound(rewinds, row.step, row.arrival()) {
            self.losers.entry(file).or_default().push(number);
        } else if let Some(state) = self.states.get_mut(&key) {
            state.push(row.step, row.value);
            (self.see)(&key, row);
        }
    }

    fn finish(mut self) -> Resolved {
        self.settle(false);
        let superseded =
            self.losers.into_iter().map(|(file, rows)| (file, RowSet::from_rows(rows))).collect();
        Resolved { superseded, states: self.states }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(points: &[(i64, i32, i64)]) -> Columns {
        let mut rows = Columns::default();
        for &(step, segment, seq) in points {
            rows.push(PointRow { step, value: 0.0, time: 0, seq, segment });
        }
        rows
    }

    #[test]
    fn the_last_arrival_at_a_step_counts() {
        let rows = rows(&[(0, 0, 0), (1, 0, 1), (1, 1, 0), (2, 0, 2), (2, 0, 3), (2, 1, 1), (3, 1, 2)]);
        assert_eq!(superseded(&rows, &[]), [1, 3, 4]);
    }

    #[test]
    fn a_rewind_takes_back_what_came_before_it() {
        let rows = rows(&[(0, 0, 0), (1, 0, 1), (2, 0, 2), (2, 1, 5), (3, 0, 3)]);
        assert_eq!(superseded(&rows, &[(1, 4, 1)]), [1, 2, 4]);
    }
}
