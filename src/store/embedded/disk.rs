//! The disk under the store: room, the lock file, permissions.

use crate::store::StoreError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a measurement of the free room is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// How much room there is, measured at most twice a second.
pub(super) struct Disk {
    dir: PathBuf,
    needed: u64,
    /// The store's file, and which file that is: writes to a file that was deleted go nowhere.
    path: PathBuf,
    identity: (u64, u64),
    /// The last measurement. Locked for the moment of looking only.
    last: Mutex<Option<(Instant, Result<u64, ()>)>>,
}

impl Disk {
    pub(super) fn new(dir: PathBuf, path: PathBuf, needed: u64) -> std::io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self {
            dir,
            needed,
            path,
            identity,
            last: Mutex::new(None),
        })
    }

    /// Whether the store's file is still the one that was opened, and as much is free as new
    /// messages need.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let free = self.intact()?;
        if free < self.needed {
            return Err(StoreError::DiskFull {
                free,
                needed: self.needed,
            });
        }
        Ok(())
    }

    /// Whether the store's file is still the one that was opened; tells the free room.
    pub(super) fn intact(&self) -> Result<u64, StoreError> {
        self.look().map_err(|()| {
            StoreError::Unavailable(format!(
                "{} was deleted or replaced while the gateway runs; stop it, put the file back or \
                 start anew",
                self.path.display()
            ))
        })
    }

    fn look(&self) -> Result<u64, ()> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, seen)) = *last
            && at.elapsed() < BELIEVED
        {
            return seen;
        }
        let same = identity(&self.path).is_ok_and(|now| now == self.identity);
        // A file system that does not answer is treated as having room: writes will tell.
        let seen = if same {
            Ok(room(&self.dir).unwrap_or(u64::MAX))
        } else {
            Err(())
        };
        *last = Some((Instant::now(), seen));
        seen
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let file = std::fs::metadata(path)?;
    Ok((file.dev(), file.ino()))
}

/// How many bytes are free where `path` is.
pub fn room(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Locks the directory for this process.
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("gateway.lock");
    let fault =
        |error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display()));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {
            file.set_len(0).map_err(fault)?;
            file.rewind().map_err(fault)?;
            write!(file, "{}", std::process::id()).map_err(fault)?;
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Who it is only helps the message; not knowing is no fault.
            let _ = file.read_to_string(&mut owner);
            Err(StoreError::InUse(format!(
                "another gateway (process {owner}) works on the data directory {}: stop it, or \
                 give this one a DATA_DIR of its own",
                dir.display()
            )))
        }
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

/// The process that works on the directory, if one does. Leaves nothing behind.
pub fn owner(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join("gateway.lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Who it is only helps the message.
            let _ = file.read_to_string(&mut owner);
            Some(owner)
        }
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Makes the directory, for its owner alone; one that is there stays as it is.
pub(super) fn make_dir(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Makes the file readable by its owner alone: it holds tokens and phone numbers.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}
