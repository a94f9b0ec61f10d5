//! What a merchant's fake remembers: accepted sends with their events, sends per recipient, and counts.
//! Lists are bounded by the knob `keep`; counts, and the sends per recipient that prove "no duplicate", are
//! kept whole. Plain data behind one short lock; never awaits.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::record::{EventRecord, SendRecord, SpoiledSend};

#[derive(Debug, Default)]
struct Recipient {
    attempts: u64,
    accepted: u64,
    /// Sequence number of the latest accepted send.
    last: Option<u64>,
}

/// Counters of one merchant; names as in the inspected counts.
#[derive(Debug, Clone, Default)]
pub(in crate::sandbox) struct Tally {
    pub(in crate::sandbox) sends_accepted: u64,
    pub(in crate::sandbox) message_ids: u64,
    pub(in crate::sandbox) recipients: u64,
    pub(in crate::sandbox) recipients_repeated: u64,
    pub(in crate::sandbox) refused: u64,
    pub(in crate::sandbox) outcomes: BTreeMap<&'static str, u64>,
    pub(in crate::sandbox) events_planned: u64,
    pub(in crate::sandbox) events_posted: u64,
    pub(in crate::sandbox) events_acknowledged: u64,
    pub(in crate::sandbox) events_failed: u64,
    pub(in crate::sandbox) refreshes: u64,
    pub(in crate::sandbox) refreshes_denied: u64,
    pub(in crate::sandbox) refreshes_unknown: u64,
}

/// The memory of one merchant's fake.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Ledger {
    pub(in crate::sandbox) tally: Tally,
    sends: VecDeque<SendRecord>,
    spoiled: VecDeque<SpoiledSend>,
    /// Sequence number of the first entry of `sends`.
    first: u64,
    by_id: HashMap<String, u64>,
    recipients: HashMap<String, Recipient>,
    /// Events of no known send.
    loose: VecDeque<EventRecord>,
}

impl Ledger {
    /// Counts an attempt to a recipient and returns its ordinal, from which the dice are made.
    pub(super) fn attempt(&mut self, to: &str) -> u64 {
        let recipient = self.recipients.entry(to.to_owned()).or_default();
        recipient.attempts += 1;
        recipient.attempts
    }

    /// Keeps an accepted send.
    pub(super) fn accept(&mut self, record: SendRecord, keep: usize) {
        let sequence = self.first + self.sends.len() as u64;
        let recipient = self.recipients.entry(record.to.clone()).or_default();
        recipient.accepted += 1;
        recipient.last = Some(sequence);
        self.tally.recipients += u64::from(recipient.accepted == 1);
        self.tally.recipients_repeated += u64::from(recipient.accepted == 2);
        self.tally.sends_accepted += 1;
        if self
            .by_id
            .insert(record.message_id.clone(), sequence)
            .is_none()
        {
            self.tally.message_ids += 1;
        }
        self.sends.push_back(record);
        while self.sends.len() > keep {
            if let Some(old) = self.sends.pop_front() {
                self.by_id.remove(&old.message_id);
            }
            self.first += 1;
        }
    }

    /// Keeps a send whose outcome was not plainly good.
    pub(super) fn spoil(&mut self, send: SpoiledSend, keep: usize) {
        self.spoiled.push_back(send);
        while self.spoiled.len() > keep {
            self.spoiled.pop_front();
        }
    }

    /// Sends whose outcome was not plainly good, oldest first.
    pub(in crate::sandbox) fn spoiled(&self) -> impl Iterator<Item = &SpoiledSend> {
        self.spoiled.iter()
    }

    /// Keeps an event, with its send when that is still known.
    pub(super) fn event(&mut self, event: EventRecord, acknowledged: bool, keep: usize) {
        self.tally.events_posted += u64::from(event.tries);
        match acknowledged {
            true => self.tally.events_acknowledged += 1,
            false => self.tally.events_failed += 1,
        }
        match self.find_mut(&event.message_id) {
            Some(send) => send.events.push(event),
            None => {
                self.loose.push_back(event);
                while self.loose.len() > keep {
                    self.loose.pop_front();
                }
            }
        }
    }

    fn at(&self, sequence: u64) -> Option<&SendRecord> {
        self.sends
            .get(usize::try_from(sequence.checked_sub(self.first)?).ok()?)
    }

    fn find_mut(&mut self, message_id: &str) -> Option<&mut SendRecord> {
        let sequence = *self.by_id.get(message_id)?;
        let at = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.sends.get_mut(at)
    }

    pub(super) fn find(&self, message_id: &str) -> Option<&SendRecord> {
        self.at(*self.by_id.get(message_id)?)
    }

    /// The latest send to a recipient.
    pub(super) fn latest(&self, to: &str) -> Option<&SendRecord> {
        self.at(self.recipients.get(to)?.last?)
    }

    /// The newest `limit` sends, oldest first.
    pub(in crate::sandbox) fn sends(&self, to: Option<&str>, limit: usize) -> Vec<SendRecord> {
        let matching = self
            .sends
            .iter()
            .rev()
            .filter(|one| to.is_none_or(|to| one.to == to));
        let mut found: Vec<_> = matching.take(limit).cloned().collect();
        found.reverse();
        found
    }

    /// Events of one message, or of all kept ones.
    pub(in crate::sandbox) fn events(
        &self,
        message_id: Option<&str>,
        limit: usize,
    ) -> Vec<EventRecord> {
        let loose = self.loose.iter();
        match message_id {
            Some(id) => {
                let own = self.find(id).map_or(&[][..], |send| &send.events);
                own.iter()
                    .chain(loose.filter(|one| one.message_id == id))
                    .cloned()
                    .collect()
            }
            None => {
                let own = self.sends.iter().flat_map(|send| &send.events);
                let mut all: Vec<_> = own.chain(loose).cloned().collect();
                all.sort_by_key(|one| one.at_ms);
                all.split_off(all.len().saturating_sub(limit))
            }
        }
    }

    /// Accepted sends per recipient.
    pub(in crate::sandbox) fn by_recipient(&self) -> impl Iterator<Item = (&str, u64)> {
        self.recipients
            .iter()
            .filter(|(_, one)| one.accepted > 0)
            .map(|(to, one)| (to.as_str(), one.accepted))
    }

    /// Forgets everything but the ordinals of attempts and the sequence: ids given out after a reset must
    /// not be those given out before it.
    pub(super) fn reset(&mut self) {
        let first = self.first + self.sends.len() as u64;
        let mut recipients = std::mem::take(&mut self.recipients);
        for recipient in recipients.values_mut() {
            recipient.accepted = 0;
            recipient.last = None;
        }
        *self = Self {
            first,
            recipients,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(to: &str, id: &str) -> SendRecord {
        SendRecord {
            to: to.into(),
            message_id: id.into(),
            ..SendRecord::default()
        }
    }

    fn event(id: &str) -> EventRecord {
        EventRecord {
            at_ms: 0,
            message_id: id.into(),
            status: "sent".into(),
            shape: "gen3",
            said_ms: vec![0],
            order: 0,
            acknowledged: Some(200),
            latency_ms: 1,
            tries: 1,
        }
    }

    #[test]
    fn old_sends_leave_the_list_but_not_the_counts() {
        let mut ledger = Ledger::default();
        for n in 0..10 {
            ledger.accept(send("1", &format!("m{n}")), 3);
        }
        assert_eq!(ledger.tally.sends_accepted, 10);
        assert_eq!(ledger.tally.message_ids, 10);
        assert_eq!(
            (ledger.tally.recipients, ledger.tally.recipients_repeated),
            (1, 1)
        );
        assert_eq!(ledger.sends(None, 99).len(), 3);
        assert_eq!(ledger.by_recipient().collect::<Vec<_>>(), [("1", 10)]);
        assert!(ledger.find("m6").is_none());
        assert_eq!(ledger.latest("1").unwrap().message_id, "m9");
    }

    #[test]
    fn events_stay_with_their_send_or_are_loose() {
        let mut ledger = Ledger::default();
        ledger.accept(send("1", "m"), 3);
        ledger.event(event("m"), true, 3);
        ledger.event(event("stranger"), false, 3);
        assert_eq!(ledger.events(Some("m"), 9).len(), 1);
        assert_eq!(ledger.events(Some("stranger"), 9).len(), 1);
        assert_eq!(ledger.events(None, 9).len(), 2);
        assert_eq!(
            (ledger.tally.events_acknowledged, ledger.tally.events_failed),
            (1, 1)
        );
    }

    #[test]
    fn attempts_are_numbered_per_recipient() {
        let mut ledger = Ledger::default();
        assert_eq!(
            (
                ledger.attempt("1"),
                ledger.attempt("2"),
                ledger.attempt("1")
            ),
            (1, 1, 2)
        );
        ledger.accept(send("1", "m"), 3);
        ledger.reset();
        assert_eq!((ledger.attempt("1"), ledger.attempt("2")), (3, 2));
        assert_eq!(ledger.by_recipient().count(), 0);
        ledger.accept(send("1", "n"), 3);
        assert_eq!(ledger.latest("1").unwrap().message_id, "n");
    }
}
