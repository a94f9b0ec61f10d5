//! Columns of text for the terminal. Pure.

use crate::telemetry::is_unsafe;

/// Rows with their columns aligned to the left, one line each. Cells longer than `widest` do not
/// widen their column; control characters, which could move the cursor, are taken out.
pub(super) fn aligned<const N: usize>(rows: &[[String; N]], widest: usize) -> String {
    let clean: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| plain(cell)))
        .collect();
    let width = |column: usize| {
        let cells = clean.iter().map(|row| row[column].chars().count());
        cells.filter(|width| *width <= widest).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut out = String::new();
    for row in &clean {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// A text without control characters and marks of direction: nothing from outside may steer a
/// terminal, or pass for a line of ours.
pub(super) fn plain(text: &str) -> String {
    let plain = |c: char| if is_unsafe(c) { '\u{fffd}' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: [&str; 3]) -> [String; 3] {
        cells.map(str::to_owned)
    }

    #[test]
    fn columns_line_up_and_long_cells_do_not_widen_them() {
        let rows = [
            row(["a", "1", "x"]),
            row(["bbb", "22", ""]),
            row(["c", "999999", "y"]),
        ];
        assert_eq!(aligned(&rows, 4), "a    1   x\nbbb  22\nc    999999  y\n");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(
            plain("a\u{1b}[2Jb\nc\u{202e}d\u{2028}e"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e"
        );
    }
}
