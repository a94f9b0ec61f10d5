//! Builds the gateway from its configuration and runs it. Start-up and stop read like recipes.

mod listen;
mod parts;
mod supervisor;
mod work;

use crate::accounts::Channel;
use crate::config::Config;
use crate::doors::moengage;
use crate::http;
use crate::maintenance;
use crate::ops;
use crate::providers::jumper::webhook::{elsewhere, routes};
use axum::Router;
pub(crate) use listen::cannot_listen;
use listen::{bind, limits, ops_limits, say_ready};
use parts::Parts;
pub(crate) use parts::{Verdict, marks_told, owners, standings};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use supervisor::Supervisor;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use work::start_work;

/// How long requests to the ops listener may take to end when the process stops.
const OPS_DRAIN: Duration = Duration::from_secs(1);
/// A gateway that is ready to run: everything is open, nothing moves yet.
pub struct App {
    config: Config,
    parts: Parts,
    public: TcpListener,
    ops: TcpListener,
}

/// Opens the store and both listeners and puts the stations together.
pub async fn build(config: Config) -> anyhow::Result<App> {
    let parts = parts::assemble(&config).await?;
    let public = SocketAddr::new(config.http.bind, config.http.port);
    let public = bind(public, "PORT or http.bind").await?;
    let ops = bind(config.ops.addr, "OPS_ADDR").await?;
    Ok(App {
        config,
        parts,
        public,
        ops,
    })
}

/// The same on listeners that are bound already: a caller that looks for free ports must not lose
/// them between looking and listening.
pub async fn build_on(
    config: Config,
    public: TcpListener,
    ops: TcpListener,
) -> anyhow::Result<App> {
    let parts = parts::assemble(&config).await?;
    Ok(App {
        config,
        parts,
        public,
        ops,
    })
}

impl App {
    /// Where the public listener is.
    pub fn public_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.public.local_addr()?)
    }

    /// Where the ops listener is.
    pub fn ops_addr(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.ops.local_addr()?)
    }

    /// Runs until `stop`. Then: no more intake, claimed work ends within the drain time, the rest
    /// stays for the next start.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            config,
            parts,
            public,
            ops,
        } = self;
        say_ready(public.local_addr()?, ops.local_addr()?);
        let supervisor = Supervisor::default();
        maintenance::follow_store(&parts.outbox, &parts.channels);
        // Each is asked to end at its own time.
        let (listener, ops_listener, lease) =
            (supervisor.apart(), supervisor.apart(), supervisor.apart());
        let ops_state = parts.ops_state(&config);
        let router = public_router(&config, &parts, &ops_state);
        let drain = config.process.drain_timeout;
        let files = http::raise_file_limit().unwrap_or(usize::MAX);
        let serving = http::serve(
            public,
            router,
            limits(&config, files),
            listener.stop.clone(),
            drain,
        );
        listener.spawn("public listener", serving);
        let ops_router = ops::routes(ops_state.clone());
        let ops_stop = ops_listener.stop.clone();
        let serving = http::serve(ops, ops_router, ops_limits(files), ops_stop, OPS_DRAIN);
        ops_listener.spawn("ops listener", serving);
        // Before anything is sent, and as long as the door is open.
        keep_opt_outs(&parts, &lease);
        start_work(&config, &parts, &supervisor);
        supervisor.spawn(
            "follower",
            ops::follow(ops_state, supervisor.stop.child_token()),
        );
        keep_lease(&config, &parts, &lease);
        // As long as anything may be claimed.
        parts.marks.keep(&parts.outbox, &lease);

        tokio::select! {
            () = stop.cancelled() => {}
            () = supervisor.broken.cancelled() => {}
        }
        parts.intake.close();
        say_stopping(drain);
        supervisor.stop.cancel();
        wind_down(&listener, &supervisor, drain).await;
        leave(&parts, &lease).await;
        ops_listener.stop.cancel();
        ops_listener.ended().await;
        for one in &parts.accounts {
            one.provider.last_word();
        }
        anyhow::ensure!(
            !supervisor.broken.is_cancelled(),
            "a part of the gateway ended by itself; see the log"
        );
        Ok(())
    }
}

fn say_stopping(drain: Duration) {
    tracing::info!(
        drain_s = drain.as_secs(),
        event = "stopping",
        "stopping: no more messages are taken"
    );
}

fn keep_opt_outs(parts: &Parts, lease: &Supervisor) {
    for one in &parts.accounts {
        let sync = parts.opt_out_sync(one);
        lease.spawn("opt-out sync", sync.run(lease.stop.child_token()));
    }
}

/// What the public listener serves.
fn public_router(config: &Config, parts: &Parts, ops_state: &ops::OpsState) -> Router {
    let receiver = parts.receiver(config);
    http::finish_with(
        moengage::routes(parts.send_state())
            .merge(routes::routes(receiver.clone()))
            .merge(ops::health::routes(ops_state.clone())),
        [
            moengage::paths(),
            routes::paths(),
            ops::health::PATHS.into(),
        ]
        .concat(),
        elsewhere::routes(receiver),
    )
}

/// Waits for what is under way, as long as the drain time allows. The door stays open until the
/// work has ended: sends are answered 503, events are still stored, `/readyz` tells.
async fn wind_down(listener: &Supervisor, supervisor: &Supervisor, drain: Duration) {
    let over = Instant::now() + drain;
    let worked = timeout_at(over, supervisor.ended()).await;
    listener.stop.cancel();
    let last = over.max(Instant::now() + OPS_DRAIN);
    match worked.and(timeout_at(last, listener.ended()).await) {
        Ok(()) => tracing::info!(event = "stopped", "stopped: everything under way has ended"),
        Err(_) => tracing::warn!(
            event = "stopped_late",
            "stopped: the drain time is over; sends under way are unknown and looked after at the \
             next start"
        ),
    }
}

/// Keeps the lease apart: it must outlive all that works under it.
fn keep_lease(config: &Config, parts: &Parts, supervisor: &Supervisor) {
    let (outbox, channels) = (parts.outbox.clone(), parts.channels.clone());
    let stop = supervisor.stop.child_token();
    if outbox.store.is_shared() {
        let kept = maintenance::keep_lease(outbox, channels, owners(config), stop);
        supervisor.spawn("lease", kept);
    } else {
        supervisor.spawn("hold", maintenance::keep_hold(outbox, channels, stop));
    }
}

/// What is still being sent is unknown; other processes need not wait for the end of our lease.
async fn leave(parts: &Parts, lease: &Supervisor) {
    lease.stop.cancel();
    lease.ended().await;
    let hold = |channel: &Arc<Channel>| (channel.id.clone(), channel.policy.ambiguous_hold);
    let holds: Vec<_> = parts.channels.iter().map(hold).collect();
    match parts.outbox.store.leave(&holds).await {
        Ok(0) => {}
        Ok(messages) => tracing::warn!(
            messages,
            event = "sends_cut_at_stop",
            "stopped during these sends; their outcome is unknown and waits for evidence"
        ),
        Err(error) => tracing::warn!(
            %error,
            event = "leases_not_given_up",
            "the leases could not be given up; others take over when they are over"
        ),
    }
}
