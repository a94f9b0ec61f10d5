//! The demo's stage: fakes and gateway in this process, on loopback, with a store in a temporary
//! place that is gone afterwards. Reads no `.env`, no environment and no file.

use super::super::ops_client::OpsClient;
use super::super::reach;
use super::campaign::{BRAND, TOKEN};
use crate::app;
use crate::config::{self, Config, Purpose, Sources};
use crate::sandbox::{self, Knobs, Merchant, Options, RateMode, Sandbox};
use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fs::DirBuilder;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Calls per second that the demo's Jumper takes, and that the gateway may make.
pub(super) const RATE: u32 = 20;
/// Ports that are taken when they are free.
const PORTS: [u16; 3] = [3001, 3002, 4010];
/// How long the ops listener may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the gateway may take to get its first token, its templates and its subscription.
const WARM_UP: Duration = Duration::from_secs(20);

/// Everything that runs during the demo.
pub(super) struct Stage {
    pub(super) sandbox: Sandbox,
    pub(super) ops: OpsClient,
    /// Where MoEngage sends to.
    pub(super) public: SocketAddr,
    /// Where the gateway's webhook is, with its secret.
    pub(super) webhook: String,
    gateway: JoinHandle<anyhow::Result<()>>,
    stop: CancellationToken,
    /// Last, so that it is removed last.
    _scratch: Scratch,
}

impl Stage {
    /// Starts everything and waits until the provider's events would come back.
    pub(super) async fn set() -> anyhow::Result<Self> {
        let scratch = Scratch::make()?;
        let [public, ops, fakes] = [
            listen(PORTS[0]).await?,
            listen(PORTS[1]).await?,
            listen(PORTS[2]).await?,
        ];
        let merchant = Merchant::default();
        let options = Options {
            knobs: knobs(),
            merchants: vec![merchant.clone()],
            ..Options::default()
        };
        let sandbox = sandbox::start(fakes, options).await?;
        let flags = flags(&sandbox, &merchant, [&public, &ops], &scratch)?;
        let sources = Sources {
            flags,
            ..Sources::default()
        };
        let config = config::load(&sources, Purpose::Serve)?;
        let account = config.accounts.first();
        let webhook = account.and_then(|account| config.webhook_of(account));
        let webhook = webhook.unwrap_or_default();
        let (client, addr) = (OpsClient::new(&config, PATIENCE)?, public.local_addr()?);
        let (gateway, stop) = start(config, public, ops).await?;
        let stage = Self {
            sandbox,
            ops: client,
            public: addr,
            webhook,
            gateway,
            stop,
            _scratch: scratch,
        };
        stage.warm_up().await?;
        Ok(stage)
    }

    /// Events of a message that is sent before the webhook is subscribed would reach nobody.
    async fn warm_up(&self) -> anyhow::Result<()> {
        let ready = async {
            while !self.is_warm() && self.is_up() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(WARM_UP, ready)
            .await
            .context("the gateway did not subscribe to the events of the fake Jumper")?;
        anyhow::ensure!(self.is_up(), "the gateway ended by itself");
        Ok(())
    }

    fn is_warm(&self) -> bool {
        let calls = self.sandbox.counts().calls;
        ["list", "subscribe"]
            .iter()
            .all(|route| calls.contains_key(*route))
    }

    /// Whether the gateway still runs.
    pub(super) fn is_up(&self) -> bool {
        !self.gateway.is_finished()
    }

    /// Ends the gateway, then the fakes, and removes the store.
    pub(super) async fn strike(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = self.gateway.await;
        self.sandbox.stop().await;
        ended?
    }
}

async fn start(
    config: Config,
    public: TcpListener,
    ops: TcpListener,
) -> anyhow::Result<(JoinHandle<anyhow::Result<()>>, CancellationToken)> {
    let app = app::build_on(config, public, ops).await?;
    let stop = CancellationToken::new();
    Ok((tokio::spawn(app.run(stop.clone())), stop))
}

/// The wanted port of loopback, or any free one.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0))
            .await
            .context("no free port on 127.0.0.1"),
    }
}

/// Everything the gateway is told, as flags.
fn flags(
    sandbox: &Sandbox,
    merchant: &Merchant,
    [public, ops]: [&TcpListener; 2],
    scratch: &Scratch,
) -> anyhow::Result<Vec<(String, String)>> {
    let (public, ops) = (reach::local(public.local_addr()?), ops.local_addr()?);
    let key = format!("{}:{}", merchant.client_key, merchant.client_secret);
    let secret: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(32)
        .collect();
    let dir = scratch
        .0
        .to_str()
        .context("the temporary directory is not UTF-8")?;
    let flags = [
        ("http.bind", "127.0.0.1".to_owned()),
        ("http.port", public.port().to_string()),
        ("ops.addr", ops.to_string()),
        ("moengage.callback_url", sandbox.moengage_url()),
        ("moengage.auth_against", TOKEN.to_owned()),
        ("jumper.api_url", sandbox.url()),
        (
            "jumper.basic_auth",
            format!("Basic {}", STANDARD.encode(key)),
        ),
        ("jumper.seed_refresh_token", merchant.refresh_token.clone()),
        (
            "jumper.subscribed_callback_url",
            format!("http://{public}/jumper_callback"),
        ),
        ("jumper.webhook_secret", secret),
        ("sending.waba_number", BRAND.to_owned()),
        ("sending.rate_per_second", RATE.to_string()),
        ("policy.ambiguous_hold", "10s".to_owned()),
        ("store.data_dir", dir.to_owned()),
        ("store.min_free", "16MB".to_owned()),
        ("drain_timeout", "3s".to_owned()),
    ];
    let flags = flags.into_iter();
    Ok(flags.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A Jumper with its usual moods: a few calls answered 503, a few answers lost, statuses late, twice
/// and out of order.
fn knobs() -> Knobs {
    Knobs {
        rate_per_second: f64::from(RATE),
        rate_mode: RateMode::Spaced,
        // Jumper's own grace is 5 ms; a busy machine may run either side later than that.
        rate_grace_ms: 40,
        latency_ms: 30,
        latency_jitter_ms: 15,
        share_503: 0.02,
        share_accept_then_close: 0.01,
        event_first: 0.05,
        event_delay_ms: 250,
        event_jitter_ms: 150,
        share_delivered: 0.97,
        share_read: 0.6,
        share_failed: 0.02,
        share_skip_delivered: 0.05,
        share_out_of_order: 0.06,
        share_duplicate: 0.06,
        webhook_retries: 3,
        ..Knobs::default()
    }
}

/// A directory of our own that is removed with us.
struct Scratch(PathBuf);

impl Scratch {
    fn make() -> anyhow::Result<Self> {
        let name = format!(
            "gateway-demo-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let path = config::scratch_dir(&name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the temporary directory {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the temporary directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scratch_directory_is_private_and_goes_away() {
        use std::os::unix::fs::PermissionsExt;
        let scratch = Scratch::make().unwrap();
        let path = scratch.0.clone();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::write(path.join("file"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_busy_port_is_replaced_by_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let other = listen(port).await.unwrap();
        assert_ne!(other.local_addr().unwrap().port(), port);
    }
}
