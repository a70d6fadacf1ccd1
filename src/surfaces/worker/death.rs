//! Why a worker died, in one line.

use crate::error::UserError;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Most lines kept of what a dying process prints.
const MAX_WORDS: usize = 20;

/// SIGKILL.
const KILLED: i32 = 9;

/// What is known of a worker that may die.
#[derive(Debug, Default)]
pub struct Death {
    /// What its query may use; unknown before the query begins.
    memory_bytes: Option<usize>,
    words: Vec<String>,
}

impl Death {
    /// Of a worker whose query begins.
    pub fn of(memory_bytes: usize) -> Death {
        Death { memory_bytes: Some(memory_bytes), words: Vec::new() }
    }

    /// Takes note of a line that the runtime printed.
    pub fn hear(&mut self, line: String) {
        if self.words.len() < MAX_WORDS {
            self.words.push(line);
        }
    }

    /// The error a person sees.
    pub fn explained(&self, status: ExitStatus) -> UserError {
        let says = |words: &str| self.words.iter().any(|line| line.contains(words));
        if says("memory allocation of") {
            return self.out_of_memory();
        }
        if says("overflowed its stack") {
            return UserError::failed("the query crashed the engine (stack overflow)")
                .hint("write it with fewer nested or chained expressions");
        }
        if status.signal() == Some(KILLED) {
            return UserError::failed("the query was killed; most likely the machine ran out of memory")
                .hint("allow less with --memory, as in --memory 2G");
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("signal {signal}"),
            (_, Some(code)) => format!("exit code {code}"),
            _ => "no exit code".to_owned(),
        };
        let words = self.words.first().map_or(String::new(), |line| format!(": {line}"));
        UserError::failed(format!("the query crashed the engine ({how}){words}"))
            .hint("this is a bug of runq; another way to ask may work")
    }

    fn out_of_memory(&self) -> UserError {
        match self.memory_bytes {
            Some(bytes) => {
                let mib = bytes >> 20;
                UserError::failed(format!("the query was stopped: it needed more than {mib} MiB of memory"))
                    .hint("ask for less, or allow more with --memory, as in --memory 8G")
            }
            None => UserError::failed("the machine ran out of memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_death_is_a_line() {
        for (words, status, message) in [
            (
                "memory allocation of 8 bytes failed",
                6,
                "the query was stopped: it needed more than 64 MiB of memory",
            ),
            ("thread 'x' has overflowed its stack", 6, "the query crashed the engine (stack overflow)"),
            ("", 9, "the query was killed; most likely the machine ran out of memory"),
            ("double free", 6, "the query crashed the engine (signal 6): double free"),
            ("gone", 3 << 8, "the query crashed the engine (exit code 3): gone"),
        ] {
            let mut death = Death::of(64 << 20);
            death.hear(words.to_owned());
            assert_eq!(death.explained(ExitStatus::from_raw(status)).message, message);
        }
    }
}
