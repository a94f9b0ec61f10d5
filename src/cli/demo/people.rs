//! The people of the demo: a few answer the message they got, each a moment after it came.

use super::campaign;
use crate::sandbox::{Reply, ReplyKind, Sandbox, SendRecord};
use std::collections::HashMap;
use std::time::Duration;

/// How long a person takes to answer.
const READING: Duration = Duration::from_millis(1_500);
/// The messages looked through: those that are answered are among the first of the campaign.
const LOOKED_AT: usize = 1_000;
/// Who writes STOP: the person of this message.
pub(super) const STOPS: u32 = 0;
/// Whose message is shown at the end: a button is tapped on it.
pub(super) const TAPS: u32 = 4;

/// What one person answers.
#[derive(Debug)]
struct Part {
    /// The message that is answered.
    who: u32,
    text: &'static str,
    kind: ReplyKind,
}

impl Part {
    const fn new(who: u32, text: &'static str, kind: ReplyKind) -> Self {
        Self { who, text, kind }
    }
}

/// Who answers what.
const PARTS: [Part; 5] = [
    Part::new(STOPS, "STOP", ReplyKind::Free),
    Part::new(TAPS, "Keep it", ReplyKind::Click),
    Part::new(5, "When will it arrive?", ReplyKind::Quoted),
    Part::new(10, "Thank you!", ReplyKind::Free),
    Part::new(14, "Move it", ReplyKind::Click),
];

/// Those who have not answered yet, and what became of the others.
#[derive(Debug)]
pub(super) struct People {
    waiting: Vec<Part>,
    /// Replies that the gateway took.
    pub(super) replied: u64,
    /// Replies that it did not take, in words.
    pub(super) refused: Vec<String>,
    /// Whether STOP was said and taken.
    pub(super) stopped: bool,
}

impl People {
    /// The people of a campaign of so many messages.
    pub(super) fn of(messages: u32) -> Self {
        let among = |part: &Part| part.who < messages;
        Self {
            waiting: PARTS.into_iter().filter(among).collect(),
            replied: 0,
            refused: Vec::new(),
            stopped: false,
        }
    }

    /// Whether nobody has anything left to say.
    pub(super) fn done(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Lets those answer who have had their message for long enough. When nothing is on its way any
    /// more (`drained`), those without a message keep silent for good.
    pub(super) async fn act(&mut self, sandbox: &Sandbox, drained: bool) {
        if self.done() {
            return;
        }
        let sends = sandbox.sends(LOOKED_AT);
        let by_phone: HashMap<&str, &SendRecord> =
            sends.iter().map(|send| (send.to.as_str(), send)).collect();
        let now = crate::clock::now().0;
        for part in std::mem::take(&mut self.waiting) {
            match by_phone.get(campaign::phone(part.who).as_str()) {
                Some(send) if ready(send.at_ms, now) => self.speak(sandbox, send, part).await,
                None if drained => {}
                _ => self.waiting.push(part),
            }
        }
    }

    async fn speak(&mut self, sandbox: &Sandbox, send: &SendRecord, part: Part) {
        let Part { who, text, kind } = part;
        let reply = Reply {
            to: Some(send.to.clone()),
            text: text.to_owned(),
            kind,
            ..Reply::default()
        };
        match sandbox.reply(reply).await {
            Ok(delivery) if delivery.status == Some(200) => {
                self.replied += 1;
                self.stopped |= who == STOPS;
            }
            Ok(delivery) => self
                .refused
                .push(format!("{text:?} was answered {:?}", delivery.status)),
            Err(reason) => self.refused.push(reason),
        }
    }
}

fn ready(sent_ms: u64, now_ms: i64) -> bool {
    let since = now_ms.saturating_sub_unsigned(sent_ms);
    u128::try_from(since).is_ok_and(|since| since >= READING.as_millis())
}

#[cfg(test)]
mod tests {
    use super::super::campaign::Expected;
    use super::*;

    #[test]
    fn everyone_who_answers_gets_a_message() {
        for part in PARTS {
            assert_eq!(campaign::post(part.who).expected, Expected::Success);
        }
        assert_eq!(People::of(200).waiting.len(), PARTS.len());
        assert_eq!(People::of(1).waiting.len(), 1);
    }

    #[test]
    fn an_answer_takes_its_time() {
        assert!(!ready(1_000, 900));
        assert!(!ready(1_000, 2_499));
        assert!(ready(1_000, 2_500));
    }
}
