//! Files that are rewritten whole.

use super::json::{Fault, Json, mended, parse, text_of};
use super::yaml;
use crate::records::Problem;
use crate::sources::{Log, Resume, Sink};
use anyhow::bail;
use std::io::Read;

/// A document larger than this is refused: it is held in memory.
const MAX_BYTES: u64 = 256 << 20;

/// Takes what a JSON object holds.
pub(crate) type TakeObject<'t> = dyn FnMut(Json<'_>, &mut dyn Sink) + 't;

/// Reads all of `log` and hands it to `take`.
///
/// # Errors
/// When the file cannot be read or is too large.
pub(crate) fn whole(
    log: &mut Log<'_>,
    sink: &mut dyn Sink,
    take: &mut dyn FnMut(&[u8], &mut dyn Sink),
) -> anyhow::Result<Resume> {
    let mut bytes = Vec::new();
    (&mut *log.bytes).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        bail!("more than {} MiB are too many for one document", MAX_BYTES >> 20);
    }
    take(&bytes, sink);
    Ok(Resume { offset: bytes.len() as u64, state: String::new(), row_count: 1 })
}

/// Reads all of `log` as one JSON object. Of a damaged one that part is handed over that stands before
/// the damage, which is told as a problem.
///
/// # Errors
/// When the file cannot be read or is too large.
pub(crate) fn object(
    log: &mut Log<'_>,
    sink: &mut dyn Sink,
    take: &mut TakeObject<'_>,
) -> anyhow::Result<Resume> {
    whole(log, sink, &mut |bytes, sink| object_of("", bytes, sink, take))
}

/// Like [`object`] for bytes of their own, of the part `within` of a log.
pub(crate) fn object_of(within: &str, bytes: &[u8], sink: &mut dyn Sink, take: &mut TakeObject<'_>) {
    let tell = |at: usize, message: String, sink: &mut dyn Sink| {
        let position = if within.is_empty() { format!("byte {at}") } else { format!("{within} byte {at}") };
        sink.problem(Problem { position, message });
    };
    let mend;
    let (value, used) = match parse(bytes) {
        Ok((value, used)) => (Some(value), used),
        Err(fault) => {
            let (at, message) = match fault {
                Fault::Incomplete => (bytes.len(), "the JSON value has no end".to_owned()),
                Fault::Invalid { at, why } => (at, format!("no JSON: {why}")),
            };
            tell(at, message, sink);
            mend = mended(bytes, fault);
            (parse(&mend).ok().map(|(value, _)| value), bytes.len())
        }
    };
    match value {
        Some(object @ Json::Object(_)) => take(object, sink),
        Some(_) => tell(0, "expected a JSON object".to_owned(), sink),
        None => {}
    }
    if !bytes.get(used..).unwrap_or_default().trim_ascii().is_empty() {
        tell(used, "the file goes on behind the JSON object".to_owned(), sink);
    }
}

/// Takes bytes that are a YAML mapping; without any text there is none, and no problem.
pub(crate) fn mapping_of(bytes: &[u8], sink: &mut dyn Sink, take: &mut TakeObject<'_>) {
    let text = text_of(bytes);
    match yaml::parse(&text) {
        Ok(mapping @ Json::Object(_)) => take(mapping, sink),
        _ if text.trim().is_empty() => {}
        Ok(_) => {
            let message = "expected a YAML mapping".to_owned();
            sink.problem(Problem { position: "byte 0".into(), message });
        }
        Err(error) => sink.problem(Problem { position: "byte 0".into(), message: format!("{error:#}") }),
    }
}

/// What a reader returns that has read all of a file another way.
pub(crate) fn read() -> Resume {
    Resume { row_count: 1, ..Resume::default() }
}
