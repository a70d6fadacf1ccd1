//! Points without their names, column by column.

/// A time that was not logged.
pub const NO_TIME: i64 = i64::MIN;

/// A point without its names.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PointRow {
    /// Step.
    pub step: i64,
    /// Value.
    pub value: f64,
    /// Milliseconds since 1970, or [`NO_TIME`].
    pub time: i64,
    /// Arrival number within the input.
    pub seq: i64,
    /// Which start of the run.
    pub segment: i32,
}

impl PointRow {
    /// What decides which of two points at one step counts: the larger.
    pub fn arrival(&self) -> (i32, i64) {
        (self.segment, self.seq)
    }
}

/// Points of one metric of one run, column by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// Steps.
    pub step: Vec<i64>,
    /// Values.
    pub value: Vec<f64>,
    /// Milliseconds since 1970, or [`NO_TIME`].
    pub time: Vec<i64>,
    /// Which start of the run.
    pub segment: Vec<i32>,
    /// Arrival numbers within the input.
    pub seq: Vec<i64>,
}

impl Columns {
    /// Number of points.
    pub fn len(&self) -> usize {
        self.step.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.step.is_empty()
    }

    /// Adds a point.
    pub fn push(&mut self, row: PointRow) {
        if self.step.len() == self.step.capacity() {
            self.grow();
        }
        self.step.push(row.step);
        self.value.push(row.value);
        self.time.push(row.time);
        self.segment.push(row.segment);
        self.seq.push(row.seq);
    }

    /// Makes room for half as much again. Doubling would waste more, and could never use the memory
    /// again that shorter columns leave behind.
    #[cold]
    fn grow(&mut self) {
        let more = (self.len() / 2).max(16);
        self.step.reserve_exact(more);
        self.value.reserve_exact(more);
        self.time.reserve_exact(more);
        self.segment.reserve_exact(more);
        self.seq.reserve_exact(more);
    }

    /// Adds points of other columns.
    pub fn extend(&mut self, other: &Columns) {
        self.step.extend_from_slice(&other.step);
        self.value.extend_from_slice(&other.value);
        self.time.extend_from_slice(&other.time);
        self.segment.extend_from_slice(&other.segment);
        self.seq.extend_from_slice(&other.seq);
    }

    /// What decides which of two points at one step counts: the larger.
    pub fn arrival(&self, at: usize) -> (i32, i64) {
        (self.segment[at], self.seq[at])
    }

    /// Orders the points by arrival.
    pub fn sort_by_arrival(&mut self) {
        self.sort(|columns, at| columns.arrival(at));
    }

    /// Orders the points by step, then arrival.
    pub fn sort_by_step(&mut self) {
        self.sort(|columns, at| (columns.step[at], columns.arrival(at)));
    }

    fn sort<K: Ord>(&mut self, key: impl Fn(&Self, usize) -> K) {
        if (1..self.len()).all(|at| key(self, at - 1) <= key(self, at)) {
            return;
        }
        let mut order: Vec<usize> = (0..self.len()).collect();
        order.sort_by_key(|at| key(self, *at));
        *self = Self {
            step: order.iter().map(|at| self.step[*at]).collect(),
            value: order.iter().map(|at| self.value[*at]).collect(),
            time: order.iter().map(|at| self.time[*at]).collect(),
            segment: order.iter().map(|at| self.segment[*at]).collect(),
            seq: order.iter().map(|at| self.seq[*at]).collect(),
        };
    }

    /// Keeps the first `at` points and returns the others.
    pub fn split_off(&mut self, at: usize) -> Self {
        if at >= self.len() {
            return Self::default();
        }
        Self {
            step: self.step.split_off(at),
            value: self.value.split_off(at),
            time: self.time.split_off(at),
            segment: self.segment.split_off(at),
            seq: self.seq.split_off(at),
        }
    }

    /// Removes all points and keeps their memory.
    pub fn clear(&mut self) {
        self.step.clear();
        self.value.clear();
        self.time.clear();
        self.segment.clear();
        self.seq.clear();
    }
}
