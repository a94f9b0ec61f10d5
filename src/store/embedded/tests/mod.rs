//! What only the embedded store does: its file, its lock, its disk, its statements. The contract
//! that it shares with other backends is in `store/tests`.

mod damage;
mod inside;
mod layout;
mod opening;
mod plans;
mod rows;

use super::Store;
use crate::domain::{AccountId, Destination, Incoming, OptOut, Status};
use crate::store::tests::*;
use crate::store::{Accepted, Outbox, RelayOutcome, testing};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// The stories' world with the store and the directory behind it in reach.
struct Rig {
    world: World,
    store: Store,
    dir: Arc<TempDir>,
}

impl Rig {
    fn new() -> Self {
        let (dir, store) = testing::store();
        Self::over(store, Arc::new(dir))
    }

    fn over(store: Store, dir: Arc<TempDir>) -> Self {
        let home = on_embedded::OnEmbedded {
            dir: dir.clone(),
            marks: std::cell::Cell::new(false),
        };
        let world = World::new(Outbox::Embedded(store.clone()), home);
        Self { world, store, dir }
    }

    /// The process ends; its directory.
    fn closed(self) -> Arc<TempDir> {
        self.dir
    }

    /// The process ends and starts again.
    fn reopened(self) -> Self {
        let dir = self.closed();
        Self::over(testing::open(dir.path()), dir)
    }
}

impl Deref for Rig {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}
