//! Where a gateway's standard error leads when a test harms it: a named pipe, whose reader can go
//! away, stand still and come back, or a file on a disk that fills up.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// How often the reader looks whether there is more.
const LOOK: Duration = Duration::from_millis(2);

/// What the reader of a pipe does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// It keeps every line.
    Reads,
    /// It is gone: whoever writes is told that the pipe is broken.
    Gone,
    /// It takes nothing: whoever writes waits once the pipe is full.
    Stalls,
}

/// The way of the log of one process after another.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    from: Arc<Mutex<From>>,
    _dir: Option<tempfile::TempDir>,
}

/// What the reader reads from, and whether it does.
#[derive(Debug)]
enum From {
    Pipe(Option<File>, Reader),
    File(Option<File>),
    /// Nothing can be read.
    Nothing,
}

type Lines = Mutex<Vec<String>>;

impl Log {
    /// A pipe, as to a program that keeps logs.
    pub(crate) fn pipe() -> Arc<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.is_ok_and(|made| made.success()), "mkfifo");
        let from = From::Pipe(Some(open_pipe(&path)), Reader::Reads);
        Self::of(path, from, Some(dir))
    }

    /// A file, on whatever disk it is.
    pub(crate) fn file(path: &Path) -> Arc<Self> {
        Self::of(path.to_owned(), From::File(None), None)
    }

    /// A disk that is full for ever.
    pub(crate) fn on_a_full_disk() -> Arc<Self> {
        Self::of("/dev/full".into(), From::Nothing, None)
    }

    fn of(path: PathBuf, from: From, dir: Option<tempfile::TempDir>) -> Arc<Self> {
        Arc::new(Self {
            path,
            from: Arc::new(Mutex::new(from)),
            _dir: dir,
        })
    }

    /// From now on the reader of the pipe does this.
    pub(crate) fn set(&self, reader: Reader) {
        let pipe = match reader {
            Reader::Gone => None,
            Reader::Reads | Reader::Stalls => Some(open_pipe(&self.path)),
        };
        *lock(&self.from) = From::Pipe(pipe, reader);
    }

    /// The reader takes nothing any more, and nobody can write another byte.
    pub(crate) fn fill(&self) {
        let mut pipe = open_pipe(&self.path);
        while pipe.write(&[b'x'; 4096]).is_ok() {}
        while pipe.write(b"x").is_ok() {}
        *lock(&self.from) = From::Pipe(Some(pipe), Reader::Stalls);
    }

    /// The standard error of a new process; its lines go to `lines` for as long as somebody has them.
    pub(crate) fn stderr(&self, lines: &Arc<Lines>) -> Stdio {
        if let From::File(own) = &mut *lock(&self.from) {
            let mut file = File::options()
                .create(true)
                .append(true)
                .read(true)
                .open(&self.path)
                .expect("the file of the log");
            file.seek(SeekFrom::End(0)).expect("the file of the log");
            *own = Some(file);
        }
        // A pipe that nobody reads can be opened for reading and writing only.
        let reader = matches!(&*lock(&self.from), From::Pipe(..)).then(|| open_pipe(&self.path));
        let stderr = File::options().append(true).open(&self.path);
        drop(reader);
        let (from, lines) = (self.from.clone(), Arc::downgrade(lines));
        std::thread::spawn(move || {
            let mut rest = Vec::new();
            while let Some(lines) = lines.upgrade() {
                let more = lock(&from).read();
                let silent = more.is_empty();
                rest.extend(more);
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    let line = String::from_utf8_lossy(&line[..end]).into_owned();
                    lines.lock().expect("no panic holds it").push(line);
                }
                drop(lines);
                if silent {
                    // waits because more comes from another process; ends when nobody wants it
                    std::thread::sleep(LOOK);
                }
            }
        });
        stderr.expect("the way of the log").into()
    }
}

impl From {
    fn read(&mut self) -> Vec<u8> {
        let file = match self {
            Self::Pipe(Some(file), Reader::Reads) | Self::File(Some(file)) => file,
            _ => return Vec::new(),
        };
        let mut some = vec![0; 64 * 1024];
        let read = file.read(&mut some).unwrap_or(0);
        some.truncate(read);
        some
    }
}

fn lock(from: &Mutex<From>) -> MutexGuard<'_, From> {
    from.lock().expect("no panic holds it")
}

/// Both ends in one, as that waits for nobody; nor does anything that is done to it.
fn open_pipe(path: &Path) -> File {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
    let pipe = File::options()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(nonblock).expect("a flag"))
        .open(path);
    pipe.expect("the pipe of the log")
}
