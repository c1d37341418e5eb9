//! Texts of objects as a terminal may be given them. Anybody who can name a server or say why a run failed could
//! otherwise move its cursor, write to its clipboard, or show what is not so.

use std::borrow::Cow;

/// What stands in for what must not be shown.
const INSTEAD: char = '\u{fffd}';

/// The text without control characters and marks that turn its direction around; line ends stay.
#[must_use]
pub fn safe(text: &str) -> Cow<'_, str> {
    replaced(text, |letter| letter != '\n' && harms(letter))
}

/// The same for what is one line.
pub(crate) fn safe_line(text: &str) -> Cow<'_, str> {
    replaced(text, harms)
}

fn replaced(text: &str, harms: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.chars().any(&harms) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|letter| if harms(letter) { INSTEAD } else { letter }).collect()
}

/// Unicode's Cc, and the explicit marks of UAX #9.
fn harms(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(safe("a\n✓ bé\n"), "a\n✓ bé\n");
        assert_eq!(safe("\x1b]52;c;aGk=\x07x\u{9b}2J"), "�]52;c;aGk=�x�2J");
        assert_eq!(safe("run \u{202e}gnp.exe\r"), "run �gnp.exe�");
        assert_eq!(safe_line("one\ntwo"), "one�two");
    }
}
