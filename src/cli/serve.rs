//! `gateway serve`: the gateway itself.

use crate::app;
use crate::config::{Config, LogFormat};
use crate::{alert, telemetry};

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let format = match config.log.format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    telemetry::start_logs(format, &config.log.filter);
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(url) = config.alerts.slack_webhook_url.clone() {
        alert::start_slack(url)?;
    }
    let stop = super::stop_signal()?;
    app::build(config).await?.run(stop).await
}
