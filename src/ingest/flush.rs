//! A batch becomes Parquet files and one commit.

use super::duplicates::Likeness;
use super::judge::{self, Grounds, Missing, Portion};
use super::load::{Active, Batch};
use super::overlap::{self, Overlap, Overlaps};
use super::points::Group;
use super::remembered::Remembered;
use super::settle::{rewind_of, rewinds_of, settle};
use super::state::{RunPlace, run_row};
use super::watch::{self, Eyes, Roles, RunWatch};
use crate::records::batch::{Cell, rows_to_batch};
use crate::records::roles::Rules;
use crate::records::schema::Table;
use crate::store::catalog::HiddenKind;
use crate::store::merge;
use crate::store::rows::RowSet;
use crate::store::writer::FileWriter;
use crate::store::{Catalog, Changes, FileClass, FileRecord, Limits, RunRecord, Snapshot};
use runq_udfs::kernels::diagnosis::Role;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{self, AtomicI64};
use std::sync::{Mutex, PoisonError};

/// Rows of a batch while small tables are written.
const BATCH_ROWS: usize = 1 << 16;

/// Where batches go.
pub struct Flush<'a> {
    /// Cache folder.
    pub cache: &'a Path,
    /// Catalog.
    pub catalog: &'a dyn Catalog,
    /// Sizes.
    pub limits: Limits,
    /// Time of the commit.
    pub now_ms: i64,
    /// What the commits of one pass share.
    pub order: &'a Order,
    /// By what runs are judged.
    pub rules: &'a Rules,
    /// What is kept of growing runs for the next refresh.
    pub remembered: &'a Remembered,
}

/// Commits of several threads come one after the other; the files are written side by side.
pub struct Order {
    turn: Mutex<()>,
    next_alert_seq: AtomicI64,
}

impl Order {
    /// Alerts are numbered from `next_alert_seq`.
    pub fn new(next_alert_seq: i64) -> Self {
        Self { turn: Mutex::new(()), next_alert_seq: AtomicI64::new(next_alert_seq) }
    }

    /// The first of so many numbers that no alert bears yet.
    pub fn next_seq(&self, count: i64) -> i64 {
        self.next_alert_seq.fetch_add(count, atomic::Ordering::Relaxed)
    }
}

/// What a commit wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Parquet files.
    pub file_count: u64,
    /// Points.
    pub point_count: u64,
}

impl Flush<'_> {
    /// Writes the batch and commits it. Afterwards the batch holds only the runs of `current`
    /// (source and identity of a log that is still being read).
    ///
    /// # Errors
    /// When the cache cannot be written. The catalog is unchanged then, and so is what counts.
    pub fn commit(&self, batch: &mut Batch, current: Option<(&str, &str)>) -> anyhow::Result<Written> {
        let mut work = Work {
            flush: self,
            changes: Changes { now_ms: self.now_ms, ..Changes::default() },
            superseded: BTreeMap::new(),
            seen: BTreeMap::new(),
        };
        let point_count = batch.points.len() as u64;
        let mut groups = batch.points.take();
        let overlaps = work.settle(batch, &mut groups, current)?;
        work.write_points(batch, groups)?;
        work.resolve(batch, overlaps)?;
        batch.runs.iter_mut().for_each(|run| run.state.settle_last_step());
        work.judge(batch, current)?;
        work.write_small_tables(batch)?;
        let file_count = work.changes.new_files.len() as u64;
        // Files that several runs share are looked at anew: another thread may have hidden rows in them.
        let turn = self.order.turn.lock().unwrap_or_else(PoisonError::into_inner);
        work.number_files()?;
        let snapshot = self.catalog.snapshot()?;
        work.drop_rows(batch, &snapshot)?;
        work.record(batch, &snapshot)?;
        if !work.changes.is_empty() {
            self.catalog.commit(&work.changes)?;
        }
        drop(turn);
        work.remember();
        batch.after_commit(current);
        Ok(Written { file_count, point_count })
    }
}

/// A commit being made.
struct Work<'a> {
    flush: &'a Flush<'a>,
    changes: Changes,
    /// Rows that newly ceased to count, by id of a stored file.
    superseded: BTreeMap<i64, RowSet>,
    /// Growing runs as they were under watch, by id.
    seen: BTreeMap<String, RunWatch>,
}

impl Work<'_> {
    /// Settles the new points run by run, and has each run judged whose rows were all seen: it need not be
    /// remembered what was seen of it while the next is settled.
    fn settle(
        &mut self,
        batch: &mut Batch,
        groups: &mut [Group],
        current: Option<(&str, &str)>,
    ) -> anyhow::Result<Overlaps> {
        let mut overlaps = rewound_overlaps(&batch.runs);
        groups.sort_by_key(|group| group.run);
        for groups in groups.chunk_by_mut(|a, b| a.run == b.run) {
            let Some(index) = groups.first().map(|group| group.run) else { continue };
            let is_rewound = overlaps.contains_key(&index);
            let found = self.settle_run(batch, groups);
            let is_settled = found.is_empty() && !is_rewound;
            for (key, overlap) in found {
                let keys = overlaps.entry(index).or_default();
                keys.entry(key).and_modify(|known| known.widen(&overlap)).or_insert(overlap);
            }
            if is_settled && !batch.runs[index].is_of(current) {
                self.judge_at_once(batch, index)?;
            }
        }
        Ok(overlaps)
    }

    /// Settles the new points of one run, and looks at them.
    fn settle_run(&self, batch: &mut Batch, groups: &mut [Group]) -> BTreeMap<String, Overlap> {
        let rules = self.flush.rules;
        let mut overlaps = BTreeMap::new();
        let roles: Vec<_> = groups.iter().map(|group| role_of(group, &mut batch.roles, rules)).collect();
        for (group, role) in groups.iter().zip(&roles).filter_map(|(group, role)| Some((group, (*role)?))) {
            watch::note(&mut batch.runs[group.run], group, role);
        }
        for (group, role) in groups.iter_mut().zip(roles) {
            let run = &mut batch.runs[group.run];
            let settled = settle(&group.key, group.internal, &mut group.points, &mut run.state);
            run.state.key(&group.key).arrivals = group.arrivals;
            if let Some(role) = role {
                watch::look_at(run, role, group, &settled, rules);
            }
            if settled.reread {
                batch.reread.insert(run.key.clone(), run.state.hints.clone());
            }
            overlaps.extend(settled.overlap.map(|overlap| (group.key.clone(), overlap)));
            group.superseded = settled.superseded;
        }
        overlaps
    }

    /// Writes points that are settled.
    fn write_points(&mut self, batch: &mut Batch, mut groups: Vec<Group>) -> anyhow::Result<()> {
        let runs = &batch.runs;
        let place = |group: &Group| (project(&runs[group.run]).as_deref(), group.internal);
        groups.sort_by(|a, b| {
            place(a)
                .cmp(&place(b))
                .then_with(|| a.key.cmp(&b.key))
                .then_with(|| runs[a.run].run_id.cmp(&runs[b.run].run_id))
        });
        let mut output: Option<PointFile> = None;
        for group in groups {
            let run = &batch.runs[group.run];
            let class = if group.internal { FileClass::Internal } else { FileClass::Live };
            let place = (project(run).clone(), class);
            if output.as_ref().is_some_and(|open| open.place != place) {
                self.close(output.take())?;
            }
            let open = match output.as_mut() {
                Some(open) => open,
                None => output.insert(PointFile::create(self.flush, place)?),
            };
            open.append(&run.run_id, group)?;
            for (key, columns) in open.writer.take_spent() {
                batch.points.give_back(&key, columns);
            }
        }
        self.close(output)
    }

    fn close(&mut self, file: Option<PointFile>) -> anyhow::Result<()> {
        if let Some(file) = file {
            self.changes.new_files.push(file.finish()?);
        }
        Ok(())
    }

    fn number_files(&mut self) -> anyhow::Result<()> {
        if !self.changes.new_files.is_empty() {
            let first_id = self.flush.catalog.next_file_id()?;
            (first_id..).zip(&mut self.changes.new_files).for_each(|(id, file)| file.id = id);
        }
        Ok(())
    }

    /// Decides among stored and new points at the same steps.
    fn resolve(&mut self, batch: &mut Batch, overlaps: Overlaps) -> anyhow::Result<()> {
        let stored = if overlaps.is_empty() { None } else { Some(self.flush.catalog.snapshot()?) };
        for (index, keys) in overlaps {
            let run = &mut batch.runs[index];
            let files = self.metrics_files(run, stored.as_ref())?;
            let mut eyes = Eyes::new(run, &keys, &mut batch.roles, self.flush.rules);
            let Flush { cache, limits, .. } = *self.flush;
            let see = &mut |key: &str, row| eyes.see(key, row);
            let resolved = overlap::resolve(cache, &run.run_id, &keys, &files, limits, see)?;
            eyes.close(run);
            for (file, rows) in resolved.superseded {
                self.supersede(&files[file], &rows);
            }
            for (key, points) in resolved.states {
                let state = run.state.key(&key);
                state.stats = points.stats;
                state.last = points.last;
            }
        }
        batch.runs.iter_mut().for_each(|run| run.state.new_rewind = None);
        Ok(())
    }

    /// Files with counting points of a run: stored ones, then new ones.
    fn metrics_files(&self, run: &Active, snapshot: Option<&Snapshot>) -> anyhow::Result<Vec<FileRecord>> {
        let stored: BTreeSet<i64> = match run.fresh {
            true => BTreeSet::new(),
            false => self.flush.catalog.files_of_run(&run.run_id)?.into_iter().collect(),
        };
        let is_live = |file: &&FileRecord| file.table == Table::Metrics && file.class == FileClass::Live;
        let files = snapshot.into_iter().flat_map(|snapshot| snapshot.files.iter());
        let old = files.filter(is_live).filter(|file| stored.contains(&file.id));
        let new =
            self.changes.new_files.iter().filter(is_live).filter(|file| file.runs.contains(&run.run_id));
        Ok(old.chain(new).cloned().collect())
    }

    /// Has a run judged whose new points are settled, unless rows are missing that were not seen.
    fn judge_at_once(&mut self, batch: &mut Batch, index: usize) -> anyhow::Result<()> {
        let run = &mut batch.runs[index];
        let Some(grounds) = judge::due(&run.state, &mut batch.roles, self.flush.rules) else { return Ok(()) };
        if run.watch.lacks(&run.state, grounds.facts.planned_steps, &grounds.curves).is_empty() {
            self.judge_run(run, &grounds)?;
        }
        Ok(())
    }

    /// Has the other runs judged whose logs are read to their end.
    fn judge(&mut self, batch: &mut Batch, current: Option<(&str, &str)>) -> anyhow::Result<()> {
        let mut portion = Portion::default();
        for index in 0..batch.runs.len() {
            let run = &mut batch.runs[index];
            let Some(grounds) = judge::due(&run.state, &mut batch.roles, self.flush.rules) else { continue };
            if run.is_of(current) {
                self.changes.watches.push((run.run_id.clone(), None));
                continue;
            }
            portion.add(index, run, grounds);
            if portion.point_count >= self.flush.limits.reread_points {
                self.judge_portion(batch, std::mem::take(&mut portion))?;
            }
        }
        self.judge_portion(batch, portion)
    }

    fn judge_portion(&mut self, batch: &mut Batch, mut portion: Portion) -> anyhow::Result<()> {
        let Flush { cache, limits, rules, .. } = *self.flush;
        let (long, short) = portion.split_missing(&batch.runs, limits);
        self.resolve(batch, long)?;
        if !short.is_empty() {
            let files = self.files_of(&batch.runs, &short)?;
            judge::read(cache, &files, &short, &mut batch.runs, rules)?;
        }
        portion.runs.iter().try_for_each(|(index, grounds)| self.judge_run(&mut batch.runs[*index], grounds))
    }

    fn judge_run(&mut self, run: &mut Active, grounds: &Grounds) -> anyhow::Result<()> {
        let Flush { limits, rules, now_ms, order, remembered, .. } = *self.flush;
        self.changes.watches.push((run.run_id.clone(), judge::to_keep(run, limits, now_ms)?));
        if judge::is_growing(run, now_ms) && remembered.has_room(run.watch.rows()) {
            self.seen.insert(run.run_id.clone(), run.watch.clone());
        }
        judge::judge(run, grounds, rules, &mut || order.next_seq(1))
    }

    /// Keeps what was seen, now that the states it belongs to are stored.
    fn remember(&mut self) {
        for record in &self.changes.runs {
            if let Some(watch) = self.seen.remove(&record.run_id) {
                self.flush.remembered.put(&record.run_id, &record.state, watch);
            }
        }
    }

    /// Files with points of the runs that lack some, and the rows of each that do not count.
    fn files_of(&self, runs: &[Active], missing: &[Missing]) -> anyhow::Result<judge::Files> {
        let ids: BTreeSet<&String> = missing.iter().map(|curve| &runs[curve.run].run_id).collect();
        let snapshot = self.flush.catalog.snapshot()?;
        let is_wanted = |file: &&FileRecord| {
            let may_hold = || ids.iter().any(|id| file.members.may_hold(id));
            file.table == Table::Metrics && file.class == FileClass::Live && may_hold()
        };
        let hidden = |file: &FileRecord| match self.superseded.get(&file.id) {
            Some(rows) => file.hidden().union(rows),
            None => file.hidden(),
        };
        let stored = snapshot.files.iter().filter(is_wanted).map(|file| (file.clone(), hidden(file), false));
        let new = self.changes.new_files.iter().filter(is_wanted);
        Ok(stored.chain(new.map(|file| (file.clone(), file.superseded.clone(), true))).collect())
    }

    fn supersede(&mut self, file: &FileRecord, rows: &RowSet) {
        match self.changes.new_files.iter_mut().find(|new| new.path == file.path) {
            Some(new) => new.superseded = new.superseded.union(rows),
            None => {
                let known = self.superseded.entry(file.id).or_default();
                *known = known.union(rows);
            }
        }
    }

    fn write_small_tables(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        let mut runs = Vec::new();
        let mut configs = Vec::new();
        let (mut findings, mut phases) = (Vec::new(), Vec::new());
        let mut summary = Vec::new();
        for run in &batch.runs {
            let project = project(run);
            let place = RunPlace {
                run_id: &run.run_id,
                source: &run.key.source,
                writes_ends: run.writes_ends,
                path: &run.path,
            };
            runs.push(run_row(&place, &run.state));
            summary.extend(run.state.summary_rows(&run.run_id, project));
            if run.config_changed {
                configs.extend(run.state.config_rows(&run.run_id, project));
            }
            if run.verdict_changed {
                findings.extend(run.state.verdict.finding_rows(&run.run_id, project));
                phases.extend(run.state.verdict.phase_rows(&run.run_id, project));
            }
        }
        let projects: Vec<Option<String>> = batch.runs.iter().map(|run| project(run).clone()).collect();
        let with_project = |rows: Vec<(usize, Vec<Cell>)>| -> Vec<Vec<Cell>> {
            let row = |(index, mut row): (usize, Vec<Cell>)| {
                row.push(projects[index].clone().into());
                row
            };
            rows.into_iter().map(row).collect()
        };
        self.write_rows(Table::Runs, runs)?;
        self.write_rows(Table::Configs, configs)?;
        self.write_rows(Table::Summary, summary)?;
        self.write_rows(Table::Findings, findings)?;
        self.write_rows(Table::Phases, phases)?;
        self.write_rows(Table::Texts, with_project(std::mem::take(&mut batch.texts)))?;
        let alerts = self.numbered(std::mem::take(&mut batch.alerts))?;
        self.write_rows(Table::Alerts, with_project(alerts))?;
        self.write_rows(Table::Console, with_project(std::mem::take(&mut batch.console)))
    }

    /// Gives alerts their numbers, which grow for ever.
    fn numbered(&self, mut alerts: Vec<(usize, Vec<Cell>)>) -> anyhow::Result<Vec<(usize, Vec<Cell>)>> {
        let column = Table::Alerts.stored_schema().index_of("seq")?;
        let first = self.flush.order.next_seq(alerts.len() as i64);
        for (seq, (_, alert)) in (first..).zip(&mut alerts) {
            if let Some(cell) = alert.get_mut(column) {
                *cell = seq.into();
            }
        }
        Ok(alerts)
    }

    /// One file a project.
    fn write_rows(&mut self, table: Table, rows: Vec<Vec<Cell>>) -> anyhow::Result<()> {
        let schema = table.stored_schema();
        let project_column = schema.index_of("project")?;
        let sort: Vec<usize> =
            table.sort_columns().iter().map(|name| schema.index_of(name)).collect::<Result<_, _>>()?;
        let mut by_project: BTreeMap<Option<String>, Vec<Vec<Cell>>> = BTreeMap::new();
        for row in rows {
            let project = if let Cell::Text(name) = &row[project_column] { Some(name.clone()) } else { None };
            by_project.entry(project).or_default().push(row);
        }
        for (project, mut rows) in by_project {
            rows.sort_by(|a, b| compare_rows(a, b, &sort));
            let limits = self.flush.limits;
            let mut writer =
                FileWriter::create(self.flush.cache, table, FileClass::Live, project.as_deref(), limits)?;
            for chunk in rows.chunks(BATCH_ROWS) {
                writer.write(&rows_to_batch(table, chunk)?)?;
            }
            self.changes.new_files.push(writer.finish()?);
        }
        Ok(())
    }

    /// Rows of runs that are replaced, reset or gone cease to count.
    fn drop_rows(&mut self, batch: &Batch, snapshot: &Snapshot) -> anyhow::Result<()> {
        let mut drops: BTreeMap<i64, BTreeSet<String>> = BTreeMap::new();
        let place: BTreeMap<i64, &FileRecord> = snapshot.files.iter().map(|file| (file.id, file)).collect();
        let mut add = |run_id: &str, is_dropped: &dyn Fn(Table) -> bool| -> anyhow::Result<()> {
            for file_id in self.flush.catalog.files_of_run(run_id)? {
                if place.get(&file_id).is_some_and(|file| is_dropped(file.table)) {
                    drops.entry(file_id).or_default().insert(run_id.to_string());
                }
            }
            Ok(())
        };
        for run_id in &batch.dropped_runs {
            add(run_id, &|_| true)?;
        }
        for run in batch.runs.iter().filter(|run| !run.fresh) {
            add(&run.run_id, &|table| match table {
                Table::Configs => run.config_changed,
                Table::Findings | Table::Phases => run.verdict_changed,
                other => other.is_replaced(),
            })?;
        }
        for (file_id, runs) in drops {
            let Some(file) = place.get(&file_id) else { continue };
            self.changes.left.extend(runs.iter().map(|run| (file_id, run.clone())));
            if self.flush.catalog.runs_of_file(file_id)?.iter().all(|run| runs.contains(run)) {
                self.changes.retired.push(file_id);
                self.superseded.remove(&file_id);
            } else if file.damage().is_none() {
                // Of a damaged file all runs are read anew; nothing is asked until it is retired.
                let rows = merge::rows_where(self.flush.cache, file, |run, _| runs.contains(run))?;
                self.changes.hidden.push((file_id, HiddenKind::Dropped, file.dropped.union(&rows)));
            }
        }
        Ok(())
    }

    fn record(&mut self, batch: &mut Batch, snapshot: &Snapshot) -> anyhow::Result<()> {
        for file in snapshot.files.iter() {
            if let Some(rows) = self.superseded.remove(&file.id) {
                self.changes.hidden.push((file.id, HiddenKind::Superseded, file.superseded.union(&rows)));
            }
        }
        for run in &batch.runs {
            self.changes.runs.push(RunRecord {
                run_id: run.run_id.clone(),
                source: run.key.source.clone(),
                identity: run.key.identity.clone(),
                sub: run.key.sub.clone(),
                state: postcard::to_stdvec(&run.state)?,
                likeness: Likeness::of(run).to_bytes()?,
            });
        }
        let siblings = batch.runs.iter_mut().map(|run| Some((run.run_id.clone(), run.sibling.take()?)));
        self.changes.siblings = siblings.flatten().collect();
        self.changes.gone_runs = std::mem::take(&mut batch.gone_runs);
        self.changes.gone_inputs = std::mem::take(&mut batch.gone_inputs);
        self.changes.inputs = std::mem::take(&mut batch.inputs);
        // A log that must be read again says so in the catalog: a crash before that changes nothing.
        for input in &mut self.changes.inputs {
            if batch.reread.keys().any(|run| run.source == input.source && run.identity == input.identity) {
                input.segment = -1;
            }
        }
        self.changes.problems = std::mem::take(&mut batch.problems);
        self.changes.readable = std::mem::take(&mut batch.readable);
        self.changes.next_alert_seq = Some(self.flush.order.next_alert_seq.load(atomic::Ordering::Relaxed));
        Ok(())
    }
}

/// What a metric means; nothing where it is the tracker's own.
fn role_of(group: &Group, roles: &mut Roles, rules: &Rules) -> Option<Role> {
    if group.internal { None } else { roles.of(&group.key, rules) }
}

fn project(run: &Active) -> &Option<String> {
    run.state.project()
}

/// Stored metrics that a new rewind reaches.
fn rewound_overlaps(runs: &[Active]) -> Overlaps {
    let mut overlaps = Overlaps::new();
    for (index, run) in runs.iter().enumerate() {
        let Some(new_rewind) = run.state.new_rewind else { continue };
        for (key, state) in run.state.keys.iter().filter(|(_, state)| !state.internal) {
            let Some(from_step) = rewind_of(state, new_rewind) else { continue };
            if state.stored_steps.is_some_and(|(_, last)| last >= from_step) {
                let rewinds = rewinds_of(state, &run.state.rewinds);
                let overlap = Overlap { from_step, recompute: true, rewinds };
                overlaps.entry(index).or_default().insert(key.clone(), overlap);
            }
        }
    }
    overlaps
}

/// A metrics file being written.
struct PointFile {
    place: (Option<String>, FileClass),
    writer: FileWriter,
    superseded: RowSet,
    written: u64,
}

impl PointFile {
    fn create(flush: &Flush<'_>, place: (Option<String>, FileClass)) -> anyhow::Result<Self> {
        let writer =
            FileWriter::create(flush.cache, Table::Metrics, place.1, place.0.as_deref(), flush.limits)?;
        Ok(Self { place, writer, superseded: RowSet::new(), written: 0 })
    }

    fn append(&mut self, run_id: &str, group: Group) -> anyhow::Result<()> {
        group.superseded.iter().for_each(|row| self.superseded.push(self.written + *row as u64));
        self.written += group.points.len() as u64;
        self.writer.append(run_id, &group.key, group.points)
    }

    fn finish(self) -> anyhow::Result<FileRecord> {
        let mut record = self.writer.finish()?;
        record.superseded = self.superseded;
        Ok(record)
    }
}

fn compare_rows(a: &[Cell], b: &[Cell], columns: &[usize]) -> Ordering {
    columns.iter().map(|i| compare(&a[*i], &b[*i])).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

/// Nulls first, as Arrow's row format sorts them.
fn compare(a: &Cell, b: &Cell) -> Ordering {
    match (a, b) {
        (Cell::Text(x), Cell::Text(y)) => x.cmp(y),
        (Cell::Int(x), Cell::Int(y)) | (Cell::Time(x), Cell::Time(y)) => x.cmp(y),
        (Cell::Null, Cell::Null) => Ordering::Equal,
        (Cell::Null, _) => Ordering::Less,
        (_, Cell::Null) => Ordering::Greater,
        _ => Ordering::Equal,
    }
}
