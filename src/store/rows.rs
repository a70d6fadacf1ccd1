//! A set of row numbers of one file, kept as ranges: which rows do not count.

use parquet::arrow::arrow_reader::{RowSelection, RowSelector};

/// Sorted, disjoint, non-touching ranges `start..end` of row numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowSet {
    ranges: Vec<(u64, u64)>,
}

impl RowSet {
    /// No rows.
    pub fn new() -> Self {
        Self::default()
    }

    /// From row numbers in any order, repeats allowed.
    pub fn from_rows(mut rows: Vec<u64>) -> Self {
        rows.sort_unstable();
        Self::from_sorted_ranges(rows.into_iter().map(|row| (row, row + 1)))
    }

    /// From ascending ranges `start..end`.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self::from_sorted_ranges(ranges.into_iter().filter(|(start, end)| start < end))
    }

    fn from_sorted_ranges(ranges: impl Iterator<Item = (u64, u64)>) -> Self {
        let mut set = Self::new();
        for (start, end) in ranges {
            match set.ranges.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => set.ranges.push((start, end)),
            }
        }
        set
    }

    /// All rows of a file.
    pub fn all(row_count: u64) -> Self {
        Self::from_sorted_ranges([(0, row_count)].into_iter().filter(|range| range.1 > 0))
    }

    /// Adds a row that is larger than all in the set.
    pub fn push(&mut self, row: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.1 == row => last.1 = row + 1,
            _ => self.ranges.push((row, row + 1)),
        }
    }

    /// Rows of either set.
    pub fn union(&self, other: &RowSet) -> RowSet {
        let mut ranges: Vec<_> = self.ranges.iter().chain(&other.ranges).copied().collect();
        ranges.sort_unstable();
        Self::from_sorted_ranges(ranges.into_iter())
    }

    /// Rows of this set that are not in `other`.
    pub fn minus(&self, other: &RowSet) -> RowSet {
        let mut left = Vec::new();
        let mut others = other.ranges.iter().peekable();
        for &(start, end) in &self.ranges {
            let mut at = start;
            while at < end {
                match others.peek() {
                    Some((_, to)) if *to <= at => drop(others.next()),
                    Some((from, _)) if *from >= end => break,
                    Some((from, to)) => {
                        if *from > at {
                            left.push((at, *from));
                        }
                        at = *to;
                    }
                    None => break,
                }
            }
            if at < end {
                left.push((at, end));
            }
        }
        RowSet { ranges: left }
    }

    /// Whether no row is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Number of rows.
    pub fn len(&self) -> u64 {
        self.ranges.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether `row` is in it.
    pub fn contains(&self, row: u64) -> bool {
        let after = self.ranges.partition_point(|range| range.0 <= row);
        after > 0 && self.ranges[after - 1].1 > row
    }

    /// The selection that reads every row of a file of `row_count` rows but these.
    pub fn others(&self, row_count: u64) -> RowSelection {
        self.selectors(row_count, true)
    }

    /// The selection that reads just these rows of a file of `row_count` rows.
    pub fn only(&self, row_count: u64) -> RowSelection {
        self.selectors(row_count, false)
    }

    fn selectors(&self, row_count: u64, skip_inside: bool) -> RowSelection {
        let selector = |count: u64, skip: bool| RowSelector { row_count: count as usize, skip };
        let mut selectors = Vec::with_capacity(self.ranges.len() * 2 + 1);
        let mut at = 0;
        for &(start, end) in &self.ranges {
            selectors.push(selector(start - at, !skip_inside));
            selectors.push(selector(end - start, skip_inside));
            at = end;
        }
        selectors.push(selector(row_count.saturating_sub(at), !skip_inside));
        selectors.retain(|selector| selector.row_count > 0);
        RowSelection::from(selectors)
    }

    /// The ranges, `start..end`.
    pub fn ranges(&self) -> &[(u64, u64)] {
        &self.ranges
    }

    /// Little-endian pairs, as the catalog keeps them.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.ranges
            .iter()
            .flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()])
            .flatten()
            .collect()
    }

    /// The inverse of [`RowSet::to_bytes`]; a torn pair at the end is left out.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let word = |chunk: &[u8]| u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let ranges = bytes.chunks_exact(16).map(|pair| (word(&pair[..8]), word(&pair[8..])));
        Self::from_sorted_ranges(ranges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn behaves_like_a_set(a in prop::collection::vec(0u64..60, 0..40), b in prop::collection::vec(0u64..60, 0..40)) {
            let (x, y) = (RowSet::from_rows(a.clone()), RowSet::from_rows(b.clone()));
            let (p, q): (BTreeSet<_>, BTreeSet<_>) = (a.into_iter().collect(), b.into_iter().collect());
            let members = |set: &RowSet| (0..60).filter(|row| set.contains(*row)).collect::<BTreeSet<_>>();
            prop_assert_eq!(members(&x), p.clone());
            prop_assert_eq!(x.len(), p.len() as u64);
            prop_assert_eq!(members(&x.union(&y)), &p | &q);
            prop_assert_eq!(members(&x.minus(&y)), &p - &q);
            prop_assert_eq!(RowSet::from_bytes(&x.to_bytes()), x.clone());
            prop_assert_eq!(x.only(60).row_count() as u64, x.len());
            prop_assert_eq!(x.others(60).row_count() as u64, 60 - x.len());
        }
    }
}
