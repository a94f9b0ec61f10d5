//! Reads the files of the configuration, if nobody else can have written them.
//!
//! What they say decides where credentials are posted to, and `.env` is looked for where the gateway
//! happens to be started. So a file counts only when it belongs to root or to the user of this process,
//! and when these alone may write it. Looked at before it is opened, because opening what is no file may
//! wait for ever, and once more when it is open, because it may have been replaced in between.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

/// The text of a file, and whether every user of this machine may read it.
pub(super) fn read(path: &Path) -> std::io::Result<(String, bool)> {
    let us = rustix::process::geteuid().as_raw();
    let refused = |why: String| Error::new(ErrorKind::PermissionDenied, why);
    let link = std::fs::symlink_metadata(path)?;
    // Where a link leads decides who made it; its own mode says nothing.
    if link.is_symlink() {
        owned(link.uid(), us).map_err(refused)?;
    }
    trusted(&std::fs::metadata(path)?, us).map_err(refused)?;
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    trusted(&metadata, us).map_err(refused)?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok((text, metadata.permissions().mode() & 0o004 != 0))
}

fn trusted(file: &Metadata, us: u32) -> Result<(), String> {
    owned(file.uid(), us)?;
    match file.permissions().mode() & 0o022 {
        // Who may write to a pipe or a terminal is not told by its mode.
        0 => Ok(()),
        _ if !file.is_file() => Ok(()),
        _ => Err(
            "other users may write it, and what it says decides where credentials go: chmod go-w"
                .to_owned(),
        ),
    }
}

fn owned(owner: u32, us: u32) -> Result<(), String> {
    if owner == 0 || owner == us {
        return Ok(());
    }
    Err(format!(
        "it belongs to user {owner}, and the gateway runs as user {us}: give it to root or to {us} (chown)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_74_only_root_and_we_ourselves_are_believed() {
        for (owner, us, good) in [
            (0, 0, true),
            (0, 7, true),
            (7, 7, true),
            (7, 0, false),
            (8, 7, false),
        ] {
            assert_eq!(owned(owner, us).is_ok(), good, "{owner} {us}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "A=b").unwrap();
        for (mode, open) in [
            (0o600, Some(false)),
            (0o640, Some(false)),
            (0o644, Some(true)),
            (0o660, None),
            (0o602, None),
            (0o666, None),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read(&path);
            let seen = read.as_ref().ok().map(|(_, open)| *open);
            assert_eq!(seen, open, "{mode:o}: {read:?}");
        }
        let missing = read(&dir.path().join("none")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }
}
