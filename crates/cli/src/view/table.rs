//! Columns, as kubectl sets them.

use crate::safe::safe_line;

/// Between two columns.
const GAP: &str = "   ";

/// Rows under a heading.
pub(crate) fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading = heading.iter().map(|cell| (*cell).to_owned()).collect();
    // A cell with two lines would be two rows.
    let safe = |row: &Vec<String>| row.iter().map(|cell| safe_line(cell).into_owned()).collect();
    let all: Vec<Vec<String>> = std::iter::once(heading).chain(rows.iter().map(safe)).collect();
    lines(&all).into_iter().map(|line| line + "\n").collect()
}

/// Rows, each column as wide as its widest cell.
pub(crate) fn lines(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}
