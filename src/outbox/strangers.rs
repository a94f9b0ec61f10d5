//! Events of callers who showed no secret (cases R-68). Anybody can make them up, so they prove nothing
//! of a message that they do not name, and nobody is opted out but who was written to.

use super::Outbox;
use crate::domain::{Incoming, Phone};
use crate::store::{EventRules, StoreError};
use std::collections::HashSet;

/// Under what a reply is kept that could opt out somebody who was never written to.
const STRANGER: &str = "unmatched_reply";

impl Outbox {
    /// What of these events may count.
    pub(super) async fn of_strangers(
        &self,
        rules: &EventRules,
        events: &mut [Incoming],
    ) -> Result<(), StoreError> {
        let mut asked = Vec::new();
        for event in events.iter_mut() {
            match event {
                // Without the person it is no evidence.
                Incoming::Status(status) => status.recipient = None,
                Incoming::Reply(reply) if rules.keywords.meaning(&reply.text).is_some() => {
                    asked.extend(reply.from);
                }
                Incoming::Reply(_) | Incoming::Other { .. } => {}
            }
        }
        let known: HashSet<Phone> = match asked.is_empty() {
            true => HashSet::new(),
            false => self.store.written_to(rules, asked).await?,
        };
        for event in events {
            if let Incoming::Reply(reply) = event
                && rules.keywords.meaning(&reply.text).is_some()
                && reply.from.is_some_and(|from| !known.contains(&from))
            {
                *event = Incoming::Other {
                    kind: STRANGER,
                    raw: reply.text.clone(),
                    times: 1,
                };
            }
        }
        Ok(())
    }
}
