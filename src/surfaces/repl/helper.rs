//! The line editor's hooks, over the pure functions beside it.

use super::{command, complete};
use crate::workspace::Names;
use rustyline::completion::Completer;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Context, Result};

/// Completion, and the end of a statement.
#[derive(rustyline::Helper, rustyline::Highlighter, rustyline::Hinter)]
pub struct Helper {
    names: Names,
    commands: Vec<String>,
}

impl Helper {
    /// Knows the commands, no names yet.
    pub fn new(commands: Vec<String>) -> Self {
        Self { names: Names::default(), commands }
    }

    /// Takes the names of the workspace as they are now.
    pub fn set_names(&mut self, names: Names) {
        self.names = names;
    }
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(&self, line: &str, position: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(complete::complete(line, position, &self.names, &self.commands))
    }
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> Result<ValidationResult> {
        Ok(match command::is_complete(context.input()) {
            true => ValidationResult::Valid(None),
            false => ValidationResult::Incomplete,
        })
    }
}
