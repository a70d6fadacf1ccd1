//! Files that are rewritten whole.

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
