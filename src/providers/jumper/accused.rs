//! A call was refused as if for its access token: is it the token, or the call?
//!
//! A token is refused when the calls of two recipients are, with no call between them that went
//! well; or when the list call, which sends nothing, is. One refused call alone says nothing of the
//! token (design.md G7). Remembers one refused call an account.

use super::{Account, Question, Ready, classify};
use crate::domain::Answer;
use crate::domain::access::RefusedAccess;
use crate::domain::proof::About;
use crate::providers::jumper::token::Access;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a list call that went well speaks for the token.
const SPEAKS_FOR: Duration = Duration::from_secs(2);

/// What is remembered of refused calls.
#[derive(Debug, Default)]
pub(super) struct Accused {
    /// The last refused call since one went well. Taken for a moment by every call that ends.
    first: Mutex<Option<First>>,
    /// The list call under way, and when the last one went well with which generation.
    listing: tokio::sync::Mutex<Option<(u64, Instant)>>,
}

#[derive(Debug, Clone, Copy)]
struct First {
    generation: u64,
    recipient: u64,
}

impl Accused {
    /// A call with this token went well.
    pub(super) fn went_well(&self, generation: u64) {
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.take_if(|first| first.generation <= generation);
    }

    /// Whether another recipient's call was refused before this one.
    fn is_second(&self, generation: u64, recipient: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        recipient.hash(&mut hasher);
        let now = First {
            generation,
            recipient: hasher.finish(),
        };
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        match *first {
            Some(before) if before.generation == generation => before.recipient != now.recipient,
            _ => {
                *first = Some(now);
                false
            }
        }
    }
}

/// What the list call says of a token.
enum Listed {
    Taken,
    Refused(Answer),
    Unclear(Answer),
}

impl Account {
    /// Tells that a call to `recipient` (or about something else that has a name) was refused with
    /// the access token of this generation. Finds out whom that is about, and renews the token when
    /// it is about the token.
    pub async fn access_refused(&self, generation: u64, recipient: &str) -> RefusedAccess {
        let Some(access) = self.tokens.current(generation) else {
            return self.renewal(generation, "a call was refused").await;
        };
        if self.accused.is_second(generation, recipient) && self.tokens.is_easily_replaced().await {
            let text = "the calls of two recipients were refused";
            return self.renewal(generation, text).await;
        }
        // One at a time: whoever comes meanwhile hears what it came to.
        let mut listing = self.accused.listing.lock().await;
        if listing.is_some_and(|(of, at)| of == generation && at.elapsed() < SPEAKS_FOR) {
            return RefusedAccess::Message;
        }
        let listed = match self.tokens.current(generation) {
            Some(_) => self.list_with(&access).await,
            None => Listed::Refused(Answer::default()),
        };
        match listed {
            Listed::Taken => {
                *listing = Some((generation, Instant::now()));
                RefusedAccess::Message
            }
            Listed::Refused(answer) => {
                drop(listing);
                self.renewal(generation, &answer.summary()).await
            }
            Listed::Unclear(_) => RefusedAccess::Unclear,
        }
    }

    /// It is the token: another one is got.
    async fn renewal(&self, generation: u64, text: &str) -> RefusedAccess {
        let renewed = self.tokens.refused(generation, text).await.is_ok();
        RefusedAccess::Token { renewed }
    }

    /// The smallest call that shows whether Jumper takes our token; also with one that it refused,
    /// because that may be over.
    pub async fn verify(&self) -> Result<(), Answer> {
        if let Some(access) = self.tokens.doubtful() {
            match self.list_with(&access).await {
                Listed::Taken => return Ok(()),
                Listed::Unclear(answer) => return Err(answer),
                Listed::Refused(answer) => {
                    let text = answer.summary();
                    if self.tokens.refused(access.generation, &text).await.is_err() {
                        return Err(answer);
                    }
                }
            }
        }
        self.ask(Question::Templates { limit: "1" }).await.map(drop)
    }

    async fn list_with(&self, access: &Access) -> Listed {
        let socket = self.client.socket().await;
        let permit = self.limiter.maintenance().await;
        let question = Question::Templates { limit: "1" };
        let ready = Ready { permit, socket };
        let answer = match self.client.ask(ready, access, question).await {
            Ok(_) => {
                self.went_well(access.generation);
                return Listed::Taken;
            }
            Err(answer) => answer,
        };
        let judgement = classify(&answer, &[]);
        match judgement.about {
            About::Token => Listed::Refused(answer),
            About::Rate => {
                self.limiter.slow_down(judgement.pause);
                Listed::Unclear(answer)
            }
            _ => Listed::Unclear(answer),
        }
    }

    /// A call with this token went well.
    pub(super) fn went_well(&self, generation: u64) {
        self.accused.went_well(generation);
        self.tokens.worked(generation);
    }
}
