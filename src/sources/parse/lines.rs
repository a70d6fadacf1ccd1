//! Reads a growing text file line by line, in chunks, and always knows the byte offset of the
//! first line that is not read yet.

use super::json::{Json, parse_whole, text_of};
use super::terminal::shown;
use super::window::Window;
use crate::records::{ConsoleLine, Problem};
use crate::sources::{Log, ReadSeek, Resume, Sink, StartOver};
use std::io::{self, SeekFrom};

/// Lines longer than this are passed over.
const MAX_LINE_BYTES: usize = 16 << 20;

/// A buffered reader over complete lines.
pub struct Lines<'l> {
    window: Window<'l>,
    /// How many bytes of the window hold no line end.
    searched: usize,
    /// How many bytes of the line at hand were too many to keep.
    dropped: u64,
}

/// A line of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'b> {
    /// Its bytes without the line end.
    pub bytes: &'b [u8],
    /// Where it begins in the file.
    pub offset: u64,
    /// Whether it is ended; the last line of a growing file often is not.
    pub ended: bool,
    /// Whether it was too long to keep; `bytes` is empty then.
    pub too_long: bool,
}

impl<'l> Lines<'l> {
    /// Reads `input`, which stands at `offset`.
    pub fn new(input: &'l mut dyn ReadSeek, offset: u64, chunk_bytes: usize) -> Self {
        Self { window: Window::new(input, offset, chunk_bytes), searched: 0, dropped: 0 }
    }

    /// File offset of the first byte not read.
    pub fn offset(&self) -> u64 {
        self.window.offset() - self.dropped
    }

    /// The bytes at hand that were not read yet.
    pub fn window(&self) -> &[u8] {
        self.window.view()
    }

    /// Brings in another chunk; false at the end of the file.
    pub fn more(&mut self) -> io::Result<bool> {
        self.window.more()
    }

    /// Passes bytes of the window.
    pub fn advance(&mut self, count: usize) {
        self.window.advance(count);
        (self.searched, self.dropped) = (0, 0);
    }

    /// The next line, which stays unread until [`Lines::pass`]; `None` at the end.
    pub fn peek(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let rest = self.window().get(self.searched..).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', rest) {
                self.searched += found;
                return Ok(Some(self.line(true)));
            }
            self.searched += rest.len();
            if self.searched > MAX_LINE_BYTES {
                self.window.advance(self.searched);
                self.dropped += self.searched as u64;
                self.searched = 0;
            }
            if !self.more()? {
                let nothing = self.searched == 0 || self.dropped > 0;
                return Ok(if nothing { None } else { Some(self.line(false)) });
            }
        }
    }

    fn line(&self, ended: bool) -> Line<'_> {
        let too_long = self.dropped > 0;
        let bytes = self.window().get(..self.searched).filter(|_| !too_long).unwrap_or_default();
        Line { bytes, offset: self.offset(), ended, too_long }
    }

    /// Passes the line that [`Lines::peek`] showed, with its end if it has one.
    pub fn pass(&mut self) {
        let ended = self.window().get(self.searched) == Some(&b'\n');
        self.advance(self.searched + usize::from(ended));
    }
}

/// Takes the lines of a log, of which each stands for itself.
pub(crate) trait TakeLine {
    /// Takes a line without its end, and says what is wrong with it.
    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) -> Result<(), String>;

    /// Whether the last line of a log at rest counts although it has no end.
    fn is_whole(&self, line: &[u8]) -> bool {
        let _ = line;
        false
    }
}

impl<F: FnMut(&[u8], &mut dyn Sink) -> Result<(), String>> TakeLine for F {
    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) -> Result<(), String> {
        self(line, sink)
    }
}

/// Lines that were printed: the last one of a log at rest counts too.
pub(crate) struct Printed<F>(pub F);

impl<F: FnMut(&[u8], &mut dyn Sink)> TakeLine for Printed<F> {
    fn line(&mut self, line: &[u8], sink: &mut dyn Sink) -> Result<(), String> {
        self.0(line, sink);
        Ok(())
    }

    fn is_whole(&self, _: &[u8]) -> bool {
        true
    }
}

/// Reads the lines of a log from where it stands; what is wrong with one is told with its number.
/// Returns where the next call goes on, and how many lines were read so far.
///
/// # Errors
/// When the log cannot be read; [`StartOver`] when a line that was taken without end went on.
pub(crate) fn each_line(
    log: &mut Log<'_>,
    from: &Resume,
    sink: &mut dyn Sink,
    take: &mut dyn TakeLine,
) -> anyhow::Result<(u64, u64)> {
    let is_open = is_inside_a_line(log, from.offset)?;
    let mut lines = Lines::new(&mut *log.bytes, from.offset, log.chunk_bytes);
    let mut count = from.row_count;
    if is_open && !pass_end(&mut lines)? {
        return Ok((from.offset, count));
    }
    while let Some(line) = lines.peek()? {
        let text = line.bytes.strip_suffix(b"\r").unwrap_or(line.bytes);
        let counts = line.ended || log.is_at_rest && take.is_whole(text);
        if !counts {
            break;
        }
        count += 1;
        let taken = match line.too_long {
            true => Err("the line is too long".into()),
            false => take.line(text, sink),
        };
        if let Err(message) = taken {
            sink.problem(Problem { position: format!("line {count}"), message });
        }
        lines.pass();
    }
    Ok((lines.offset(), count))
}

/// Reads a log whose lines were printed, and nothing else.
///
/// # Errors
/// As [`each_line`].
pub(crate) fn each_printed(log: &mut Log<'_>, from: &Resume, sink: &mut dyn Sink) -> anyhow::Result<Resume> {
    let mut take = Printed(|line: &[u8], sink: &mut dyn Sink| {
        sink.console(ConsoleLine { time: None, stream: None, text: shown(&text_of(line)) });
    });
    let (offset, row_count) = each_line(log, from, sink, &mut take)?;
    Ok(Resume { offset, state: String::new(), row_count })
}

/// Whether reading stopped behind a line without end.
fn is_inside_a_line(log: &mut Log<'_>, offset: u64) -> io::Result<bool> {
    let Some(before) = offset.checked_sub(1) else { return Ok(false) };
    let mut last = [b'\n'];
    log.bytes.seek(SeekFrom::Start(before))?;
    let _ = log.bytes.read(&mut last)?;
    log.bytes.seek(SeekFrom::Start(offset))?;
    Ok(last != [b'\n'])
}

/// Passes the end of a line that was taken before it had one; false while there is none.
fn pass_end(lines: &mut Lines<'_>) -> anyhow::Result<bool> {
    let Some(line) = lines.peek()? else { return Ok(false) };
    match line.bytes {
        b"" | b"\r" if line.ended && !line.too_long => lines.pass(),
        b"\r" => return Ok(false),
        _ => return Err(StartOver.into()),
    }
    Ok(true)
}

/// Like [`each_line`] for lines of JSON; blank ones are passed over.
///
/// # Errors
/// When the log cannot be read.
pub(crate) fn each_value(
    log: &mut Log<'_>,
    from: &Resume,
    sink: &mut dyn Sink,
    take: &mut dyn FnMut(Json<'_>, &mut dyn Sink) -> Result<(), String>,
) -> anyhow::Result<(u64, u64)> {
    each_line(log, from, sink, &mut |line: &[u8], sink: &mut dyn Sink| match parse_whole(line) {
        _ if line.trim_ascii().is_empty() => Ok(()),
        Some(value) => take(value, sink),
        None => Err("the line is no JSON".into()),
    })
}

/// Without a byte order mark, zero bytes (holes that a crash leaves) and white space before.
pub fn without_blank(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = bytes.iter().take_while(|c| c.is_ascii_whitespace() || **c == 0).count();
    bytes.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::io::Cursor;

    #[test]
    fn lines_and_offsets_do_not_depend_on_the_chunk() {
        let text = b"one\n\ntwo three\r\nlast";
        for chunk in 1..30 {
            let mut input = Cursor::new(&text[..]);
            let mut lines = Lines::new(&mut input, 0, chunk);
            let mut seen = Vec::new();
            while let Some(line) = lines.peek().unwrap() {
                seen.push((line.bytes.to_vec(), line.offset, line.ended));
                lines.pass();
            }
            assert_eq!(lines.offset(), text.len() as u64);
            let expected: Vec<(&[u8], u64, bool)> =
                vec![(b"one", 0, true), (b"", 4, true), (b"two three\r", 5, true), (b"last", 16, false)];
            assert_eq!(seen, expected.into_iter().map(|(t, o, e)| (t.to_vec(), o, e)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_line_without_end_in_sight_is_passed_over() {
        let mut text = vec![b'x'; MAX_LINE_BYTES * 2];
        text.extend_from_slice(b"\nnext\n");
        let mut input = Cursor::new(text);
        let mut lines = Lines::new(&mut input, 0, 1 << 20);
        assert!(lines.peek().unwrap().unwrap().too_long);
        lines.pass();
        let line = lines.peek().unwrap().unwrap();
        assert_eq!((line.bytes, line.offset), (&b"next"[..], MAX_LINE_BYTES as u64 * 2 + 1));
    }
}
