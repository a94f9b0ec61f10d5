//! Random stories against a tiny model: after every step the ledger adds up and is what the rows
//! say (DESIGN G2).

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Debug, Clone)]
enum Op {
    Accept(u64),
    Claim(usize),
    Settle(usize, u8),
    Event(u64, u32, usize),
    Reply(u64, bool),
    Relay(u8),
    Sweep(bool),
    Pass(i64),
    Purge,
    Restart,
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..8u64).prop_map(Op::Accept),
        5 => (1..4usize).prop_map(Op::Claim),
        6 => (0..4usize, 0..4u8).prop_map(|(which, end)| Op::Settle(which, end)),
        5 => (0..8u64, 1..3u32, 0..4usize).prop_map(|(n, attempt, status)| Op::Event(n, attempt, status)),
        1 => (0..3u64, any::<bool>()).prop_map(|(n, stop)| Op::Reply(n, stop)),
        3 => (0..3u8).prop_map(Op::Relay),
        2 => any::<bool>().prop_map(Op::Sweep),
        3 => prop::sample::select(vec![1, 700, DAY / 2, 2 * DAY]).prop_map(Op::Pass),
        1 => Just(Op::Purge),
        1 => Just(Op::Restart),
    ]
}

/// A message as the model knows it.
#[derive(Debug)]
struct Known {
    state: State,
    due: i64,
    accepted: i64,
    resent: bool,
    claimed: Option<ClaimedMessage>,
    attempt: u32,
}

struct Story {
    world: World,
    now: i64,
    known: BTreeMap<String, Known>,
    accepted: i64,
    /// Messages that retention removed, by the state they had.
    gone: BTreeMap<State, i64>,
    opted_out: Vec<u64>,
    /// Whether events name people, so that evidence may move messages.
    named: bool,
}

impl Story {
    fn new(new: NewWorld, named: bool) -> Self {
        Self {
            world: new(),
            now: 0,
            known: BTreeMap::new(),
            accepted: 0,
            gone: BTreeMap::new(),
            opted_out: Vec::new(),
            named,
        }
    }

    /// Three people get all messages, so that they get in each other's way.
    fn person(n: u64) -> u64 {
        n % 3
    }

    async fn step(mut self, op: &Op) -> Self {
        match op {
            Op::Accept(n) => self.accept(*n).await,
            Op::Claim(most) => self.claim(*most).await,
            Op::Settle(which, end) => self.settle(*which, *end).await,
            Op::Event(n, attempt, status) => {
                let to = self.named.then(|| Self::person(*n));
                let id = format!("P-m{n}-{attempt}");
                let status = Status::ALL[*status];
                self.world.event(&id, status, to, self.now).await;
            }
            Op::Reply(person, stop) => {
                self.opted_out.retain(|one| one != person);
                if *stop {
                    self.opted_out.push(*person);
                }
                let word = if *stop { "stop" } else { "start" };
                let events = vec![Incoming::Reply(reply(*person, word))];
                self.world.events(events, self.now).await;
            }
            Op::Relay(end) => self.relay(*end).await,
            Op::Sweep(resend) => self.sweep(*resend).await,
            Op::Pass(seconds) => self.now += seconds,
            Op::Purge => self.purge().await,
            Op::Restart => return self.restart().await,
        }
        self
    }

    async fn accept(&mut self, n: u64) {
        let id = format!("m{n}");
        let accepted = self.world.accept(&id, Self::person(n), self.now).await;
        if self.known.contains_key(&id) {
            assert_eq!(accepted, Accepted::Repeat { same: true });
        } else if self.opted_out.contains(&Self::person(n)) {
            assert_eq!(accepted, Accepted::OptedOut);
        } else {
            assert_eq!(accepted, Accepted::Stored);
            self.accepted += 1;
            let known = Known {
                state: State::Queued,
                due: self.now,
                accepted: self.now,
                resent: false,
                claimed: None,
                attempt: 0,
            };
            self.known.insert(id, known);
        }
    }

    async fn claim(&mut self, most: usize) {
        let claims = self.world.claims(&["a"], most, self.now).await;
        assert!(claims.taken.len() <= most);
        for one in &claims.taken {
            let known = self.known.get_mut(one.message.msg_id.as_str()).unwrap();
            assert_eq!(known.state, State::Queued);
            assert!(known.due <= self.now && known.accepted >= self.now - DAY);
            known.state = State::Attempting;
            known.claimed = Some(one.clone());
            known.attempt += 1;
            assert_eq!(one.attempt, known.attempt);
        }
        for (_, id, refusal) in &claims.failed {
            let known = self.known.get_mut(id.as_str()).unwrap();
            assert_eq!(known.state, State::Queued);
            assert!(known.accepted < self.now - DAY || refusal.code == Code::OptedOut);
            known.state = State::Failed;
        }
        if claims.taken.len() < most && claims.failed.is_empty() {
            let due = |one: &Known| one.state == State::Queued && one.due <= self.now;
            assert!(!self.known.values().any(due), "{:?}", self.known);
        }
    }

    async fn settle(&mut self, which: usize, end: u8) {
        let attempting = |(_, one): &(&String, &mut Known)| one.state == State::Attempting;
        let Some((id, known)) = self.known.iter_mut().filter(attempting).nth(which) else {
            return;
        };
        let (end, state) = match end {
            0 => (
                receipt(&format!("P-{id}-{}", known.attempt)),
                State::Accepted,
            ),
            1 => (Settlement::Failed(refusal()), State::Failed),
            2 => (
                Settlement::Retry {
                    due: at(self.now + 5),
                },
                State::Queued,
            ),
            _ => (unknown_until(self.now + 600), State::Unknown),
        };
        known.state = state;
        known.due = self.now + if state == State::Queued { 5 } else { 600 };
        let claimed = known.claimed.as_ref().unwrap();
        self.world.settle(claimed, end.clone(), self.now).await;
        // Once more does nothing.
        self.world.settle(claimed, end, self.now).await;
    }

    async fn relay(&mut self, end: u8) {
        for queue in [lane("a", Lane::Status), lane("a", Lane::Inbound)] {
            for one in self.world.callbacks(&queue, self.now).await {
                let end = match end {
                    0 => taken(),
                    1 => RelayOutcome::Later {
                        due: at(self.now + 60),
                    },
                    _ => RelayOutcome::Dead {
                        reason: "refused".into(),
                    },
                };
                self.world.end(&queue, one.handle, end, self.now).await;
            }
        }
    }

    async fn sweep(&mut self, resend: bool) {
        self.world.sweep(resend, self.now).await;
        for one in self.known.values_mut() {
            let young = one.accepted >= self.now - DAY;
            match one.state {
                State::Unknown if one.due <= self.now && resend && young && !one.resent => {
                    (one.state, one.due, one.resent) = (State::Queued, self.now, true);
                }
                State::Unknown if one.due <= self.now => one.state = State::Failed,
                State::Queued if !young => one.state = State::Failed,
                _ => {}
            }
        }
    }

    async fn purge(&mut self) {
        let before = at(self.now - DAY);
        self.world.store.purge(before, before).await.unwrap();
        for n in 0..8 {
            let id = format!("m{n}");
            let name = MsgId::parse(&id).unwrap();
            let kept = self
                .world
                .store
                .is_accepted(&channel("a"), &name)
                .await
                .unwrap();
            if !kept && let Some(known) = self.known.remove(&id) {
                assert!(known.state.is_settled(), "{id} was removed: {known:?}");
                *self.gone.entry(known.state).or_default() += 1;
            }
        }
    }

    async fn restart(self) -> Self {
        let mut next = Self {
            world: self.world.died(self.now, 600).await,
            ..self
        };
        for one in next.known.values_mut() {
            match one.state {
                State::Attempting => (one.state, one.due) = (State::Unknown, next.now + 600),
                State::Unknown if one.due <= next.now => one.state = State::Failed,
                _ => {}
            }
        }
        next
    }

    /// Takes over what evidence did; without named events it did nothing.
    async fn follow(&mut self) {
        for (id, known) in &mut self.known {
            let record = self.world.record(id).await;
            if self.named && record.inferred {
                known.state = State::Accepted;
            }
            assert_eq!(record.state, known.state, "{id}: {known:?}");
        }
    }

    async fn check(&self) {
        self.world.check().await;
        let ledger = self.world.ledger().await;
        let count = |state: State| {
            let kept = self.known.values().filter(|one| one.state == state);
            kept.count() as i64 + self.gone.get(&state).copied().unwrap_or_default()
        };
        assert_eq!(ledger.accepted, self.accepted);
        let counted = [
            ledger.queued,
            ledger.attempting,
            ledger.unknown,
            ledger.accepted_by_provider,
            ledger.failed,
        ];
        let expected = [
            State::Queued,
            State::Attempting,
            State::Unknown,
            State::Accepted,
            State::Failed,
        ];
        assert_eq!(counted, expected.map(count));
    }
}

fn tell(new: NewWorld, ops: &[Op], named: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut story = Story::new(new, named);
        for op in ops {
            story = story.step(op).await;
            story.follow().await;
            story.check().await;
        }
    });
}

/// The model on one backend; `$cases` stories of each kind.
macro_rules! models {
    ($name:ident, $world:path, $cases:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases($cases))]

                #[test]
                fn the_ledger_follows_every_story(ops in prop::collection::vec(any_op(), 1..60)) {
                    tell($world, &ops, false);
                }

                #[test]
                fn the_ledger_follows_evidence_too(ops in prop::collection::vec(any_op(), 1..60)) {
                    tell($world, &ops, true);
                }
            }
        }
    };
}

models!(embedded, on_embedded::world, 32);
on_redis! {
    // Fewer: every step is a trip to another process.
    models!(redis, on_redis::world, 8);
}
