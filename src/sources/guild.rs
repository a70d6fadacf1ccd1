//! Guild AI: `.guild/runs/<id>/` with an attribute a file in `.guild/attrs/`, the output of the process, and
//! event files of TensorBoard, of which Guild itself writes those in `.guild/`.

use super::parse::document::whole;
use super::parse::json::{Json, flatten, text_of};
use super::parse::lines::each_printed;
use super::parse::rows::set_config;
use super::parse::words::{command, filled, join, split, strings, text_at};
use super::parse::{axis, yaml};
use super::tfevents::TfEvents;
use super::{InputKind, Log, LogFile, Origin, Resume, RunInput, RunLogs, Sink, Source, Verdict};
use crate::records::{End, Problem, RunFacts};
use std::collections::BTreeMap;

/// Attributes that are read. The environment holds secrets and is not.
const ATTRIBUTES: [&str; 12] = [
    "cmd",
    "comments",
    "exit_status",
    "flags",
    "host",
    "label",
    "platform",
    "started",
    "stopped",
    "tags",
    "user",
    "vcs_commit",
];

/// Reader of Guild's runs.
pub struct Guild;

/// What a file of a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part<'p> {
    Attribute(&'p str),
    Operation,
    Output,
    /// An event file in this folder of the run.
    Events(&'p str),
}

/// Folder of the run a file belongs to, and what it is.
fn place(path: &str) -> Option<(&str, Part<'_>)> {
    let home = "/.guild/runs/";
    let begin = match path.find(home) {
        Some(at) => at + home.len(),
        None if path.starts_with(&home[1..]) => home.len() - 1,
        None => return None,
    };
    let (id, rest) = path.get(begin..)?.split_once('/')?;
    if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let folder = path.get(..begin + id.len())?;
    let part = match rest {
        ".guild/opref" => Part::Operation,
        ".guild/output" => Part::Output,
        _ if TfEvents.may_claim(rest) => Part::Events(split(rest).0),
        _ => {
            let name = rest.strip_prefix(".guild/attrs/")?;
            Part::Attribute(ATTRIBUTES.iter().find(|known| **known == name)?)
        }
    };
    Some((folder, part))
}

impl Source for Guild {
    fn name(&self) -> &'static str {
        "guild"
    }

    fn origin(&self) -> Origin {
        Origin::Tracker
    }

    /// A run that ended has an exit status.
    fn writes_ends(&self, logs: &RunLogs) -> bool {
        logs.inputs.iter().any(|input| input.path.contains("/.guild/attrs/"))
    }

    fn may_claim(&self, path: &str) -> bool {
        place(path).is_some()
    }

    fn sniff(&self, path: &str, head: &[u8]) -> Verdict {
        match place(path) {
            Some((_, Part::Events(_))) => match TfEvents.sniff(path, head) {
                Verdict::Log { .. } => Verdict::Log { marks: String::new() },
                verdict => verdict,
            },
            _ if head.is_empty() => Verdict::TooEarly,
            _ => Verdict::Log { marks: String::new() },
        }
    }

    fn group(&self, files: &[LogFile]) -> Vec<RunLogs> {
        let mut runs: BTreeMap<&str, Vec<(&str, Part<'_>)>> = BTreeMap::new();
        for file in files {
            if let Some((folder, part)) = place(&file.path) {
                runs.entry(folder).or_default().push((&file.path, part));
            }
        }
        runs.into_iter().map(|(folder, parts)| run_logs(folder, &parts)).collect()
    }

    fn read(&self, log: &mut Log<'_>, from: Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
        match place(log.path).map(|(_, part)| part) {
            Some(Part::Events(_)) => TfEvents.read(log, from, sink),
            Some(Part::Output) => each_printed(log, &from, sink),
            Some(part) => whole(log, sink, &mut |bytes, sink| match part {
                Part::Operation => sink.facts(operation(&text_of(bytes))),
                Part::Attribute(name) => attribute(name, &text_of(bytes), sink),
                Part::Output | Part::Events(_) => {}
            }),
            None => Ok(from),
        }
    }
}

fn run_logs(folder: &str, parts: &[(&str, Part<'_>)]) -> RunLogs {
    let mut count: BTreeMap<&str, i32> = BTreeMap::new();
    let inputs = parts.iter().map(|(path, part)| {
        let (kind, role, segment) = match part {
            Part::Attribute(_) | Part::Operation => (InputKind::Document, String::new(), 0),
            Part::Output => (InputKind::Log, String::new(), 0),
            Part::Events(inside) => {
                let next = count.entry(inside).or_default();
                *next += 1;
                (InputKind::Log, events_role(inside, *next - 1), *next - 1)
            }
        };
        RunInput { path: (*path).to_owned(), kind, role, segment }
    });
    let producer_id = Some(split(folder).1.to_owned());
    RunLogs { producer_id, ..RunLogs::of_inputs(folder, inputs.collect()) }
}

/// Metrics of a folder inside the run bear its name; Guild's own folder says nothing.
fn events_role(inside: &str, segment: i32) -> String {
    let inside = if inside == ".guild" { "" } else { inside };
    let prefix = if inside.is_empty() { String::new() } else { join(inside, "") };
    serde_json::json!({ "segment": segment, "prefix": prefix }).to_string()
}

/// `<package> <version> <model> <operation>`: the last word is what was run.
fn operation(text: &str) -> RunFacts {
    let words = shlex::split(text.trim()).unwrap_or_default();
    RunFacts { job_type: words.last().and_then(filled), ..RunFacts::default() }
}

fn attribute(name: &str, text: &str, sink: &mut dyn Sink) {
    let Ok(value) = yaml::parse(text) else {
        let message = format!("{name} is no YAML");
        sink.problem(Problem { position: "byte 0".into(), message });
        return;
    };
    let word = filled(value.to_config().text).filter(|_| value != Json::Null);
    // Times are in microseconds.
    let time = || axis::step_of(&value).filter(|us| *us > 0).map(|us| us / 1000);
    let none = RunFacts::default();
    sink.facts(match name {
        "cmd" => command(&strings(Some(&value))),
        "comments" => RunFacts { notes: comments(&value), ..none },
        "exit_status" => exit(axis::step_of(&value)),
        "host" => RunFacts { host: word, ..none },
        "label" => RunFacts { name: word, ..none },
        "started" => RunFacts { created_at: time(), ..none },
        "stopped" => RunFacts { updated_at: time(), ..none },
        "tags" => {
            let tags = strings(Some(&value)).into_iter().map(str::to_owned).collect();
            RunFacts { tags: Some(tags), ..none }
        }
        "user" => RunFacts { user_name: word, ..none },
        "vcs_commit" => commit(&word.unwrap_or_default()),
        "flags" => {
            flatten("", &value, &mut |key, value| {
                if !key.is_empty() {
                    set_config(key, value, sink);
                }
            });
            return;
        }
        _ => return,
    });
}

fn exit(status: Option<i64>) -> RunFacts {
    let end = status.map(|status| if status == 0 { End::Finished } else { End::Failed });
    RunFacts { end, exit_code: status.and_then(|status| i32::try_from(status).ok()), ..RunFacts::default() }
}

/// `git:<commit>`, with a word in brackets if the work tree was changed.
fn commit(text: &str) -> RunFacts {
    let (commit, changed) = text.split_once(' ').unwrap_or((text, ""));
    RunFacts {
        git_commit: filled(commit.rsplit(':').next().unwrap_or(commit)),
        git_dirty: Some(!changed.trim().is_empty()),
        ..RunFacts::default()
    }
}

fn comments(value: &Json<'_>) -> Option<String> {
    let Json::Array(comments) = value else { return value.as_str().and_then(filled) };
    let bodies = comments.iter().filter_map(|comment| match comment {
        Json::String(text) => Some(text.to_string()),
        comment => text_at(comment, &["body"]),
    });
    filled(bodies.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::sources::testing::{
        Memory, assert_survives, assert_survives_rewriting, bytes_field, file, int_field, read_whole,
        tf_record,
    };

    const RUN: &str = "home/.guild/runs/0123456789abcdef0123456789abcdef";

    fn of(name: &str, text: &str) -> Memory {
        read_whole(&Guild, (&format!("{RUN}/.guild/{name}"), ""), text.as_bytes())
    }

    #[test]
    fn attributes_state_facts() {
        assert_eq!(of("attrs/started", "1795198721645000\n").facts.created_at, Some(1_795_198_721_645));
        let exit = of("attrs/exit_status", "1\n").facts;
        assert_eq!((exit.end, exit.exit_code), (Some(End::Failed), Some(1)));
        assert_eq!(of("attrs/exit_status", "0\n").facts.end, Some(End::Finished));
        assert_eq!(of("attrs/label", "lr=0.1\n").facts.name.as_deref(), Some("lr=0.1"));
        assert_eq!(of("attrs/tags", "- a\n- b\n").facts.tags.unwrap(), ["a", "b"]);
        let cmd = of("attrs/cmd", "- /usr/bin/python\n- train.py\n- --lr\n- '0.1'\n").facts;
        assert_eq!((cmd.program.as_deref(), cmd.args.as_deref()), (Some("train.py"), Some("--lr 0.1")));
        assert_eq!(of("attrs/flags", "lr: 0.1\nm: {a: x}\n").config["m.a"].text, "x");
        let commit = of("attrs/vcs_commit", "git:c0ffee (M)\n").facts;
        assert_eq!((commit.git_commit.as_deref(), commit.git_dirty), (Some("c0ffee"), Some(true)));
        assert_eq!(of("opref", "guildfile:p v1 model train\n").facts.job_type.as_deref(), Some("train"));
        assert_eq!(of("attrs/comments", "- body: hello\n").facts.notes.as_deref(), Some("hello"));
        assert_eq!(of("output", "\u{1b}[1ma\nb\n").console[0].text, "a");
        assert!(!Guild.may_claim(&format!("{RUN}/.guild/attrs/env")), "it holds secrets");
    }

    /// Events as Guild writes them: without a time.
    fn events() -> Vec<u8> {
        let mut bytes = Vec::new();
        tf_record(&mut bytes, &bytes_field(3, b"brain.Event:2"));
        for (step, value) in [(1, 0.5_f32), (2, 0.25)] {
            let mut scalar = bytes_field(1, b"loss");
            scalar.push(0x15);
            scalar.extend(value.to_le_bytes());
            let event = [int_field(2, step), bytes_field(5, &bytes_field(1, &scalar))].concat();
            tf_record(&mut bytes, &event);
        }
        bytes
    }

    #[test]
    fn event_files_belong_to_the_run() {
        let name = "events.out.tfevents.0.host";
        let paths = [
            format!("{RUN}/.guild/attrs/label"),
            format!("{RUN}/.guild/{name}"),
            format!("{RUN}/train/{name}"),
        ];
        let runs = Guild.group(&paths.each_ref().map(|path| file(path, 9, "")));
        assert_eq!(runs.len(), 1);
        let inputs = &runs[0].inputs;
        let read = |at: usize| read_whole(&Guild, (&paths[at], &inputs[at].role), &events());
        assert_eq!(read(1).line("loss"), [(1, 0.5), (2, 0.25)]);
        assert_eq!((read(2).keys(), read(2).points[0].time), (vec!["train/loss".to_owned()], None));
        assert_survives(&Guild, (&paths[1], &inputs[1].role), &events());
    }

    #[test]
    fn damage_and_growth() {
        assert_survives(&Guild, (&format!("{RUN}/.guild/output"), ""), b"a\nb\r\n");
        for (name, text) in
            [("attrs/flags", "lr: 0.1\n"), ("opref", "a b 'c d' e\n"), ("attrs/comments", "- body: x\n")]
        {
            assert_survives_rewriting(&Guild, (&format!("{RUN}/.guild/{name}"), ""), text.as_bytes());
        }
        assert!(place(".guild/runs/0123456789abcdef0123456789abcdef/.guild/opref").is_some());
        assert!(place("runs/0123456789abcdef0123456789abcdef/events.out.tfevents.1.h").is_none());
    }
}
