//! The roll call: after a restart of Redis, a copy that was put back or a failover, nobody takes work of an account
//! until each process that shares it has put back what it remembers (`memory`), or is gone (`verdict`). A message
//! that was sent is then in the hands of who sent it, whatever Redis had forgotten, and nobody sends it again.
//!
//! Accepts, ends, events and callbacks go on meanwhile. The call is noticed by the scripts themselves (`is_open`,
//! `is_as_seen` in lua/common.lua) and begun by whoever renews first.

mod ends;
mod held;
mod verdict;

use super::memory::{Attempt, End};
use super::standing::{Mark, Place, RenewalAnswer};
use super::{AccountKeys, Call, Store};
use crate::clock;
use crate::domain::{AccountId, UnixMs};
use crate::store::{Settlement, StoreError, WentBack};
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use verdict::{Roll, Verdict};

/// Attempts put back in one step; bounds how long Redis does nothing else.
const AT_ONCE: usize = 50;
/// How long claims under way are waited for, until the next renewal waits again.
const CLAIMS: Duration = Duration::from_secs(1);
/// The pause before a claim under way is waited for again, at the end of a process.
const CLAIM_AGAIN: Duration = Duration::from_millis(50);
/// How long a process that ends takes for what others would have to wait for.
const LEAVING: Duration = Duration::from_secs(5);

/// The time of Redis, and the roll.
type Kept = (i64, HashMap<String, String>);

impl Store {
    /// Whether work of an account is handed out, as far as is known.
    pub fn is_open(&self, account: &AccountId) -> bool {
        let mut homes = self.shared.accounts.iter();
        homes
            .find(|home| home.account == *account)
            .is_none_or(|home| home.standing.is_open())
    }

    /// Answers a roll call if one is under way, and ends it when all did.
    pub(super) async fn answer(
        &self,
        home: &AccountKeys,
        report: RenewalAnswer,
    ) -> Result<(), StoreError> {
        let RenewalAnswer(place, run, _, _, mark, mut kept) = report;
        if place == Place::Open {
            return Ok(());
        }
        if place == Place::Called {
            match self.put_back(home, &run, &mark).await? {
                Some(now) => kept = now,
                // Another server answers meanwhile, or a claim is under way: the next renewal goes on.
                None => return Ok(()),
            }
        }
        let (now, kept) = kept;
        let Some(roll) = Roll::read(&kept) else {
            // It was over before.
            return self.renew_one(home).await.map(drop);
        };
        let verdict = roll.judge(now);
        let (silent, waited) = match verdict {
            // Who did not answer may come back and say what it sent.
            _ if roll.held.is_some() && roll.must_be_decided() => {
                home.standing.hold(went_back(&roll));
                return Ok(());
            }
            Verdict::Wait => return Ok(()),
            Verdict::Open(silent) => (silent, 0),
            // What is put back may wait again in a moment.
            Verdict::Hold(_) if home.standing.ends.try_lock().is_err() => return Ok(()),
            // Of what waited when it began, some told that they sent it.
            Verdict::Hold(silent) => (silent, self.count_copy(home).await?),
        };
        if self.close(home, &run, roll.began, waited).await? {
            tell_of_the_end(home, &roll, now, silent, waited);
        }
        // Held, the next renewal says since when.
        self.renew_one(home).await.map(drop)
    }

    /// Ends a roll call; work is held where an operator is to decide about some messages. Whether it was still under
    /// way.
    async fn close(
        &self,
        home: &AccountKeys,
        run: &str,
        began: i64,
        waited: usize,
    ) -> Result<bool, StoreError> {
        let close = Call::new(&self.shared.scripts.close, home)
            .arg(run)
            .arg(began)
            .arg(waited);
        self.shared.connection.run_beside(&close.0).await
    }

    /// Puts back what this server may have forgotten. Answers nothing where that is to be tried again.
    async fn put_back(
        &self,
        home: &AccountKeys,
        run: &str,
        mark: &Mark,
    ) -> Result<Option<Kept>, StoreError> {
        // What a claim under way brings is remembered only when its answer came.
        let claims = timeout(CLAIMS, home.standing.claims.write()).await;
        let Ok(_no_claim) = claims else {
            return Ok(None);
        };
        let missing = self.shared.memory.missing(&home.account, mark);
        let (mut held, mut ends) = (HashSet::new(), Vec::new());
        for some in missing.chunks(AT_ONCE) {
            let Some(answers) = self.recall(home, run, mark, some).await? else {
                return Ok(None);
            };
            for ((attempt, _), (number, is_ours)) in some.iter().zip(answers) {
                // One that came before this step found no row, or not its own, and was not written.
                let end = self.shared.memory.end_of(attempt.key());
                self.remember_number(home, attempt, number);
                if is_ours {
                    held.insert(attempt.claim);
                }
                match end {
                    // A receipt counts whoever has it now.
                    Some(end)
                        if is_ours || matches!(end.settlement, Settlement::Accepted { .. }) =>
                    {
                        ends.push((attempt.clone(), end));
                    }
                    Some(_) => {
                        let by = home.standing.next_renewal();
                        self.shared.memory.stored(attempt.key(), by);
                    }
                    None => {}
                }
            }
        }
        let Some((now, lost, kept)) = self.say_all_is_back(home, run, mark, held).await? else {
            return Ok(None);
        };
        tracing::info!(account = %home.account, looked_at = missing.len(), ended = ends.len(),
            nobody_knows = lost, event = "redis_put_back",
            "Redis may have forgotten something (a restart, another server, a copy); this \
            gateway put back what it remembers of its sends");
        let last = kept.get("last").and_then(|last| last.parse().ok());
        home.recent.called(last.unwrap_or_default());
        let (store, home) = (self.clone(), home.clone());
        home.standing.ending.clone().spawn(async move {
            store.clone().store_ends(home.clone(), ends).await;
            store.take_again(&home).await;
        });
        Ok(Some((now, kept)))
    }

    fn remember_number(&self, home: &AccountKeys, attempt: &Attempt, number: i64) {
        let memory = &self.shared.memory;
        if number != memory.number(&home.account, attempt.handle) {
            memory.moved(&home.account, attempt.handle, number);
        }
    }

    async fn recall(
        &self,
        home: &AccountKeys,
        run: &str,
        mark: &Mark,
        some: &[(Attempt, Option<End>)],
    ) -> Result<Option<Vec<(i64, bool)>>, StoreError> {
        let mut call = Call::new(&self.shared.scripts.recall, home)
            .arg(run)
            .arg(self.replica());
        for (attempt, _) in some {
            call.push(self.shared.memory.number(&home.account, attempt.handle));
            call.push(attempt.channel.as_str());
            call.push(&attempt.msg_id);
            call.push(&attempt.to);
            call.push(&attempt.row);
            call.push(&attempt.accepted_at);
            call.push(attempt.number);
            call.push(attempt.claim);
            call.push(&*attempt.step);
            // What was claimed in a state that came before this one is gone because its time was over.
            call.push(u8::from(*attempt.step > *mark.own));
        }
        // Who lost it once more calls the roll once more, so nobody waits for replicas.
        self.ask(&call).await
    }

    async fn say_all_is_back(
        &self,
        home: &AccountKeys,
        run: &str,
        mark: &Mark,
        mut held: HashSet<u64>,
    ) -> Result<Option<(i64, u32, HashMap<String, String>)>, StoreError> {
        held.extend(self.shared.in_flight.known().1);
        held.extend(self.shared.in_flight.lost());
        let (seen, renewal) = (home.standing.seen(), home.standing.renews());
        let mut call = Call::new(&self.shared.scripts.answer, home)
            .arg(run)
            .arg(self.replica())
            .arg(clock::now().0)
            .arg(seen.own)
            .arg(seen.last)
            .arg(renewal)
            .arg(u8::from(self.shared.memory.reaches(&home.account, mark)))
            .arg(seen.known.len());
        for (who, step) in seen.known {
            call.push(who);
            call.push(step);
        }
        held.into_iter().for_each(|claim| call.push(claim));
        let answer: Option<_> = self.ask(&call).await?;
        if answer.is_some() {
            home.standing.answered(run, renewal);
        }
        Ok(answer)
    }

    /// Others would wait for what only this process remembers.
    pub(super) async fn before_leaving(&self, home: &AccountKeys) {
        let answered = async {
            loop {
                let report = self.renew_one(home).await?;
                let is_called = report.0 == Place::Called;
                self.answer(home, report).await?;
                if !is_called {
                    break;
                }
                // A claim under way is waited for once more.
                sleep(CLAIM_AGAIN).await;
            }
            home.standing.ending.close();
            home.standing.ending.wait().await;
            Ok::<_, StoreError>(())
        };
        if !matches!(timeout(LEAVING, answered).await, Ok(Ok(()))) {
            tracing::warn!(account = %home.account,
                event = "redis_put_back_failed",
                "Redis could not be told what this gateway remembers of its last sends");
        }
    }
}

fn went_back(roll: &Roll) -> WentBack {
    WentBack {
        since: UnixMs(roll.held.unwrap_or_default()),
        by: roll.back,
        waited: roll.waited,
        silent: roll.unsaid,
        is_asked: roll.is_asked,
    }
}

fn tell_of_the_end(home: &AccountKeys, roll: &Roll, now: i64, silent: usize, waited: usize) {
    let (account, took_ms) = (&home.account, now - roll.began);
    if waited > 0 {
        tracing::error!(%account, took_ms, silent, waited, back_s = roll.back.as_secs(),
            event = "redis_went_back",
            "Redis went back to an older state, and not all that was sent since is known; sending is held");
    } else if silent == 0 {
        tracing::info!(%account, took_ms,
            event = "redis_complete",
            "every gateway has put back what it remembers; Redis hands out work again");
    } else {
        tracing::warn!(%account, took_ms, silent,
            event = "redis_incomplete",
            "gateway processes that shared this Redis did not answer; it hands out work again, as it knows all that \
             they were seen to send");
    }
}
