//! `gateway sandbox`: the fakes alone.

use super::say;
use crate::sandbox::{self, Flags};
use anyhow::Context;
use tokio::net::TcpListener;

/// Serves the fakes on loopback until SIGTERM or Ctrl-C.
pub(super) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let options = flags.options().map_err(anyhow::Error::msg)?;
    let listener = TcpListener::bind(("127.0.0.1", flags.port))
        .await
        .with_context(|| {
            format!(
                "cannot listen on port {}: choose another with --port",
                flags.port
            )
        })?;
    let sandbox = sandbox::start(listener, options).await?;
    say::line(&format!("sandbox: Jumper at   {}", sandbox.url()));
    say::line(&format!("sandbox: MoEngage at {}", sandbox.moengage_url()));
    say::line(&format!(
        "sandbox: control at  {}/_sandbox/counts",
        sandbox.url()
    ));
    stop.cancelled().await;
    sandbox.stop().await;
    Ok(())
}
