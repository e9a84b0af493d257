//! The `silt` command: it lowers arguments to options, calls `silt`, and shows what that says.

mod args;
mod commands;
mod context;
mod error;
mod output;
mod progress;

use std::process::ExitCode;

fn main() -> ExitCode {
    let done = args::parse(std::env::args_os().collect()).and_then(commands::run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}
