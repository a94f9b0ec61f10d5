//! Events of callers who showed no secret (cases R-68). Anybody can make them up, so they prove nothing
//! of a message that they do not name, opt out nobody but who was written to, and opt in nobody.

use super::{Outbox, TRY_AGAIN};
use crate::domain::{Incoming, Keyword, Phone, Reply};
use crate::store::{EventRules, StoreError};
use std::collections::HashSet;
use tokio::time::{Instant, sleep, timeout_at};

/// Under what a reply is kept that asks for what a stranger must not bring about.
const STRANGER: &str = "unmatched_reply";
/// The most bytes of it that are kept.
const LONGEST: usize = 8 << 10;

impl Outbox {
    /// Leaves of these events what may count.
    pub(super) async fn of_strangers(
        &self,
        rules: &EventRules,
        events: &mut [Incoming],
        give_up: Instant,
    ) -> Result<(), StoreError> {
        let mut asked = HashSet::new();
        for event in events.iter_mut() {
            match event {
                // Without the person it is no evidence, and teaches nothing of one.
                Incoming::Status(status) => (status.recipient, status.user) = (None, None),
                Incoming::Reply(reply) if opts_out(rules, reply) => asked.extend(reply.from),
                Incoming::Reply(_) | Incoming::Other { .. } => {}
            }
        }
        let known = match asked.is_empty() {
            true => HashSet::new(),
            false => self.written_to(rules, asked, give_up).await?,
        };
        for event in events {
            let Incoming::Reply(reply) = event else {
                continue;
            };
            let counts = match rules.keywords.meaning(&reply.text) {
                None => true,
                Some(Keyword::Start) => false,
                Some(Keyword::Stop(_)) => reply.from.is_none_or(|from| known.contains(&from)),
            };
            if !counts {
                let end = reply.text.floor_char_boundary(LONGEST);
                *event = Incoming::Other {
                    kind: STRANGER,
                    raw: reply.text[..end].to_owned(),
                    times: 1,
                };
            }
        }
        Ok(())
    }

    /// Asks until the store answers or the caller gives up.
    async fn written_to(
        &self,
        rules: &EventRules,
        people: HashSet<Phone>,
        give_up: Instant,
    ) -> Result<HashSet<Phone>, StoreError> {
        loop {
            let asked = self.store.written_to(rules, &people);
            match timeout_at(give_up, asked).await {
                Err(_) => return Err(self.too_slow()),
                Ok(Err(error)) if Instant::now() >= give_up => return Err(error),
                Ok(Err(_)) => sleep(TRY_AGAIN).await,
                Ok(known) => return known,
            }
        }
    }
}

fn opts_out(rules: &EventRules, reply: &Reply) -> bool {
    matches!(rules.keywords.meaning(&reply.text), Some(Keyword::Stop(_)))
}
