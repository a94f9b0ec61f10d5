//! Where a run broke off is told once; what is tried again is not.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic tells no more than its place: its run is told with its seed.
#[expect(clippy::print_stdout, reason = "the table goes there too")]
pub(crate) fn hush() {
    std::panic::set_hook(Box::new(|info| {
        if let (false, Some(place)) = (QUIET.get(), info.location()) {
            println!("broken off at {place}");
        }
    }));
}

/// Does what may fail and will be tried again.
pub(crate) fn quietly<T>(what: impl FnOnce() -> T) -> Result<T, Box<dyn Any + Send>> {
    QUIET.set(true);
    let done = catch_unwind(AssertUnwindSafe(what));
    QUIET.set(false);
    done
}
