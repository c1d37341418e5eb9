//! Asks whoever sits at a terminal before something is taken away. Scripts are taken at their word.

use crate::{Error, output::note};
use std::io::{self, IsTerminal as _, Write as _};

/// What every verb takes that asks.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Asking {
    /// Do not ask on a terminal whether it is meant
    #[arg(short, long)]
    yes: bool,
}

impl Asking {
    /// Somebody is to be asked.
    pub(crate) fn asks(self) -> bool {
        !self.yes && io::stdin().is_terminal()
    }

    /// Says what would happen, and has the name typed.
    pub(crate) fn confirm(self, told: &[String], name: &str) -> Result<(), Error> {
        if !self.asks() {
            return Ok(());
        }
        if !io::stderr().is_terminal() {
            let why = "nothing was done: it asks on standard error, which is no terminal; give --yes if it is meant";
            return Err(Error::Refused(why.into()));
        }
        told.iter().for_each(|line| note(line));
        let mut terminal = io::stderr().lock();
        write!(terminal, "Type {name} to go on: ")?;
        terminal.flush()?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer)?;
        meant(&answer, name)
    }
}

fn meant(answer: &str, name: &str) -> Result<(), Error> {
    match answer.trim() {
        answer if answer == name => Ok(()),
        "" => Err(Error::Refused("nothing was done: it was not confirmed".into())),
        other => {
            Err(Error::Refused(format!("nothing was done: {other:?} was typed, and not {name}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::meant;

    #[test]
    fn only_the_name_is_a_yes() {
        assert!(meant("web-1\n", "web-1").is_ok());
        for answer in ["", "y\n", "yes\n", "web-2\n"] {
            let said = meant(answer, "web-1").unwrap_err().to_string();
            assert!(said.starts_with("nothing was done"), "{said}");
        }
    }
}
