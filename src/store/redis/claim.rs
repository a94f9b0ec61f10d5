//! Write B: messages are marked as being sent before the first byte goes out.

use super::damage::{self, Text};
use super::found::{Claimed, Failed, Found, Taken, read, refused};
use super::memory::{Attempt, AttemptKey, End};
use super::{AccountKeys, Call, Store};
use crate::clock;
use crate::domain::{Ages, ChannelId, MsgId, OptOut, UnixMs};
use crate::store::row::RowError;
use crate::store::{
    ClaimFrom, ClaimedMessage, Claims, Settlement, StoreError, Trial, refusals, row,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// How long a message that only a newer program can read is left for one.
const FOR_A_NEWER: Duration = Duration::from_secs(5);
/// How long a message waits about whose age the clocks disagree.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// What a claim asks for.
#[derive(Clone, Copy)]
struct Wish<'a> {
    /// Whose turn it is.
    queues: &'a [&'a ClaimFrom],
    /// The most to take.
    most: usize,
    /// The trial that it is, if it is one.
    trial: Option<&'a Trial>,
}

/// A claim as Redis counted it.
struct Counted<'a> {
    /// Of which account.
    home: &'a AccountKeys,
    /// The number of the claim.
    claim: u64,
    /// The step that it was.
    step: Arc<str>,
}

impl Store {
    /// Takes up to `most` due messages, the channels in the order given, each its fair share first.
    /// Messages that may not be sent any more (too old, opted out meanwhile) are failed instead.
    pub async fn claim(
        &self,
        queues: Vec<ClaimFrom>,
        most: usize,
        now: UnixMs,
    ) -> Result<Claims, StoreError> {
        self.shared.connection.may_begin()?;
        let mut claims = Claims::default();
        for home in &self.shared.accounts {
            let at_home = |queue: &&ClaimFrom| {
                let of_queue = self.shared.homes.get(&queue.channel);
                of_queue.is_some_and(|of_queue| of_queue.account == home.account)
            };
            let queues: Vec<&ClaimFrom> = queues.iter().filter(at_home).collect();
            let room = most - claims.taken.len();
            if !queues.is_empty() && room > 0 {
                let wish = Wish {
                    queues: &queues,
                    most: room,
                    trial: None,
                };
                self.claim_at(home, wish, &mut claims, now).await?;
            }
        }
        Ok(claims)
    }

    /// Takes one message that shows whether a held scope may send again: the newest of another
    /// recipient and template than the last trial, or the only one.
    pub async fn claim_trial(&self, trial: Trial, now: UnixMs) -> Result<Claims, StoreError> {
        self.shared.connection.may_begin()?;
        let mut claims = Claims::default();
        let queue = |(channel, ages): &(ChannelId, Ages)| ClaimFrom {
            channel: channel.clone(),
            ages: *ages,
            retries: 0,
            aside: 0,
        };
        let queues: Vec<ClaimFrom> = trial.channels.iter().map(queue).collect();
        let queues: Vec<&ClaimFrom> = queues.iter().collect();
        if let Some(first) = queues.first() {
            let home = self.home(&first.channel)?;
            let wish = Wish {
                queues: &queues,
                most: 1,
                trial: Some(&trial),
            };
            self.claim_at(home, wish, &mut claims, now).await?;
        }
        Ok(claims)
    }

    async fn claim_at(
        &self,
        home: &AccountKeys,
        wish: Wish<'_>,
        claims: &mut Claims,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        // Until what it took is remembered.
        let _claiming = home.standing.claims.read().await;
        let claim = self.shared.in_flight.claim();
        let found = self.call_claim(home, wish, claim, now).await;
        let (taken, failed, newer, damaged, step) = match found {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.shared.in_flight.claimed(claim, HashSet::new());
                home.standing.shut();
                return Ok(());
            }
            Err(error) => {
                self.shared.in_flight.lose(&home.account, claim);
                return Err(error);
            }
        };
        let handles = taken.iter().map(|(handle, ..)| *handle).collect();
        self.shared.in_flight.claimed(claim, handles);
        home.standing.claimed(&step);
        damage::tell(damaged.iter().map(Text::shown));
        self.tell_of_newer(home, "messages", newer);
        let counted = Counted {
            home,
            claim,
            step: step.into(),
        };
        self.take_in(&counted, taken, claims, now)?;
        let refused = |(channel, msg_id, which): &Failed| refused(channel, msg_id, *which);
        claims.failed.extend(failed.iter().filter_map(refused));
        Ok(())
    }

    async fn call_claim(
        &self,
        home: &AccountKeys,
        wish: Wish<'_>,
        claim: u64,
        now: UnixMs,
    ) -> Result<Option<Found>, StoreError> {
        let (old, out) = (refusals::too_old(), OptOut::All.refusal());
        let mut call = Call::new(&self.shared.scripts.claim, home)
            .arg(self.replica())
            .arg(claim)
            .arg(now.0)
            .arg(wish.most)
            .arg(row::write_refusal(&old))
            .arg(row::failure(&old))
            .arg(row::write_refusal(&out))
            .arg(row::failure(&out))
            .arg(FOR_A_NEWER.as_millis())
            .arg(LOOK_AGAIN.as_millis());
        let tried = wish.trial.and_then(|trial| trial.tried.as_ref());
        match (wish.trial, tried) {
            (None, _) => ["", "", ""].into_iter().for_each(|none| call.push(none)),
            (Some(_), None) => ["1", "", ""].into_iter().for_each(|none| call.push(none)),
            (Some(_), Some((to, template))) => {
                call.push("2");
                call.push(to.digits());
                call.push(row::naming_template(template));
            }
        }
        let seen = home.standing.seen();
        call.push(seen.own);
        call.push(seen.last);
        for queue in wish.queues {
            call.push(queue.channel.as_str());
            call.push(queue.ages.failed_before.0);
            call.push(queue.ages.sent_from.0);
            call.push(queue.retries);
            call.push(queue.aside);
        }
        let mut answer = self.take(&call).await?;
        if let Claimed::NoLease = answer {
            // The first claim of all, or Redis or we were away for longer than it lasts.
            self.renew_one(home).await?;
            answer = self.take(&call).await?;
        }
        match answer {
            Claimed::Found(found) => Ok(Some(found)),
            Claimed::Closed => Ok(None),
            Claimed::NoLease => Err(StoreError::Unavailable(
                "Redis does not keep our lease".into(),
            )),
        }
    }

    /// Reads what was taken. What cannot be read is settled at once.
    fn take_in(
        &self,
        counted: &Counted<'_>,
        taken: Vec<Taken>,
        claims: &mut Claims,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        for (handle, channel, msg_id, to, accepted_at, number, row, aside, no_marketing) in taken {
            let channel = ChannelId::parse(&channel).map_err(unreadable)?;
            self.shared.ledgers.change(&channel, |ledger| {
                ledger.queued -= 1;
                ledger.attempting += 1;
            });
            let end = match read([&msg_id, &to, &accepted_at, &row]) {
                Ok((message, accepted)) => {
                    let attempt = Attempt {
                        handle,
                        claim: counted.claim,
                        step: counted.step.clone(),
                        channel: channel.clone(),
                        msg_id: msg_id.as_str().into(),
                        to: to.as_str().into(),
                        row: row.as_str().into(),
                        accepted_at: accepted_at.as_str().into(),
                        number,
                    };
                    self.shared.memory.took(&counted.home.account, attempt);
                    claims.taken.push(ClaimedMessage {
                        handle,
                        claim: counted.claim,
                        term: self.term(&channel),
                        channel,
                        message,
                        attempt: u32::try_from(number).unwrap_or(u32::MAX),
                        aside,
                        no_marketing,
                        accepted_at: accepted,
                    });
                    continue;
                }
                Err(RowError::Newer(_)) => Settlement::retry(now.plus(FOR_A_NEWER)),
                Err(RowError::Damaged(_)) => {
                    let prefix = &counted.home.prefix;
                    damage::tell([format!("{prefix}d:{handle} or {prefix}m:{handle}").into()]);
                    let refusal = refusals::unreadable();
                    if let Ok(msg_id) = MsgId::parse(msg_id.as_str()) {
                        claims
                            .failed
                            .push((channel.clone(), msg_id, refusal.clone()));
                    }
                    Settlement::failed(refusal)
                }
            };
            let claim = counted.claim;
            let (store, key) = (self.clone(), AttemptKey { claim, handle });
            // Beside the claim, which has brought others too.
            tokio::spawn(async move { store.settle_surely(&channel, key, end).await });
        }
        Ok(())
    }

    /// Settles what cannot be read, however long that takes.
    async fn settle_surely(&self, channel: &ChannelId, key: AttemptKey, settlement: Settlement) {
        loop {
            let end = End {
                settlement: settlement.clone(),
                answer: "this version of the gateway cannot read it".to_owned(),
                at: clock::now(),
            };
            match self.settle_at(channel, key, end).await {
                Ok(_) => return,
                Err(error) => tracing::warn!(%channel, %error,
                    event = "message_unreadable",
                    "a message that cannot be read could not be put aside; retrying"),
            }
            sleep(Duration::from_secs(1)).await;
        }
    }

    /// When the next queued message of these channels is due.
    pub async fn next_due(&self, channels: Vec<ChannelId>) -> Result<Option<UnixMs>, StoreError> {
        let mut next: Option<i64> = None;
        for channel in channels {
            let prefix = &self.home(&channel)?.prefix;
            for queue in ["q", "rq", "aq"] {
                let due = self
                    .first_score(format!("{prefix}{queue}:{channel}"))
                    .await?;
                next = next.into_iter().chain(due).min();
            }
        }
        Ok(next.map(UnixMs))
    }

    /// The lowest score of a sorted set.
    pub(super) async fn first_score(&self, key: String) -> Result<Option<i64>, StoreError> {
        let mut ask = redis::cmd("ZRANGE");
        ask.arg(key).arg(0).arg(0).arg("WITHSCORES");
        let first: Vec<(String, i64)> = self.shared.connection.command(&ask).await?;
        Ok(first.first().map(|(_, score)| *score))
    }
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}
