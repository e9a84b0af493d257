//! The `silt` command: it lowers arguments to options, calls `silt`, and shows what that says.

mod args;
mod commands;
mod context;
mod error;
mod interrupt;
mod keep_alive;
mod memory;
mod output;
mod pace;
mod password;
mod places;
mod progress;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

fn main() -> ExitCode {
    allow_open_files();
    memory::share_one_heap();
    let done = args::parse(std::env::args_os().collect()).and_then(commands::run);
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

/// Takes all the open files that the system grants; shells start with fewer for the sake of old
/// programs. Few are ever needed, so a refusal is no matter.
fn allow_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
