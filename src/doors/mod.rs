//! Who asks for messages and is told how they went. One arm and one folder per door: its routes, what it reads,
//! what it answers and what it is told. A door knows no provider.

pub mod moengage;

use crate::domain::Callback;
use crate::domain::callback::Delivery;

/// A door, as the relay sees it: callbacks are told to it.
#[derive(Debug, Clone)]
pub enum Door {
    /// MoEngage.
    Moengage(moengage::callback::Callbacks),
}

impl Door {
    /// How many of the first callbacks go into one post, up to a number and a size in bytes. At least
    /// one, however large; none of none.
    pub fn fits(&self, callbacks: &[Callback], most: usize, most_bytes: usize) -> usize {
        match self {
            Self::Moengage(_) => moengage::batch::cut(callbacks, most, most_bytes),
        }
    }

    /// Tells callbacks that fit, in one post.
    pub async fn post(&self, url: &str, callbacks: &[Callback]) -> Delivery {
        match self {
            Self::Moengage(moengage) => moengage.post(url, &moengage.batch(callbacks)).await,
        }
    }
}
