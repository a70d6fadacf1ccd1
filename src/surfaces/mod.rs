//! Where a person or a program talks to us; the only code that prints or exits.

pub mod cli;
mod repl;
mod terminal;
mod worker;
