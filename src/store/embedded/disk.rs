//! The disk under the store: room, the lock file, permissions.

use crate::store::StoreError;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a measurement of the free room is believed.
const BELIEVED: Duration = Duration::from_millis(500);

/// Links are not followed: who could put one there would choose which file is written.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();

/// Bytes that stay free on the disk whatever the file has to give: the log that SQLite writes first
/// takes up to 64 MB, and what is under way must be able to end.
const FLOOR: u64 = 96 << 20;

/// How much room there is, measured at most twice a second.
pub(super) struct Disk {
    dir: PathBuf,
    needed: u64,
    /// Bytes of pages of the store's file that are free to be used again, since retention does not make
    /// the file smaller. Written by the writing thread.
    reusable: Arc<AtomicU64>,
    /// The store's file, and which file that is: writes to a file that was deleted go nowhere.
    path: PathBuf,
    identity: (u64, u64),
    /// The last look. Locked for the moment of looking only.
    last: Mutex<Option<Seen>>,
}

/// What was seen at a moment.
struct Seen {
    at: Instant,
    /// Bytes free on the disk, while the store's file is the one that was opened.
    free: Result<u64, ()>,
    /// What was told last.
    reported: Room,
}

/// What there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    All,
    /// For all but new messages.
    NothingNew,
    /// For the end of what is under way.
    Ends,
}

impl Disk {
    pub(super) fn new(
        dir: PathBuf,
        path: PathBuf,
        needed: u64,
        reusable: Arc<AtomicU64>,
    ) -> std::io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self {
            dir,
            needed,
            reusable,
            path,
            identity,
            last: Mutex::new(None),
        })
    }

    /// Whether there is room for new messages.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        let free = self.intact()?;
        self.enough(free, self.reusable())
    }

    /// Bytes of free pages of the store's file, at the last commit.
    pub(super) fn reusable(&self) -> u64 {
        self.reusable.load(Ordering::Acquire)
    }

    /// Whether there is room to send what is here.
    pub(super) fn check_floor(&self) -> Result<(), StoreError> {
        match self.check() {
            Err(StoreError::DiskLow { .. }) => Ok(()),
            checked => checked,
        }
    }

    fn enough(&self, free: u64, reusable: u64) -> Result<(), StoreError> {
        let floor = FLOOR.min(self.needed);
        if free < floor {
            let needed = floor;
            return Err(StoreError::DiskFull { free, needed });
        }
        let (room, needed) = (free.saturating_add(reusable), self.needed);
        if room < needed {
            return Err(StoreError::DiskLow { room, needed });
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
        if let Some(seen) = &*last
            && seen.at.elapsed() < BELIEVED
        {
            return seen.free;
        }
        let same = identity(&self.path).is_ok_and(|now| now == self.identity);
        // A file system that does not answer is treated as having room: writes will tell.
        let free = if same {
            Ok(room(&self.dir).unwrap_or(u64::MAX))
        } else {
            Err(())
        };
        let before = last.as_ref().map_or(Room::All, |seen| seen.reported);
        *last = Some(Seen {
            at: Instant::now(),
            free,
            reported: free.map_or(before, |free| self.tell(before, free)),
        });
        free
    }

    /// Tells an operator when the room gets short, and when there is enough again.
    fn tell(&self, before: Room, free: u64) -> Room {
        let enough = self.enough(free, self.reusable());
        let now = match &enough {
            Ok(()) => Room::All,
            Err(StoreError::DiskLow { .. }) => Room::NothingNew,
            Err(_) => Room::Ends,
        };
        match enough {
            _ if now == before => {}
            Ok(()) => tracing::info!(
                event = "disk_has_room",
                "the disk of DATA_DIR has room again: messages are accepted"
            ),
            Err(error @ StoreError::DiskLow { .. }) => {
                tracing::warn!(event = "disk_unusable", "{error}")
            }
            Err(error) => tracing::error!(event = "disk_unusable", "{error}"),
        }
        now
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
        .custom_flags(NO_LINK)
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
    let path = dir.join("gateway.lock");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(NO_LINK)
        .open(path);
    let mut file = file.ok()?;
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

/// Makes the directory, for its owner alone; one that is there stays as it is, if it is safe.
pub(in crate::store) fn make_dir(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    match unsafe_because(dir)? {
        None => Ok(()),
        Some(why) => Err(std::io::Error::new(
            std::io::ErrorKind::PermissionDenied,
            why,
        )),
    }
}

/// Files of the store, and of what SQLite puts beside it.
const FILES: [&str; 4] = [
    "gateway.lock",
    "gateway.db",
    "gateway.db-wal",
    "gateway.db-shm",
];

/// Why a directory must not be used, and what to do. Who may write into it may put a link in the place of
/// a file of ours, which would then be written elsewhere, or take the file away.
pub fn unsafe_because(dir: &Path) -> std::io::Result<Option<String>> {
    // A link to the directory itself is the operator's.
    if std::fs::metadata(dir)?.mode() & 0o002 != 0 {
        return Ok(Some(
            "every user of this machine may write into it: chmod o-w. Where that cannot be, stop the gateway, \
             move gateway.db, gateway.db-wal and gateway.db-shm into a folder below it that has mode 0700 \
             (they hold the queue and the tokens), and set DATA_DIR to that folder"
                .to_owned(),
        ));
    }
    let is_link = |name: &&str| {
        let file = std::fs::symlink_metadata(dir.join(name));
        file.is_ok_and(|file| file.is_symlink())
    };
    let link = FILES.into_iter().find(is_link);
    Ok(link.map(|name| {
        format!("{name} is a link, which is not followed: put the file itself in its place")
    }))
}

/// Makes the file readable by its owner alone: it holds tokens and phone numbers.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(path)?;
    file.set_permissions(std::fs::Permissions::from_mode(0o600))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_39_free_pages_are_room_but_never_below_the_floor() {
        let dir = tempfile::tempdir().unwrap();
        let (path, mb) = (dir.path().join("file"), 1 << 20);
        std::fs::write(&path, "").unwrap();
        let needing = |needed| {
            let dir = dir.path().to_owned();
            Disk::new(dir, path.clone(), needed, Arc::default()).unwrap()
        };
        let (usual, small) = (needing(256 * mb), needing(2 * mb));
        let (all, new, ends) = (Room::All, Room::NothingNew, Room::Ends);
        for (disk, free, reusable, room) in [
            (&usual, 256, 0, all),
            (&usual, 255, 0, new),
            (&usual, 96, 159, new),
            (&usual, 96, 160, all),
            (&usual, 95, 9000, ends),
            (&small, 2, 0, all),
            (&small, 1, 9000, ends),
        ] {
            let enough = disk.enough(free * mb, reusable * mb);
            let found = match &enough {
                Ok(()) => all,
                Err(StoreError::DiskLow { .. }) => new,
                Err(_) => ends,
            };
            assert_eq!(found, room, "{free} MB free, {reusable} MB in the file");
            let words = enough.err().map(|error| error.to_string());
            assert!(words.is_none_or(|text| text.contains("Make room")));
        }
    }
}
