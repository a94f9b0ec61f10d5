//! Words to the person at the terminal. A reader that went away (`| head`) is no fault.

use std::io::Write as _;

/// A line to standard output.
pub(super) fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line to standard error.
pub(super) fn fault(text: &str) {
    let _ = writeln!(std::io::stderr(), "gateway: {text}");
}
