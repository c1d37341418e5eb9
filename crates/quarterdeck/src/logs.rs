//! Where log lines go: standard error, as text or JSON.

use crate::settings::LogFormat;
use std::io::IsTerminal as _;
use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log.
pub(crate) fn start(filter: EnvFilter, format: LogFormat) {
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
