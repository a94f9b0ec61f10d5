//! Work of an account that only one process may do at a time: renewing its tokens, adding its
//! subscription. An embedded store belongs to one process, which therefore always may.

use super::redis::Lock;
use std::time::Duration;

/// Whether this process may do it now.
#[derive(Debug)]
pub enum Locked {
    /// It may, as long as it keeps the guard.
    Ours(Guard),
    /// Somebody else is at it.
    Busy,
    /// Somebody else tried in vain; nobody should try again before this time has passed.
    PutOff(Duration),
}

/// The right to do it. Dropped without [`Guard::release`] it ends by itself after 10 s.
#[derive(Debug)]
pub enum Guard {
    /// Nobody else could.
    Alone,
    /// Renewed at Redis while the guard lives.
    Shared(Lock),
}

impl Guard {
    /// Whether the right still stands; asked right before the work that it is for.
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Alone => true,
            Self::Shared(lock) => lock.is_ours(),
        }
    }

    /// Lets the next one in, with a pause when this try was in vain.
    pub async fn release(self, pause: Option<Duration>) {
        match self {
            Self::Alone => {}
            Self::Shared(lock) => lock.release(pause).await,
        }
    }
}
