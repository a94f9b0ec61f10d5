//! Words to the person at the terminal. A reader that went away (`| head`) is no fault. Whatever is
//! in the words, they break lines and do nothing else to the terminal.

use crate::telemetry::{self, is_unsafe};
use std::io::Write as _;

/// A line to standard output.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", harmless(text));
}

/// A line to standard error, by way of the log, which nobody can hold up.
pub(super) fn fault(text: &str) {
    telemetry::write_line(&format!("gateway: {}", harmless(text)));
}

fn harmless(text: &str) -> String {
    let plain = |c: char| {
        if c != '\n' && is_unsafe(c) {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_steers_the_terminal() {
        let text = "a\u{1b}[2Jb\r\u{202e}c\u{9b}d\nü e";
        assert_eq!(
            super::harmless(text),
            "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d\nü e"
        );
    }
}
