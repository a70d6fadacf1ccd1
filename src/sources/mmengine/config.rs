//! `vis_data/config.py`: the resolved configuration as assignments of Python. Plain literals are
//! taken; nothing is evaluated.

use crate::records::RunFacts;
use crate::sources::parse::json::flatten;
use crate::sources::parse::{axis, document, python};
use crate::sources::{Log, Resume, Sink};

/// Reads the document.
pub fn read(log: &mut Log<'_>, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    document::whole(log, sink, &mut |bytes, sink| {
        for (name, value) in python::assignments(&String::from_utf8_lossy(bytes)) {
            flatten(&name, &value, &mut |key, value| {
                let value = value.to_config();
                if let Some(steps) = axis::planned_steps(key, value.number) {
                    sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
                }
                sink.config(key, value);
            });
        }
    })
}
