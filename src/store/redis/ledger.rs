//! The ledger as this process last saw it. Redis has the truth; it is read several times a second,
//! and what this process does itself shows at once.

use super::Store;
use super::damage::Text;
use super::standing::ANYBODY;
use crate::domain::{AccountId, ChannelId, UnixMs};
use crate::store::{Ledger, StoreError, Uncounted};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often a look is repeated that something here overtook.
const LOOKS: usize = 3;
/// Looks in vain until Redis counts as silent, unless they take longer than `SOON`. Accepts are refused then, and
/// a connection may be reset twice: in use, and while the next one is made.
const TRIES: u32 = 3;
const SOON: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
pub(super) struct Ledgers(Mutex<HashMap<ChannelId, Seen>>);

#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    ledger: Ledger,
    /// Grows with every change made here, so that a look knows whether it may be older.
    changes: u64,
    /// What Redis said when it was last told as news. Apart, because everybody may look.
    reported: Ledger,
    /// There is news, whatever the numbers say.
    woken: bool,
}

impl Ledgers {
    fn seen(&self) -> MutexGuard<'_, HashMap<ChannelId, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn of(&self, channel: &ChannelId) -> Ledger {
        self.seen()
            .get(channel)
            .map_or_else(Ledger::default, |seen| seen.ledger)
    }

    /// A change that was just made here.
    pub(super) fn change(&self, channel: &ChannelId, change: impl FnOnce(&mut Ledger)) {
        let mut all = self.seen();
        if !all.contains_key(channel) {
            all.insert(channel.clone(), Seen::default());
        }
        if let Some(seen) = all.get_mut(channel) {
            change(&mut seen.ledger);
            seen.changes += 1;
        }
    }

    /// Whoever waits for work of the channel shall look for it.
    pub(super) fn wake(&self, channel: &ChannelId) {
        if let Some(seen) = self.seen().get_mut(channel) {
            seen.woken = true;
        }
    }

    fn changes(&self, channel: &ChannelId) -> u64 {
        self.seen().get(channel).map_or(0, |seen| seen.changes)
    }

    /// What Redis says. Returns whether something changed here since Redis was asked.
    fn update(&self, channel: &ChannelId, ledger: Ledger, asked_at: u64) -> bool {
        let mut all = self.seen();
        let seen = all.entry(channel.clone()).or_default();
        seen.ledger = ledger;
        seen.changes != asked_at
    }

    /// Channels of which something changed since this was last asked.
    fn changed_channels(&self) -> Vec<ChannelId> {
        let mut all = self.seen();
        let new = all
            .iter_mut()
            .filter(|(_, seen)| seen.woken || seen.ledger != seen.reported);
        new.map(|(channel, seen)| {
            (seen.reported, seen.woken) = (seen.ledger, false);
            channel.clone()
        })
        .collect()
    }
}

impl Store {
    /// Reads the ledgers.
    pub async fn look(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut looked = self.look_at_all().await;
        for _ in 1..TRIES {
            if looked.is_ok() || began.elapsed() > SOON {
                break;
            }
            looked = self.look_at_all().await;
        }
        if looked.is_ok() {
            looked = self.shared.connection.prove_rights().await;
        }
        *self.trouble() = looked.as_ref().err().cloned();
        looked
    }

    /// Channels of which something changed since this was last asked, as last seen.
    pub fn changed_channels(&self) -> Vec<ChannelId> {
        self.shared.ledgers.changed_channels()
    }

    async fn look_at_all(&self) -> Result<(), StoreError> {
        for home in &self.shared.accounts {
            let mut ask = redis::cmd("GET");
            ask.arg(format!("{}gate", home.prefix));
            let gate: Option<Text> = self.shared.connection.command_beside(&ask).await?;
            home.standing.gate(gate.as_ref().map(Text::as_str));
            let mut ask = redis::cmd("HGETALL");
            ask.arg(format!("{}did", home.prefix));
            let claims: HashMap<String, Text> = self.shared.connection.command_beside(&ask).await?;
            let last = claims.get(ANYBODY).map(Text::as_str).unwrap_or_default();
            let claims = claims.iter().map(|(who, step)| (&**who, step.as_str()));
            // What is later than anybody's last claim is none.
            for (who, step) in claims.filter(|(_, step)| *step <= last) {
                home.standing.saw(who, step);
            }
        }
        for (channel, home) in &self.shared.homes {
            for _ in 0..LOOKS {
                let asked_at = self.shared.ledgers.changes(channel);
                let ledger = self.ledger_of(&home.account, channel).await?;
                if !self.shared.ledgers.update(channel, ledger, asked_at) {
                    break;
                }
            }
        }
        Ok(())
    }

    /// The ledger as Redis has it now.
    pub async fn ledger_of(
        &self,
        account: &AccountId,
        channel: &ChannelId,
    ) -> Result<Ledger, StoreError> {
        let mut ask = redis::cmd("HGETALL");
        ask.arg(format!("{}l:{channel}", super::keys_of(account)));
        let counts: HashMap<String, Text> = self.shared.connection.command_beside(&ask).await?;
        Ok(ledger(&counts))
    }
}

/// What is no number is put right by whoever counts on (`count` in lua/common.lua).
fn ledger(counts: &HashMap<String, Text>) -> Ledger {
    let n = |name: &str| counts.get(name).and_then(|n| n.as_str().parse().ok());
    let n = |name: &str| n(name).unwrap_or_default();
    Ledger {
        accepted: n("accepted"),
        queued: n("queued"),
        attempting: n("attempting"),
        unknown: n("unknown"),
        accepted_by_provider: n("accepted_by_provider"),
        failed: n("failed"),
        callbacks_waiting: n("callbacks_waiting"),
        callbacks_taken: n("callbacks_taken"),
        dead_letters: n("dead_letters"),
        events: n("events"),
        expired_events: n("expired_events"),
        uncounted: (n("uncounted") != 0).then(|| Uncounted {
            messages: n("uncounted"),
            counter: counter(counts.get("uncounted_of")),
            at: UnixMs(n("uncounted_at")),
        }),
    }
}

/// The counter that was damaged, as people are told of it; none where it was all of them.
fn counter(name: Option<&Text>) -> Option<&'static str> {
    Some(match name?.as_str() {
        "accepted" => "accepted",
        "queued" => "queued",
        "attempting" => "in_flight",
        "unknown" => "unknown",
        "accepted_by_provider" => "accepted_by_provider",
        "failed" => "failed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_66_what_is_uncounted_is_not_lost_and_what_is_lost_shows_beside_it() {
        let read = |fields: &[(&str, &str)]| {
            let counts = fields.iter();
            let counts = counts.map(|(name, n)| ((*name).to_owned(), Text::from(*n)));
            ledger(&counts.collect())
        };
        let sound = [("accepted", "9"), ("queued", "2"), ("failed", "6")];
        assert_eq!((read(&sound).lost(), read(&sound).uncounted), (1, None));
        let damaged = read(&[
            ("accepted", "1"),
            ("queued", "2"),
            ("failed", "6"),
            ("uncounted", "-8"),
            ("uncounted_of", "accepted"),
            ("uncounted_at", "77"),
        ]);
        assert_eq!(damaged.lost(), 1);
        let uncounted = damaged.uncounted.unwrap();
        assert_eq!((uncounted.messages, uncounted.at), (-8, UnixMs(77)));
        assert!(uncounted.cause().contains("the counter accepted in Redis"));
        let gone = read(&[
            ("queued", "2"),
            ("uncounted", "-2"),
            ("uncounted_of", "all"),
        ]);
        assert_eq!(gone.lost(), 0);
        assert!(
            gone.uncounted
                .unwrap()
                .cause()
                .contains("the ledger in Redis")
        );
        let healed = read(&[("uncounted", "0"), ("uncounted_of", "queued")]);
        assert_eq!((healed.lost(), healed.uncounted), (0, None));
    }
}
