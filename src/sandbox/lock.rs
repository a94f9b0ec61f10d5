//! How the state of the fakes is locked: for a few lines, never across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after another thread panicked: the data is counts and lists, never half-made.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
