//! Everything that can happen to one or two messages to the same person, searched exhaustively.
//!
//! The messages live by the model; around them stand workers that crash, freeze and speak late or
//! twice, successors that take over whenever they like, a provider that takes, refuses, answers late
//! or not at all, its events (early, late, again, with or without the person's number), and time.
//! Every attempt may be of another worker. Breadth first, so that what is found is the shortest story
//! that leads there.

use super::*;
use crate::domain::{Progress, Status};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::Write as _;

/// What is searched.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Attempts at each message; none where there is no such message.
    attempts: [u8; MOST_MESSAGES],
    /// Whether the channel wants unknown outcomes sent once more.
    resend: bool,
}

const MOST_MESSAGES: usize = 2;
const MOST_ATTEMPTS: usize = 3;

impl Bounds {
    fn messages(&self) -> usize {
        self.attempts.iter().filter(|most| **most > 0).count()
    }
}

/// An attempt, as its worker knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    None,
    /// Claimed, its call not begun.
    Claimed,
    /// The provider has it; the answer is on its way.
    Sent,
    /// The worker has told its end; it tells it again as long as it hears no answer.
    Told,
    /// The worker is gone.
    Gone,
}

/// Provider ids, as the store has seen them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Seen {
    Never,
    /// Matches no message. Whether an event named the person, and for each message whether the id
    /// was seen before its last attempt began.
    Unmatched {
        named: bool,
        before: [bool; MOST_MESSAGES],
    },
    Matched,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Try {
    phase: Phase,
    /// The provider has it.
    sent: bool,
    id: Seen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Message {
    life: Life,
    attempts: u8,
    /// The holder has told its end.
    reported: bool,
    progress: Option<Status>,
    tries: [Try; MOST_ATTEMPTS],
}

impl Message {
    const NEW: Self = Self {
        life: Life::NEW,
        attempts: 0,
        reported: false,
        progress: None,
        tries: [Try {
            phase: Phase::None,
            sent: false,
            id: Seen::Never,
        }; MOST_ATTEMPTS],
    };

    fn tried(&self) -> usize {
        usize::from(self.attempts)
    }

    fn sends(&self) -> usize {
        self.tries.iter().filter(|one| one.sent).count()
    }
}

/// The counters of the ledger, by state.
type Ledger = [i8; 5];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    messages: [Message; MOST_MESSAGES],
    ledger: Ledger,
}

/// Something that happens: message and attempt.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Claim(usize),
    GrowsOld(usize),
    Sends(usize, usize),
    Tells(usize, usize, Step),
    Crashes(usize, usize),
    TakesOver(usize),
    Event(usize, usize, bool),
    HoldEnds(usize),
}

/// What a story must not do, in words.
type Faults = Vec<String>;

impl World {
    fn new(bounds: Bounds) -> Self {
        let mut ledger = [0; 5];
        ledger[place(State::Queued)] = i8::try_from(bounds.messages()).unwrap();
        Self {
            messages: [Message::NEW; MOST_MESSAGES],
            ledger,
        }
    }

    /// A step of a message, counted in the ledger; nothing where the writer has no right to it.
    fn step(&mut self, m: usize, writer: Writer, step: Step, faults: &mut Faults) -> bool {
        let message = &mut self.messages[m];
        let before = message.life;
        let Ok(next) = before.after(writer, step) else {
            return false;
        };
        message.life = next;
        self.ledger[place(before.state)] -= 1;
        self.ledger[place(next.state)] += 1;
        if before.state == State::Accepted {
            faults.push("a receipt was taken back".into());
        }
        if next.state == State::Failed {
            if message.progress.is_some() {
                faults.push("a failure was told after a delivery".into());
            }
            message.progress = Some(Status::Failed);
        }
        true
    }

    fn fold(&mut self, m: usize) {
        let message = &mut self.messages[m];
        let (next, _) = Progress::at(message.progress).fold(Status::Delivered);
        message.progress = next.status();
    }

    /// The id of an attempt is a message's from now on; what waited under it is folded.
    fn matched(&mut self, m: usize, id: (usize, usize)) {
        let seen = &mut self.messages[id.0].tries[id.1].id;
        if let Seen::Unmatched { .. } = std::mem::replace(seen, Seen::Matched) {
            self.fold(m);
        }
    }

    /// As the stores infer a receipt: the one message in doubt, the one unmatched id that names the person
    /// and was not seen before the attempt.
    fn infer_receipt(&mut self, bounds: Bounds, faults: &mut Faults) {
        let lives: Vec<Life> = self.messages[..bounds.messages()]
            .iter()
            .map(|message| message.life)
            .collect();
        let Some(m) = Life::provable(&lives) else {
            return;
        };
        let mut ids = self.ids(bounds).filter(|(_, one)| match one.id {
            Seen::Unmatched { named, before } => named && !before[m],
            Seen::Never | Seen::Matched => false,
        });
        let (Some((id, _)), None) = (ids.next(), ids.next()) else {
            return;
        };
        drop(ids);
        if id.0 != m {
            faults.push("the id of one message became the receipt of another".into());
        }
        self.step(m, Writer::Status, Step::Evidence, faults);
        self.matched(m, id);
    }

    fn ids(&self, bounds: Bounds) -> impl Iterator<Item = ((usize, usize), Try)> {
        let messages = self
            .messages
            .into_iter()
            .take(bounds.messages())
            .enumerate();
        messages.flat_map(|(m, message)| {
            let tries = message.tries.into_iter().enumerate();
            tries.map(move |(k, one)| ((m, k), one))
        })
    }

    /// The end of an attempt is told, by whoever made the claim. Whether anything was written.
    fn end(
        &mut self,
        (m, k): (usize, usize),
        end: Step,
        bounds: Bounds,
        faults: &mut Faults,
    ) -> bool {
        let message = &self.messages[m];
        let before = *self;
        let is_last = k + 1 == message.tried();
        let Some(writer) = Writer::of_claim(is_last, is_last && message.reported) else {
            return false;
        };
        if self.step(m, writer, end, faults) && writer == Writer::Holder {
            self.messages[m].reported = true;
        }
        if end == Step::Receipt {
            self.matched(m, (m, k));
        }
        self.infer_receipt(bounds, faults);
        *self != before
    }

    fn claim(&mut self, m: usize, bounds: Bounds, faults: &mut Faults) -> bool {
        let message = &mut self.messages[m];
        if message.attempts == bounds.attempts[m] {
            return false;
        }
        if !self.step(m, Writer::Worker, Step::Claim, faults) {
            return false;
        }
        let message = &mut self.messages[m];
        message.tries[message.tried()].phase = Phase::Claimed;
        message.attempts += 1;
        message.reported = false;
        for other in &mut self.messages {
            for one in &mut other.tries {
                if let Seen::Unmatched { before, .. } = &mut one.id {
                    before[m] = true;
                }
            }
        }
        true
    }

    fn event(&mut self, (m, k): (usize, usize), named: bool, bounds: Bounds, faults: &mut Faults) {
        let id = &mut self.messages[m].tries[k].id;
        match id {
            // A repeat is superseded: the fold's matter.
            Seen::Matched => self.fold(m),
            Seen::Never => {
                let before = [false; MOST_MESSAGES];
                *id = Seen::Unmatched { named, before };
            }
            Seen::Unmatched { named: known, .. } => *known |= named,
        }
        if named {
            self.infer_receipt(bounds, faults);
        }
    }

    fn hold_ends(&mut self, m: usize, bounds: Bounds, faults: &mut Faults) {
        // A last look.
        self.infer_receipt(bounds, faults);
        if self.messages[m].life.state != State::Unknown {
            return;
        }
        if !(bounds.resend && self.step(m, Writer::Time, Step::Resend, faults)) {
            self.step(m, Writer::Time, Step::Fail, faults);
        }
    }

    /// All that can happen next.
    fn deeds(&self, bounds: Bounds) -> Vec<Deed> {
        let mut deeds = Vec::new();
        for (m, message) in self.messages[..bounds.messages()].iter().enumerate() {
            deeds.extend(match message.life.state {
                State::Queued => vec![Deed::Claim(m), Deed::GrowsOld(m)],
                State::Attempting => vec![Deed::TakesOver(m)],
                State::Unknown => vec![Deed::HoldEnds(m)],
                State::Accepted | State::Failed => Vec::new(),
            });
            for (k, one) in message.tries[..message.tried()].iter().enumerate() {
                let ends: &[Step] = match &one.phase {
                    Phase::Claimed => &[Step::Retry, Step::Fail, Step::Lose],
                    Phase::Sent => &[Step::Receipt, Step::Lose],
                    Phase::None | Phase::Told | Phase::Gone => &[],
                };
                deeds.extend(ends.iter().map(|end| Deed::Tells(m, k, *end)));
                if one.phase == Phase::Claimed {
                    // Also long after its lease is over: it was frozen just before the call.
                    deeds.push(Deed::Sends(m, k));
                }
                if matches!(one.phase, Phase::Claimed | Phase::Sent) {
                    deeds.push(Deed::Crashes(m, k));
                }
                if one.sent {
                    deeds.extend([true, false].map(|named| Deed::Event(m, k, named)));
                }
            }
        }
        deeds
    }

    fn after(mut self, deed: Deed, bounds: Bounds, faults: &mut Faults) -> Self {
        match deed {
            Deed::Claim(m) => {
                self.claim(m, bounds, faults);
            }
            Deed::GrowsOld(m) => {
                self.step(m, Writer::Time, Step::Fail, faults);
            }
            Deed::Sends(m, k) => {
                let one = &mut self.messages[m].tries[k];
                (one.phase, one.sent) = (Phase::Sent, true);
            }
            Deed::Tells(m, k, end) => {
                self.messages[m].tries[k].phase = Phase::Told;
                self.end((m, k), end, bounds, faults);
                let before = self;
                if self.end((m, k), end, bounds, faults) {
                    faults.push(format!("told again, {end} changed {before:?}"));
                }
            }
            Deed::Crashes(m, k) => self.messages[m].tries[k].phase = Phase::Gone,
            Deed::TakesOver(m) => {
                if self.step(m, Writer::Successor, Step::Lose, faults) {
                    self.infer_receipt(bounds, faults);
                }
            }
            Deed::Event(m, k, named) => self.event((m, k), named, bounds, faults),
            Deed::HoldEnds(m) => self.hold_ends(m, bounds, faults),
        }
        self
    }

    /// What must hold in every state.
    fn check(&self, bounds: Bounds, faults: &mut Faults) {
        let mut counted = [0; 5];
        for (m, message) in self.messages[..bounds.messages()].iter().enumerate() {
            let life = message.life;
            counted[place(life.state)] += 1;
            let most = if bounds.resend { 2 } else { 1 };
            if message.sends() > most {
                faults.push(format!("it was sent {} times", message.sends()));
            }
            if life.state == State::Accepted && message.sends() == 0 {
                faults.push("accepted, and the provider never saw it".into());
            }
            if life.state == State::Failed && !life.lost && message.sends() > 0 {
                faults.push("failed for good, and the provider has it".into());
            }
            // A receipt that was told is never without effect.
            let known = |one: &Try| one.id == Seen::Matched;
            if message.tries.iter().any(known)
                && life.state != State::Accepted
                && !(life.state == State::Attempting && life.taken)
            {
                faults.push("a receipt is known, and the message is not accepted".into());
            }
            self.check_rights(m, bounds, faults);
        }
        if counted != self.ledger {
            faults.push(format!("the ledger says {:?}", self.ledger));
        }
    }

    /// Nobody without the right changes anything: who is not the last to have claimed the message, or
    /// has told the end of that attempt, may bring a receipt and nothing else.
    fn check_rights(&self, m: usize, bounds: Bounds, faults: &mut Faults) {
        let message = &self.messages[m];
        for k in 0..message.tried() {
            if k + 1 == message.tried() && !message.reported {
                continue;
            }
            for end in [Step::Retry, Step::Fail, Step::Lose] {
                let mut probe = *self;
                if probe.end((m, k), end, bounds, &mut Vec::new()) {
                    faults.push(format!("attempt {k} wrote {end} without a right"));
                }
            }
        }
    }

    fn is_settled(&self, bounds: Bounds) -> bool {
        let mut all = self.messages[..bounds.messages()].iter();
        all.all(|message| message.life.state.is_settled())
    }
}

fn place(state: State) -> usize {
    State::ALL.iter().position(|one| *one == state).unwrap()
}

/// All that was reached.
struct Search {
    bounds: Bounds,
    worlds: Vec<World>,
    places: HashMap<World, u32>,
    /// The state before each, and the deed that led from there to here first.
    from: Vec<Option<(u32, Deed)>>,
    /// From where to where.
    edges: Vec<(u32, u32)>,
    deeds: u64,
}

impl Search {
    fn run(bounds: Bounds) -> Self {
        let mut search = Self {
            bounds,
            worlds: Vec::new(),
            places: HashMap::new(),
            from: Vec::new(),
            edges: Vec::new(),
            deeds: 0,
        };
        search.reach(World::new(bounds), None);
        let mut next = 0;
        while let Some(world) = search.worlds.get(next as usize).copied() {
            for deed in world.deeds(bounds) {
                search.deeds += 1;
                let mut faults = Vec::new();
                let after = world.after(deed, bounds, &mut faults);
                if !faults.is_empty() {
                    search.tell(&faults, next, Some(deed));
                }
                if after != world {
                    let place = search.reach(after, Some((next, deed)));
                    search.edges.push((next, place));
                }
            }
            next += 1;
        }
        search
    }

    fn reach(&mut self, world: World, from: Option<(u32, Deed)>) -> u32 {
        if let Some(known) = self.places.get(&world) {
            return *known;
        }
        let place = u32::try_from(self.worlds.len()).unwrap();
        self.places.insert(world, place);
        self.worlds.push(world);
        self.from.push(from);
        let mut faults = Vec::new();
        world.check(self.bounds, &mut faults);
        if !faults.is_empty() {
            self.tell(&faults, place, None);
        }
        place
    }

    /// Every state has a way to one in which all messages are settled.
    fn check_ways(&mut self) {
        self.edges.sort_unstable_by_key(|(_, to)| *to);
        let settled = |place: &u32| self.worlds[*place as usize].is_settled(self.bounds);
        let mut open: Vec<u32> = (0..self.worlds.len() as u32).filter(settled).collect();
        let mut seen = vec![false; self.worlds.len()];
        while let Some(place) = open.pop() {
            if !std::mem::replace(&mut seen[place as usize], true) {
                let first = self.edges.partition_point(|(_, to)| *to < place);
                let into = self.edges[first..].iter();
                open.extend(
                    into.take_while(|(_, to)| *to == place)
                        .map(|(from, _)| from),
                );
            }
        }
        if let Some(stuck) = seen.iter().position(|seen| !seen) {
            self.tell(&["there is no way to an end".into()], stuck as u32, None);
        }
    }

    /// Fails with the shortest story.
    fn tell(&self, faults: &[String], mut place: u32, last: Option<Deed>) -> ! {
        let (end, mut deeds) = (place, Vec::from_iter(last));
        while let Some((before, deed)) = self.from[place as usize] {
            deeds.push(deed);
            place = before;
        }
        let mut story = String::new();
        for deed in deeds.iter().rev() {
            let _ = writeln!(story, "  {deed:?}");
        }
        let messages = &self.worlds[end as usize].messages[..self.bounds.messages()];
        let lives: Vec<Life> = messages.iter().map(|message| message.life).collect();
        panic!("{faults:?} after\n{story}from there: {lives:?}");
    }
}

/// Searches all, and says how much that was.
fn search(attempts: [u8; MOST_MESSAGES], resend: bool) -> usize {
    let mut search = Search::run(Bounds { attempts, resend });
    search.check_ways();
    let (states, edges) = (search.worlds.len(), search.edges.len());
    if is_long() {
        let (bounds, deeds) = (search.bounds, search.deeds);
        let line = format!("{bounds:?}: {states} states, {deeds} deeds, {edges} transitions\n");
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    states
}

/// Whether somebody takes the time (`GATEWAY_MODEL_CASES`).
fn is_long() -> bool {
    std::env::var_os("GATEWAY_MODEL_CASES").is_some()
}

#[test]
fn one_message_is_sent_once() {
    assert_eq!(search([3, 0], false), 122);
}

#[test]
fn one_message_is_sent_twice_at_the_most_where_that_is_wanted() {
    assert_eq!(search([3, 0], true), 2367);
}

#[test]
fn two_messages_to_a_person_do_not_get_in_each_others_way() {
    assert_eq!(search([2, 2], false), 15_908);
}

#[test]
fn two_messages_to_a_person_of_which_one_is_sent_twice_do_not_either() {
    assert_eq!(search([2, 1], true), 177_215);
}

/// Minutes, so only by hand.
#[test]
fn two_messages_to_a_person_both_sent_twice_do_not_either() {
    if is_long() {
        assert_eq!(search([2, 2], true), 3_729_040);
    }
}
