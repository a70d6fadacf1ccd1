//! Where an answer goes and in which form.
//!
//! [`Plan::of`] is the one place that decides. An agent gets CSV within its budget of tokens, and in the
//! last line what was left out and the command that shows it.

use super::globals::Globals;
use super::session::Session;
use crate::error::UserError;
use crate::report::brief::Brief;
use crate::report::cell::harmless;
use crate::report::nan::NanCount;
use crate::report::people::Looks;
use crate::report::tokens::estimate;
use crate::report::{self, Format, Style};
use crate::surfaces::terminal::{Pipe, Terminal};
use crate::workspace::Answer;
use anyhow::{Context, Result};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::StreamExt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Form and place of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its format.
    pub format: Format,
    /// The file it goes to, else stdout.
    pub file: Option<PathBuf>,
    /// The budget of an agent, in tokens.
    pub most_tokens: Option<usize>,
}

impl Plan {
    /// Decides from what was asked and from where the reader sits.
    pub fn of(globals: &Globals, terminal: &Terminal) -> Result<Plan> {
        let format = match (globals.format, &globals.output) {
            (Some(format), _) => format,
            (None, Some(file)) => format_of_file(file)?,
            (None, None) if terminal.is_stdout => Format::Table,
            (None, None) => Format::Csv,
        };
        let most_tokens = globals.budget(terminal);
        let format = if most_tokens.is_some() { Format::Csv } else { format };
        let plan = Plan { format, file: globals.output.clone(), most_tokens };
        match plan.file.is_none() && terminal.is_stdout && format.is_binary() {
            true => Err(UserError::usage(format!("{} is no text for a terminal", format.name()))
                .hint("add -o FILE")
                .into()),
            false => Ok(plan),
        }
    }

    /// Whether a person reads the answer on a terminal.
    pub fn is_on_screen(&self, terminal: &Terminal) -> bool {
        self.file.is_none() && terminal.is_stdout && self.most_tokens.is_none()
    }

    fn style(&self, terminal: &Terminal) -> Style {
        match self.file {
            Some(_) => Style::default(),
            None => terminal.style(),
        }
    }
}

fn format_of_file(file: &Path) -> Result<Format> {
    let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    Format::from_extension(extension).ok_or_else(|| {
        let known: Vec<&str> = Format::ALL.iter().map(|format| format.name()).collect();
        UserError::usage(format!("the name {} tells no format", file.display()))
            .hint(format!("add --format, one of {}", known.join(", ")))
            .into()
    })
}

/// How much of an answer is written at most.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Rows that are shown on a screen; the rest is left out, and told.
    pub screen_rows: u64,
    /// Bytes that are written; an answer that is larger is an error.
    pub bytes: u64,
}

/// What was written.
pub struct Written {
    /// Rows.
    pub row_count: u64,
    /// Columns that held NaN, as a note.
    pub nan_note: Option<String>,
    /// Whether rows were left out.
    pub is_cut: bool,
}

/// Most tokens of the command that shows all: a statement may be of any length.
const COMMAND_TOKENS: usize = 300;

/// What an agent may read, and what was kept from it.
struct Budget {
    tokens_left: usize,
    /// The command that shows all.
    command: String,
    left_out: Vec<String>,
    cut_texts: u64,
    remarks: Vec<String>,
}

impl Budget {
    fn new(tokens: usize, globals: &Globals) -> Self {
        let command = globals.command_for_all();
        let command = match estimate(&command) <= COMMAND_TOKENS.min(tokens / 4) {
            true => command,
            false => "the same with --format csv".to_owned(),
        };
        // Room for the last line.
        let tokens_left = tokens.saturating_sub(estimate(&command) + 40);
        Self { tokens_left, command, left_out: Vec::new(), cut_texts: 0, remarks: Vec::new() }
    }

    fn add(&mut self, brief: &Brief) {
        if brief.is_cut() {
            self.left_out.push(format!("{} of {} rows", brief.written_rows, brief.row_count));
        }
        self.cut_texts += brief.cut_texts;
    }

    /// `# N of M rows; all: COMMAND`, where something was cut.
    fn last_line(mut self) -> Option<String> {
        if self.cut_texts > 0 {
            self.left_out.push(format!("{} long texts cut", self.cut_texts));
        }
        let is_cut = !self.left_out.is_empty();
        let mut parts = self.remarks;
        parts.append(&mut self.left_out);
        if is_cut {
            parts.push(format!("all: {}", self.command));
        }
        (!parts.is_empty()).then(|| format!("# {}\n", parts.join("; ")))
    }
}

/// An open place for one or more documents.
pub struct Sink {
    out: Pipe<Box<dyn Write + Send>>,
    plan: Plan,
    style: Style,
    most_rows: u64,
    budget: Option<Budget>,
    /// How people see metrics; nothing for others.
    looks: Looks,
    /// Temporary name and final name.
    rename: Option<(PathBuf, PathBuf)>,
}

impl Sink {
    /// Opens stdout or the file. A file takes its name when it is complete.
    pub fn open(session: &Session) -> Result<Sink> {
        let plan = Plan::of(&session.globals, &session.terminal)?;
        let style = plan.style(&session.terminal);
        let rename = plan
            .file
            .as_deref()
            .filter(|file| is_replaceable(file))
            .map(|file| (temporary_name(file, std::process::id()), file.to_owned()));
        let target = rename.as_ref().map(|(temporary, _)| temporary.as_path()).or(plan.file.as_deref());
        let writer: Box<dyn Write + Send> = match target {
            Some(file) => Box::new(BufWriter::new(
                File::create(file).with_context(|| format!("cannot write {}", file.display()))?,
            )),
            None => Box::new(BufWriter::new(io::stdout())),
        };
        let budget = plan.most_tokens.map(|tokens| Budget::new(tokens, &session.globals));
        let looks = match plan.format.is_for_people() {
            true => session.workspace.settings().looks(),
            false => Looks::default(),
        };
        Ok(Sink { out: Pipe::new(writer), plan, style, most_rows: u64::MAX, budget, looks, rename })
    }

    /// The same place, for names that are there to be typed.
    pub fn with_logged_names(mut self) -> Sink {
        self.looks.names.clear();
        self
    }

    /// The same place, for an answer of any size to a statement: it is what the statement says.
    pub fn bounded(mut self, bounds: Bounds, terminal: &Terminal) -> Sink {
        self.looks = Looks::default();
        self.out.set_most_bytes(bounds.bytes);
        if self.plan.is_on_screen(terminal) {
            self.most_rows = bounds.screen_rows;
        }
        self
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.plan.format
    }

    /// How its text looks.
    pub fn style(&self) -> Style {
        self.style
    }

    /// What an agent may still read, in tokens.
    pub fn tokens_left(&self) -> Option<usize> {
        self.budget.as_ref().map(|budget| budget.tokens_left)
    }

    /// Has told an agent in the last line what was left out, as in `20 of 500 steps`.
    pub fn left_out(&mut self, what: String) {
        self.budget.iter_mut().for_each(|budget| budget.left_out.push(what.clone()));
    }

    /// Has told an agent something in the last line.
    pub fn remark(&mut self, remark: String) {
        self.budget.iter_mut().for_each(|budget| budget.remarks.push(remark.clone()));
    }

    /// Writes plain text.
    pub fn text(&mut self, text: &str) -> Result<()> {
        if let Some(budget) = &mut self.budget {
            budget.tokens_left = budget.tokens_left.saturating_sub(estimate(text));
        }
        let written = self.out.write_all(text.as_bytes()).map_err(anyhow::Error::from);
        self.unless_closed(written)
    }

    /// Writes an answer as one document.
    pub async fn answer(&mut self, answer: &mut Answer) -> Result<Written> {
        let mut written = Written { row_count: 0, nan_note: None, is_cut: false };
        let result = match self.budget.is_some() {
            true => self.stream_briefly(answer, &mut written).await,
            false => self.stream(answer, &mut written).await,
        };
        self.unless_closed(result)?;
        Ok(written)
    }

    async fn stream(&mut self, answer: &mut Answer, written: &mut Written) -> Result<()> {
        let mut nan = NanCount::new(&answer.schema);
        let mut next = answer.stream.next().await.transpose()?;
        // The schema of the batches counts: that of the plan may differ in what can be null.
        let schema = next.as_ref().map_or_else(|| SchemaRef::clone(&answer.schema), RecordBatch::schema);
        let shown = self.looks.applied(&RecordBatch::new_empty(schema))?.schema();
        let mut render = report::open(self.plan.format, self.style, &shown, &mut self.out)?;
        while let Some(batch) = next {
            let left = usize::try_from(self.most_rows - written.row_count).unwrap_or(usize::MAX);
            written.is_cut = batch.num_rows() > left;
            let batch = batch.slice(0, batch.num_rows().min(left));
            nan.add(&batch);
            written.row_count += batch.num_rows() as u64;
            render.write(&self.looks.applied(&batch)?)?;
            next = if written.is_cut { None } else { answer.stream.next().await.transpose()? };
        }
        render.finish()?;
        written.nan_note = nan.note();
        Ok(())
    }

    /// Writes the rows that fit the budget, and counts the others.
    async fn stream_briefly(&mut self, answer: &mut Answer, written: &mut Written) -> Result<()> {
        let mut nan = NanCount::new(&answer.schema);
        let tokens = self.tokens_left().unwrap_or_default();
        let mut brief = Brief::new(&answer.schema, tokens)?;
        while let Some(batch) = answer.stream.next().await.transpose()? {
            nan.add(&batch);
            brief.write(&batch)?;
        }
        written.row_count = brief.row_count;
        written.nan_note = nan.note();
        self.brief(&brief)
    }

    /// Writes what was made to fit.
    pub fn brief(&mut self, brief: &Brief) -> Result<()> {
        if let Some(budget) = &mut self.budget {
            budget.add(brief);
        }
        self.text(brief.text())
    }

    /// Writes rows that are there already as one document.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(tokens) = self.tokens_left() {
            let mut brief = Brief::new(&batch.schema(), tokens)?;
            brief.write(batch)?;
            return self.brief(&brief);
        }
        let shown = self.looks.applied(batch)?;
        let result = report::write_all(self.plan.format, self.style, &shown, &mut self.out);
        self.unless_closed(result)
    }

    /// Completes the file.
    pub fn finish(mut self) -> Result<()> {
        if let Some(line) = self.budget.take().and_then(|budget| budget.last_line()) {
            self.text(&line)?;
        }
        let flushed = self.out.flush().map_err(anyhow::Error::from);
        self.unless_closed(flushed)?;
        match self.rename.take() {
            Some((temporary, file)) => {
                std::fs::rename(&temporary, &file).with_context(|| format!("cannot write {}", file.display()))
            }
            None => Ok(()),
        }
    }

    /// A reader who went away has seen enough.
    fn unless_closed(&self, result: Result<()>) -> Result<()> {
        match (self.out.is_closed(), self.out.is_full()) {
            (true, _) => Ok(()),
            (false, true) => Err(UserError::failed("the answer is larger than it may be")
                .hint("ask for less, or raise --max-output of `runq sql`")
                .into()),
            (false, false) => result,
        }
    }
}

impl Drop for Sink {
    /// An answer that failed half-way leaves no file.
    fn drop(&mut self) {
        if let Some((temporary, _)) = &self.rename {
            let _ = std::fs::remove_file(temporary);
        }
    }
}

/// Whether a rename may put a new file there; not over pipes, devices and links.
fn is_replaceable(file: &Path) -> bool {
    std::fs::symlink_metadata(file).map_or(true, |metadata| metadata.is_file())
}

/// The name a file has until its answer is complete.
pub fn temporary_name(file: &Path, process_id: u32) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{process_id}.tmp"));
    file.with_file_name(name)
}

/// Writes an answer and its notes.
pub async fn emit(session: &Session, answer: Answer) -> Result<Written> {
    emit_to(Sink::open(session)?, session, answer).await
}

/// Writes an answer whose names are there to be typed, and its notes.
pub async fn emit_names(session: &Session, answer: Answer) -> Result<Written> {
    emit_to(Sink::open(session)?.with_logged_names(), session, answer).await
}

/// Writes an answer to a statement, of any size, and its notes.
pub async fn emit_bounded(session: &Session, answer: Answer, bounds: Bounds) -> Result<Written> {
    let sink = Sink::open(session)?.bounded(bounds, &session.terminal);
    emit_to(sink, session, answer).await
}

async fn emit_to(mut sink: Sink, session: &Session, mut answer: Answer) -> Result<Written> {
    let written = sink.answer(&mut answer).await?;
    sink.finish()?;
    answer.notes.iter().for_each(|note| session.terminal.note(note));
    Ok(written)
}

/// Writes rows that are there already.
pub fn emit_batch(session: &Session, batch: &RecordBatch) -> Result<()> {
    let mut sink = Sink::open(session)?;
    sink.batch(batch)?;
    sink.finish()
}

/// Writes text that is no table; a terminal gets it without anything it would obey.
pub fn emit_text(globals: &Globals, text: &str) -> Result<()> {
    let mut out = Pipe::new(io::stdout());
    let is_on_screen = globals.output.is_none() && globals.terminal().is_stdout;
    let text = if is_on_screen { &harmless(text) } else { text };
    match &globals.output {
        Some(file) => std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display())),
        None => match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(_) if out.is_closed() => Ok(()),
            result => Ok(result?),
        },
    }
}

/// Writes a drawing, which may hold colours and nothing else that a terminal obeys.
pub fn emit_drawing(text: &str) -> Result<()> {
    let mut out = Pipe::new(io::stdout());
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(_) if out.is_closed() => Ok(()),
        result => Ok(result?),
    }
}

/// Writes a file; it takes its name when it is complete.
pub fn write_file(file: &Path, bytes: &[u8]) -> Result<()> {
    let target =
        if is_replaceable(file) { temporary_name(file, std::process::id()) } else { file.to_owned() };
    let cannot = || format!("cannot write {}", file.display());
    let written = std::fs::write(&target, bytes);
    let written = written.and_then(|()| if target == file { Ok(()) } else { std::fs::rename(&target, file) });
    if written.is_err() && target != file {
        let _ = std::fs::remove_file(&target);
    }
    written.with_context(cannot)
}

/// All rows of a small answer.
pub async fn collect(answer: Answer) -> Result<RecordBatch> {
    let schema: SchemaRef = answer.schema;
    let batches: Vec<RecordBatch> = answer
        .stream
        .map(|batch| Ok(batch?))
        .collect::<Vec<Result<_>>>()
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    Ok(arrow::compute::concat_batches(&schema, &batches)?)
}

/// The rows without some of their columns.
///
/// # Errors
/// When the others cannot be taken.
pub fn without(rows: &RecordBatch, names: &[&str]) -> Result<RecordBatch> {
    let schema = rows.schema_ref();
    let kept = (0..schema.fields().len()).filter(|nth| !names.contains(&schema.field(*nth).name().as_str()));
    Ok(rows.project(&kept.collect::<Vec<_>>())?)
}

/// The cells of a column as text, null as empty.
pub fn texts(batch: &RecordBatch, column: &str) -> Result<Vec<String>> {
    texts_in(batch, column, report::cell::Form::Exact)
}

/// The same with numbers of four digits.
pub fn brief_texts(batch: &RecordBatch, column: &str) -> Result<Vec<String>> {
    texts_in(batch, column, report::cell::Form::Brief)
}

fn texts_in(batch: &RecordBatch, column: &str, form: report::cell::Form) -> Result<Vec<String>> {
    let array = batch.column_by_name(column).with_context(|| format!("no column {column}"))?;
    let cells = report::cell::Cells::of(array)?;
    let text = |row| {
        let mut text = String::new();
        cells.write_text(row, form, &mut text);
        text
    };
    Ok((0..batch.num_rows()).map(text).collect())
}
