//! `gateway config`: the settings in force, one a line, with the layer that each comes from.
//!
//! Builds text only; printing is the caller's. Secrets were hidden before they came here.

use crate::config::{Config, Effective};
use std::fmt::Write as _;

/// Values longer than this do not widen their column.
const WIDEST: usize = 56;

/// Key, value, layer and variable of every setting, then the warnings.
pub(super) fn table(config: &Config) -> String {
    let rows: Vec<[String; 4]> = config.effective().iter().map(row).collect();
    let head = ["KEY", "VALUE", "LAYER", "VARIABLE"].map(str::to_owned);
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.filter(|width| *width <= WIDEST).max().unwrap_or(0)
    };
    let (key, value, layer) = (width(0), width(1), width(2));
    let mut out = String::new();
    if let Some(file) = &config.file {
        let _ = writeln!(out, "configuration file: {}\n", file.display());
    }
    for [a, b, c, d] in std::iter::once(&head).chain(&rows) {
        let _ = writeln!(out, "{a:key$}  {b:value$}  {c:layer$}  {d}");
    }
    for warning in config.warnings() {
        let _ = write!(out, "\nwarning: {warning}");
    }
    out
}

fn row(effective: &Effective) -> [String; 4] {
    let unset = || "-".to_owned();
    let (value, layer) = match &effective.value {
        Some((value, layer)) if value.is_empty() => ("[]".to_owned(), layer.to_string()),
        Some((value, layer)) => (value.escape_debug().to_string(), layer.to_string()),
        None => (unset(), unset()),
    };
    let variable = effective.setting.var.map_or_else(unset, str::to_owned);
    [effective.setting.key.to_owned(), value, layer, variable]
}
