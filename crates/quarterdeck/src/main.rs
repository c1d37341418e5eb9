//! The quarterdeck binary: reads settings, wires the parts and runs them. Nothing is decided here.

mod acts;
mod agent;
mod backup;
mod command;
mod demo;
mod logs;
mod manifests;
mod serve;
mod settings;

use clap::{CommandFactory as _, FromArgMatches as _};
use command::Command;
use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

/// Deciding makes many small, short-lived values on several threads, which the system's own allocator
/// is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quarterdeck_cli::answer_shell(Command::command);
    let program = env::args_os().next();
    if quarterdeck_cli::completes_plugin(program.as_deref()) {
        return complete();
    }
    let plugin = quarterdeck_cli::called_as_plugin(program.as_deref());
    // In its texts it is called as it was called.
    let line =
        Command::command().bin_name(if plugin { "kubectl quarterdeck" } else { "quarterdeck" });
    let command = line.get_matches();
    let command = Command::from_arg_matches(&command).unwrap_or_else(|error| error.exit());
    match command::run(command) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Nothing is left to do if standard error is gone.
            let said = error.to_string();
            let _ = writeln!(io::stderr(), "quarterdeck: {}", quarterdeck_cli::safe(&said));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Tells kubectl's completion what may come next.
fn complete() -> ExitCode {
    let typed: Vec<String> =
        env::args_os().skip(1).filter_map(|word: OsString| word.into_string().ok()).collect();
    let words = quarterdeck_cli::next_words(Command::command(), &typed);
    match command::print(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
