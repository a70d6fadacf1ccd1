//! Files that are one JSON value and are rewritten whole.

use super::json::{Fault, Json, mended, parse};
use crate::records::Problem;
use crate::sources::{Log, Resume, Sink};
use anyhow::bail;
use std::io::Read;

/// A document larger than this is refused: it is held in memory.
const MAX_BYTES: u64 = 256 << 20;

/// Reads all of `log` as one value and hands it to `take`. Of a damaged value that part is handed over
/// that stands before the damage, which is told as a problem.
///
/// # Errors
/// When the file cannot be read or is too large.
pub fn read(
    log: &mut Log<'_>,
    sink: &mut dyn Sink,
    take: &mut dyn FnMut(&Json<'_>, &mut dyn Sink),
) -> anyhow::Result<Resume> {
    let mut bytes = Vec::new();
    (&mut *log.bytes).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("more than {} MiB are too many for one JSON value", MAX_BYTES >> 20);
    }
    let resume = Resume { offset: bytes.len() as u64, state: String::new(), row_count: 1 };
    match parse(&bytes) {
        Ok((value, _)) => take(&value, sink),
        Err(fault) => {
            sink.problem(problem(fault, bytes.len()));
            if let Ok((value, _)) = parse(&mended(&bytes, fault)) {
                take(&value, sink);
            }
        }
    }
    Ok(resume)
}

fn problem(fault: Fault, size: usize) -> Problem {
    let (at, message) = match fault {
        Fault::Incomplete => (size, "the JSON value has no end".to_string()),
        Fault::Invalid { at, why } => (at, format!("no JSON: {why}")),
    };
    Problem { position: format!("byte {at}"), message }
}
