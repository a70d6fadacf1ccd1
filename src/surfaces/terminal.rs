//! Standard output and error: what they are, and the lines that go to stderr.

use crate::error::UserError;
use crate::report::Style;
use crate::report::cell::{harmless, one_line};
use clap::error::ContextValue;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

/// Where messages go, once it is told from descriptor 2.
static MESSAGES: OnceLock<File> = OnceLock::new();

/// From now on messages go to what stderr is now, wherever descriptor 2 will lead.
///
/// # Errors
/// When the system has no descriptor left.
#[cfg(unix)]
pub fn keep_stderr() -> io::Result<()> {
    use std::os::fd::AsFd;
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    // Kept once; a second time it would be the same.
    let _ = MESSAGES.set(stderr);
    Ok(())
}

/// When colours are used (`--color`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, Serialize, Deserialize)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What the process writes to.
#[derive(Debug, Clone, Copy)]
pub struct Terminal {
    /// Whether a person reads stdout.
    pub is_stdout: bool,
    /// Whether a person reads stderr.
    pub is_stderr: bool,
    /// Whether stdout is read by a program: neither a terminal nor a file.
    pub is_pipe: bool,
    /// Whether a person types on stdin.
    pub is_stdin: bool,
    colour: Colour,
    quiet: bool,
}

impl Terminal {
    /// Looks at the standard streams of the process.
    pub fn new(colour: Colour, quiet: bool) -> Self {
        Self {
            is_stdout: io::stdout().is_terminal(),
            is_stderr: io::stderr().is_terminal(),
            is_pipe: !io::stdout().is_terminal() && !is_file(),
            is_stdin: io::stdin().is_terminal(),
            colour,
            quiet,
        }
    }

    /// How text on stdout looks.
    pub fn style(&self) -> Style {
        Style {
            width: if self.is_stdout { terminal_width() } else { told_width() },
            colour: self.has_colour(self.is_stdout),
            terminal: self.is_stdout,
        }
    }

    /// Whether progress is shown.
    pub fn shows_progress(&self) -> bool {
        self.is_stderr && !self.quiet
    }

    /// Something the reader of an answer should know.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            self.say("note", "36", text, None);
        }
    }

    /// Something that went wrong without stopping the work.
    pub fn warning(&self, text: &str) {
        if !self.quiet {
            self.say("warning", "33", text, None);
        }
    }

    /// The error that ends a command or a statement.
    pub fn error(&self, error: &UserError) {
        self.say("error", "1;31", &error.message, error.hint.as_deref());
    }

    fn say(&self, word: &str, colour: &str, text: &str, hint: Option<&str>) {
        let paint = |word: &str, colour: &str| match self.has_colour(self.is_stderr) {
            true => format!("\x1b[{colour}m{word}:\x1b[0m"),
            false => format!("{word}:"),
        };
        let mut lines = format!("{} {}\n", paint(word, colour), message(text));
        if let Some(hint) = hint {
            lines.push_str(&format!("\n{} {}\n", paint("hint", "36"), message(hint)));
        }
        // There is nowhere left to tell that stderr is closed.
        let _ = match MESSAGES.get() {
            Some(mut messages) => messages.write_all(lines.as_bytes()),
            None => io::stderr().write_all(lines.as_bytes()),
        };
    }

    fn has_colour(&self, is_terminal: bool) -> bool {
        match self.colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        }
    }
}

/// Whether stdout is a file on disk: it gets everything, whoever reads it later.
#[cfg(unix)]
fn is_file() -> bool {
    use std::os::fd::AsFd;
    let stdout = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    stdout.and_then(|stdout| stdout.metadata()).is_ok_and(|metadata| metadata.is_file())
}

#[cfg(not(unix))]
fn is_file() -> bool {
    false
}

/// Most characters of a message: it may hold names from logs, of any length.
const MESSAGE_CHARS: usize = 2_000;

/// One harmless line.
fn message(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS) {
        None => one_line(text),
        Some((end, _)) => format!("{}…", one_line(&text[..end])),
    }
}

/// Prints help, the version, or what is wrong with the arguments. It may echo what was typed, or the
/// words of a query in the project.
pub fn print_usage(mut error: clap::Error) {
    let echoed: Vec<_> =
        error.context().filter_map(|(kind, value)| Some((kind, as_one_line(value)?))).collect();
    for (kind, value) in echoed {
        error.insert(kind, value);
    }
    let plain = error.render().to_string();
    let shown = harmless(&plain);
    // A closed stream is no failure of ours.
    let _ = match (shown == plain, error.use_stderr()) {
        (true, _) => error.print(),
        (false, true) => io::stderr().write_all(shown.as_bytes()),
        (false, false) => io::stdout().write_all(shown.as_bytes()),
    };
}

/// What an error echoes, without anything a terminal obeys; `None` where that changes nothing.
fn as_one_line(value: &ContextValue) -> Option<ContextValue> {
    let clean = match value {
        ContextValue::String(text) => ContextValue::String(one_line(text)),
        ContextValue::Strings(texts) => {
            ContextValue::Strings(texts.iter().map(|text| one_line(text)).collect())
        }
        _ => return None,
    };
    (clean != *value).then_some(clean)
}

fn terminal_width() -> Option<u16> {
    let told = comfy_table::Table::new().width();
    told.filter(|width| *width > 0).or_else(told_width).or(told.map(|_| 80))
}

/// What the caller says of the width; also where a table goes into a pipe.
fn told_width() -> Option<u16> {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).filter(|width| *width > 0)
}

/// A writer that remembers whether its reader went away, which is no error of ours, and takes no
/// more than it may.
pub struct Pipe<W> {
    inner: W,
    is_closed: bool,
    is_full: bool,
    bytes_left: u64,
}

impl<W: Write> Pipe<W> {
    /// Wraps a writer.
    pub fn new(inner: W) -> Self {
        Self { inner, is_closed: false, is_full: false, bytes_left: u64::MAX }
    }

    /// Takes no more than this from now on.
    pub fn set_most_bytes(&mut self, bytes: u64) {
        self.bytes_left = bytes;
    }

    /// Whether more was written than it takes.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Whether the reader went away.
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
        }
        result
    }
}

impl<W: Write> Write for Pipe<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if buffer.len() as u64 > self.bytes_left {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let result = self.inner.write(buffer);
        self.bytes_left -= result.as_ref().map_or(0, |written| *written as u64);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.flush();
        self.noted(result)
    }
}
