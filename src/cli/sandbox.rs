//! `gateway sandbox`: the fakes alone.

use super::say;
use crate::sandbox::{self, Flags};
use anyhow::Context;
use std::net::Ipv4Addr;
use tokio::net::TcpListener;

/// Serves the fakes until SIGTERM or Ctrl-C.
pub(super) async fn run(flags: &Flags) -> anyhow::Result<()> {
    let stop = super::stop_signal()?;
    let options = flags.options().map_err(anyhow::Error::msg)?;
    let bind = flags.bind.unwrap_or(Ipv4Addr::LOCALHOST.into());
    let listener = TcpListener::bind((bind, flags.port))
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
    say::line(&format!(
        "\nA gateway that talks to it wants this in its environment:\n{}",
        environment(&sandbox)
    ));
    stop.cancelled().await;
    sandbox.stop().await;
    Ok(())
}

/// What `gateway serve` needs to talk to these fakes. A sandbox that was started again knows no
/// token of before: start the gateway with an empty DATA_DIR then, or put the seed in again.
fn environment(sandbox: &sandbox::Sandbox) -> String {
    format!(
        "MOENGAGE_CALLBACK_URL={}\n\
         MOENGAGE_AUTH_AGAINST=any-token-you-like\n\
         JUMPER_API_URL={}\n\
         JUMPER_BASIC_AUTH=\"Basic c2FuZGJveC1rZXk6c2FuZGJveC1zZWNyZXQ=\"\n\
         SEED_REFRESH_TOKEN=sandbox-refresh-token\n\
         SUBSCRIBED_CALLBACK_URL=http://127.0.0.1:3001/jumper_callback",
        sandbox.moengage_url(),
        sandbox.url()
    )
}
