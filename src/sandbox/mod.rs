//! A faithful fake of Jumper.ai and of MoEngage on one listener, for the demo, the tests and the load runs.
//! Jumper's routes are at the root, MoEngage's callback receiver under `/moengage/dlr`, control and inspection
//! under `/_sandbox/`. What it does is told by `Knobs`, by scripts and by a seed: the same seed and the same
//! sends give the same ids and events. It never talks to the real Jumper or MoEngage, posts only to the URLs
//! it was given, stores nothing on disk, and shares no code with the gateway it tests
//! (contracts/jumper.md section 7, contracts/moengage.md sections 5 and 6).
//!
//! Each counterparty has a room: `jumper` plays the provider, `moengage` the caller's side; another provider
//! would be one more. What both need is beside them: `serve` listens and leads to their routes, `control` and
//! `inspect` are the control API, `world` is all state, `counts` sums it up. What they are told to do
//! differently is in `knobs` (`flags` turns them from the command line) and in `rules`: a `wish` is how a
//! `rule` is written, an `outcome` what becomes of a call, `reply` its answer. `dice`, `clock`, `lock` and
//! `notation` serve all of them.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::net::TcpListener;

mod clock;
mod control;
mod counts;
mod dice;
mod flags;
mod inspect;
mod jumper;
mod knobs;
mod lock;
mod moengage;
mod notation;
mod outcome;
mod reply;
mod route;
mod rule;
mod rules;
mod serve;
#[cfg(test)]
mod tests;
mod wish;
mod world;

pub use counts::Counts;
pub use flags::Flags;
pub use jumper::account::Merchant;
pub use jumper::courier::Delivery;
pub use jumper::modes::{
    EventMode, RateMode, Shape, SubscriptionMember, SubscriptionMode, SubscriptionUrl,
};
pub use jumper::record::{EventRecord, SendRecord};
pub use jumper::shape::Status;
pub use jumper::speak::Reply;
pub use jumper::strange::ReplyKind;
pub use jumper::template::{Header, Template, Variant};
pub use knobs::Knobs;
pub use moengage::receiver::CallbackRecord;
pub use wish::help;

use jumper::speak;
use lock::lock;
use world::World;

/// How to start a sandbox.
#[derive(Debug, Clone)]
pub struct Options {
    /// Seed of all ids and dice.
    pub seed: u64,
    /// The knobs to begin with.
    pub knobs: Knobs,
    /// Where Jumper posts events, besides the URLs subscribed by the client; a URL is posted to once.
    pub webhook_url: Option<String>,
    /// Merchants to serve.
    pub merchants: Vec<Merchant>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            knobs: Knobs::default(),
            webhook_url: None,
            merchants: vec![Merchant::default()],
        }
    }
}

/// A running sandbox. Dropping the handle leaves it running; `stop` ends it.
#[derive(Debug)]
pub struct Sandbox {
    addr: SocketAddr,
    world: Arc<World>,
}

/// Starts both fakes on a listener.
///
/// # Errors
/// When the listener has no address, the HTTP client cannot be built, or two merchants share an id.
pub async fn start(listener: TcpListener, options: Options) -> io::Result<Sandbox> {
    let addr = listener.local_addr()?;
    // Fails when somebody else installed the provider already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .tcp_nodelay(true)
        .no_proxy()
        .build()
        .map_err(io::Error::other)?;
    let world = World::new(options, client)
        .map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))?;
    let world = Arc::new(world);
    world.tasks.spawn(serve::run(listener, Arc::clone(&world)));
    Ok(Sandbox { addr, world })
}

impl Sandbox {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Jumper's base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// MoEngage's callback URL.
    pub fn moengage_url(&self) -> String {
        format!("http://{}/moengage/dlr", self.addr)
    }

    /// Counts over all merchants.
    pub fn counts(&self) -> Counts {
        let accounts = self.world.jumper.accounts(None).unwrap_or_default();
        Counts::of(&self.world, &accounts, true)
    }

    /// The newest `limit` accepted sends of all merchants, oldest first within a merchant.
    pub fn sends(&self, limit: usize) -> Vec<SendRecord> {
        let accounts = self.world.jumper.accounts(None).unwrap_or_default();
        accounts
            .iter()
            .flat_map(|one| one.ledger().sends(None, limit))
            .collect()
    }

    /// The newest `limit` entries MoEngage received, of one message or of all.
    pub fn callbacks(&self, msg_id: Option<&str>, limit: usize) -> Vec<CallbackRecord> {
        lock(&self.world.moengage).find(msg_id, None, limit)
    }

    /// The knobs as they are.
    pub fn knobs(&self) -> Knobs {
        (*self.world.knobs()).clone()
    }

    /// Turns knobs.
    pub fn turn(&self, change: impl FnOnce(&mut Knobs)) {
        self.world.turn(change);
    }

    /// Posts a person's reply and tells how it was taken.
    ///
    /// # Errors
    /// When the reply names neither a message nor a recipient.
    pub async fn reply(&self, reply: Reply) -> Result<Delivery, String> {
        let (account, utterance) = speak::answer(&self.world, reply)?;
        Ok(speak::say(&self.world, &account, utterance).await)
    }

    /// Whether no event is waiting to be posted or answered.
    pub fn idle(&self) -> bool {
        inspect::pending(&self.world) == 0
    }

    /// Waits until no event is pending; `false` when that takes longer than `patience`.
    pub async fn quiesced(&self, patience: Duration) -> bool {
        let started = Instant::now();
        while !self.idle() {
            if started.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        true
    }

    /// Stops listening, closes connections and drops pending events.
    pub async fn stop(self) {
        self.world.stop.cancel();
        self.world.tasks.close();
        self.world.tasks.wait().await;
    }
}
