//! `gateway serve`: the gateway itself.

use crate::app;
use crate::config::{Config, LogFormat};
use crate::{alert, telemetry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(config: Config) -> anyhow::Result<()> {
    let format = match config.log.format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    telemetry::start_logs(format, &config.log.filter);
    keep_memory();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(url) = config.alerts.slack_webhook_url.clone() {
        alert::start_slack(url)?;
    }
    let stop = super::stop_signal()?;
    app::build(config).await?.run(stop).await
}

/// No core dump is made: it would hold tokens and phone numbers. One byte, because the system takes
/// this for "none" also where dumps go to a program, which it does not of 0.
fn keep_memory() {
    let most = getrlimit(Resource::Core)
        .maximum
        .map_or(1, |now| now.min(1));
    let one = Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    if let Err(error) = setrlimit(Resource::Core, one) {
        tracing::warn!(%error, "core dumps cannot be switched off");
    }
}
