//! A story being told: each step is made on the store and in the book, and then both are compared.

use super::book::{
    BRAND, Book, Claim, HOLD, Line, OURS, PAST, channel_of, is_promotion, name_of, other_number,
    person_of,
};
use super::*;
use std::collections::BTreeMap;
use std::time::Instant;

/// Leases last ten seconds of real time; on a slow machine a story may take longer.
const RENEW_AFTER: Duration = Duration::from_secs(3);
/// A moment before all that a story stores.
const BEFORE_ALL: i64 = -100_000_000;

pub(super) struct Story {
    rig: Rig,
    book: Book,
    /// As long as the book's.
    claims: Vec<Claimed>,
    takes: Vec<Taken>,
    /// Leases that stand, or are over and nobody has noticed, by process.
    leases: BTreeMap<usize, Lease>,
    renewed: Instant,
    /// What MoEngage heard of each message, by its name and birth.
    heard: BTreeMap<(u64, u64), Vec<Callback>>,
    /// Replies so far.
    replies: i64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Lease {
    Stands,
    Over,
}

/// A claim, as its process knows it.
struct Claimed {
    /// Nothing when the answer was lost.
    claimed: Option<ClaimedMessage>,
    /// The provider's id of this attempt.
    id: String,
    /// The provider has it.
    sent: bool,
    end: Option<Settlement>,
    alive: bool,
}

/// A callback that a process took.
struct Taken {
    of: (usize, Line),
    serial: u64,
    process: usize,
    /// Nothing when the answer was lost.
    handle: Option<CallbackLease>,
    end: Option<RelayOutcome>,
    alive: bool,
}

impl Story {
    pub(super) async fn new(rig: Rig) -> Self {
        rig.begin().await;
        Self {
            book: Book::new(rig.is_shared()),
            rig,
            claims: Vec::new(),
            takes: Vec::new(),
            leases: BTreeMap::new(),
            renewed: Instant::now(),
            heard: BTreeMap::new(),
            replies: 0,
        }
    }

    fn now(&self) -> UnixMs {
        at(self.book.now)
    }

    /// The process that is meant.
    fn place(&self, by: usize) -> usize {
        by % self.rig.processes.len()
    }

    fn store(&self, by: usize) -> Outbox {
        self.rig.processes[self.place(by)].world.store.clone()
    }

    fn number(&self, by: usize) -> usize {
        self.rig.processes[self.place(by)].number
    }

    /// Makes a call, whose answer is lost if that is wanted and can be.
    async fn call<T>(
        &self,
        by: usize,
        lost: bool,
        call: impl Future<Output = Result<T, crate::store::StoreError>>,
    ) -> Option<T> {
        let process = &self.rig.processes[self.place(by)];
        let (true, Some(road)) = (lost, &process.road) else {
            return Some(call.await.unwrap());
        };
        road.lose_next();
        road.shut(true);
        assert!(call.await.is_err(), "the answer was lost");
        road.shut(false);
        assert!(road.has_lost());
        process.connect().await;
        None
    }

    pub(super) async fn step(&mut self, op: &Op) {
        self.book.now += 1;
        if self.renewed.elapsed() > RENEW_AFTER {
            self.renew_all().await;
        }
        match op {
            Op::Accept { n, lost } => self.accept(*n, *lost).await,
            Op::Claim { by, most, lost } => self.claim(*by, *most, *lost).await,
            Op::End { claim, end, lost } => self.end_attempt(*claim, *end, *lost).await,
            Op::Events {
                channel,
                events,
                lost,
            } => self.events(*channel, events, *lost).await,
            Op::Reply {
                channel,
                person,
                word,
                lost,
            } => {
                self.reply(*channel, *person, word, *lost).await;
            }
            Op::CallbackLease {
                by,
                channel,
                lane,
                most,
                lost,
            } => {
                self.take(*by, (*channel, *lane), *most, *lost).await;
            }
            Op::Relayed { take, end, lost } => self.relayed(*take, *end, *lost).await,
            Op::Hasten { channel, lane } => {
                let (queue, now) = (self::lane(OURS[*channel], *lane), self.now());
                self.store(0).hasten_callbacks(&queue, now).await.unwrap();
                self.book.hasten(*channel, *lane);
            }
            Op::Sweep {
                by,
                resend,
                ages,
                lost,
            } => self.sweep(*by, (*resend, *ages), *lost).await,
            Op::Purge { by, age, events } => self.purge(*by, *age, *events).await,
            Op::Renew { by } => self.renew(*by).await,
            Op::LeaseEnds { process } => self.lease_ends(*process).await,
            Op::Kill { by } => self.kill(*by).await,
            Op::Leave { by } => self.leave(*by).await,
            Op::Pass { seconds } => self.book.now += seconds,
        }
    }

    async fn accept(&mut self, n: u64, lost: bool) {
        let (channel, account) = (channel(OURS[channel_of(n)]), account());
        let message = message(&name_of(n), person_of(n));
        let (store, now) = (self.store(n as usize), self.now());
        let arrival = Arrival {
            message: &message,
            is_marketing: is_promotion(n),
        };
        let accepted = store.accept(&channel, &account, arrival, now);
        let accepted = self.call(n as usize, lost, accepted).await;
        let expected = self.book.accept(n);
        assert_eq!(accepted.unwrap_or(expected), expected);
    }

    /// A process that takes something has a lease then. Whether it had one before.
    fn leased(&mut self, by: usize) -> bool {
        let number = self.number(by);
        if !self.rig.is_shared() || self.leases.get(&number) == Some(&Lease::Stands) {
            return true;
        }
        self.back(number);
        false
    }

    /// A process renews its lease: what it took and does not know of goes back.
    fn back(&mut self, number: usize) {
        let now = std::mem::replace(&mut self.book.now, PAST);
        for (place, claim) in self.claims.iter_mut().enumerate() {
            let lost = claim.claimed.is_none() && claim.alive;
            if lost && self.book.claims[place].process == number {
                claim.alive = false;
                self.book.give_back(place);
            }
        }
        let mut back = Vec::new();
        for (place, take) in self.takes.iter_mut().enumerate() {
            if take.handle.is_none() && take.alive && take.process == number {
                take.alive = false;
                back.push(place);
            }
        }
        self.book.release(&back);
        self.book.now = now;
        self.leases.insert(number, Lease::Stands);
    }

    async fn claim(&mut self, by: usize, most: usize, lost: bool) {
        // Without a lease the first answer says so.
        let lost = self.leased(by) && lost;
        let (store, now) = (self.store(by), self.now());
        let queues = OURS.map(|name| ClaimFrom {
            channel: channel(name),
            ages: at(self.book.now - DAY).into(),
            retries: usize::MAX,
            aside: usize::MAX,
        });
        let claims = store.claim(queues.to_vec(), most, now);
        match self.call(by, lost, claims).await {
            Some(claims) => self.claimed(by, most, claims),
            None => self.claimed_unheard(by).await,
        }
    }

    fn claimed(&mut self, by: usize, most: usize, claims: Claims) {
        assert!(claims.taken.len() <= most);
        let all = claims.taken.len() < most && claims.failed.is_empty();
        for one in claims.taken {
            let n = number_of(one.message.msg_id.as_str());
            self.take_on(by, n, Some(one.clone()));
            let kept = &self.book.messages[&n];
            assert_eq!(one.channel, channel(OURS[channel_of(n)]));
            assert_eq!(one.message, message(&name_of(n), person_of(n)));
            assert_eq!(
                (one.attempt, one.accepted_at, one.no_marketing),
                (
                    kept.attempts,
                    at(kept.accepted),
                    self.book.unwanted(n).is_some()
                )
            );
        }
        for (_, id, refusal) in claims.failed {
            assert_eq!(self.book.refuse(number_of(id.as_str())), refusal);
        }
        if all {
            let left: Vec<u64> = (0..2).flat_map(|of| self.book.due(of)).collect();
            assert!(left.is_empty(), "left behind: {left:?}");
        }
    }

    /// The answer was lost: what was taken shows in the records.
    async fn claimed_unheard(&mut self, by: usize) {
        let due: Vec<u64> = (0..2).flat_map(|of| self.book.due(of)).collect();
        for n in due {
            let search = Search::MsgId(channel(OURS[channel_of(n)]), name_of(n));
            let record = self.store(by).find(search, 1).await.unwrap().remove(0);
            match record.state {
                State::Attempting => self.take_on(by, n, None),
                State::Failed => drop(self.book.refuse(n)),
                _ => {}
            }
        }
    }

    fn take_on(&mut self, by: usize, n: u64, claimed: Option<ClaimedMessage>) {
        let process = self.number(by);
        let place = self.book.claim(n, process);
        // design.md G3: nothing is claimed that another attempt may have sent, unless it is sent once
        // more as configured.
        let kept = &self.book.messages[&n];
        let before = self.book.claims.iter().zip(&self.claims);
        let may_be_sent = |(of, claim): &(&Claim, &Claimed)| {
            let not_sent = matches!(
                claim.end,
                Some(Settlement::Retry { .. } | Settlement::Failed { .. })
            );
            (of.n, of.birth) == (n, kept.birth) && claim.claimed.is_some() && !not_sent
        };
        let open = before.filter(may_be_sent).count();
        assert!(
            open <= usize::from(kept.life.resent),
            "m{n} may be sent twice"
        );
        self.claims.push(Claimed {
            claimed,
            id: format!("P-{}-{place}", name_of(n)),
            sent: false,
            end: None,
            alive: true,
        });
    }

    async fn end_attempt(&mut self, which: usize, end: End, lost: bool) {
        let known = |(place, claim): &(usize, &Claimed)| {
            let of = &self.book.claims[*place];
            let here = self.book.messages.get(&of.n);
            // Retention is days away from the last time that an end is told.
            claim.alive
                && claim.claimed.is_some()
                && here.is_some_and(|kept| kept.birth == of.birth)
        };
        let Some(place) = newest(self.claims.iter().enumerate().filter(known), which) else {
            return;
        };
        let (retry, until) = (at(self.book.now + 5), at(self.book.now + HOLD));
        let claim = &mut self.claims[place];
        let end = claim.end.get_or_insert_with(|| match (end, claim.sent) {
            (End::Receipt, _) | (End::Fail, true) => receipt(&claim.id),
            (End::Retry, false) => Settlement::retry(retry),
            (End::Fail, false) => Settlement::failed(refusal()),
            (End::Lose, _) | (End::Retry, true) => Settlement::Unknown {
                until,
                taps: Vec::new(),
            },
        });
        claim.sent |= matches!(end, Settlement::Accepted { .. });
        let (end, claimed) = (end.clone(), claim.claimed.clone().unwrap());
        let by = self.book.claims[place].process;
        let by = self
            .rig
            .processes
            .iter()
            .position(|one| one.number == by)
            .unwrap();
        let (store, now) = (self.store(by), self.now());
        let settled = store.settle(&claimed, end.clone(), "said".into(), now);
        self.call(by, lost, settled).await;
        self.book.end(place, &end);
    }

    async fn events(&mut self, channel: usize, events: &[Event], lost: bool) {
        let mut known = Vec::new();
        for Event { of, said, named } in events {
            let id = match of {
                Of::Nobody(which, person) => (format!("X{which}-{person}"), *person),
                Of::Claim(which) | Of::ClaimAs(which, _) => {
                    let sent = |(_, claim): &(usize, &Claimed)| {
                        let end = &claim.end;
                        let not = matches!(
                            end,
                            Some(Settlement::Retry { .. } | Settlement::Failed { .. })
                        );
                        claim.claimed.is_some() && !not
                    };
                    let found = newest(self.claims.iter().enumerate().filter(sent), *which);
                    let Some(place) = found else { continue };
                    self.claims[place].sent = true;
                    let named = match of {
                        Of::ClaimAs(_, other) => other_number(*other),
                        _ => person_of(self.book.claims[place].n),
                    };
                    (self.claims[place].id.clone(), named)
                }
            };
            known.push((id.0, *said, named.then_some(id.1)));
        }
        let incoming = known.iter().map(|(id, said, to)| match said {
            (_, true) => stopped(id, *to),
            (status, false) => event(id, *status, *to),
        });
        self.webhook(channel, incoming.collect(), lost).await;
        for (id, said, to) in known {
            self.book.event(channel, &id, said, to);
        }
    }

    async fn reply(&mut self, channel: usize, person: u64, word: &'static str, lost: bool) {
        // Who writes the same twice within a minute is known by the time.
        self.replies += 1;
        let sent = UnixMs(self.now().0 + self.replies);
        let incoming = vec![Incoming::Reply(Reply {
            at: Some(sent),
            dated: sent.0.to_string(),
            ..reply(person, word)
        })];
        self.webhook(channel, incoming, lost).await;
        self.book.reply(channel, person, word, sent);
    }

    /// What the outbox does with a webhook: as long as it hears nothing it says it again.
    async fn webhook(&mut self, channel: usize, events: Vec<Incoming>, lost: bool) {
        let rules = Arc::new(EventRules {
            waba_number: BusinessNumber::parse(BRAND).ok(),
            ..rules(OURS[channel])
        });
        let (store, now) = (self.store(channel), self.now());
        let replies = events.iter().all(|one| matches!(one, Incoming::Reply(_)));
        let take = || store.take_events(rules.clone(), events.clone(), now, in_time());
        let heard = self.call(channel, lost, take()).await;
        if heard.is_none() && replies {
            let again = take().await.unwrap();
            let repeated = again.repeated_replies as usize;
            assert_eq!((again.replies, repeated), (0, events.len()), "told once");
            self.book.repeated(channel, events.len());
        }
    }

    async fn take(&mut self, by: usize, of: (usize, Destination), most: usize, lost: bool) {
        let lost = self.leased(by) && lost;
        // What a lost answer held must be known here.
        let most = if lost { 100 } else { most };
        let (store, now, queue) = (self.store(by), self.now(), lane(OURS[of.0], of.1));
        let taken = self
            .call(by, lost, store.take_callbacks(&queue, most, now))
            .await;
        let ready = self.book.ready(of.0, of.1);
        let Some(taken) = taken else {
            for line in ready {
                self.taken(by, (of.0, line), None);
            }
            return;
        };
        assert_eq!(
            taken.len(),
            most.min(ready.len()),
            "{ready:?} of {:?}",
            self.book.queues
        );
        for one in taken {
            let line = match &one.callback {
                Callback::Status(entry) => Line::Statuses(number_of(entry.msg_id.as_str())),
                Callback::Inbound(entry) => {
                    let person = (0..4).find(|person| phone(*person) == entry.from);
                    Line::Replies(person.unwrap())
                }
            };
            assert!(ready.contains(&line), "{line:?} was not ready");
            let first = &self.book.queues[&(of.0, line)].waiting[0];
            assert_eq!(one.callback, first.callback);
            assert_eq!(one.tries, first.tries);
            if first.created > PAST {
                assert_eq!(one.created, at(first.created), "{:?}", first.callback);
            }
            self.taken(by, (of.0, line), Some(one.handle));
            self.hear(line, one.callback);
        }
    }

    fn taken(&mut self, by: usize, of: (usize, Line), handle: Option<CallbackLease>) {
        let place = self.takes.len();
        let process = self.number(by);
        let queue = self.book.queues.get_mut(&of).unwrap();
        queue.taken = Some(place);
        self.takes.push(Taken {
            of,
            serial: queue.waiting[0].serial,
            process,
            handle,
            end: None,
            alive: true,
        });
    }

    /// design.md G4: forwards only; a repeat is the identical entry.
    fn hear(&mut self, line: Line, callback: Callback) {
        let (Line::Statuses(n), Callback::Status(entry)) = (line, &callback) else {
            return;
        };
        let heard = self
            .heard
            .entry((n, self.book.messages[&n].birth))
            .or_default();
        let repeat = heard.last() == Some(&callback);
        let forwards = heard.iter().all(|one| match one {
            Callback::Status(before) => before.status < entry.status,
            Callback::Inbound(_) => false,
        });
        assert!(repeat || forwards, "{callback:?} after {heard:?}");
        if !repeat {
            heard.push(callback);
        }
    }

    async fn relayed(&mut self, which: usize, end: Told, lost: bool) {
        let known = |(_, take): &(usize, &Taken)| take.alive && take.handle.is_some();
        let Some(place) = newest(self.takes.iter().enumerate().filter(known), which) else {
            return;
        };
        let due = at(self.book.now + 60);
        let take = &mut self.takes[place];
        let end = take.end.get_or_insert_with(|| match end {
            Told::Taken => taken(),
            Told::Later => RelayOutcome::Later { due },
            Told::Dead => RelayOutcome::Dead {
                reason: "refused".into(),
            },
        });
        let (of, serial, handle, end) = (take.of, take.serial, take.handle.unwrap(), end.clone());
        let number = take.process;
        let by = self
            .rig
            .processes
            .iter()
            .position(|one| one.number == number)
            .unwrap();
        let (store, now, queue) = (self.store(by), self.now(), lane(OURS[of.0], of.1.lane()));
        let settled = store.settle_callbacks(&queue, vec![(handle, end.clone())], now);
        self.call(by, lost, settled).await;
        self.book.relayed(of, serial, place, &end);
    }

    async fn sweep(&mut self, by: usize, (resend, ages): (bool, bool), lost: bool) {
        self.rig.nobody_was_silent().await;
        let (store, now) = (self.store(by), self.now());
        let look = if ages {
            SweepScope::Ages
        } else {
            SweepScope::Holds
        };
        let rules = OURS.map(|name| SweepRule {
            resend,
            hold: Duration::from_secs(HOLD as u64),
            ..sweep_rule(name, self.book.now)
        });
        let swept = self
            .call(by, lost, store.sweep(rules.to_vec(), look, now))
            .await;
        let over: Vec<usize> = self
            .leases
            .iter()
            .filter(|(_, lease)| **lease == Lease::Over)
            .map(|(number, _)| *number)
            .collect();
        self.taken_over(&over, self.book.now + HOLD);
        // The first answer is that of the take-over.
        if swept.is_some() {
            self.book.sweep(resend, ages);
        }
    }

    fn taken_over(&mut self, gone: &[usize], until: i64) {
        self.book.take_over(gone, until);
        let of_gone = |(_, take): &(usize, &Taken)| gone.contains(&take.process);
        let takes = self.takes.iter().enumerate().filter(of_gone);
        let takes: Vec<usize> = takes.map(|(place, _)| place).collect();
        self.book.release(&takes);
        for (place, claim) in self.claims.iter_mut().enumerate() {
            // Nobody knows of it any more.
            claim.alive &=
                claim.claimed.is_some() || !gone.contains(&self.book.claims[place].process);
        }
        for take in &mut self.takes {
            take.alive &= take.handle.is_some() || !gone.contains(&take.process);
        }
        self.leases.retain(|number, _| !gone.contains(number));
    }

    async fn purge(&mut self, by: usize, age: i64, events: bool) {
        let settled_before = self.book.now - age;
        let received_before = if events {
            self.book.now + 100 * DAY
        } else {
            BEFORE_ALL
        };
        let purged = self
            .store(by)
            .purge(at(settled_before), at(received_before))
            .await;
        let expected = self.book.purge(settled_before, events);
        let purged = purged.unwrap();
        assert_eq!(
            (purged.messages, purged.early_statuses),
            (expected.messages, expected.early_statuses)
        );
    }

    async fn renew(&mut self, by: usize) {
        self.store(by).renew().await.unwrap();
        if self.rig.is_shared() {
            self.back(self.number(by));
        }
    }

    async fn renew_all(&mut self) {
        for by in 0..self.rig.processes.len() {
            if self.leases.get(&self.number(by)) == Some(&Lease::Stands) {
                self.renew(by).await;
            }
        }
        self.renewed = Instant::now();
    }

    async fn lease_ends(&mut self, which: usize) {
        let standing = self
            .leases
            .iter()
            .filter(|(_, lease)| **lease == Lease::Stands);
        let standing = standing.map(|(number, lease)| (*number, lease));
        if let Some(number) = newest(standing, which) {
            self.rig.end_lease(number).await;
            self.leases.insert(number, Lease::Over);
        }
    }

    async fn kill(&mut self, by: usize) {
        let (place, number) = (self.place(by), self.number(by));
        self.rig.replace(place).await;
        for (claim, of) in self.claims.iter_mut().zip(&self.book.claims) {
            claim.alive &= of.process != number;
        }
        for take in &mut self.takes {
            take.alive &= take.process != number;
        }
        if !self.rig.is_shared() {
            self.book.all_due();
            let world = &self.rig.processes[0].world;
            world
                .home
                .end_leases(&world.store, self.book.now, HOLD)
                .await;
            self.book.take_over(&[number], self.book.now + HOLD);
        }
    }

    async fn leave(&mut self, by: usize) {
        if self.rig.is_shared() {
            let holds = OURS.map(|name| (channel(name), Duration::from_secs(HOLD as u64)));
            let number = self.number(by);
            self.store(by).leave(&holds).await.unwrap();
            // It renews once more, to say what others would have to wait for.
            self.back(number);
            let now = std::mem::replace(&mut self.book.now, PAST);
            self.taken_over(&[number], PAST);
            self.book.now = now;
        }
        self.kill(by).await;
    }

    /// The store and the book say the same.
    pub(super) async fn compare(&self) {
        let mut found = 0;
        for person in 0..2 {
            let search = Search::Phone(phone(person));
            for record in self.store(0).find(search, 100).await.unwrap() {
                self.compare_one(&record);
                found += 1;
            }
        }
        assert_eq!(found, self.book.messages.len(), "all are there");
        let world = &self.rig.processes[0].world;
        for (name, expected) in OURS.iter().zip(&self.book.ledgers) {
            assert_eq!(world.ledger_of(name).await, *expected, "channel {name}");
            assert_eq!(expected.lost(), 0, "channel {name}");
        }
    }

    fn compare_one(&self, record: &Record) {
        let name = record.message.msg_id.as_str();
        let n = number_of(name);
        let kept = &self.book.messages[&n];
        assert_eq!(record.state, kept.life.state, "{name}: {kept:?}");
        let waits = matches!(record.state, State::Queued | State::Unknown);
        if waits && kept.due > PAST {
            assert_eq!(record.due, Some(at(kept.due)), "{name}");
        }
        assert_eq!(record.accepted_at, at(kept.accepted), "{name}");
        assert_eq!(record.attempts, kept.attempts, "{name}");
        assert_eq!(record.provider_id, kept.id, "{name}");
        assert_eq!(record.inferred, kept.inferred, "{name}");
        assert_eq!(record.status, kept.progress.status(), "{name}");
    }

    /// However it went: in the end every message is settled and every callback can be told.
    pub(super) async fn end(mut self) {
        // Also where the clock was set back by days since.
        let latest = self.book.messages.values().map(|kept| kept.accepted).max();
        self.book.now = self.book.now.max(latest.unwrap_or_default()) + 3 * DAY;
        for _ in 0..self.rig.processes.len() {
            self.step(&Op::Kill { by: 0 }).await;
        }
        let numbers: Vec<usize> = self.leases.keys().copied().collect();
        for number in numbers {
            self.rig.end_lease(number).await;
            self.leases.insert(number, Lease::Over);
        }
        for seconds in [0, HOLD] {
            self.book.now += seconds;
            let (by, resend, ages, lost) = (0, false, true, false);
            self.step(&Op::Sweep {
                by,
                resend,
                ages,
                lost,
            })
            .await;
            self.compare().await;
        }
        let settled = |kept: &book::Kept| kept.life.state.is_settled();
        assert!(self.book.messages.values().all(settled), "{:?}", self.book);
        for channel in 0..2 {
            for lane in Destination::ALL {
                self.relay_all(channel, lane).await;
            }
        }
        let waiting = self.book.ledgers.map(|ledger| ledger.callbacks_waiting);
        assert_eq!(waiting, [0, 0]);
        self.compare().await;
        self.rig.processes[0].world.check().await;
    }

    async fn relay_all(&mut self, channel: usize, lane: Destination) {
        self.step(&Op::Hasten { channel, lane }).await;
        loop {
            let before = self.takes.len();
            let (by, most, lost) = (0, 100, false);
            self.step(&Op::CallbackLease {
                by,
                channel,
                lane,
                most,
                lost,
            })
            .await;
            let taken = self.takes.len() - before;
            if taken == 0 {
                return;
            }
            for take in 0..taken {
                let (end, lost) = (Told::Taken, false);
                self.step(&Op::Relayed { take, end, lost }).await;
            }
        }
    }
}

fn number_of(name: &str) -> u64 {
    name[1..].parse().unwrap()
}

/// The place of one of these, counted from the newest and around.
fn newest<T>(of: impl Iterator<Item = (usize, T)>, which: usize) -> Option<usize> {
    let places: Vec<usize> = of.map(|(place, _)| place).collect();
    let back = which % places.len().max(1);
    places.iter().rev().nth(back).copied()
}
