//! The quarterdeck binary: reads settings, wires the parts and runs them. Nothing is decided here.

mod acts;
mod backup;
mod command;
mod demo;
mod logs;
mod manifests;
mod serve;
mod settings;

use clap::Parser as _;
use std::{io::Write as _, process::ExitCode};

/// Deciding makes many small, short-lived values on several threads, which the system's own allocator
/// is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match command::run(command::Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if standard error is gone.
            let _ = writeln!(std::io::stderr(), "quarterdeck: {error}");
            ExitCode::FAILURE
        }
    }
}
