//! How the demo went: the gateway's ledger held against what the fakes counted by themselves.
//!
//! Pure: facts in, text and yes or no out. Agrees with nothing it was not shown.

use super::super::table;
use super::caller::Answers;
use super::stage::RATE;
use crate::sandbox::Counts;
use serde_json::Value;

/// All that is known at the end.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// What MoEngage was told.
    pub(super) answers: Answers,
    /// The gateway's ledger.
    pub(super) ledger: Value,
    /// What the fakes counted.
    pub(super) counts: Counts,
    /// The most calls in any second, as the fake Jumper measured.
    pub(super) most_in_a_second: u64,
    /// Statuses that came late, twice or out of order, as the gateway counted.
    pub(super) superseded: u64,
    /// Sends whose answer was lost and that a status proved.
    pub(super) inferred: u64,
    /// Replies that the gateway took, and those it did not.
    pub(super) replies: (u64, Vec<String>),
    /// Whether the send after STOP was refused; `None` when nobody wrote STOP.
    pub(super) stop_respected: Option<bool>,
    /// Whether everything came to its end in time.
    pub(super) drained: bool,
}

/// A check: whether it holds, and what it says.
type Check = (bool, String);

impl Facts {
    fn total(&self, name: &str) -> i64 {
        self.ledger["total"][name].as_i64().unwrap_or(-1)
    }

    fn same(&self, name: &str, number: u64) -> bool {
        u64::try_from(self.total(name)) == Ok(number)
    }

    /// Whether everything is as it should be.
    pub(super) fn good(&self) -> bool {
        self.checks().iter().all(|(holds, _)| *holds) && self.total("lost") == 0
    }

    /// What MoEngage was told, then the checks.
    pub(super) fn story(&self) -> String {
        let mut out = String::from("\nWhat the gateway answered MoEngage\n");
        for line in table::aligned(&self.rows(), 12).lines() {
            out.push_str(&format!("  {line}\n"));
        }
        out.push_str("\nWhat the fakes counted, held against the gateway's ledger\n");
        for (holds, words) in self.checks() {
            let mark = if holds { "ok   " } else { "WRONG" };
            out.push_str(&format!("  {mark}  {words}\n"));
        }
        out
    }

    fn rows(&self) -> Vec<[String; 3]> {
        let answers = &self.answers;
        let row = |count: u64, code: &str, reason: &str| {
            [format!("{count:>5}"), code.to_owned(), reason.to_owned()]
        };
        let mut rows = vec![row(answers.accepted, "success", "stored, then answered")];
        if answers.repeated > 0 {
            let words = "a msg_id that came again: not sent again";
            rows.push(row(answers.repeated, "success", words));
        }
        let refused = answers.refused.iter();
        rows.extend(refused.map(|((code, reason), count)| row(*count, code, reason)));
        rows
    }

    fn checks(&self) -> Vec<Check> {
        let mut checks = vec![
            self.answered(),
            self.once(),
            self.paced(),
            self.statuses(),
            self.forwards(),
            self.replies(),
        ];
        checks.extend(self.troubles());
        if !self.drained {
            checks.push((false, "not everything came to its end in time".to_owned()));
        }
        checks
    }

    /// What the fake Jumper did on purpose, and how it ended.
    fn troubles(&self) -> Option<Check> {
        let of = |name: &str| self.counts.outcomes.get(name).copied().unwrap_or(0);
        let (refused, cut) = (of("503"), of("accept_then_close"));
        if refused + cut == 0 {
            return None;
        }
        let words = format!(
            "Jumper answered 503 to {refused} calls (sent again) and took {cut} without an answer \
             ({} proved by a status, not sent again)",
            self.inferred
        );
        Some((self.inferred == cut, words))
    }

    fn answered(&self) -> Check {
        let wrong = &self.answers.wrong;
        if let Some(first) = wrong.first() {
            return (
                false,
                format!("an answer was not the expected one: {first}"),
            );
        }
        let holds = self.same("accepted", self.answers.accepted);
        let words = format!(
            "{} answered success, {} in the ledger",
            self.answers.accepted,
            self.total("accepted")
        );
        (holds, words)
    }

    fn once(&self) -> Check {
        let counts = &self.counts;
        let sent = counts.sends_accepted;
        let holds = self.same("accepted_by_provider", sent)
            && counts.recipients == sent
            && counts.message_ids == sent
            && counts.recipients_repeated == 0;
        let words = format!(
            "{sent} sends at Jumper to {} people, {} of them twice; {} in the ledger",
            counts.recipients,
            counts.recipients_repeated,
            self.total("accepted_by_provider")
        );
        (holds, words)
    }

    /// A machine too busy to keep the time is no fault of the gateway: calls that wait for the
    /// processor arrive in a bunch, and one that Jumper's limit turns away is sent again.
    fn paced(&self) -> Check {
        let words = format!(
            "at most {} calls in any second, {RATE} allowed; {} turned away by Jumper's limit",
            self.most_in_a_second, self.counts.limited
        );
        (self.most_in_a_second <= u64::from(RATE + RATE / 5), words)
    }

    fn statuses(&self) -> Check {
        let counts = &self.counts;
        let count = |name: &str| counts.callback_entries.get(name).copied().unwrap_or(0);
        let entries = ["sent", "delivered", "read"].map(|name| format!("{} {name}", count(name)));
        let holds = self.same("accepted", counts.callback_messages) && counts.callback_invalid == 0;
        let words = format!(
            "MoEngage has the status of {} of {} messages: {}, {} failed at WhatsApp, {} failed here",
            counts.callback_messages,
            self.total("accepted"),
            entries.join(", "),
            self.undelivered(),
            self.total("failed"),
        );
        (holds, words)
    }

    fn forwards(&self) -> Check {
        let counts = &self.counts;
        let words = format!(
            "{} statuses came late, twice or out of order; relayed twice {}, backwards {}",
            self.superseded, counts.callback_repeated, counts.callback_backwards
        );
        (
            counts.callback_repeated == 0 && counts.callback_backwards == 0,
            words,
        )
    }

    fn replies(&self) -> Check {
        let (replied, refused) = &self.replies;
        if let Some(reason) = refused.first() {
            return (false, format!("a reply was not taken: {reason}"));
        }
        let arrived = self.counts.callback_inbound;
        let stop = match self.stop_respected {
            None => "",
            Some(true) => "; the next send to the person who wrote STOP was refused",
            Some(false) => "; the next send to the person who wrote STOP was NOT refused",
        };
        let holds = arrived == *replied && self.stop_respected != Some(false);
        (
            holds,
            format!("{arrived} of {replied} replies reached MoEngage{stop}"),
        )
    }

    /// Messages that the provider took and WhatsApp did not deliver: what was told as failed, without
    /// what the gateway gave up itself.
    fn undelivered(&self) -> i64 {
        let failed = self.counts.callback_entries.get("failed");
        let failed = failed.and_then(|n| i64::try_from(*n).ok()).unwrap_or(0);
        (failed - self.total("failed")).max(0)
    }

    /// The ledger as a small table.
    pub(super) fn ledger(&self) -> String {
        let callbacks = &self.ledger["total"]["callbacks"];
        let number = |value: &Value| value.as_i64().unwrap_or(-1);
        let rows = [
            ("accepted", self.total("accepted")),
            ("accepted by provider", self.total("accepted_by_provider")),
            ("failed at WhatsApp later", self.undelivered()),
            ("failed here, MoEngage told", self.total("failed")),
            ("callbacks taken", number(&callbacks["taken"])),
            ("callbacks waiting", number(&callbacks["waiting"])),
            ("dead letters", number(&callbacks["dead_letters"])),
        ];
        let rows = rows.map(|(name, value)| [format!("  {name}"), format!("{value:>7}")]);
        format!("Ledger\n{}", table::aligned(&rows, 40))
    }

    /// The equation that must hold (design.md G2).
    pub(super) fn equation(&self) -> String {
        format!(
            "accepted {} = queued {} + in flight {} + held {} + unknown {} + accepted by provider \
             {} + failed {}: lost {}",
            self.total("accepted"),
            self.total("queued"),
            self.total("in_flight"),
            self.total("held"),
            self.total("unknown"),
            self.total("accepted_by_provider"),
            self.total("failed"),
            self.total("lost")
        )
    }
}

/// The number of a counter in Prometheus' text; 0 when it was never counted.
pub(super) fn metric(text: &str, name: &str) -> u64 {
    let value = |line: &str| {
        line.strip_prefix(name)?
            .strip_prefix(' ')?
            .trim()
            .parse()
            .ok()
    };
    text.lines().find_map(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts() -> Facts {
        let counts = Counts {
            sends_accepted: 9,
            message_ids: 9,
            recipients: 9,
            callback_messages: 10,
            callback_inbound: 2,
            callback_entries: [("failed".to_owned(), 3)].into(),
            outcomes: [("503".to_owned(), 2), ("accept_then_close".to_owned(), 1)].into(),
            ..Counts::default()
        };
        Facts {
            answers: Answers {
                accepted: 10,
                repeated: 1,
                refused: [(("7002".to_owned(), "why".to_owned()), 3)].into(),
                wrong: Vec::new(),
            },
            ledger: json!({ "total": {
                "accepted": 10, "queued": 0, "in_flight": 0, "held": 0, "unknown": 0,
                "accepted_by_provider": 9, "failed": 1, "lost": 0,
                "callbacks": { "taken": 30, "waiting": 0, "dead_letters": 0 } } }),
            counts,
            most_in_a_second: 20,
            superseded: 4,
            inferred: 1,
            replies: (2, Vec::new()),
            stop_respected: Some(true),
            drained: true,
        }
    }

    #[test]
    fn the_end_is_told() {
        let facts = facts();
        assert!(facts.good(), "{}", facts.story());
        let story = facts.story();
        for text in [
            "     10  success  stored",
            "      3  7002     why",
            "  ok     9 sends at Jumper to 9 people, 0 of them twice; 9 in the ledger",
            "  ok     Jumper answered 503 to 2 calls (sent again) and took 1 without an answer (1 ",
            "  ok     2 of 2 replies reached MoEngage; the next send",
        ] {
            assert!(story.contains(text), "{text:?} in {story}");
        }
        assert_eq!(
            facts.equation(),
            "accepted 10 = queued 0 + in flight 0 + held 0 + unknown 0 + accepted by provider 9 + \
             failed 1: lost 0"
        );
        let ledger = facts.ledger();
        for row in [
            "  failed at WhatsApp later          2\n",
            "  failed here, MoEngage told        1\n",
        ] {
            assert!(ledger.contains(row), "{ledger}");
        }
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        type Spoil = fn(&mut Facts);
        let wrong: [(&str, Spoil); 15] = [
            ("lost", |f| f.ledger["total"]["lost"] = 1.into()),
            ("ledger", |f| f.ledger = Value::Null),
            ("accepted", |f| f.answers.accepted = 11),
            ("answer", |f| f.answers.wrong.push("x".into())),
            ("twice", |f| f.counts.recipients_repeated = 1),
            ("sent", |f| f.counts.sends_accepted = 10),
            ("rate", |f| f.most_in_a_second = 25),
            ("status", |f| f.counts.callback_messages = 9),
            ("invalid", |f| f.counts.callback_invalid = 1),
            ("repeated", |f| f.counts.callback_repeated = 1),
            ("backwards", |f| f.counts.callback_backwards = 1),
            ("reply", |f| f.counts.callback_inbound = 1),
            ("proof", |f| f.inferred = 0),
            ("stop", |f| f.stop_respected = Some(false)),
            ("time", |f| f.drained = false),
        ];
        for (what, spoil) in wrong {
            let mut facts = facts();
            spoil(&mut facts);
            assert!(!facts.good(), "{what}");
        }
    }

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "# TYPE a counter\na{x=\"1\"} 3\na{x=\"12\"} 4\nab 5\n";
        for (name, number) in [("a{x=\"1\"}", 3), ("a{x=\"12\"}", 4), ("ab", 5), ("a", 0)] {
            assert_eq!(metric(text, name), number, "{name}");
        }
    }
}
