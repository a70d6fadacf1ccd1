//! Runs that are compared with one another, by circle, and where in a circle that is still to be done.

use super::catalog::Changes;
use super::seal;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::BTreeSet;

/// Where a run stands among those of its circle. In this order they are neighbours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Runs of one circle are compared with one another.
    pub circle: String,
    /// When the run began, milliseconds since 1970.
    pub created_ms: i64,
    /// Its id.
    pub run_id: String,
}

/// A run as those of its circle see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiblingRecord {
    /// Where it stands.
    pub position: Position,
    /// The course of its metric (opaque to the store).
    pub sketch: Vec<u8>,
    /// What is told of it since it was last compared (opaque to the store); none where that is nothing.
    pub told: Option<Vec<u8>>,
}

/// Positions around which runs are to be compared, each with a number that is larger than those before.
pub(super) fn owed(connection: &Connection) -> anyhow::Result<Vec<(i64, Position)>> {
    let sql = "select circle, created_ms, run_id, id, seal from owed order by id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        seal::check(row, 0, 4)?;
        Ok((row.get(3)?, position(row)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Where all runs stand, in their order.
pub(super) fn positions(connection: &Connection) -> anyhow::Result<Vec<Position>> {
    let sql = "select circle, created_ms, run_id from sibling order by circle, created_ms, run_id";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], position)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// At most `before` runs of a circle before a position, and at most `after` from it on, in their order.
pub(super) fn near(
    connection: &Connection,
    at: &Position,
    before: usize,
    after: usize,
) -> anyhow::Result<Vec<SiblingRecord>> {
    const COLUMNS: &str = "circle, created_ms, run_id, sketch, told, seal";
    let earlier = format!(
        "select {COLUMNS} from sibling where circle = ?1 and (created_ms, run_id) < (?2, ?3)
         order by created_ms desc, run_id desc limit ?4"
    );
    let later = format!(
        "select {COLUMNS} from sibling where circle = ?1 and (created_ms, run_id) >= (?2, ?3)
         order by created_ms, run_id limit ?4"
    );
    let rows = |sql: &str, most: usize| -> rusqlite::Result<Vec<SiblingRecord>> {
        let mut statement = connection.prepare_cached(sql)?;
        let values = params![at.circle, at.created_ms, at.run_id, most as i64];
        statement.query_map(values, read)?.collect()
    };
    let mut all = rows(&earlier, before)?;
    all.reverse();
    all.extend(rows(&later, after)?);
    Ok(all)
}

/// Applies what a commit says of runs and their circles.
pub(super) fn commit(transaction: &Transaction<'_>, changes: &Changes) -> anyhow::Result<()> {
    if let Some(last) = changes.compared {
        transaction.execute("delete from owed where id <= ?1", [last])?;
    }
    for run_id in &changes.gone_runs {
        replace(transaction, run_id, None)?;
    }
    for (run_id, sibling) in &changes.siblings {
        replace(transaction, run_id, sibling.as_ref())?;
    }
    Ok(())
}

/// Puts a run in its circle, or takes it out. Where that changes what others are compared with, they are
/// to be compared anew.
fn replace(connection: &Connection, run_id: &str, new: Option<&SiblingRecord>) -> anyhow::Result<()> {
    let sql = "select circle, created_ms, run_id, sketch, told, seal from sibling where run_id = ?1";
    let old = connection.prepare_cached(sql)?.query_row([run_id], read).optional()?;
    let seen = |sibling: &SiblingRecord| (sibling.position.clone(), sibling.sketch.clone());
    if old.as_ref().map(seen) != new.map(seen) {
        let mut owe = connection.prepare_cached(
            "insert into owed (circle, created_ms, run_id, id, seal) values (?1, ?2, ?3, ?4, ?5)",
        )?;
        let sql = "select coalesce(max(id), 0) + 1 from owed";
        let positions: BTreeSet<&Position> = old.iter().chain(new).map(|sibling| &sibling.position).collect();
        for Position { circle, created_ms, run_id } in positions {
            let id: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
            seal::put(&mut owe, params![circle, created_ms, run_id, id])?;
        }
    }
    match new {
        None if old.is_none() => {}
        None => drop(connection.prepare_cached("delete from sibling where run_id = ?1")?.execute([run_id])?),
        Some(SiblingRecord { position: Position { circle, created_ms, run_id }, sketch, told }) => {
            let sql = "insert or replace into sibling values (?1, ?2, ?3, ?4, ?5, ?6)";
            let values = params![circle, created_ms, run_id, sketch, told];
            seal::put(&mut *connection.prepare_cached(sql)?, values)?;
        }
    }
    Ok(())
}

fn position(row: &Row<'_>) -> rusqlite::Result<Position> {
    Ok(Position { circle: row.get(0)?, created_ms: row.get(1)?, run_id: row.get(2)? })
}

fn read(row: &Row<'_>) -> rusqlite::Result<SiblingRecord> {
    seal::check(row, 0, 5)?;
    Ok(SiblingRecord { position: position(row)?, sketch: row.get(3)?, told: row.get(4)? })
}
