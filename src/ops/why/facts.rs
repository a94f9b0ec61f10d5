//! What is read of a running gateway to say why something waits.

use crate::accounts::Channel;
use crate::breaker::Admission;
use crate::clock;
use crate::domain::circumstance::{Hold, Scope};
use crate::domain::{ChannelId, UnixMs};
use crate::ops::health::{self, NotReady};
use crate::ops::{AccountOps, OpsState};
use crate::store::Record;
use std::time::Duration;

/// The process and its store.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Site {
    pub(in crate::ops) now: UnixMs,
    pub(in crate::ops) stopping: bool,
    /// Why no send can be recorded.
    pub(in crate::ops) store: Option<String>,
}

/// One account.
#[derive(Debug, Clone, Default)]
pub(in crate::ops) struct AccountFacts {
    pub(in crate::ops) id: String,
    /// How the store went back, where an operator is to decide.
    pub(in crate::ops) went_back: Option<Token>,
    /// Whether Redis is being told what was sent before it hands out work again.
    pub(in crate::ops) catching_up: bool,
    /// Whether the opt-outs that Datastore keeps are being read.
    pub(in crate::ops) reading_opt_outs: bool,
    pub(in crate::ops) no_token: Option<Token>,
    /// The hold of the account itself.
    pub(in crate::ops) held: Option<Held>,
    /// The breaker, when it is open.
    pub(in crate::ops) circuit: Option<Circuit>,
    /// Until when the provider wants to be left alone.
    pub(in crate::ops) asked_to_wait: Option<UnixMs>,
    pub(in crate::ops) rate: Rate,
}

/// A breaker that is open.
#[derive(Debug, Clone, Copy)]
pub(in crate::ops) struct Circuit {
    /// When the provider is tried again; nothing while it is being tried.
    pub(in crate::ops) until: Option<UnixMs>,
}

/// Why an account has no token to send with, or its store went back.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Token {
    pub(in crate::ops) reason: String,
    pub(in crate::ops) since: UnixMs,
}

/// A hold that the provider's answers brought about.
#[derive(Debug, Clone)]
pub(in crate::ops) struct Held {
    /// As the routes of holds take it.
    pub(in crate::ops) id: String,
    pub(in crate::ops) words: String,
    pub(in crate::ops) since: UnixMs,
    pub(in crate::ops) next_trial: Option<UnixMs>,
}

/// Calls per second; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::ops) struct Rate {
    pub(in crate::ops) set: Option<f64>,
    pub(in crate::ops) effective: Option<f64>,
    /// How long Redis takes to answer, where that makes it less.
    pub(in crate::ops) away: Option<Duration>,
}

/// One channel, with its account.
#[derive(Debug, Clone)]
pub(in crate::ops) struct ChannelFacts {
    pub(in crate::ops) id: ChannelId,
    pub(in crate::ops) paused: bool,
    /// The hold that stops it: its own or its account's.
    pub(in crate::ops) held: Option<Held>,
    pub(in crate::ops) account: AccountFacts,
}

/// Where a queued message stands.
#[derive(Debug, Clone, Default)]
pub(in crate::ops) struct Place {
    pub(in crate::ops) due: Option<UnixMs>,
    pub(in crate::ops) attempts: u32,
    /// How many of its channel come first, where that was counted.
    pub(in crate::ops) ahead: Option<u64>,
}

impl Token {
    fn of(hold: crate::accounts::AccountHold) -> Self {
        Self {
            reason: hold.reason,
            since: hold.since,
        }
    }
}

impl Site {
    pub(in crate::ops) async fn read(ops: &OpsState) -> Self {
        Self::of(ops, health::not_ready_lately(ops).await)
    }

    /// The same when it was asked already whether the store can write.
    pub(in crate::ops) fn of(ops: &OpsState, not: Option<NotReady>) -> Self {
        Self {
            now: clock::now(),
            stopping: ops.shared.intake.is_closed(),
            store: not.filter(|not| !not.sends).map(|not| not.words),
        }
    }
}

impl AccountFacts {
    pub(in crate::ops) fn read(ops: &AccountOps) -> Self {
        let (now, account) = (clock::now(), &ops.account);
        let rate = account.limiter.now();
        let scope = Scope::Account(account.id.clone());
        let hold = account.holding.hold(&scope);
        let circuit = ops.breaker.is_open().then(|| Circuit {
            until: match ops.breaker.admits() {
                Admission::Wait(left) => Some(whole_seconds(now.plus(left))),
                _ => None,
            },
        });
        Self {
            id: account.id.to_string(),
            went_back: account.store_hold().map(Token::of),
            catching_up: !ops.holds.store_is_open(),
            reading_opt_outs: account.opt_outs.is_holding(),
            no_token: account.held().map(Token::of),
            held: hold.filter(Hold::is_held).map(|hold| held(&hold, ops, now)),
            circuit,
            asked_to_wait: rate.pause.map(|left| whole_seconds(now.plus(left))),
            rate: Rate {
                set: rate.set.per_second,
                effective: rate.effective,
                away: rate.away,
            },
        }
    }
}

impl ChannelFacts {
    /// `None` when the account of the channel is not known, which cannot be.
    pub(in crate::ops) fn read(ops: &OpsState, channel: &Channel) -> Option<Self> {
        let account = ops.account(channel.account.id.as_str()).ok()?;
        let hold = channel.account.holding.held(&channel.id);
        Some(Self {
            id: channel.id.clone(),
            paused: channel.is_paused(),
            held: hold.map(|hold| held(&hold, account, clock::now())),
            account: AccountFacts::read(account),
        })
    }
}

impl Place {
    pub(in crate::ops) fn of(record: &Record, ahead: Option<u64>) -> Self {
        Self {
            due: record.due,
            attempts: record.attempts,
            ahead,
        }
    }
}

fn held(hold: &Hold, ops: &AccountOps, now: UnixMs) -> Held {
    let pause = hold.trial_in(now, ops.holds.longest_pause());
    Held {
        id: hold.scope.to_string(),
        words: hold.words.clone(),
        since: hold.since,
        next_trial: pause.map(|left| now.plus(left)),
    }
}

/// So that a pause that is asked for twice reads the same.
fn whole_seconds(at: UnixMs) -> UnixMs {
    UnixMs(at.plus(Duration::from_millis(500)).seconds() * 1000)
}
