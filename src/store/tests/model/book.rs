//! What a store should hold: the model of a message's life (`domain::life`), with the few things
//! around it that a store keeps. Plain values; every change is one function, as in the stores.

use super::*;
use crate::domain::state::Step;
use crate::domain::{InboundEntry, Life, Progress, ReplyKind, StatusEntry, Writer};
use crate::store::refusals;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The channels of the stories, both of one account.
pub(super) const OURS: [&str; 2] = ["a", "b"];
/// A moment before any story: the real clock.
pub(super) const PAST: i64 = -1_000_000_000;
/// How long an unknown outcome waits, and how long a message lives.
pub(super) const HOLD: i64 = 600;
/// Beyond this what is due was written by a clock that was ahead.
const FARTHEST: i64 = 2 * 3600;
/// The brand's number in every message.
pub(super) const BRAND: &str = "+1 202-555-0999";

/// The channel of the nth message.
pub(super) fn channel_of(n: u64) -> usize {
    (n % 2) as usize
}

/// Whom the nth message is for: each person gets messages of both channels.
pub(super) fn person_of(n: u64) -> u64 {
    n / 2 % 2
}

/// Another number of the kth person, or of the other one: whose it is, the first status of a message says.
pub(super) fn other_number(k: u64) -> u64 {
    2 + k
}

/// Whether the nth message is a promotion.
pub(super) fn is_promotion(n: u64) -> bool {
    n.is_multiple_of(3)
}

pub(super) fn name_of(n: u64) -> String {
    format!("m{n}")
}

#[derive(Debug)]
pub(super) struct Kept {
    /// Told from an earlier message of the same name that retention removed.
    pub(super) birth: u64,
    pub(super) life: Life,
    pub(super) due: i64,
    pub(super) accepted: i64,
    /// The same before a clock that was set back changed it.
    first_accepted: i64,
    pub(super) attempts: u32,
    settled: i64,
    pub(super) last_claim: Option<usize>,
    /// Its end was told.
    told: bool,
    /// Its place in the order of things.
    attempted: u64,
    pub(super) id: Option<String>,
    pub(super) inferred: bool,
    pub(super) progress: Progress,
}

/// A claim of one message.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) n: u64,
    pub(super) birth: u64,
    pub(super) process: usize,
}

/// A status whose message is not known.
#[derive(Debug)]
struct Early {
    id: String,
    said: Said,
    person: Option<u64>,
    channel: usize,
    /// When it came, by the clock, and its place in the order of things.
    came: (i64, u64),
}

/// Callbacks that keep their order: of a message, or of a person on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Line {
    Statuses(u64),
    Replies(u64),
}

impl Line {
    pub(super) fn lane(self) -> Destination {
        match self {
            Self::Statuses(_) => Destination::Status,
            Self::Replies(_) => Destination::Inbound,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    /// Told from all others.
    pub(super) serial: u64,
    pub(super) callback: Callback,
    pub(super) tries: u32,
    pub(super) created: i64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    /// When the first is due.
    pub(super) due: i64,
    /// The take that has the first in its hands.
    pub(super) taken: Option<usize>,
    /// When those that were given up came.
    dead: Vec<i64>,
}

#[derive(Debug)]
pub(super) struct Book {
    /// Several processes: what a process says late counts.
    shared: bool,
    pub(super) now: i64,
    /// How many things have happened: before and after are told by their order, not by a clock.
    place: u64,
    pub(super) messages: BTreeMap<u64, Kept>,
    pub(super) claims: Vec<Claim>,
    early: Vec<Early>,
    /// Whose a provider id is.
    ids: BTreeMap<String, u64>,
    pub(super) queues: BTreeMap<(usize, Line), Queue>,
    opted_out: BTreeSet<(usize, u64, OptOut)>,
    /// Whose the other numbers are.
    aliases: BTreeMap<u64, u64>,
    pub(super) ledgers: [Ledger; 2],
}

impl Book {
    pub(super) fn new(shared: bool) -> Self {
        Self {
            shared,
            now: 0,
            place: 0,
            messages: BTreeMap::new(),
            claims: Vec::new(),
            early: Vec::new(),
            ids: BTreeMap::new(),
            queues: BTreeMap::new(),
            opted_out: BTreeSet::new(),
            aliases: BTreeMap::new(),
            ledgers: [Ledger::default(); 2],
        }
    }

    /// The place of what happens now.
    fn next(&mut self) -> u64 {
        self.place += 1;
        self.place
    }

    fn count(&mut self, n: u64, state: State, by: i64) {
        let ledger = &mut self.ledgers[channel_of(n)];
        *match state {
            State::Queued => &mut ledger.queued,
            State::Attempting => &mut ledger.attempting,
            State::Accepted => &mut ledger.accepted_by_provider,
            State::Unknown => &mut ledger.unknown,
            State::Failed => &mut ledger.failed,
        } += by;
    }

    pub(super) fn accept(&mut self, n: u64) -> Accepted {
        if self.messages.contains_key(&n) {
            return Accepted::Repeat { same: true };
        }
        match self.unwanted(n) {
            Some(scope) if scope == OptOut::All || is_promotion(n) => {
                return Accepted::OptedOut(scope);
            }
            _ => {}
        }
        let birth = self.next();
        let kept = Kept {
            birth,
            life: Life::NEW,
            due: self.now,
            accepted: self.now,
            first_accepted: self.now,
            attempts: 0,
            settled: 0,
            last_claim: None,
            told: false,
            attempted: birth,
            id: None,
            inferred: false,
            progress: Progress::default(),
        };
        self.messages.insert(n, kept);
        self.ledgers[channel_of(n)].accepted += 1;
        self.count(n, State::Queued, 1);
        Accepted::Stored
    }

    /// A step, if the writer may take it; `refusal` is what MoEngage is told when it is the last.
    fn step(&mut self, n: u64, writer: Writer, step: Step, refusal: Refusal) -> bool {
        let now = self.now;
        let Some(kept) = self.messages.get_mut(&n) else {
            return false;
        };
        let before = kept.life;
        let Ok(next) = before.after(writer, step) else {
            return false;
        };
        kept.life = next;
        if next.state.is_settled() {
            kept.settled = now;
        }
        let failed = next.state == State::Failed;
        if failed {
            assert_eq!(kept.progress, Progress::default(), "told before");
            kept.progress = Progress::at(Some(Status::Failed));
        }
        self.count(n, before.state, -1);
        self.count(n, next.state, 1);
        if failed {
            self.tell(n, Status::Failed, now, Some(refusal));
        }
        true
    }

    fn tell(&mut self, n: u64, status: Status, at_seconds: i64, error: Option<Refusal>) {
        let entry = Callback::Status(StatusEntry {
            msg_id: MsgId::parse(&name_of(n)).unwrap(),
            status,
            at: at(at_seconds),
            error,
        });
        self.enqueue(channel_of(n), Line::Statuses(n), entry);
    }

    fn enqueue(&mut self, channel: usize, line: Line, callback: Callback) {
        let serial = self.next();
        let queue = self.queues.entry((channel, line)).or_default();
        if queue.waiting.is_empty() {
            (queue.due, queue.taken) = (self.now, None);
        }
        queue.waiting.push_back(Waiting {
            serial,
            callback,
            tries: 0,
            created: self.now,
        });
        self.ledgers[channel].callbacks_waiting += 1;
    }

    /// Messages that a claim may take now.
    pub(super) fn due(&self, channel: usize) -> impl Iterator<Item = u64> {
        let due = move |(n, kept): &(&u64, &Kept)| {
            channel_of(**n) == channel && kept.life.state == State::Queued && kept.due <= self.now
        };
        self.messages.iter().filter(due).map(|(n, _)| *n)
    }

    /// A process has claimed a message. Returns the place of the claim.
    pub(super) fn claim(&mut self, n: u64, process: usize) -> usize {
        assert!(
            self.due(channel_of(n)).any(|due| due == n),
            "m{n} was not due"
        );
        assert!(
            self.refusal_of(n).is_none(),
            "m{n} may not be sent any more"
        );
        let (attempted, place) = (self.next(), self.claims.len());
        assert!(self.step(n, Writer::Worker, Step::Claim, refusal()));
        let kept = self.messages.get_mut(&n).unwrap();
        kept.attempts += 1;
        (kept.last_claim, kept.told, kept.attempted) = (Some(place), false, attempted);
        let birth = kept.birth;
        self.claims.push(Claim { n, birth, process });
        place
    }

    /// What the person of a message does not want.
    pub(super) fn unwanted(&self, n: u64) -> Option<OptOut> {
        let (home, person) = (channel_of(n), person_of(n));
        let scopes = [OptOut::All, OptOut::Marketing].into_iter();
        let mut scopes = scopes.filter(|scope| self.opted_out.contains(&(home, person, *scope)));
        scopes.next()
    }

    /// Why a queued message must not be sent any more.
    pub(super) fn refusal_of(&self, n: u64) -> Option<Refusal> {
        if self.messages[&n].accepted < self.now - DAY {
            return Some(refusals::too_old());
        }
        let unwanted = self.unwanted(n).filter(|scope| *scope == OptOut::All);
        unwanted.map(OptOut::refusal)
    }

    /// A claim has found that a message must not be sent.
    pub(super) fn refuse(&mut self, n: u64) -> Refusal {
        let refusal = self
            .refusal_of(n)
            .unwrap_or_else(|| panic!("m{n} was failed"));
        assert!(self.step(n, Writer::Worker, Step::Fail, refusal.clone()));
        refusal
    }

    /// The end of an attempt is told.
    pub(super) fn end(&mut self, claim: usize, end: &Settlement) {
        let Claim { n, birth, .. } = self.claims[claim];
        let Some(kept) = self.messages.get(&n).filter(|kept| kept.birth == birth) else {
            return;
        };
        let is_last = kept.last_claim == Some(claim);
        let under_way = is_last && kept.life.state == State::Attempting;
        // The only process loses no lease: who has no attempt under way has told its end.
        let told = kept.told && is_last || !self.shared && !under_way;
        let Some(writer) = Writer::of_claim(is_last || told, told) else {
            return;
        };
        let step = match end {
            Settlement::Accepted { .. } => Step::Receipt,
            Settlement::Retry { .. } => Step::Retry,
            Settlement::Failed { .. } => Step::Fail,
            Settlement::Unknown { .. } => Step::Lose,
        };
        let words = match end {
            Settlement::Failed { refusal, .. } => refusal.clone(),
            _ => refusal(),
        };
        let written = self.step(n, writer, step, words);
        let kept = self.messages.get_mut(&n).unwrap();
        if written {
            kept.told |= writer == Writer::Holder;
            let until = match end {
                Settlement::Retry { due, .. } => Some(*due),
                Settlement::Unknown { until, .. } => Some(*until),
                _ => None,
            };
            if let Some(until) = until {
                kept.due = seconds(until);
            }
        }
        if let Settlement::Accepted { receipt, .. } = end {
            let id = receipt.provider_id.as_str().to_owned();
            if written && kept.life.state == State::Accepted {
                kept.id = Some(id.clone());
            }
            // One of an earlier attempt belongs here too.
            let known = self.ids.contains_key(&id);
            if !known || written {
                self.match_early(n, &id);
            }
        }
        self.settle_id(n);
        self.infer_receipt(person_of(n));
    }

    /// Accepted by the receipt of an earlier attempt: that is its id now.
    fn settle_id(&mut self, n: u64) {
        let kept = self.messages.get_mut(&n).unwrap();
        if kept.life.state == State::Accepted && kept.id.is_none() {
            let mut ids = self.ids.iter().filter(|(_, of)| **of == n);
            kept.id = ids.next().map(|(id, _)| id.clone());
        }
    }

    /// The id is this message's from now on.
    fn match_early(&mut self, n: u64, id: &str) {
        self.ids.insert(id.to_owned(), n);
        let mut matched = Vec::new();
        self.early.retain(|one| {
            if one.id == id {
                matched.push((one.said, one.came.0, one.person));
            }
            one.id != id
        });
        for (said, came, named) in matched {
            self.learn(n, named);
            self.fold(n, said, came);
        }
    }

    /// Who has this number, as far as that is known.
    fn who(&self, number: u64) -> u64 {
        self.aliases.get(&number).copied().unwrap_or(number)
    }

    /// All numbers of a person.
    fn numbers(&self, person: u64) -> Vec<u64> {
        let others = self.aliases.iter().filter(|(_, of)| **of == person);
        others.map(|(other, _)| *other).chain([person]).collect()
    }

    /// A status of a message names its person by this number.
    fn learn(&mut self, n: u64, named: Option<u64>) {
        let person = person_of(n);
        let Some(other) = named.filter(|named| *named != person) else {
            return;
        };
        let is_linked = self.aliases.contains_key(&other) || self.numbers(person).len() > 1;
        if self.messages[&n].inferred || is_linked {
            return;
        }
        self.aliases.insert(other, person);
        // What one of the two does not want, nobody of them wants.
        let of_both = |(_, number, _): &&(usize, u64, OptOut)| [other, person].contains(number);
        let unwanted: Vec<_> = self.opted_out.iter().filter(of_both).copied().collect();
        for (home, _, scope) in unwanted {
            self.opt_out(home, person, scope);
        }
    }

    fn opt_out(&mut self, home: usize, person: u64, scope: OptOut) {
        for number in self.numbers(person) {
            self.opted_out.insert((home, number, scope));
        }
    }

    fn fold(&mut self, n: u64, (status, stopped): Said, at_seconds: i64) {
        if stopped {
            // Whatever is told of the message.
            self.opt_out(channel_of(n), person_of(n), OptOut::Marketing);
        }
        let kept = self.messages.get_mut(&n).unwrap();
        let (next, emit) = kept.progress.fold(status);
        kept.progress = next;
        if emit {
            let failed = "Failed after acceptance:";
            let error = || match (stopped, OptOut::Marketing.refusal()) {
                (true, Refusal { kind, reason }) => {
                    Refusal::new(kind, format!("{failed} {STOPPED} ({reason})"))
                }
                _ => Refusal::new(RefusalKind::Other, format!("{failed} 1013 not on WhatsApp")),
            };
            let error = (status == Status::Failed).then(error);
            self.tell(n, status, at_seconds, error);
        }
    }

    /// Evidence for a person's one message in doubt (design.md G3).
    fn infer_receipt(&mut self, person: u64) {
        let of_person = self
            .messages
            .iter()
            .filter(|(n, _)| person_of(**n) == person);
        let (names, lives): (Vec<u64>, Vec<Life>) =
            of_person.map(|(n, kept)| (*n, kept.life)).unzip();
        let Some(place) = Life::provable(&lives) else {
            return;
        };
        let n = names[place];
        let since = self.messages[&n].attempted;
        let of_person = |one: &&Early| one.person.map(|named| self.who(named)) == Some(person);
        let named = self.early.iter().filter(of_person);
        let mut ids: BTreeSet<String> = named.map(|one| one.id.clone()).collect();
        ids.retain(|id| {
            let first = self.early.iter().find(|one| one.id == *id);
            // An id that was seen before the attempt belongs to another message.
            first.is_some_and(|one| one.came.1 > since)
        });
        if ids.len() != 1 {
            return;
        }
        let id = ids.pop_first().unwrap();
        assert!(self.step(n, Writer::Status, Step::Evidence, refusal()));
        let kept = self.messages.get_mut(&n).unwrap();
        (kept.id, kept.inferred) = (Some(id.clone()), true);
        self.match_early(n, &id);
    }

    pub(super) fn event(&mut self, channel: usize, id: &str, said: Said, person: Option<u64>) {
        self.ledgers[channel].events += 1;
        if let Some(n) = self.ids.get(id).copied() {
            self.learn(n, person);
            return self.fold(n, said, self.now);
        }
        let came = (self.now, self.next());
        let same = |one: &Early| {
            let is_new = said.1 && !one.said.1;
            let named = person.is_none() || one.person == person;
            one.id == id && one.said.0 == said.0 && named && !is_new
        };
        if !self.early.iter().any(same) {
            self.early.push(Early {
                id: id.to_owned(),
                said,
                person,
                channel,
                came,
            });
        }
        if let Some(person) = person {
            self.infer_receipt(self.who(person));
        }
    }

    /// Replies that came again: counted, and nothing else.
    pub(super) fn repeated(&mut self, channel: usize, replies: usize) {
        self.ledgers[channel].events += i64::try_from(replies).unwrap();
    }

    pub(super) fn reply(&mut self, channel: usize, number: u64, word: &str, sent: UnixMs) {
        self.ledgers[channel].events += 1;
        let person = self.who(number);
        let reached = |(n, kept): &(&u64, &Kept)| {
            let may_have = !matches!(kept.life.state, State::Queued | State::Failed);
            person_of(**n) == person
                && (may_have || kept.life.lost)
                && kept.accepted >= self.now - 7 * DAY
        };
        let latest = self
            .messages
            .iter()
            .filter(reached)
            .max_by_key(|(_, kept)| {
                let accepted = if self.shared {
                    kept.first_accepted
                } else {
                    kept.accepted
                };
                // A reply may overtake the answer to a send; what was answered comes first.
                let answered = kept.life.state != State::Attempting || kept.life.lost;
                (answered, accepted, kept.birth)
            });
        let answered = latest.map(|(n, _)| *n);
        let home = answered.map_or(channel, channel_of);
        match word {
            "stop" => {
                self.opt_out(home, person, OptOut::All);
            }
            "stop promotions" => {
                self.opt_out(home, person, OptOut::Marketing);
            }
            "start" => {
                for number in self.numbers(person) {
                    self.opted_out.remove(&(home, number, OptOut::All));
                }
            }
            _ if answered.is_none() => return,
            _ => {}
        }
        let entry = Callback::Inbound(InboundEntry {
            from: phone(person),
            waba_number: BRAND.into(),
            at: sent,
            kind: ReplyKind::Text,
            text: word.into(),
            msg_id: answered.map(|n| MsgId::parse(&name_of(n)).unwrap()),
        });
        self.enqueue(home, Line::Replies(person), entry);
    }

    /// A successor goes on for processes that are gone; their attempts are unknown until `until`.
    pub(super) fn take_over(&mut self, gone: &[usize], until: i64) {
        let under_way = gone.iter().flat_map(|process| self.under_way(*process));
        let lost: Vec<u64> = under_way.collect();
        for n in &lost {
            assert!(self.step(*n, Writer::Successor, Step::Lose, refusal()));
            self.messages.get_mut(n).unwrap().due = until;
            self.settle_id(*n);
        }
        // Only when all are put down: two to the same person prove nothing.
        let people: BTreeSet<u64> = lost.into_iter().map(person_of).collect();
        people
            .into_iter()
            .for_each(|person| self.infer_receipt(person));
    }

    fn under_way(&self, process: usize) -> Vec<u64> {
        let of_process = |kept: &Kept| {
            let claim = kept.last_claim.map(|claim| &self.claims[claim]);
            kept.life.state == State::Attempting && claim.is_some_and(|one| one.process == process)
        };
        let messages = self.messages.iter();
        messages
            .filter(|(_, kept)| of_process(kept))
            .map(|(n, _)| *n)
            .collect()
    }

    /// What a claim took whose answer was lost goes back.
    pub(super) fn give_back(&mut self, claim: usize) {
        let Claim { n, .. } = self.claims[claim];
        let kept = self.messages.get_mut(&n).unwrap();
        if kept.last_claim == Some(claim) && kept.life.state == State::Attempting {
            kept.due = self.now;
            assert!(self.step(n, Writer::Holder, Step::Retry, refusal()));
            self.settle_id(n);
            self.infer_receipt(person_of(n));
        }
    }

    /// The clock was ahead and has been set back.
    fn bring_back(&mut self) {
        let now = self.now;
        for kept in self.messages.values_mut() {
            // What was never tried is due when it is accepted, where one clock tells that.
            let alone = kept.attempts == 0 && !self.shared;
            let farthest = if alone { 0 } else { FARTHEST };
            match kept.life.state {
                State::Queued if kept.due > now + farthest => {
                    (kept.due, kept.accepted) = (now, kept.accepted.min(now));
                }
                State::Unknown if kept.due > now + HOLD + FARTHEST => kept.due = now + HOLD,
                _ => {}
            }
        }
        for queue in self.queues.values_mut() {
            if queue.taken.is_none() && queue.due > now + FARTHEST {
                queue.due = now;
            }
        }
    }

    /// What time alone brings about.
    pub(super) fn sweep(&mut self, resend: bool, ages: bool) {
        if ages {
            self.bring_back();
            let old = |kept: &Kept| kept.accepted < self.now - DAY;
            let old: Vec<u64> = self.those(|kept| kept.life.state == State::Queued && old(kept));
            for n in old {
                assert!(self.step(n, Writer::Time, Step::Fail, refusals::too_old()));
            }
        }
        let now = self.now;
        let mut over = self.those(|kept| kept.life.state == State::Unknown && kept.due <= now);
        over.sort_by_key(|n| self.messages[n].due);
        for n in over {
            // A last look.
            self.infer_receipt(person_of(n));
            let kept = self.messages.get_mut(&n).unwrap();
            if kept.life.state != State::Unknown {
                continue;
            }
            let young = kept.accepted >= now - DAY;
            if resend && young && self.step(n, Writer::Time, Step::Resend, refusal()) {
                self.messages.get_mut(&n).unwrap().due = now;
            } else {
                let refusal = refusals::outcome_unknown();
                assert!(self.step(n, Writer::Time, Step::Fail, refusal));
            }
        }
    }

    fn those(&self, which: impl Fn(&Kept) -> bool) -> Vec<u64> {
        let messages = self.messages.iter();
        messages
            .filter(|(_, kept)| which(kept))
            .map(|(n, _)| *n)
            .collect()
    }

    /// Retention; of the events all or none.
    pub(super) fn purge(&mut self, settled_before: i64, events: bool) -> Purged {
        let mut purged = Purged::default();
        if events {
            for one in self.early.drain(..) {
                self.ledgers[one.channel].expired_events += 1;
                purged.early_statuses += 1;
            }
        }
        for queue in self.queues.values_mut() {
            queue.dead.retain(|created| *created >= settled_before);
        }
        let quiet = |n: u64| {
            let queue = self.queues.get(&(channel_of(n), Line::Statuses(n)));
            queue.is_none_or(|queue| queue.waiting.is_empty() && queue.dead.is_empty())
        };
        let old = |(n, kept): &(&u64, &Kept)| {
            kept.life.state.is_settled() && kept.settled < settled_before && quiet(**n)
        };
        let old: Vec<u64> = self.messages.iter().filter(old).map(|(n, _)| *n).collect();
        purged.messages = old.len();
        for n in old {
            self.messages.remove(&n);
            self.ids.retain(|_, of| *of != n);
        }
        purged
    }

    /// Callbacks of a lane that may be taken now.
    pub(super) fn ready(&self, channel: usize, lane: Destination) -> Vec<Line> {
        let ready = |((of, line), queue): &(&(usize, Line), &Queue)| {
            *of == channel
                && line.lane() == lane
                && !queue.waiting.is_empty()
                && queue.taken.is_none()
                && queue.due <= self.now
        };
        self.queues
            .iter()
            .filter(ready)
            .map(|((_, line), _)| *line)
            .collect()
    }

    /// The end of a try to relay. The take is the fence; but what MoEngage took is told, unless
    /// somebody else is just telling it.
    pub(super) fn relayed(
        &mut self,
        of: (usize, Line),
        serial: u64,
        take: usize,
        end: &RelayOutcome,
    ) {
        let Some(queue) = self.queues.get_mut(&of) else {
            return;
        };
        let first = queue.waiting.front();
        let is_first = first.is_some_and(|first| first.serial == serial);
        let mine = queue.taken == Some(take);
        let free = queue.taken.is_none() && matches!(end, RelayOutcome::Taken { .. });
        if !is_first || !(mine || free) {
            return;
        }
        queue.taken = None;
        let ledger = &mut self.ledgers[of.0];
        if let RelayOutcome::Later { due } = end {
            queue.due = seconds(*due);
            queue.waiting[0].tries += 1;
            return;
        }
        let gone = queue.waiting.pop_front().unwrap();
        queue.due = self.now;
        ledger.callbacks_waiting -= 1;
        if matches!(end, RelayOutcome::Taken { .. }) {
            ledger.callbacks_taken += 1;
        } else {
            ledger.dead_letters += 1;
            queue.dead.push(gone.created);
        }
    }

    /// What is relayed by these takes may be taken again.
    pub(super) fn release(&mut self, takes: &[usize]) {
        for queue in self.queues.values_mut() {
            if queue.taken.is_some_and(|take| takes.contains(&take)) {
                (queue.taken, queue.due) = (None, self.now);
            }
        }
    }

    /// At its start the only process makes everything due.
    pub(super) fn all_due(&mut self) {
        for queue in self.queues.values_mut() {
            if let Some(first) = queue.waiting.front() {
                (queue.taken, queue.due) = (None, first.created);
            }
        }
    }

    pub(super) fn hasten(&mut self, channel: usize, lane: Destination) {
        for ((of, line), queue) in &mut self.queues {
            if *of == channel && line.lane() == lane && queue.taken.is_none() {
                queue.due = queue.due.min(self.now);
            }
        }
    }
}

fn seconds(moment: UnixMs) -> i64 {
    (moment.0 - at(0).0) / 1000
}
