//! Rows, the table they make, and the table's place in `bench/README.md`.

use crate::{Failure, figures::Figure};
use serde::{Deserialize, Serialize};
use std::{fmt::Write as _, path::Path};

/// What the table stands between; all else in the file is left alone.
const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// A measured number.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Quantity {
    number: f64,
    unit: Unit,
}

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    /// A length of time.
    Seconds,
    /// A rate.
    PerSecond,
    /// A size.
    Bytes,
    /// Things.
    Count,
}

impl Quantity {
    pub(crate) const fn seconds(number: f64) -> Self {
        Self { number, unit: Unit::Seconds }
    }

    pub(crate) const fn per_second(number: f64) -> Self {
        Self { number, unit: Unit::PerSecond }
    }

    pub(crate) const fn bytes(number: f64) -> Self {
        Self { number, unit: Unit::Bytes }
    }

    pub(crate) const fn count(number: f64) -> Self {
        Self { number, unit: Unit::Count }
    }

    /// As people read it.
    fn text(self) -> String {
        let number = self.number;
        match self.unit {
            Unit::Seconds if number < 1e-3 => format!("{:.0} µs", number * 1e6),
            Unit::Seconds if number < 1.0 => format!("{:.2} ms", number * 1e3),
            Unit::Seconds => format!("{number:.2} s"),
            Unit::PerSecond => format!("{number:.0}/s"),
            Unit::Bytes => format!("{:.0} MB", number / 1e6),
            Unit::Count => format!("{number:.0}"),
        }
    }
}

/// What is wanted of ours divided by the peer's.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Aim {
    /// More is better.
    AtLeast(f64),
    /// Less is better.
    AtMost(f64),
}

/// One line of the table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) what: String,
    /// Ours.
    pub(crate) ours: Quantity,
    /// Whom we stand beside, with its version.
    pub(crate) peer: String,
    /// Its number, from the same run.
    pub(crate) theirs: Quantity,
    /// What is wanted of the ratio.
    pub(crate) aim: Aim,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.ours.number / self.theirs.number
    }

    fn met(&self) -> bool {
        match self.aim {
            Aim::AtLeast(factor) => self.ratio() >= factor,
            Aim::AtMost(factor) => self.ratio() <= factor,
        }
    }

    fn line(&self) -> String {
        let Self { what, ours, peer, theirs, aim } = self;
        let aim = match aim {
            Aim::AtLeast(factor) => format!("≥ {factor}×"),
            Aim::AtMost(factor) => format!("≤ {factor}×"),
        };
        let met = if self.met() { "met" } else { "**missed**" };
        let (ours, theirs, ratio) = (ours.text(), theirs.text(), self.ratio());
        format!("| {what} | {ours} | {peer} | {theirs} | {ratio:.2}× | {aim} | {met} |")
    }
}

/// All that one run has found.
pub(crate) struct Report {
    facts: String,
    lines: Vec<String>,
    missed: usize,
}

impl Report {
    pub(crate) fn new(facts: String) -> Self {
        Self { facts, lines: Vec::new(), missed: 0 }
    }

    pub(crate) fn add(&mut self, rows: Vec<Row>) {
        for row in rows {
            eprintln!("  {}", row.line());
            self.missed += usize::from(!row.met());
            self.lines.push(row.line());
        }
    }

    /// Keeps the place of a figure that could not be measured.
    pub(crate) fn failed(&mut self, figure: &Figure, why: &str) {
        eprintln!("  {}: {why}", figure.name);
        self.missed += 1;
        self.lines.push(format!("| {} | – | – | – | – | – | **{why}** |", figure.about));
    }

    /// The table with the facts it holds under.
    pub(crate) fn table(&self) -> String {
        let mut text = format!("{}\n\n", self.facts);
        text.push_str("| what | Quarterdeck | peer or limit | its figure | ratio | aim | |\n");
        text.push_str("|---|--:|---|--:|--:|--:|---|\n");
        for line in &self.lines {
            // Writing to a String does not fail.
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Puts the table between the marks of `file`.
    pub(crate) fn rewrite(&self, file: &Path) -> Result<(), Failure> {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| format!("cannot read {name}: {error}; run this from the root"))?;
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
            rest.split_once(END).map(|(_, after)| (before.to_owned(), after.to_owned()))
        });
        let (before, after) = parts.ok_or_else(|| format!("{name} has lost {BEGIN} or {END}"))?;
        std::fs::write(file, format!("{before}{BEGIN}\n{}{END}{after}", self.table()))?;
        Ok(())
    }

    /// An error when an aim is missed, so that nobody overlooks it.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        match self.missed {
            0 => Ok(()),
            missed => Err(format!("{missed} aim(s) missed").into()),
        }
    }
}
