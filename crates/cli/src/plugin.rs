//! The binary as a plugin of kubectl: linked as `kubectl-quarterdeck` it is `kubectl quarterdeck`, and linked as
//! `kubectl_complete-quarterdeck` it tells kubectl's completion what may come next.

use crate::completion;
use clap::Command;
use std::{ffi::OsStr, path::Path};

/// What kubectl's completion is told after the words: do not offer files (cobra's `ShellCompDirectiveNoFileComp`).
const NO_FILES: &str = ":4";

/// Started by kubectl, as its plugin.
pub fn called_as_plugin(program: Option<&OsStr>) -> bool {
    name(program) == Some("kubectl-quarterdeck")
}

/// Started by kubectl's completion.
pub fn completes_plugin(program: Option<&OsStr>) -> bool {
    name(program) == Some("kubectl_complete-quarterdeck")
}

fn name(program: Option<&OsStr>) -> Option<&str> {
    Path::new(program?).file_name()?.to_str()
}

/// What may come in place of the last of the words typed so far, as kubectl reads it.
pub fn next_words(program: Command, typed: &[String]) -> String {
    let flags = typed.last().is_some_and(|last| last.starts_with('-'));
    let wanted =
        |(word, _): &(String, Option<String>)| word != "help" && (flags || !word.starts_with('-'));
    let next = completion::next(program, typed).into_iter().filter(wanted);
    let mut words: Vec<String> = next
        .map(|(word, about)| about.map_or(word.clone(), |about| format!("{word}\t{about}")))
        .collect();
    words.push(NO_FILES.into());
    words.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verb;

    #[test]
    fn the_name_it_was_started_by_says_what_it_is() {
        let plugin = |name: &str| called_as_plugin(Some(OsStr::new(name)));
        assert!(plugin("/usr/local/bin/kubectl-quarterdeck"));
        assert!(!plugin("quarterdeck") && !called_as_plugin(None));
        assert!(completes_plugin(Some(OsStr::new("kubectl_complete-quarterdeck"))));
    }

    #[test]
    fn verbs_and_flags_are_offered() {
        let program = <Verb as clap::Subcommand>::augment_subcommands(Command::new("quarterdeck"));
        let next = |typed: &[&str]| {
            let typed: Vec<String> = typed.iter().map(ToString::to_string).collect();
            let words = next_words(program.clone(), &typed);
            let words =
                words.lines().map(|line| line.split('\t').next().unwrap_or(line).to_owned());
            words.collect::<Vec<_>>()
        };
        assert_eq!(next(&["t"]), ["top", "timeline", ":4"]);
        assert_eq!(next(&["run", "re"]), ["resume", "retry", "reject", ":4"]);
        assert_eq!(next(&["why", "mach"]), ["machine/", ":4"]);
        assert_eq!(next(&["run", "retry", "--fr"]), ["--from", ":4"]);
    }
}
