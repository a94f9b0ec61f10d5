//! The data directory, without touching the store in it.

use super::{DEADLINE, Finding, Mark, finding};
use crate::config::Store;
use crate::store::embedded;
use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};

const ITEM: &str = "data directory";

/// Can it be made, written to, and is there room?
pub(super) async fn look(store: &Store) -> Finding {
    let (dir, needed) = (store.data_dir.clone(), store.min_free);
    // A network file system that hangs must not hang the others.
    let looked = tokio::task::spawn_blocking(move || inspect(&dir, needed));
    match tokio::time::timeout(DEADLINE, looked).await {
        Ok(Ok(found)) => found,
        _ => finding(
            ITEM,
            Mark::Fault,
            "its file system does not answer within 5 s",
        ),
    }
}

/// Whether the gateway could put small files there.
pub(super) async fn takes_files(dir: &Path) -> bool {
    let dir = dir.to_owned();
    let tried = tokio::task::spawn_blocking(move || {
        let there = nearest(&dir).filter(|there| there.is_dir());
        let is_safe =
            there.as_ref() != Some(&dir) || matches!(embedded::unsafe_because(&dir), Ok(None));
        is_safe && there.is_some_and(|there| write_into(&there).is_ok())
    });
    matches!(tokio::time::timeout(DEADLINE, tried).await, Ok(Ok(true)))
}

fn inspect(dir: &Path, needed: u64) -> Finding {
    let shown = dir.display();
    let Some(there) = nearest(dir) else {
        return finding(
            ITEM,
            Mark::Fault,
            format!("{shown}: no part of this path exists"),
        );
    };
    if !there.is_dir() {
        let words = format!("{shown}: {} is not a directory", there.display());
        return finding(ITEM, Mark::Fault, words);
    }
    // One above it may be open to all, as /tmp is: what is made there is for its owner alone.
    if there == dir
        && let Ok(Some(why)) = embedded::unsafe_because(dir)
    {
        return finding(ITEM, Mark::Fault, format!("{shown}: {why}"));
    }
    if let Err(error) = write_into(&there) {
        let words = format!(
            "{shown}: {} cannot be written to ({error}): give it to the user that runs the gateway, \
             or set DATA_DIR",
            there.display()
        );
        return finding(ITEM, Mark::Fault, words);
    }
    let made = if there == dir { "" } else { " (will be made)" };
    match embedded::room(&there) {
        Ok(free) if free < needed => {
            let words = format!(
                "{shown}: {} free, and below {} only what fits into free pages of the store's file is \
                 accepted: make room, or lower store.min_free",
                size(free),
                size(needed)
            );
            finding(ITEM, Mark::Fault, words)
        }
        Ok(free) => {
            let words = format!("{shown}{made}: writable, {} free", size(free));
            finding(ITEM, Mark::Ok, words)
        }
        Err(error) => {
            let words = format!("{shown}{made}: writable; free room unknown ({error})");
            finding(ITEM, Mark::Warn, words)
        }
    }
}

/// The directory itself, or the nearest one above it that exists.
fn nearest(dir: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(dir).ok()?;
    let there = whole.ancestors().find(|part| part.exists())?;
    Some(if there == whole {
        dir.to_owned()
    } else {
        there.to_owned()
    })
}

/// Only a write proves that writing works.
fn write_into(dir: &Path) -> io::Result<()> {
    let probe = dir.join(format!(".gateway-check-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe)?;
    std::fs::remove_file(&probe)
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    let mib = bytes >> 20;
    match mib {
        0 => format!("{bytes} bytes"),
        1..1024 => format!("{mib} MB"),
        _ => format!("{:.1} GB", mib as f64 / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_directory_is_told() {
        let place = tempfile::tempdir().unwrap();
        let here = place.path();
        std::fs::write(here.join("file"), "x").unwrap();
        let missing = here.join("a/b/c");
        for (dir, needed, mark, text) in [
            (here.to_owned(), 1, Mark::Ok, ": writable, "),
            (missing.clone(), 1, Mark::Ok, "(will be made)"),
            (here.join("file"), 1, Mark::Fault, "is not a directory"),
            (
                here.join("file/below"),
                1,
                Mark::Fault,
                "is not a directory",
            ),
            (here.to_owned(), u64::MAX, Mark::Fault, "make room"),
        ] {
            let found = inspect(&dir, needed);
            assert_eq!(found.mark, mark, "{found:?}");
            assert!(found.words.contains(text), "{found:?}");
        }
        assert!(!missing.exists(), "checking makes nothing");
        use std::os::unix::fs::PermissionsExt;
        let open = tempfile::tempdir().unwrap();
        let mode = |mode| std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(open.path(), mode(0o1777)).unwrap();
        let found = inspect(open.path(), 1);
        assert_eq!(found.mark, Mark::Fault, "{found:?}");
        assert!(found.words.contains("every user"), "{found:?}");
        let below = inspect(&open.path().join("data"), 1);
        assert_eq!(below.mark, Mark::Ok, "{below:?}");
        assert_eq!(
            std::fs::read_dir(here).unwrap().count(),
            1,
            "and leaves nothing"
        );
        // A root may write everywhere, so this place stands for one that cannot be written to.
        let found = inspect(Path::new("/proc/self"), 1);
        assert_eq!(found.mark, Mark::Fault);
        assert!(found.words.contains("cannot be written to"), "{found:?}");
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, shown) in [(17, "17 bytes"), (300 << 20, "300 MB"), (3 << 29, "1.5 GB")] {
            assert_eq!(size(bytes), shown);
        }
    }
}
