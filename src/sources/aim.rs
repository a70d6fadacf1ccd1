//! Aim: of `.aim` the database that names the runs. Their values lie in a store that only Aim can read;
//! what to do about it is told once for each repository.

use super::parse::json::Json;
use super::parse::sqlite::{self, MAGIC};
use super::parse::{axis, words};
use super::{InputKind, Log, LogFile, Origin, Resume, RunLogs, Sink, Source, Verdict};
use crate::records::{Problem, RunFacts};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

const DATABASE: &str = ".aim/run_metadata.sqlite";

const NO_VALUES: &str = "the values of Aim's runs are in a store that only Aim reads: export them with its \
    Python SDK (aim.Repo(PATH).iter_runs(), Run.metrics(), Metric.dataframe()) as JSON lines or CSV";

/// Reader of Aim's repositories.
pub struct Aim;

/// What is remembered over a resume.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct State {
    /// What was told, as a hash; empty before the first reading.
    told: Option<u64>,
}

impl Source for Aim {
    fn name(&self) -> &'static str {
        "aim"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    fn may_claim(&self, path: &str) -> bool {
        path == DATABASE || path.strip_suffix(DATABASE).is_some_and(|above| above.ends_with('/'))
    }

    fn sniff(&self, _path: &str, head: &[u8]) -> Verdict {
        match head.is_empty() {
            true => Verdict::TooEarly,
            false if head.starts_with(MAGIC) => Verdict::Log { marks: String::new() },
            false => Verdict::Other { reason: "no database".into() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        files.iter().map(|file| run_logs(&file.path)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        let state: State = serde_json::from_str(&from.state).unwrap_or_default();
        let runs = sqlite::read(log.file, log.scratch, &mut |connection| runs(connection))?;
        let told = axis::hash_of(format!("{runs:?}").as_bytes());
        if state.told == Some(told) {
            return Ok(from);
        }
        if state.told.is_none() && !runs.is_empty() {
            sink.problem(Problem { position: "file".into(), message: NO_VALUES.into() });
        }
        let row_count = runs.len() as u64;
        for (hash, facts) in runs {
            sink.select_run(&hash);
            sink.facts(facts);
        }
        let state = serde_json::to_string(&State { told: Some(told) })?;
        Ok(Resume { offset: from.offset, state, row_count })
    }
}

fn run_logs(path: &str) -> RunLogs {
    let folder = words::split(path).0.to_owned();
    RunLogs { path: folder, ..RunLogs::of_file(path, InputKind::Database) }
}

/// All runs with what is known of them.
fn runs(connection: &Connection) -> anyhow::Result<Vec<(String, RunFacts)>> {
    let has = |table: &str| anyhow::Ok(!sqlite::columns(connection, table)?.is_empty());
    let columns = sqlite::columns(connection, "run")?;
    if !sqlite::has(&columns, "hash") {
        anyhow::bail!("no table of Aim's runs");
    }
    // Columns that older versions lack read as null.
    let column = |name: &str| match sqlite::has(&columns, name) {
        true => format!("run.{name}"),
        false => "null".to_owned(),
    };
    let experiment = match has("experiment")? && column("experiment_id") != "null" {
        true => "(select name from experiment where experiment.id = run.experiment_id)",
        false => "null",
    };
    let sql = format!(
        "select run.rowid, run.hash, {}, {}, cast({} as text), cast({} as text), {experiment} from run \
         where run.hash is not null order by run.rowid",
        column("name"),
        column("description"),
        column("created_at"),
        column("finalized_at"),
    );
    let (has_tags, has_notes) = (has("run_tag")? && has("tag")?, has("note")?);
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([], |row| {
        let facts = RunFacts {
            name: row.get(2)?,
            created_at: row.get::<_, Option<String>>(4)?.and_then(time),
            updated_at: row.get::<_, Option<String>>(5)?.and_then(time),
            project: row.get(6)?,
            ..RunFacts::default()
        };
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?, row.get::<_, Option<String>>(3)?, facts))
    })?;
    let mut runs = Vec::new();
    for row in rows {
        let (id, hash, description, mut facts) = row?;
        if has_tags {
            let sql = "select tag.name from tag join run_tag on tag.id = run_tag.tag_id \
                       where run_tag.run_id = ?1 order by 1";
            facts.tags = Some(texts(connection, sql, id)?);
        }
        let mut notes: Vec<String> = description.into_iter().collect();
        if has_notes {
            notes.extend(texts(connection, "select content from note where run_id = ?1 order by rowid", id)?);
        }
        facts.notes = words::filled(notes.join("\n"));
        runs.push((hash, facts));
    }
    Ok(runs)
}

fn texts(connection: &Connection, sql: &str, run: i64) -> anyhow::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([run], |row| row.get::<_, Option<String>>(0))?;
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Times are text without a zone, in UTC.
fn time(text: String) -> Option<i64> {
    axis::time_of(&Json::String(Cow::Owned(text)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{Memory, in_memory};
    use std::path::Path;

    const SCHEMA: &str = "
        create table experiment (id integer primary key, name text);
        create table run (id integer primary key, hash text, name text, description text, is_archived boolean,
            created_at datetime, updated_at datetime, finalized_at datetime, experiment_id integer);
        create table tag (id integer primary key, name text);
        create table run_tag (run_id integer, tag_id integer);
        create table note (id integer primary key, content text, run_id integer);
        insert into experiment values (1, 'e');
        insert into run values (1, 'ab12', 'n', 'd', 0, '2026-11-20 18:20:14.091504', null, '2026-11-20 18:21:14', 1);
        insert into run values (2, 'cd34', null, null, 0, '2026-11-20 18:20:14', null, null, null);
        insert into tag values (1, 'b'), (2, 'a');
        insert into run_tag values (1, 1), (1, 2);
        insert into note values (1, 'first', 1);";

    fn read(file: &Path, from: Resume) -> anyhow::Result<(Resume, Memory)> {
        let (mut sink, mut none) = (Memory::default(), std::io::Cursor::new(Vec::new()));
        let scratch = file.parent().unwrap();
        let mut log = Log { file, scratch, ..in_memory(DATABASE, "", &mut none, 64) };
        let resume = Aim.read(&mut log, from, &mut sink)?;
        Ok((resume, sink))
    }

    #[test]
    fn runs_are_named_and_what_is_missing_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run_metadata.sqlite");
        let connection = Connection::open(&file).unwrap();
        connection.execute_batch(SCHEMA).unwrap();
        let (resume, sink) = read(&file, Resume::default()).unwrap();
        assert_eq!((resume.row_count, sink.run.as_str(), sink.problems.len()), (2, "cd34", 1));
        assert!(sink.problems[0].message.contains("Python SDK"));
        let runs = sqlite::read(&file, folder.path(), &mut |connection| runs(connection)).unwrap();
        let (hash, facts) = &runs[0];
        assert_eq!(
            (hash.as_str(), facts.name.as_deref(), facts.project.as_deref()),
            ("ab12", Some("n"), Some("e"))
        );
        assert_eq!((facts.notes.as_deref(), facts.created_at), (Some("d\nfirst"), Some(1_795_198_814_091)));
        assert_eq!(facts.tags.as_deref(), Some(&["a".to_owned(), "b".to_owned()][..]));
        let (same, sink) = read(&file, resume.clone()).unwrap();
        assert_eq!((same, sink.problems.len(), sink.run.as_str()), (resume.clone(), 0, ""));
        connection.execute("update run set name = 'm' where id = 2", []).unwrap();
        let (changed, sink) = read(&file, resume.clone()).unwrap();
        assert!(changed != resume && sink.problems.is_empty() && sink.facts.name.as_deref() == Some("m"));
    }

    #[test]
    fn other_databases_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run_metadata.sqlite");
        Connection::open(&file).unwrap().execute_batch("create table run (id integer)").unwrap();
        assert!(read(&file, Resume::default()).is_err());
        std::fs::write(&file, [MAGIC, &[7; 999]].concat()).unwrap();
        assert!(read(&file, Resume::default()).is_err());
        assert!(Aim.may_claim("a/.aim/run_metadata.sqlite") && !Aim.may_claim("a.aim/run_metadata.sqlite"));
    }
}
