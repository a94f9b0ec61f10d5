//! `gateway serve`: the gateway itself.

use crate::app;
use crate::config::{Config, LogFormat};
use crate::{alert, telemetry};
use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Serves until `stop`.
pub(super) async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    let format = match config.log.format {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    };
    telemetry::start_logs(format, &config.log.filter);
    keep_memory();
    let files: Vec<_> = config
        .files()
        .map(|one| one.display().to_string())
        .collect();
    match files.as_slice() {
        [] => {
            tracing::info!(
                event = "settings_read",
                "settings are those of the environment and of flags; no file was read"
            )
        }
        files => tracing::info!(
            files = files.join(", "),
            event = "settings_read",
            "settings were read from these files too"
        ),
    }
    for warning in config.warnings() {
        tracing::warn!(event = "settings_warning", "{warning}");
    }
    if let Some(url) = config.alerts.slack_webhook_url.clone() {
        alert::start_slack(url).context(
            "the HTTP client for Slack (SLACK_WEBHOOK_URL) cannot be made: are CA certificates \
             installed (ca-certificates, or SSL_CERT_FILE)?",
        )?;
    }
    let app = tokio::select! {
        app = app::build(config) => app?,
        // What the start waits for, Redis for one, may never come.
        () = stop.cancelled() => {
            tracing::info!(
                event = "stopped_early",
                "stopped before the gateway was ready; nothing was taken or sent"
            );
            return Ok(());
        }
    };
    app.run(stop).await
}

/// Hears SIGHUP, which ends a process that does not: whoever started the gateway from a terminal
/// may close that, and other programs read their settings again at it.
pub(super) fn hear_hangup() -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!(
                event = "sighup_ignored",
                "SIGHUP changes nothing: settings are read at the start only, restart the gateway \
                 to change them"
            );
        }
    });
    Ok(())
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
        tracing::warn!(%error, event = "core_dumps_not_off", "core dumps cannot be switched off");
    }
}
