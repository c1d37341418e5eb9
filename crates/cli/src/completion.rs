//! `quarterdeck completion`: what completes the verbs in a shell, with the names of what there is. The shell asks this
//! program for each word, and this the plane, for a second at most: a plane that is away completes nothing, and delays
//! nobody. It must never say anything of what went wrong: there is a half-written line on the screen.

use crate::{
    Error,
    connect::Connection,
    named::Named,
    output::print as print_text,
    plane::{Plane, Within},
};
use clap::{Arg, Command};
use clap_complete::{
    CompleteEnv, Shell,
    engine::{ArgValueCompleter, CompletionCandidate, complete},
    env::Shells,
};
use quarterdeck_model::{
    Kind as _, KindRef,
    kinds::{BMCScan, Campaign, Machine, Namespace, Rack, Run, Runbook, Server, Service, Site},
};
use std::{
    ffi::{OsStr, OsString},
    time::Duration,
};
use tokio::time::timeout;

/// The program's name, which shells complete.
const PROGRAM: &str = "quarterdeck";
/// Variable by which a shell says that it asks.
const ASKS: &str = "COMPLETE";
/// How long a shell may wait for names: somebody has pressed Tab.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);
/// Most names that are offered: more is nothing to choose from.
const OFFERED_MAX: usize = 200;

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  source <(quarterdeck completion bash)
  quarterdeck completion zsh > \"${fpath[1]}/_quarterdeck\"
  quarterdeck completion fish > ~/.config/fish/completions/quarterdeck.fish

Names of servers, runs and the like are those of the plane that the kubeconfig names.

For `kubectl quarterdeck`, link the binary as kubectl-quarterdeck and as kubectl_complete-quarterdeck into a folder of
PATH: kubectl's own completion then asks the second.")]
pub struct CompletionArguments {
    /// The shell
    shell: Shell,
}

/// Prints what has a shell ask.
pub(crate) fn print(arguments: &CompletionArguments) -> Result<(), Error> {
    let shell = arguments.shell.to_string();
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(&shell) {
        shell.write_registration(ASKS, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    }
    print_text(&String::from_utf8_lossy(&script))
}

/// Answers a shell that asks what may come next, and ends the process; returns when none does.
pub fn answer_shell(program: fn() -> Command) {
    let typed = || std::env::args().skip_while(|word| word != "--").skip(1).collect::<Vec<_>>();
    CompleteEnv::with_factory(|| with_names(program(), &typed())).var(ASKS).complete();
}

/// What may come in place of the last of the words that were typed after the program's name, with what each is.
pub(crate) fn next(program: Command, typed: &[String]) -> Vec<(String, Option<String>)> {
    let mut program = with_names(program, typed);
    let words = [PROGRAM.to_owned()].into_iter().chain(typed.iter().cloned());
    let words: Vec<OsString> = words.map(OsString::from).collect();
    let found = complete(&mut program, words, typed.len().max(1), None).unwrap_or_default();
    let shown = found.into_iter().filter(|it| !it.is_hide_set());
    let text = |it: &CompletionCandidate| it.get_value().to_string_lossy().into_owned();
    shown.map(|it| (text(&it), it.get_help().map(ToString::to_string))).collect()
}

/// The program whose arguments are completed with the names of what there is.
fn with_names(program: Command, typed: &[String]) -> Command {
    complete_names(program, None, &Connection::typed(typed))
}

fn complete_names(command: Command, kind: Option<KindRef>, at: &Connection) -> Command {
    let command = command.mut_args(|argument| {
        let named = |name: &str| {
            argument.get_value_names().is_some_and(|names| names.iter().any(|it| it == name))
        };
        let completer = match argument.get_id().as_str() {
            "namespace" => Some(names(Namespace::info(), at.clone())),
            "target" => Some(targets(at.clone())),
            _ if named("KIND/NAME") => Some(targets(at.clone())),
            _ if named("RUNBOOK") => Some(names(Runbook::info(), at.clone())),
            _ if named("NAME") && is_positional(&argument) => {
                kind.map(|kind| names(kind, at.clone()))
            }
            _ => None,
        };
        match completer {
            Some(completer) => argument.add(completer),
            None => argument,
        }
    });
    command.mut_subcommands(|verb| {
        let kind = match verb.get_name() {
            "run" => Some(Run::info()),
            "campaign" => Some(Campaign::info()),
            "server" => Some(Server::info()),
            "machine" => Some(Machine::info()),
            "scan" => Some(BMCScan::info()),
            // What is made has a name that is not there yet.
            "create" | "accept" => None,
            _ => kind,
        };
        complete_names(verb, kind, at)
    })
}

fn is_positional(argument: &Arg) -> bool {
    argument.get_long().is_none() && argument.get_short().is_none()
}

/// Names of a kind.
fn names(kind: KindRef, at: Connection) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let found = found(kind, &at, current.to_str().unwrap_or_default());
        found.into_iter().map(CompletionCandidate::new).collect()
    })
}

/// `KIND/NAME`, of the kinds that most is asked about.
fn targets(at: Connection) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let current = current.to_str().unwrap_or_default();
        let Some((kind, rest)) = current.split_once('/') else {
            let kinds = [
                Server::info(),
                Machine::info(),
                Run::info(),
                Campaign::info(),
                Service::info(),
                Site::info(),
                Rack::info(),
            ];
            let kinds = kinds.iter().map(|kind| format!("{}/", kind.singular));
            return kinds
                .filter(|it| it.starts_with(current))
                .map(CompletionCandidate::new)
                .collect();
        };
        // Any name tells the kind.
        let Ok(Named { kind: of, .. }) = format!("{kind}/x").parse() else { return Vec::new() };
        let found = found(of, &at, rest);
        found.into_iter().map(|name| CompletionCandidate::new(format!("{kind}/{name}"))).collect()
    })
}

/// Names that begin so, as far as they are known in time.
fn found(kind: KindRef, at: &Connection, begins: &str) -> Vec<String> {
    let mut found = Vec::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return found };
    let looking = async {
        let plane = Plane::open(at).await?;
        let namespace = plane.namespace.clone();
        let take = |name: String| {
            let past = name.as_str() > begins && !name.starts_with(begins);
            if name.starts_with(begins) {
                found.push(name);
            }
            !past && found.len() < OFFERED_MAX
        };
        plane.names(kind, Within::Namespace(&namespace), take).await
    };
    // In time or not, and whatever went wrong: what was found is offered.
    let _ = runtime.block_on(async { timeout(ANSWER_WITHIN, looking).await });
    found
}
