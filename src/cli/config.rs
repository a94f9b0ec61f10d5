//! `gateway config`: the settings in force, one a line, with the layer that each comes from.
//!
//! What an operator set at run time is asked of the running gateway, when one answers at once.
//! Builds text only; printing is the caller's. Secrets were hidden before they came here.

use super::ops_client::OpsClient;
use super::table;
use crate::config::{Config, Effective};
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// Values longer than this do not widen their column.
const WIDEST: usize = 56;
/// A gateway that does not answer within this is taken as not running.
const DEADLINE: Duration = Duration::from_millis(300);

/// A setting that an operator changed at run time.
#[derive(Debug, PartialEq, Eq)]
struct Override {
    key: String,
    value: String,
}

/// The table for this configuration, with the changes of a gateway that runs.
pub(super) async fn text(config: &Config) -> String {
    match runtime(config).await {
        Some(changes) => with_changes(config, &changes),
        None => table(config),
    }
}

/// The table for this configuration alone.
pub(crate) fn table(config: &Config) -> String {
    with_changes(config, &[])
}

/// Nothing when no gateway answers: the configuration is shown all the same.
async fn runtime(config: &Config) -> Option<Vec<Override>> {
    let ops = OpsClient::new(config, DEADLINE).ok()?;
    let (accounts, channels) = tokio::join!(ops.get("/api/accounts"), ops.get("/api/channels"));
    Some(overrides(
        config.has_tables(),
        &accounts.ok()?,
        &channels.ok()?,
    ))
}

/// What the two documents of the ops API tell of changes.
fn overrides(tables: bool, accounts: &Value, channels: &Value) -> Vec<Override> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let shown = |value: &Value| value.as_str().map_or(value.to_string(), str::to_owned);
    let mut found = Vec::new();
    for account in list(&accounts["accounts"]) {
        let rate = &account["rate"];
        let table = match tables {
            true => format!("account.{}", shown(&account["account"])),
            false => "sending".to_owned(),
        };
        if rate["layer"] == "runtime" {
            for (key, value) in [
                ("rate_per_second", &rate["per_second"]),
                ("concurrent_api_calls", &rate["concurrency"]),
            ] {
                found.push(Override {
                    key: format!("{table}.{key}"),
                    value: shown(value),
                });
            }
        }
    }
    for channel in list(&channels["channels"]) {
        if channel["paused"] == true {
            found.push(Override {
                key: format!("channel {}", shown(&channel["channel"])),
                value: "paused".to_owned(),
            });
        }
    }
    found
}

/// Key, value, layer and variable of every setting, what was changed at run time, the warnings.
fn with_changes(config: &Config, runtime: &[Override]) -> String {
    let mut rows = vec![["KEY", "VALUE", "LAYER", "VARIABLE"].map(str::to_owned)];
    rows.extend(config.effective().iter().map(row));
    for change in runtime {
        let variable = rows.iter().find(|row| row[0] == change.key);
        let variable = variable.map_or("-".to_owned(), |row| row[3].clone());
        let layer = "runtime".to_owned();
        rows.push([change.key.clone(), change.value.clone(), layer, variable]);
    }
    let mut out = String::new();
    if let Some(file) = &config.file {
        let _ = writeln!(out, "configuration file: {}\n", file.display());
    }
    out.push_str(&table::aligned(&rows, WIDEST));
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
    let variable = effective.var.clone().unwrap_or_else(unset);
    [effective.key.clone(), value, layer, variable]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Purpose, Sources, load};
    use serde_json::json;

    #[test]
    fn what_was_set_at_run_time_is_a_layer_of_its_own() {
        let accounts = json!({ "accounts": [
            { "rate": { "layer": "runtime", "per_second": "off", "concurrency": 3 } },
            { "rate": { "layer": "configured", "per_second": 10.0, "concurrency": 10 } },
        ] });
        let channels = json!({ "channels": [
            { "channel": "default", "paused": true },
            { "channel": "other", "paused": false },
        ] });
        let found = overrides(false, &accounts, &channels);
        let pairs: Vec<_> = found
            .iter()
            .map(|one| (one.key.as_str(), one.value.as_str()))
            .collect();
        assert_eq!(
            pairs,
            [
                ("sending.rate_per_second", "off"),
                ("sending.concurrent_api_calls", "3"),
                ("channel default", "paused"),
            ]
        );
        assert_eq!(overrides(false, &json!(7), &json!(null)), []);
        let config = load(&Sources::default(), Purpose::Client).unwrap();
        let text = with_changes(&config, &found);
        let line = |key: &str| text.lines().rfind(|line| line.starts_with(key)).unwrap();
        let cells = |key| line(key).split_whitespace().collect::<Vec<_>>();
        assert_eq!(
            cells("sending.rate_per_second"),
            [
                "sending.rate_per_second",
                "off",
                "runtime",
                "RATE_PER_SECOND"
            ]
        );
        assert_eq!(
            cells("channel default"),
            ["channel", "default", "paused", "runtime", "-"]
        );
        assert_eq!(cells("http.port"), ["http.port", "3001", "default", "PORT"]);
    }
}
