//! Where lines are shown: a terminal, whose last lines are drawn anew in place, or a file or pipe, to which lines are
//! only added. What the lines say is decided elsewhere.

use crate::{Error, output::print, safe::safe_line};
use std::{
    env,
    io::{self, IsTerminal as _},
};

/// What is taken of a terminal that does not say its size.
const USUAL_SIZE: (usize, usize) = (100, 24);

/// Standard output.
pub(crate) struct Screen {
    live: bool,
    colours: bool,
    /// Lines that are drawn anew.
    drawn: usize,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let live = io::stdout().is_terminal();
        Self { live, colours: live && env::var_os("NO_COLOR").is_none(), drawn: 0 }
    }

    /// Lines can be drawn anew.
    pub(crate) fn live(&self) -> bool {
        self.live
    }

    /// Shows these lines in place of those drawn before.
    pub(crate) fn draw(&mut self, lines: &[String]) -> Result<(), Error> {
        let (width, height) = size();
        let lines: Vec<String> = lines.iter().map(|line| safe_line(line).into_owned()).collect();
        let lines = fitted(&lines, width, height.saturating_sub(1));
        let mut text = match self.drawn {
            0 => String::new(),
            // Up to the first of them, and all below is erased.
            drawn => format!("\x1b[{drawn}A\x1b[J"),
        };
        for line in &lines {
            text.push_str(&if self.colours { painted(line) } else { line.clone() });
            text.push('\n');
        }
        self.drawn = lines.len();
        print(&text)
    }

    /// Adds lines that stay.
    pub(crate) fn add(&mut self, lines: &[String]) -> Result<(), Error> {
        self.drawn = 0;
        let text: String = lines.iter().map(|line| format!("{}\n", safe_line(line))).collect();
        print(&text)
    }
}

/// Columns and lines.
fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 1 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => USUAL_SIZE,
    }
}

/// Lines that the terminal neither wraps nor scrolls away: both would be drawn wrong the next time.
fn fitted(lines: &[String], width: usize, height: usize) -> Vec<String> {
    let lines: Vec<String> = lines.iter().flat_map(|line| wrapped(line, width)).collect();
    if lines.len() <= height {
        return lines;
    }
    // The first says what it is, and the last are what happens now.
    let kept = height.saturating_sub(2);
    let hidden = lines.len() - kept - 1;
    let head = lines.iter().take(1).cloned();
    let tail = lines.iter().skip(lines.len() - kept).cloned();
    head.chain([format!("  … {hidden} lines more")]).chain(tail).collect()
}

/// A line as several, at its words: the end of a sentence says as much as its beginning.
fn wrapped(line: &str, width: usize) -> Vec<String> {
    let letters = |text: &str| text.chars().count();
    if letters(line) <= width {
        return vec![line.to_owned()];
    }
    let indent = line.len() - line.trim_start().len() + 2;
    let mut lines = Vec::new();
    let mut now = String::new();
    for word in line.split_inclusive(' ') {
        if letters(&now) + letters(word.trim_end()) > width && !now.trim().is_empty() {
            lines.push(now.trim_end().to_owned());
            now = " ".repeat(indent.min(width / 2));
        }
        now.push_str(word);
    }
    lines.push(now);
    // A word that is longer than the terminal is wide is cut.
    let cut = |line: String| match letters(&line) > width {
        true => line.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => line,
    };
    lines.into_iter().map(cut).collect()
}

/// Colours by the mark that a line begins with.
fn painted(line: &str) -> String {
    let colour = match line.trim_start().chars().next() {
        Some('✓') => "32",
        Some('✗') => "31",
        Some('◌') => "33",
        Some('●') => "36",
        _ => return line.to_owned(),
    };
    let (space, rest) = line.split_at(line.len() - line.trim_start().len());
    let mut letters = rest.chars();
    let mark = letters.next().unwrap_or(' ');
    format!("{space}\x1b[{colour}m{mark}\x1b[0m{}", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_the_last_are_kept() {
        let lines: Vec<String> = (0..9).map(|number| format!("line {number}")).collect();
        assert_eq!(fitted(&lines[..1], 5, 20), ["line", "  0"]);
        let few = fitted(&lines, 80, 4);
        assert_eq!(few, ["line 0", "  … 6 lines more", "line 7", "line 8"]);
    }

    #[test]
    fn a_long_line_goes_on_below_itself() {
        let long = "    waiting for leave: shop/web allows 1 of 4 down";
        let expected = ["    waiting for leave:", "      shop/web allows 1 of", "      4 down"];
        assert_eq!(wrapped(long, 26), expected);
        assert_eq!(wrapped("unbreakable", 6), ["unbre…"]);
    }

    #[test]
    fn a_mark_has_its_colour() {
        assert_eq!(painted("  ✓ done"), "  \x1b[32m✓\x1b[0m done");
        assert_eq!(painted("plain"), "plain");
    }
}
