//! The program `runq`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(runq::surfaces::cli::run(std::env::args_os().collect()))
}
