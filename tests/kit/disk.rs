//! A small disk of its own that can be filled to the last byte: a tmpfs, mounted in a temporary
//! directory. Mounting wants root, or a mount namespace of one's own (`unshare --mount
//! --map-root-user`), which also takes the disk away however the process ends.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The file that takes up the room.
const FILLER: &str = "filler";
/// Bytes of a page, the unit in which a tmpfs counts.
const PAGE: u64 = 4096;

/// The disk; unmounted when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    /// Mounts a disk of so many megabytes.
    ///
    /// # Errors
    /// What `mount` said, when this process may not mount.
    pub(crate) fn new(megabytes: u64) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let size = format!("size={megabytes}m,mode=0700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir.path())
            .output()
            .map_err(|error| format!("no disk can be mounted: mount: {error}"))?;
        if !mounted.status.success() {
            let said = String::from_utf8_lossy(&mounted.stderr);
            return Err(format!(
                "no disk can be mounted: {}; run it as root, or under unshare --mount \
                 --map-root-user",
                said.trim()
            ));
        }
        Ok(Self { dir })
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> u64 {
        let disk = rustix::fs::statvfs(self.path()).expect("a disk");
        disk.f_bavail * disk.f_frsize
    }

    /// Takes up room until no more than so many bytes are free, a page more or less; 0 is full to the
    /// last byte. Others may write meanwhile.
    pub(crate) fn fill(&self, leave: u64) {
        let filler = File::options()
            .create(true)
            .append(true)
            .open(self.filler());
        // A file of no bytes can be made on a full disk.
        let mut filler = filler.expect("a file");
        let page = vec![0; usize::try_from(PAGE).expect("a page")];
        while self.free() >= leave + PAGE {
            if filler.write_all(&page).is_err() {
                break;
            }
        }
    }

    /// Gives the room back that [`Disk::fill`] took.
    pub(crate) fn empty(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.path().join(FILLER)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily, since a process may still have files open there.
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}
