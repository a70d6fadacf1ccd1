//! Files that are rewritten whole, and logs of lines of which each stands for itself.

use super::json::{Json, parse_whole};
use super::lines::Lines;
use super::window::Window;
use crate::records::Problem;
use crate::sources::{Log, Resume, Sink};
use std::io;

/// Documents beyond this are not read.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// All bytes of a document; `None` when they are too many, which is told.
pub(crate) fn whole(log: &mut Log<'_>, sink: &mut dyn Sink) -> io::Result<Option<Vec<u8>>> {
    let mut window = Window::new(&mut *log.bytes, 0, log.chunk_bytes.max(1 << 12));
    if window.fill(MAX_DOCUMENT_BYTES)? {
        let message = format!("more than {MAX_DOCUMENT_BYTES} bytes are too many for a document");
        sink.problem(Problem { position: "byte 0".into(), message });
        return Ok(None);
    }
    Ok(Some(window.view().to_vec()))
}

/// What a reader returns when it has read a document.
pub(crate) fn read(size: usize) -> Resume {
    Resume { offset: size as u64, state: String::new(), row_count: 1 }
}

/// Takes a line, and says what is wrong with it.
pub(crate) type TakeLine<'t> = dyn FnMut(&[u8], &mut dyn Sink) -> Result<(), String> + 't;

/// Takes a JSON value, and says what is wrong with it.
pub(crate) type TakeValue<'t> = dyn FnMut(Json<'_>, &mut dyn Sink) -> Result<(), String> + 't;

/// Reads the ended lines of a log from where it stands. `take` gets each without its end and
/// says what is wrong with it, which is told with the number of the line. Returns where the first
/// line begins that is not read, and how many lines were read so far.
pub(crate) fn each_line(
    log: &mut Log<'_>,
    from: &Resume,
    sink: &mut dyn Sink,
    take: &mut TakeLine<'_>,
) -> io::Result<(u64, u64)> {
    let mut lines = Lines::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut count = from.row_count;
    while let Some(line) = lines.peek()?.filter(|line| line.ended) {
        count += 1;
        let taken = match line.too_long {
            true => Err("the line is too long".into()),
            false => take(line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes), sink),
        };
        if let Err(message) = taken {
            sink.problem(Problem { position: format!("line {count}"), message });
        }
        lines.pass();
    }
    Ok((lines.offset(), count))
}

/// Like [`each_line`] for lines of JSON; blank ones are passed over.
pub(crate) fn each_value(
    log: &mut Log<'_>,
    from: &Resume,
    sink: &mut dyn Sink,
    take: &mut TakeValue<'_>,
) -> io::Result<(u64, u64)> {
    each_line(log, from, sink, &mut |line, sink| match parse_whole(line) {
        _ if line.trim_ascii().is_empty() => Ok(()),
        Some(value) => take(value, sink),
        None => Err("the line is no JSON".into()),
    })
}
