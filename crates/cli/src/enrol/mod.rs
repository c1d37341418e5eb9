//! What a file says of servers to be enrolled, what is wrong with it, and what is to be done for each. Pure: it must know
//! no plane and no terminal.
//!
//! [`csv`] and [`yaml`] read a file into rows; [`row`] makes an object of each; [`check`] finds what is wrong in them and
//! between them; [`plan`] compares them with what there is.

mod check;
mod csv;
mod plan;
mod row;
mod yaml;

pub(crate) use check::{Known, check};
pub(crate) use plan::{Action, Change, Step, act};
pub(crate) use row::{Row, column_in};

/// Rows of one file: a fleet that is larger is enrolled site by site.
pub(crate) const ROWS_MAX: usize = 100_000;

/// Something that is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mistake {
    pub(crate) line: usize,
    /// The column, or the path of the field; none when it is about the line as a whole.
    pub(crate) field: Option<String>,
    pub(crate) message: String,
}

impl Mistake {
    fn new(line: usize, field: &str, message: impl Into<String>) -> Self {
        Self { line, field: Some(field.to_owned()), message: message.into() }
    }

    fn of_line(line: usize, message: impl Into<String>) -> Self {
        Self { line, field: None, message: message.into() }
    }

    /// `servers.csv:7: unit: …`.
    pub(crate) fn text(&self, file: &str) -> String {
        let field = self.field.as_ref().map_or_else(String::new, |field| format!("{field}: "));
        format!("{file}:{}: {field}{}", self.line, self.message)
    }
}

/// The rows of a file, and what could not be read of it.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) rows: Vec<Row>,
    pub(crate) mistakes: Vec<Mistake>,
}

/// Reads a file: YAML if that is what its name or its first letters say, else CSV.
pub(crate) fn read(name: &str, text: &str) -> Read {
    let mut read = if is_yaml(name, text) { yaml::read(text) } else { row::of_csv(text) };
    if read.rows.len() > ROWS_MAX {
        let line = read.rows.get(ROWS_MAX).map_or(0, |row| row.line);
        let message = format!("more than {ROWS_MAX} servers; split the file");
        read.mistakes.push(Mistake::of_line(line, message));
        read.rows.truncate(ROWS_MAX);
    }
    read
}

fn is_yaml(name: &str, text: &str) -> bool {
    let ends = |end: &str| name.ends_with(end);
    if ends(".csv") {
        return false;
    }
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    let first = first.unwrap_or_default();
    let looks = first == "---" || first.starts_with(['-', '[', '{']) || first.contains(": ");
    ends(".yaml") || ends(".yml") || ends(".json") || looks || first.ends_with(':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_is_told_from_csv() {
        for (name, text, yaml) in [
            ("servers.csv", "- x", false),
            ("servers.yaml", "name,bmc", true),
            ("-", "name,bmc\nm-1,10.0.0.1\n", false),
            ("-", "# those of May\n- name: m-1\n", true),
            ("-", "apiVersion: inventory.quarterdeck.dev/v1alpha1\n", true),
            ("-", "---\nkind: Server\n", true),
            ("-", "", false),
        ] {
            assert_eq!(is_yaml(name, text), yaml, "{name} {text:?}");
        }
    }
}
