//! Small files beside the store, in the data directory: what must outlive a store that goes back to an older state,
//! or that cannot be written. Each is written whole or not at all, and its owner alone may read it.

use super::embedded::{make_dir, unsafe_because};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A link in the place of a file is not followed: who could put it there would choose what is read or written.
const NO_LINK: i32 = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
/// What is longer was not written by the gateway (bytes).
const LONGEST: u64 = 65_536;

/// Nobody writes one for so long.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// The folder of these files. Each call may wait for a disk.
#[derive(Debug, Clone)]
pub struct Aside {
    dir: PathBuf,
}

impl Aside {
    /// Those of this data directory, which need not exist.
    pub fn of(data_dir: &Path) -> Self {
        Self {
            dir: data_dir.to_owned(),
        }
    }

    /// What a file says, if it is there.
    ///
    /// # Errors
    /// When it cannot be read, or is no file of ours.
    pub fn read(&self, name: &str) -> Result<Option<String>> {
        let open = OpenOptions::new()
            .read(true)
            .custom_flags(NO_LINK)
            .open(self.dir.join(name));
        let file = match open {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        // Who may write there could have put it there.
        if let Some(why) = unsafe_because(&self.dir)? {
            return Err(Error::new(ErrorKind::PermissionDenied, why));
        }
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!("it is longer than {LONGEST} bytes"),
            ));
        }
        Ok(Some(text))
    }

    /// Puts this in the place of what a file says, durably. Makes the data directory where there is none.
    ///
    /// # Errors
    /// When it cannot be written; the file is as it was then.
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        make_dir(&self.dir)?;
        // In containers all processes may have one number.
        let next = self.dir.join(format!(".{name}-{:08x}", fastrand::u32(..)));
        self.clear_up(name)?;
        let written = put(&next, text).and_then(|()| std::fs::rename(&next, self.dir.join(name)));
        if written.is_err() {
            let _ = std::fs::remove_file(&next);
        }
        written?;
        File::open(&self.dir)?.sync_all()
    }

    /// Moves a file of no use out of the way, for a person to look at; says where it is then.
    ///
    /// # Errors
    /// When it is where it was.
    pub fn spoil(&self, name: &str) -> Result<String> {
        let to = format!("{name}.damaged");
        std::fs::rename(self.dir.join(name), self.dir.join(&to))?;
        File::open(&self.dir)?.sync_all()?;
        Ok(to)
    }

    /// Removes what a process left behind that was killed while it wrote.
    fn clear_up(&self, name: &str) -> Result<()> {
        let begin = format!(".{name}-");
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let is_part = entry.file_name().to_string_lossy().starts_with(&begin);
            let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
            if is_part && age().is_some_and(|age| age > LEFT_BEHIND) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Removes a file, durably; one that is not there is no error.
    ///
    /// # Errors
    /// When it is still there.
    pub fn remove(&self, name: &str) -> Result<()> {
        match std::fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => removed?,
        }
        File::open(&self.dir)?.sync_all()
    }
}

fn put(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(NO_LINK)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_says_what_was_written_last_and_is_for_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let aside = Aside::of(&place.path().join("a/b"));
        assert_eq!(aside.read("x").unwrap(), None);
        aside.remove("x").unwrap();
        for text in ["one", "two"] {
            aside.write("x", text).unwrap();
            assert_eq!(aside.read("x").unwrap().as_deref(), Some(text));
        }
        let mode = std::fs::metadata(place.path().join("a/b/x"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        aside.remove("x").unwrap();
        assert_eq!(aside.read("x").unwrap(), None);
        assert_eq!(
            std::fs::read_dir(place.path().join("a/b")).unwrap().count(),
            0
        );
    }

    #[test]
    fn what_others_put_there_is_neither_read_nor_written_through() {
        let place = tempfile::tempdir().unwrap();
        let (aside, theirs) = (Aside::of(place.path()), place.path().join("theirs"));
        std::fs::write(&theirs, "theirs").unwrap();
        symlink(&theirs, place.path().join("x")).unwrap();
        aside.read("x").unwrap_err();
        aside.write("x", "ours").unwrap();
        assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "theirs");
        assert_eq!(aside.read("x").unwrap().as_deref(), Some("ours"));
        std::fs::write(place.path().join("long"), "x".repeat(70_000)).unwrap();
        aside.read("long").unwrap_err();
        std::fs::write(place.path().join("odd"), b"\xff").unwrap();
        aside.read("odd").unwrap_err();
        assert_eq!(aside.spoil("odd").unwrap(), "odd.damaged");
        assert_eq!(aside.read("odd").unwrap(), None);
        assert!(place.path().join("odd.damaged").exists());
        std::fs::set_permissions(place.path(), PermissionsExt::from_mode(0o777)).unwrap();
        aside.read("x").unwrap_err();
        aside.write("x", "others may replace it").unwrap_err();
    }
}
