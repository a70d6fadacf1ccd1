//! How changes become rows of the catalog, within one transaction.

use super::catalog::{Changes, HiddenKind, InputRecord};
use super::damage::Damage;
use super::rows::RowSet;
use super::{FileRecord, seal, siblings};
use rusqlite::{Connection, ToSql, Transaction, params};

/// Applies all changes.
pub fn apply(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    commit_files(transaction, changes)?;
    commit_runs(transaction, changes)?;
    commit_inputs(transaction, changes)?;
    commit_verdicts(transaction, changes)?;
    // Any other change makes what the last look saw worthless until the refresh is done.
    forget_look(transaction)?;
    if let Some(look) = &changes.look {
        let mut put = transaction.prepare_cached("insert into look values (1, ?1, ?2)")?;
        seal::put(&mut put, params![look])?;
    }
    put_meta(transaction, "committed_ms", changes.now_ms)?;
    Ok(())
}

/// What the last look saw is worthless; the version moves.
pub fn forget_look(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute("delete from look", [])?;
    transaction.execute("update meta set value = value + 1 where name = 'version'", []).map(drop)
}

fn put_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached("insert or replace into meta values (?1, ?2)")?;
    put.execute(params![name, value.to_string()]).map(drop)
}

fn commit_files(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for file in &changes.new_files {
        insert_file(transaction, file, changes.now_ms)?;
    }
    for (file_id, kind, set) in &changes.hidden {
        put_hidden(transaction, *file_id, *kind, set)?;
    }
    for (file_id, run_id) in &changes.left {
        transaction
            .prepare_cached("delete from file_run where file_id = ?1 and run_id = ?2")?
            .execute(params![file_id, run_id])?;
    }
    for file_id in &changes.retired {
        retire(transaction, *file_id, changes.now_ms)?;
    }
    if let Some(next) = changes.next_alert_seq {
        put_meta(transaction, "next_alert_seq", next)?;
    }
    Ok(())
}

fn retire(transaction: &Transaction<'_>, file_id: i64, now_ms: i64) -> anyhow::Result<()> {
    let sql = "insert or replace into retired select path, id, ?2 from file where id = ?1";
    let retired = transaction.prepare_cached(sql)?.execute(params![file_id, now_ms])?;
    if retired != 1 {
        return Err(Damage::catalog(format!("is damaged (file {file_id} is missing)")).into());
    }
    for sql in [
        "delete from file where id = ?1",
        "delete from file_run where file_id = ?1",
        "delete from hidden where file_id = ?1",
        "delete from damaged where file_id = ?1",
    ] {
        transaction.prepare_cached(sql)?.execute([file_id])?;
    }
    Ok(())
}

fn insert_file(transaction: &Transaction<'_>, file: &FileRecord, now_ms: i64) -> anyhow::Result<()> {
    let (runs, keys) = (file.run_bounds.as_ref(), file.key_bounds.as_ref());
    let sql = "insert into file values (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)";
    seal::put(
        &mut *transaction.prepare_cached(sql)?,
        params![
            file.id,
            file.table.name(),
            file.class.as_str(),
            file.path,
            file.project,
            file.size_bytes.cast_signed(),
            file.row_count.cast_signed(),
            runs.map(|bounds| &bounds.0),
            runs.map(|bounds| &bounds.1),
            keys.map(|bounds| &bounds.0),
            keys.map(|bounds| &bounds.1),
            file.step_bounds.map(|bounds| bounds.0),
            file.step_bounds.map(|bounds| bounds.1),
            now_ms,
            file.sums.to_bytes(),
            file.members.to_bytes(),
        ],
    )?;
    let mut member = transaction.prepare_cached("insert into file_run values (?1, ?2)")?;
    for run_id in &file.runs {
        member.execute(params![run_id, file.id])?;
    }
    put_hidden(transaction, file.id, HiddenKind::Superseded, &file.superseded)?;
    put_hidden(transaction, file.id, HiddenKind::Dropped, &file.dropped)
}

fn put_hidden(
    transaction: &Transaction<'_>,
    file_id: i64,
    kind: HiddenKind,
    set: &RowSet,
) -> anyhow::Result<()> {
    if !set.is_empty() {
        let sql = "insert or replace into hidden values (?1, ?2, ?3, ?4)";
        seal::put(&mut *transaction.prepare_cached(sql)?, params![file_id, kind.as_str(), set.to_bytes()])?;
    }
    Ok(())
}

fn commit_runs(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for run_id in &changes.gone_runs {
        transaction.prepare_cached("delete from run where run_id = ?1")?.execute([run_id])?;
        transaction.prepare_cached("delete from input_run where run_id = ?1")?.execute([run_id])?;
    }
    let sql = "insert or replace into run values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let mut put = transaction.prepare_cached(sql)?;
    for run in &changes.runs {
        let seal = seal::of(params![run.run_id, run.source, run.identity, run.sub])?;
        let (state_seal, likeness_seal) = (seal::of(params![run.state])?, seal::of(params![run.likeness])?);
        let (id, source, identity, sub) = (&run.run_id, &run.source, &run.identity, &run.sub);
        let (state, likeness) = (&run.state, &run.likeness);
        put.execute(params![id, source, identity, sub, seal, state, state_seal, likeness, likeness_seal])?;
    }
    commit_watches(transaction, changes)?;
    siblings::commit(transaction, changes)?;
    commit_duplicates(transaction, changes)
}

/// What the diagnosis keeps of a run that did not change for so long is worth no space: a day.
const WATCH_MS: i64 = 24 * 60 * 60_000;

fn commit_watches(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    let mut forget = transaction.prepare_cached("delete from watch where run_id = ?1")?;
    for run_id in &changes.gone_runs {
        forget.execute([run_id])?;
    }
    let mut put = transaction.prepare_cached("insert or replace into watch values (?1, ?2, ?3, ?4)")?;
    for (run_id, watch) in &changes.watches {
        match watch {
            Some(watch) => seal::put(&mut put, params![run_id, changes.now_ms, watch])?,
            None => forget.execute([run_id])?,
        };
    }
    let mut expire = transaction.prepare_cached("delete from watch where kept_ms < ?1")?;
    expire.execute([changes.now_ms.saturating_sub(WATCH_MS)])?;
    if let Some(rules) = changes.rules {
        put_meta(transaction, "rules", rules)?;
    }
    Ok(())
}

fn commit_duplicates(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    let Some(duplicates) = &changes.duplicates else { return Ok(()) };
    transaction.execute("delete from duplicate", [])?;
    let mut put = transaction.prepare_cached("insert into duplicate values (?1, ?2, ?3)")?;
    for (run_id, duplicate_of) in duplicates {
        seal::put(&mut put, params![run_id, duplicate_of])?;
    }
    Ok(())
}

fn commit_inputs(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for (source, identity, path) in &changes.gone_inputs {
        transaction
            .prepare_cached("delete from input where path = ?1 and source = ?2 and identity = ?3")?
            .execute(params![path, source, identity])?;
        transaction.prepare_cached("delete from problem where path = ?1")?.execute([path])?;
    }
    for input in &changes.inputs {
        put_input(transaction, input)?;
    }
    for path in &changes.readable {
        transaction
            .prepare_cached("delete from problem where path = ?1 and position = 'file'")?
            .execute([path])?;
    }
    let mut put = transaction.prepare_cached("insert or ignore into problem values (?1, ?2, ?3)")?;
    for (path, problem) in &changes.problems {
        put.execute(params![path, problem.position, problem.message])?;
    }
    Ok(())
}

fn put_input(transaction: &Transaction<'_>, input: &InputRecord) -> anyhow::Result<()> {
    let sql = "insert or replace into input values (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16)";
    let (size_bytes, offset) = (input.size_bytes.cast_signed(), input.offset.cast_signed());
    let row_count = input.row_count.cast_signed();
    let about: &[&dyn ToSql] = params![
        input.path,
        input.source,
        input.identity,
        input.segment,
        input.role,
        size_bytes,
        input.modified_ns,
        input.fingerprint,
        offset,
        row_count,
        input.next_seq,
        input.problem_count,
        input.waits_for_rest,
    ];
    let (seal, state_seal) = (seal::of(about)?, seal::of(params![input.state])?);
    let values = about.iter().copied().chain([&seal as &dyn ToSql, &input.state, &state_seal]);
    transaction.prepare_cached(sql)?.execute(values.collect::<Vec<_>>().as_slice())?;
    let mut pair = transaction.prepare_cached("insert or ignore into input_run values (?1, ?2)")?;
    for run_id in &input.runs {
        pair.execute(params![input.path, run_id])?;
    }
    Ok(())
}

fn commit_verdicts(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    for path in &changes.gone_verdicts {
        transaction.prepare_cached("delete from verdict where path = ?1")?.execute([path])?;
    }
    let mut put =
        transaction.prepare_cached("insert or replace into verdict values (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    for verdict in &changes.verdicts {
        let size_bytes = verdict.size_bytes.cast_signed();
        let (path, source, text) = (&verdict.path, &verdict.source, &verdict.text);
        let values = params![path, size_bytes, verdict.modified_ns, source, text, verdict.settings];
        seal::put(&mut put, values)?;
    }
    Ok(())
}
