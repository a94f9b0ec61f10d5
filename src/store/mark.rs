//! How far a store had come, as it is kept outside of the store. A store that says less, and is the same one, was put
//! back from a copy: what waits in it may have been sent since.

use super::{Aside, Outbox, StoreError};
use crate::domain::{AccountId, ChannelId, UnixMs};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;

/// Where a store keeps its own id.
const STORE_ID: &str = "store:id";
/// Of so many processes or channels the last claims are kept.
const MOST: usize = 80;
/// The most characters of their names.
const LONGEST_NAME: usize = 64;
/// The length of a step.
const STEP: usize = 16;

/// Last claims: on Redis of each process, in the embedded store of each channel. Steps are digits, all as long, so
/// that the later one is the greater text.
pub type Steps = BTreeMap<String, String>;

/// How far a store had come with the work of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The store's own id.
    pub store: String,
    /// The last claims.
    pub steps: Steps,
}

impl Mark {
    /// Reads what [`Mark::write`] wrote; nothing where that is no mark.
    pub fn read(text: &str) -> Option<Self> {
        let mark: Self = serde_json::from_str(text).ok()?;
        let is_name = |name: &str| !name.is_empty() && name.len() <= LONGEST_NAME;
        let is_step = |step: &str| step.len() == STEP && step.bytes().all(|b| b.is_ascii_digit());
        let mut steps = mark.steps.iter();
        let is_sound =
            is_name(&mark.store) && steps.all(|(name, step)| is_name(name) && is_step(step));
        is_sound.then_some(mark)
    }

    /// As one line of text.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Takes over what another one knows later. Whether it knew anything later; one of another store does not count.
    pub fn learn(&mut self, other: &Self) -> bool {
        if self.store != other.store {
            return false;
        }
        let mut is_news = false;
        for (name, step) in &other.steps {
            if self.steps.get(name).is_none_or(|known| known < step) {
                self.steps.insert(name.clone(), step.clone());
                is_news = true;
            }
        }
        while self.steps.len() > MOST {
            let first = self.steps.iter().min_by_key(|(_, step)| step.as_str());
            let Some(first) = first.map(|(name, _)| name.clone()) else {
                break;
            };
            self.steps.remove(&first);
        }
        is_news
    }
}

/// Whose marks are kept, and of which store.
#[derive(Debug, Clone)]
pub struct Marked {
    /// The account.
    pub account: AccountId,
    /// Its channels.
    pub channels: Vec<ChannelId>,
    /// The store's own id.
    pub store: String,
}

impl Aside {
    /// The mark of an account; nothing where the file holds none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_mark(&self, account: &AccountId) -> io::Result<Option<Mark>> {
        let text = self.read(&file(account))?;
        Ok(text.as_deref().and_then(Mark::read))
    }

    /// Keeps what is later of this one and of the one that is there: another process may have written it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_mark(&self, account: &AccountId, mut mark: Mark) -> io::Result<()> {
        // One that cannot be read is written anew.
        let there = self.read_mark(account).ok().flatten();
        if let Some(there) = &there {
            mark.learn(there);
        }
        if there.as_ref() == Some(&mark) {
            return Ok(());
        }
        self.write(&file(account), &mark.write())
    }
}

fn file(account: &AccountId) -> String {
    format!("mark-{account}")
}

impl Outbox {
    /// The store's own id. One that has none is new, or older than its first id: then that of its marks counts, if
    /// there is one. Whether it had one.
    pub async fn id(&self, of_marks: Option<&str>) -> Result<(String, bool), StoreError> {
        if let Some(id) = self.load_setting(STORE_ID).await? {
            return Ok((id, true));
        }
        let id = match of_marks {
            Some(id) => id.to_owned(),
            None => drawn()?,
        };
        Ok((self.keep_setting(STORE_ID, id).await?, false))
    }

    /// How far the store has come with the work of an account, as this process knows.
    pub fn mark(&self, of: &Marked) -> Mark {
        Mark {
            store: of.store.clone(),
            steps: match self {
                Self::Embedded(store) => store.steps(&of.channels),
                Self::Redis(store) => store.steps(&of.account),
            },
        }
    }

    /// It had come so far, as is known from outside. Where it says less, what waits is held until an operator
    /// decides. Before work is handed out; on Redis before the first renewal.
    pub async fn remember(
        &self,
        of: &Marked,
        steps: &Steps,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.remember(of, steps, now).await,
            Self::Redis(store) => {
                store.remember(&of.account, steps, now);
                Ok(())
            }
        }
    }
}

fn drawn() -> Result<String, StoreError> {
    let mut id = [0; 8];
    let drawn = SystemRandom::new().fill(&mut id);
    drawn.map_err(|_| StoreError::Unavailable("this machine gives no random numbers".into()))?;
    Ok(format!("{:016x}", u64::from_be_bytes(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(store: &str, steps: &[(&str, u64)]) -> Mark {
        Mark {
            store: store.into(),
            steps: steps
                .iter()
                .map(|(name, step)| ((*name).into(), format!("{step:016}")))
                .collect(),
        }
    }

    #[test]
    fn it_is_read_as_it_was_written_and_nothing_else_is_a_mark() {
        let one = mark("a", &[("x", 5), ("*", 7)]);
        assert_eq!(Mark::read(&one.write()), Some(one));
        for text in [
            "",
            "{}",
            "[]",
            r#"{"store":"","steps":{}}"#,
            r#"{"store":"a","steps":{"x":"5"}}"#,
            r#"{"store":"a","steps":{"x":"zzzzzzzzzzzzzzzz"}}"#,
            r#"{"store":"a","steps":{"":"0000000000000005"}}"#,
        ] {
            assert_eq!(Mark::read(text), None, "{text}");
        }
    }

    #[test]
    fn it_only_grows_and_only_by_marks_of_the_same_store() {
        let mut one = mark("a", &[("x", 5), ("y", 5)]);
        assert!(!one.learn(&mark("b", &[("x", 9)])));
        assert!(!one.learn(&mark("a", &[("x", 4), ("y", 5)])));
        assert!(one.learn(&mark("a", &[("x", 4), ("y", 6), ("z", 1)])));
        assert_eq!(one, mark("a", &[("x", 5), ("y", 6), ("z", 1)]));
    }

    #[test]
    fn it_keeps_the_last_of_many() {
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let steps: Vec<(&str, u64)> = names.iter().map(String::as_str).zip(0..).collect();
        let mut one = mark("a", &[]);
        one.learn(&mark("a", &steps));
        assert_eq!(one, mark("a", &steps[20..]));
    }
}
