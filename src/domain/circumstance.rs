//! Circumstances: what concerns more than one message, and so must not decide about each of them
//! (design.md section 5). One account's worth; pure, with the time as an argument.
//!
//! Answers that accuse or refuse alike make a run (`runs`). A run that is long enough holds the
//! narrowest scope that contains it: its messages wait, answers that still arrive fail nobody, and
//! trials ([`Hold`]) end it by themselves. Never reads a clock, never stores: `hold` does.

mod accused;
mod hold;
mod ruling;
mod runs;
#[cfg(test)]
mod tests;
mod under_way;

pub use hold::{Hold, Kind, Scope, Stage};
pub use ruling::{Call, Cause, End, Listed, Now, Ruling};

use super::proof::{About, Judgement, Proof};
use super::{AccountId, ChannelId, UnixMs};
use accused::{Accused, AccusedMessages};
use runs::{Charge, Reach, Runs};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use under_way::UnderWay;

/// A second scope held for the same reason within this time holds the wider one.
const SPREADS_WITHIN: Duration = Duration::from_secs(600);

/// The circumstances of one account.
#[derive(Debug)]
pub struct Circumstances {
    account: AccountId,
    runs: BTreeMap<Scope, Runs>,
    accused: AccusedMessages,
    under_way: UnderWay,
    /// Held scopes, and those on probation.
    holds: BTreeMap<Scope, Hold>,
}

impl Circumstances {
    /// An account in which nothing happened yet, with the holds that were stored.
    pub fn new(account: AccountId, stored: impl IntoIterator<Item = Hold>) -> Self {
        let holds = stored.into_iter().map(|hold| (hold.scope.clone(), hold));
        Self {
            account,
            runs: BTreeMap::new(),
            accused: AccusedMessages::default(),
            under_way: UnderWay::default(),
            holds: holds.collect(),
        }
    }

    /// The hold that stops this channel, the account's first.
    pub fn held(&self, channel: &ChannelId) -> Option<&Hold> {
        let account = Scope::Account(self.account.clone());
        let scopes = [account, Scope::Channel(channel.clone())];
        scopes.iter().find_map(|scope| self.held_scope(scope))
    }

    /// Every hold that stops something now.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values().filter(|hold| hold.is_held())
    }

    /// The hold of this very scope, also one on probation.
    pub fn hold(&self, scope: &Scope) -> Option<&Hold> {
        self.holds.get(scope)
    }

    fn held_scope(&self, scope: &Scope) -> Option<&Hold> {
        self.holds.get(scope).filter(|hold| hold.is_held())
    }

    /// Puts in what a scope's hold is now, as this process, an operator or another process says;
    /// `None` is no hold. Counting begins anew when one ends.
    pub fn put(&mut self, scope: &Scope, hold: Option<Hold>) {
        let was_held = self.held_scope(scope).is_some();
        let is_held = hold.as_ref().is_some_and(Hold::is_held);
        match hold {
            Some(hold) => self.holds.insert(scope.clone(), hold),
            None => self.holds.remove(scope),
        };
        if was_held && !is_held {
            self.forget(scope);
        }
    }

    /// What was counted under a hold, or towards it, counts no more.
    fn forget(&mut self, scope: &Scope) {
        match scope {
            Scope::Account(_) => self.runs.clear(),
            Scope::Channel(_) => {
                self.runs.remove(scope);
                self.runs.remove(&Scope::Account(self.account.clone()));
            }
        }
    }

    /// A call begins. What is under way may be taken, which speaks against a hold: see [`Self::ended`].
    pub fn began(&mut self, call: &Call) {
        self.under_way.add(call);
    }

    /// A call has ended, however. Judging its answer does this too.
    pub fn ended(&mut self, call: &Call) {
        self.under_way.remove(call);
    }

    /// Judges the answer to a send that is no trial.
    pub fn judge(&mut self, call: &Call, judgement: &Judgement, cause: &Cause, now: Now) -> Ruling {
        self.ended(call);
        match &judgement.proof {
            Proof::Taken(receipt) => {
                self.taken(call);
                Ruling::only(End::Taken(receipt.clone()))
            }
            Proof::Unclear => Ruling::only(End::Unknown),
            Proof::NotTaken if judgement.accuses() => self.accuse(call, judgement, cause, now),
            Proof::NotTaken => Ruling::only(End::Retry),
            Proof::Refused => self.refuse(call, judgement, cause, now),
        }
    }

    /// Judges the answer to the trial of a scope: the end of its message.
    pub fn judge_trial(&mut self, call: &Call, judgement: &Judgement) -> End {
        self.ended(call);
        match &judgement.proof {
            Proof::Taken(receipt) => {
                self.taken(call);
                End::Taken(receipt.clone())
            }
            Proof::Unclear => End::Unknown,
            Proof::NotTaken | Proof::Refused => End::PutBack,
        }
    }

    fn scopes_of(&self, channel: &ChannelId) -> [Scope; 2] {
        let account = Scope::Account(self.account.clone());
        [Scope::Channel(channel.clone()), account]
    }

    fn taken(&mut self, call: &Call) {
        for scope in self.scopes_of(&call.channel) {
            self.runs.entry(scope).or_default().taken(call.began);
        }
        self.accused.remove(call);
    }

    fn accuse(&mut self, call: &Call, judgement: &Judgement, cause: &Cause, now: Now) -> Ruling {
        if self.held(&call.channel).is_some() {
            return Ruling::only(End::PutBack);
        }
        let accused = self.accused.add(call, now.steady);
        if self.is_given_up(call, accused, now.steady) {
            self.accused.remove(call);
            return Ruling::only(End::Fail);
        }
        let mut ruling = Ruling::only(End::PutAside(accused.aside()));
        for scope in self.counted_in(call, judgement) {
            let alike = self.alike(&scope, cause, now.wall);
            let charge = Charge {
                reason: &cause.reason,
                on_probation: alike,
                at: now.steady,
            };
            let runs = self.runs.entry(scope.clone()).or_default();
            let under_way = |began| self.under_way.any(&scope, &began);
            let reach = runs.accuse(call, charge, under_way);
            match reach {
                Reach::Hold if alike || self.may_hold(&scope, judgement, cause) => {
                    let hold = self.begin(scope, Kind::Accused, cause, now);
                    return Ruling::begins(hold);
                }
                Reach::Ask if ruling.ask.is_none() => ruling.ask = Some(scope),
                _ => {}
            }
        }
        ruling
    }

    fn is_given_up(&self, call: &Call, accused: Accused, now: Instant) -> bool {
        let runs = self.runs.get(&Scope::Channel(call.channel.clone()));
        accused.is_enough(now) && runs.is_some_and(|runs| runs.took_since(accused.first))
    }

    fn refuse(&mut self, call: &Call, judgement: &Judgement, cause: &Cause, now: Now) -> Ruling {
        if judgement.about == About::Recipient {
            return Ruling::only(End::Fail);
        }
        if self.held(&call.channel).is_some() {
            return Ruling::only(End::PutBack);
        }
        for scope in self.counted_in(call, judgement) {
            let alike = self.alike(&scope, cause, now.wall);
            let charge = Charge {
                reason: &cause.reason,
                on_probation: alike,
                at: now.steady,
            };
            let runs = self.runs.entry(scope.clone()).or_default();
            let reach = runs.refuse(call, charge);
            if reach == Reach::Hold && (alike || self.may_hold(&scope, judgement, cause)) {
                let hold = self.begin(scope, Kind::Refused, cause, now);
                return Ruling::begins(hold);
            }
        }
        Ruling::only(End::Fail)
    }

    /// The scopes in whose runs an answer counts, the narrowest first.
    fn counted_in(&self, call: &Call, judgement: &Judgement) -> Vec<Scope> {
        let [channel, account] = self.scopes_of(&call.channel);
        if judgement.about == About::Account {
            vec![account]
        } else {
            vec![channel, account]
        }
    }

    /// Whether the account may be held: not for what happened in one channel, unless it is about the
    /// account by the provider's own word.
    fn may_hold(&self, scope: &Scope, judgement: &Judgement, cause: &Cause) -> bool {
        matches!(scope, Scope::Channel(_))
            || judgement.about == About::Account
            || self
                .runs
                .get(scope)
                .is_some_and(|runs| runs.channels(&cause.reason) > 1)
    }

    /// Whether a scope is on probation for this cause.
    fn alike(&self, scope: &Scope, cause: &Cause, now: UnixMs) -> bool {
        self.holds.get(scope).is_some_and(|hold| {
            !hold.is_held() && !hold.is_over(now) && hold.reason == cause.reason
        })
    }

    /// Whether what [`Listed::OneRecipient`] told of this scope still holds.
    pub fn one_is_refused(&self, scope: &Scope, now: Now) -> bool {
        let runs = self.runs.get(scope);
        runs.is_some_and(|runs| runs.one_is_refused(now.steady))
    }

    /// The answer to the list call that a ruling wanted. `refused`: it is refused like the sends, so
    /// it is not about one recipient. `None`: nothing follows that was not told before.
    pub fn listed(
        &mut self,
        scope: &Scope,
        cause: &Cause,
        refused: bool,
        now: Now,
    ) -> Option<Listed> {
        if self.held_scope(scope).is_some() {
            return None;
        }
        let fresh = self.runs.get_mut(scope)?.listed(&cause.reason)?;
        if refused {
            let hold = self.begin(scope.clone(), Kind::Accused, cause, now);
            return Some(Listed::Hold(hold));
        }
        fresh.then_some(Listed::OneRecipient)
    }

    /// Begins a hold: of this scope, or of the account where another channel was held for the same
    /// reason a short time ago.
    fn begin(&mut self, scope: Scope, kind: Kind, cause: &Cause, now: Now) -> Hold {
        let recent = |hold: &Hold| {
            hold.reason == cause.reason && now.wall.since(hold.since) < SPREADS_WITHIN
        };
        let elsewhere = |(other, hold): (&Scope, &Hold)| {
            matches!(other, Scope::Channel(_)) && *other != scope && recent(hold)
        };
        let spreads = matches!(scope, Scope::Channel(_)) && self.holds.iter().any(elsewhere);
        let scope = if spreads {
            Scope::Account(self.account.clone())
        } else {
            scope
        };
        let hold = Hold::begin(scope.clone(), kind, cause, now.wall);
        self.put(&scope, Some(hold.clone()));
        self.forget(&scope);
        hold
    }
}
