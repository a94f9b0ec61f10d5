//! What an operator can do about a store that went back: hand out what waited in the older state, or give it up.

use super::super::events::{Fold, add};
use super::super::{AccountKeys, Call, Store};
use super::verdict::Roll;
use crate::domain::{AccountId, ChannelId, UnixMs};
use crate::store::{Folded, Steps, StoreError, WentBack, refusals, row};
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// Messages given up in one step, or counted.
const AT_ONCE: usize = 100;
const COUNTED_AT_ONCE: usize = 1000;
/// Steps are microseconds of Redis' clock, unless that was set back. A mark that says more is wrong.
const AHEAD: Duration = Duration::from_secs(86_400);

/// A place in what waited in the older state.
struct Position<'a> {
    /// The channel.
    channel: &'a ChannelId,
    /// What the key of the queue begins with.
    queue: &'a str,
    /// Messages of the queue to pass over.
    from: usize,
}

impl Store {
    /// Why an operator is to decide about an account, if so.
    pub fn went_back(&self, account: &AccountId) -> Option<WentBack> {
        self.of_account(account)?.standing.seen().held
    }

    /// How far the work of an account has come, as this process knows.
    pub fn steps(&self, account: &AccountId) -> Steps {
        let home = self.of_account(account);
        home.map_or_else(Steps::new, |home| home.standing.steps(self.replica()))
    }

    /// It had come so far. Before the first renewal, which then calls the roll where Redis says less.
    pub fn remember(&self, account: &AccountId, steps: &Steps, now: UnixMs) {
        let latest = now.plus(AHEAD).0.saturating_mul(1000);
        if let Some(home) = self.of_account(account) {
            home.standing.remember(steps, &format!("{latest:016}"));
        }
    }

    fn of_account(&self, account: &AccountId) -> Option<&AccountKeys> {
        let mut homes = self.shared.accounts.iter();
        homes.find(|home| home.account == *account)
    }

    /// Holds what waits of an account, as an operator says who knows that a copy was put back. Answers how many.
    /// Before the first renewal, which may end a roll call.
    pub async fn hold_back(&self, account: &AccountId) -> Result<u64, StoreError> {
        let Some(home) = self.of_account(account) else {
            return Ok(0);
        };
        let mut call = Call::new(&self.shared.scripts.hold_back, home);
        self.channels_of(home)
            .for_each(|channel| call.push(channel.as_str()));
        self.run(&call).await
    }

    /// Work is handed out again: what waits is sent. Whether it was held.
    pub async fn open_again(&self, account: &AccountId) -> Result<bool, StoreError> {
        let Some(home) = self.of_account(account) else {
            return Ok(false);
        };
        let mut ask = redis::cmd("HGETALL");
        ask.arg(format!("{}roll", home.prefix));
        let kept: HashMap<String, String> = self.shared.connection.command_beside(&ask).await?;
        let held = Roll::read(&kept).filter(|roll| roll.held.is_some());
        let (Some(roll), Some(run)) = (held, kept.get("run")) else {
            return Ok(false);
        };
        let was_held = self.close(home, run, roll.began, 0).await?;
        // It is done, whoever hears of it later.
        if let Err(error) = self.renew_one(home).await {
            tracing::debug!(%account, %error, "the renewal after an operator's decision comes later");
        }
        Ok(was_held)
    }

    /// Fails what waited in the older state of a channel while that is held; what was accepted since stays. Answers
    /// how many.
    pub async fn fail_copy(&self, channel: &ChannelId, now: UnixMs) -> Result<usize, StoreError> {
        let home = self.home(channel)?;
        self.all_of_copy(home, channel, Some(now)).await
    }

    /// What came while work was held may say what became of messages that were given up.
    pub async fn infer_receipts(&self, account: &AccountId, now: UnixMs) -> Result<(), StoreError> {
        let Some(home) = self.of_account(account) else {
            return Ok(());
        };
        let mut from = 0;
        loop {
            let call = Call::new(&self.shared.scripts.infer_early, home)
                .arg(now.0)
                .arg(from)
                .arg(AT_ONCE);
            let (stay, looked, fold): (usize, usize, Fold) = self.run(&call).await?;
            add(&mut Folded::default(), fold);
            from += stay;
            if looked < AT_ONCE {
                return Ok(());
            }
        }
    }

    /// How many messages of an account waited in the older state and may have been sent.
    pub(super) async fn count_copy(&self, home: &AccountKeys) -> Result<usize, StoreError> {
        let mut ask = redis::cmd("SMEMBERS");
        ask.arg(format!("{}channels", home.prefix));
        let known: Vec<String> = self.shared.connection.command_beside(&ask).await?;
        // Others may have channels that this process has not.
        let known = known.iter().filter_map(|name| ChannelId::parse(name).ok());
        let all: HashSet<ChannelId> = known.chain(self.channels_of(home).cloned()).collect();
        let mut waiting = 0;
        for channel in &all {
            waiting += self.all_of_copy(home, channel, None).await?;
        }
        Ok(waiting)
    }

    /// Fails them, or counts them where no time is given.
    async fn all_of_copy(
        &self,
        home: &AccountKeys,
        channel: &ChannelId,
        now: Option<UnixMs>,
    ) -> Result<usize, StoreError> {
        let mut all = 0;
        for queue in ["q:", "rq:", "aq:"] {
            let mut from = 0;
            loop {
                let position = Position {
                    channel,
                    queue,
                    from,
                };
                let some = self.some_of_copy(home, &position, now).await?;
                let Some((some, stay, looked)) = some else {
                    return Ok(all);
                };
                all += some;
                from += stay;
                if looked < most_of(now) {
                    break;
                }
            }
        }
        Ok(all)
    }

    async fn some_of_copy(
        &self,
        home: &AccountKeys,
        position: &Position<'_>,
        now: Option<UnixMs>,
    ) -> Result<Option<(usize, usize, usize)>, StoreError> {
        let refusal = refusals::outcome_unknown();
        let (row, words) = match now {
            Some(_) => (row::write_refusal(&refusal), row::failure(&refusal)),
            None => Default::default(),
        };
        let call = Call::new(&self.shared.scripts.fail_copy, home)
            .arg(position.queue)
            .arg(position.channel.as_str())
            .arg(position.from)
            .arg(most_of(now))
            .arg(now.unwrap_or_default().0)
            .arg(row)
            .arg(words);
        let Some((failed, stay, looked, fold)): Option<(i64, usize, usize, Fold)> =
            self.take(&call).await?
        else {
            return Ok(None);
        };
        add(&mut Folded::default(), fold);
        if now.is_some() {
            self.shared.ledgers.change(position.channel, |ledger| {
                ledger.queued -= failed;
                ledger.failed += failed;
            });
        }
        let failed = usize::try_from(failed).unwrap_or_default();
        Ok(Some((failed, stay, looked)))
    }
}

/// How many messages are looked at in one step, to fail them by a time, or to count them.
fn most_of(now: Option<UnixMs>) -> usize {
    now.map_or(COUNTED_AT_ONCE, |_| AT_ONCE)
}
