//! `vis_data/config.py`: the resolved configuration as assignments of Python. Plain literals are
//! taken; nothing is evaluated.

use crate::records::RunFacts;
use crate::sources::parse::json::flatten;
use crate::sources::parse::{axis, python};
use crate::sources::{Log, Resume, Sink};
use std::io::Read;

/// Configuration larger than this is something else.
const MAX_BYTES: u64 = 4 << 20;

/// Reads the document.
pub fn read(log: &mut Log<'_>, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut bytes = Vec::new();
    Read::take(&mut *log.bytes, MAX_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    for (name, value) in python::assignments(&text) {
        flatten(&name, &value, &mut |key, value| {
            let value = value.to_config();
            if let Some(steps) = axis::planned_steps(key, value.number) {
                sink.facts(RunFacts { planned_steps: Some(steps), ..RunFacts::default() });
            }
            sink.config(key, value);
        });
    }
    Ok(Resume { offset: bytes.len() as u64, state: String::new(), row_count: 1 })
}
