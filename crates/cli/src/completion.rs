//! `quarterdeck completion`: what completes the verbs in a shell.

use crate::{Error, output::print as print_text};
use clap_complete::{Shell, generate};

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  source <(quarterdeck completion bash)
  quarterdeck completion zsh > \"${fpath[1]}/_quarterdeck\"
  quarterdeck completion fish > ~/.config/fish/completions/quarterdeck.fish

For `kubectl quarterdeck`, link the binary as kubectl-quarterdeck and as kubectl_complete-quarterdeck into a folder of
PATH: kubectl's own completion then asks the second.")]
pub struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Prints it.
pub(crate) fn print(
    arguments: &CompletionArguments,
    program: &mut clap::Command,
) -> Result<(), Error> {
    let mut script = Vec::new();
    generate(arguments.shell, program, "quarterdeck", &mut script);
    print_text(&String::from_utf8_lossy(&script))
}
