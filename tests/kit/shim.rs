//! Harm to the clock, the disk and one name of one process: a library that is loaded into it before the C
//! library (`shim.c`), and the numbers by which it is steered while the process runs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

/// Numbers of eight bytes in the file that both sides share; what they are, `shim.c` says.
const NUMBERS: usize = 8;

/// The library and its numbers. One for each process that is to be harmed apart from others.
#[derive(Debug)]
pub(crate) struct Shim {
    dir: tempfile::TempDir,
    numbers: File,
}

/// How often the library did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Readings of a wall clock that was shifted.
    pub(crate) clocks: u64,
    /// Syncs, delayed or not.
    pub(crate) syncs: u64,
    /// Writes and syncs that failed, also on a disk that is really full.
    pub(crate) refusals: u64,
}

impl Shim {
    /// Compiles the library. It does nothing until it is told to.
    pub(crate) fn build() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let source = dir.path().join("shim.c");
        std::fs::write(&source, include_str!("shim.c")).expect("a file");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .args([&dir.path().join("shim.so"), &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler is installed: tests/run.sh prepare");
        let said = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{said}");
        let numbers = File::create_new(dir.path().join("numbers")).expect("a file");
        let nothing = [0; NUMBERS * 8];
        numbers.write_all_at(&nothing, 0).expect("a file");
        Self { dir, numbers }
    }

    /// The variables that load it into a process.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        let path = |name: &str| -> PathBuf { self.dir.path().join(name) };
        let pair = |name: &str, file| (name.to_owned(), path(file).display().to_string());
        vec![pair("LD_PRELOAD", "shim.so"), pair("FAULT_SHIM", "numbers")]
    }

    /// The wall clock shows so many milliseconds more (or less) than it is.
    pub(crate) fn clock(&self, ms: i64) {
        self.set(0, ms);
    }

    /// Each sync of a file takes so many milliseconds longer.
    pub(crate) fn sync_delay(&self, ms: i64) {
        self.set(1, ms);
    }

    /// Writes to files fail with this number of the system, or work again.
    pub(crate) fn fail_writes(&self, errno: Option<i32>) {
        self.set(2, errno.unwrap_or_default().into());
    }

    /// The name `redis.fault` leads to 127.0.0.1 and so many more.
    pub(crate) fn name(&self, more: u8) {
        self.set(7, more.into());
    }

    /// Syncs of files fail with this number of the system, or work again. What was written is there,
    /// as long as the machine lives.
    pub(crate) fn fail_syncs(&self, errno: Option<i32>) {
        self.set(3, errno.unwrap_or_default().into());
    }

    /// What it did so far.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            clocks: self.get(4),
            syncs: self.get(5),
            refusals: self.get(6),
        }
    }

    fn set(&self, place: u64, value: i64) {
        // A mapping of the file shows what is written to it at once.
        let written = self.numbers.write_all_at(&value.to_ne_bytes(), place * 8);
        written.expect("the file of the numbers");
    }

    fn get(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        let read = self.numbers.read_exact_at(&mut bytes, place * 8);
        read.expect("the file of the numbers");
        u64::from_ne_bytes(bytes)
    }
}
