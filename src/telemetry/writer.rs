//! Writes log lines on a thread of its own, so that no work waits for the log or ends with it.
//!
//! Whoever logs leaves a line in a bounded buffer and goes on. Where there is no room, or where the
//! line cannot be written, it is dropped and counted, and the log says how many once it can be
//! written again. Nothing here panics, and nothing but [`Writer::flush`] waits.

use super::{LogFormat, lines};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Lines that may wait.
const MOST_LINES: usize = 4_096;
/// Bytes that may wait.
const MOST_BYTES: usize = 1 << 20;
/// How often it is said how many lines were lost, and looked whether it can be said.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How long a file that takes nothing now, and does not let us wait, is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(20);
/// How long the end of the process may wait for the last lines.
const LAST_LINES: Duration = Duration::from_millis(500);
/// The name of the metric.
const LOST: &str = "gateway_log_lines_lost_total";

static STANDARD_ERROR: OnceLock<Writer> = OnceLock::new();
/// Lines of the process that were lost.
static LOST_EVER: AtomicU64 = AtomicU64::new(0);

/// The way to the thread that writes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Filled by whoever logs, emptied by the thread.
    queue: Mutex<Queue>,
    /// Woken when the first line comes, and when the process ends.
    filled: Condvar,
    /// Woken when the last line is written.
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// What was lost and is not told yet.
    lost: Option<Lost>,
    /// Whether the thread has something in hand.
    busy: bool,
    /// Set at the end of the process: what was lost is told at once.
    hurry: bool,
}

#[derive(Debug)]
struct Lost {
    lines: u64,
    /// When the first of them was lost, as log lines say it.
    since: String,
}

/// What the thread does next.
enum Next {
    Write(Vec<u8>),
    Tell(Lost),
}

/// The writer of the whole process to standard error. The first call says how its own words look.
pub(super) fn standard_error(format: LogFormat) -> &'static Writer {
    STANDARD_ERROR.get_or_init(|| Writer::start(own_handle(), format))
}

/// Waits for the last lines, half a second at the most. Does nothing where nothing was written.
pub(super) fn flush() {
    if let Some(writer) = STANDARD_ERROR.get() {
        writer.flush(LAST_LINES);
    }
}

/// Shows the number of lost lines among the metrics, also while it is 0.
pub(super) fn count() {
    metrics::counter!(LOST).absolute(LOST_EVER.load(Ordering::Relaxed));
}

/// Standard error without the lock of the standard library: while this thread waits for a reader,
/// others must be able to take that.
fn own_handle() -> Box<dyn Write + Send> {
    match io::stderr().as_fd().try_clone_to_owned() {
        Ok(handle) => Box::new(std::fs::File::from(handle)),
        Err(_) => Box::new(io::stderr()),
    }
}

impl Writer {
    /// Starts the thread. Without one every line is lost, and counted.
    fn start(out: Box<dyn Write + Send>, format: LogFormat) -> Self {
        let writer = Self(Arc::default());
        let thread = Thread {
            shared: writer.0.clone(),
            out,
            format,
            torn: false,
            tell_at: None,
        };
        let named = std::thread::Builder::new().name("log".to_owned());
        // Its end is the end of the process.
        let _ = named.spawn(|| thread.run());
        writer
    }

    /// Leaves a line, with its end, to be written. Never waits.
    pub(super) fn put(&self, line: Vec<u8>) {
        let mut queue = self.0.queue();
        if queue.lines.len() >= MOST_LINES || queue.bytes + line.len() > MOST_BYTES {
            queue.lose();
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        let first = queue.lines.len() == 1;
        drop(queue);
        if first {
            self.0.filled.notify_one();
        }
    }

    /// Waits until every line is written or lost, no longer than this.
    fn flush(&self, most: Duration) {
        let mut queue = self.0.queue();
        queue.hurry = true;
        self.0.filled.notify_one();
        let waits = |queue: &mut Queue| {
            queue.busy || !queue.lines.is_empty() || (queue.hurry && queue.lost.is_some())
        };
        let _ = self.0.emptied.wait_timeout_while(queue, most, waits);
    }
}

impl Write for Writer {
    /// The subscriber hands over one whole line at a time.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn lose(&mut self) {
        let lost = self.lost.get_or_insert_with(|| Lost {
            lines: 0,
            since: lines::time(),
        });
        lost.lines += 1;
        LOST_EVER.fetch_add(1, Ordering::Relaxed);
        count();
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // The queue is right after every statement.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do; lost lines may be told from `tell_at` on.
    fn next(&self, tell_at: Option<Instant>) -> Next {
        let mut queue = self.queue();
        loop {
            let due = tell_at.is_none_or(|at| at <= Instant::now());
            if (due || (queue.hurry && queue.lines.is_empty()))
                && let Some(lost) = queue.lost.take()
            {
                // One try at the end of the process is enough.
                queue.hurry = false;
                queue.busy = true;
                return Next::Tell(lost);
            }
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.busy = true;
                return Next::Write(line);
            }
            queue.busy = false;
            self.emptied.notify_all();
            queue = if queue.lost.is_some() {
                let waited = self.filled.wait_timeout(queue, TELL_EVERY);
                waited.unwrap_or_else(PoisonError::into_inner).0
            } else {
                let waited = self.filled.wait(queue);
                waited.unwrap_or_else(PoisonError::into_inner)
            };
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    out: Box<dyn Write + Send>,
    format: LogFormat,
    /// Whether the last line was written in part only.
    torn: bool,
    /// When lost lines may be told next.
    tell_at: Option<Instant>,
}

impl Thread {
    fn run(mut self) {
        loop {
            match self.shared.next(self.tell_at) {
                Next::Write(line) => {
                    if self.write(&line).is_err() {
                        self.shared.queue().lose();
                    }
                }
                Next::Tell(lost) => {
                    self.tell_at = Some(Instant::now() + TELL_EVERY);
                    if self.write(&lost_line(self.format, &lost)).is_err() {
                        let mut queue = self.shared.queue();
                        let more = queue.lost.as_ref().map_or(0, |more| more.lines);
                        let lines = lost.lines + more;
                        queue.lost = Some(Lost { lines, ..lost });
                    }
                }
            }
        }
    }

    /// Writes a line, after the end of one that was torn.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let whole = if self.torn {
            Cow::Owned([b"\n", line].concat())
        } else {
            Cow::Borrowed(line)
        };
        let mut rest = &*whole;
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(some) => {
                    rest = rest.get(some..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Whoever shares the pipe with us may have set it so; full is full all the same.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(BUSY_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn lost_line(format: LogFormat, lost: &Lost) -> Vec<u8> {
    let Lost { lines, since } = lost;
    let text = format!(
        "{lines} log lines were lost since {since}, because standard error did not take them; the \
         gateway itself went on"
    );
    lines::own(format, "WARN", &text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// What the thread writes to: it takes a line, tears it or refuses it, when it is told to.
    struct Out {
        /// Each call waits for its answer.
        answers: mpsc::Receiver<io::Result<usize>>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without more answers everything works.
            let most = self.answers.recv().unwrap_or(Ok(usize::MAX))?;
            let some = most.min(bytes.len());
            self.written
                .lock()
                .unwrap()
                .extend_from_slice(&bytes[..some]);
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    type Answers = mpsc::Sender<io::Result<usize>>;

    fn writer() -> (Writer, Answers, Arc<Mutex<Vec<u8>>>) {
        let (sender, answers) = mpsc::channel();
        let written = Arc::<Mutex<Vec<u8>>>::default();
        let out = Out {
            answers,
            written: written.clone(),
        };
        let writer = Writer::start(Box::new(out), LogFormat::Text);
        (writer, sender, written)
    }

    fn text(written: &Mutex<Vec<u8>>) -> String {
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn r_02_a_log_that_nobody_takes_holds_nobody_up_and_says_later_what_was_lost() {
        let (writer, answers, written) = writer();
        let more = 100;
        let began = Instant::now();
        // One may be in hand already.
        for n in 0..=MOST_LINES + more {
            writer.put(format!("line {n}\n").into_bytes());
        }
        writer.flush(Duration::from_millis(50));
        assert!(began.elapsed() < PATIENCE);
        assert_eq!(text(&written), "");
        drop(answers);
        writer.flush(PATIENCE);
        let text = text(&written);
        let words: Vec<_> = text
            .lines()
            .filter(|line| line.contains(" lost "))
            .collect();
        let lost: usize = words
            .iter()
            .map(|line| line.split(' ').nth(3).unwrap().parse::<usize>().unwrap())
            .sum();
        assert!([more, more + 1].contains(&lost), "{words:?}");
        let kept = text
            .lines()
            .filter(|line| line.starts_with("line "))
            .count();
        assert_eq!(kept + lost, MOST_LINES + more + 1);
    }

    #[test]
    fn bytes_have_a_bound_too() {
        let (writer, answers, written) = writer();
        let line = vec![b'x'; MOST_BYTES / 4];
        for _ in 0..10 {
            writer.put(line.clone());
        }
        let held = writer.0.queue().bytes;
        assert!(held <= MOST_BYTES, "{held}");
        drop(answers);
        writer.flush(PATIENCE);
        assert!(text(&written).contains(" lines were lost since "));
    }

    #[test]
    fn r_01_lines_that_cannot_be_written_are_lost_and_told_and_the_rest_is_whole() {
        let (writer, answers, written) = writer();
        let full = || Err(io::Error::from(ErrorKind::StorageFull));
        let put = |line: &str| writer.put(line.as_bytes().to_vec());
        // The first is torn, the second refused, and so is the word about them.
        for answer in [Ok(3), full(), full(), full()] {
            answers.send(answer).unwrap();
        }
        put("first\n");
        put("second\n");
        writer.flush(Duration::from_millis(50));
        answers.send(Err(ErrorKind::Interrupted.into())).unwrap();
        answers.send(Err(ErrorKind::WouldBlock.into())).unwrap();
        put("third\n");
        drop(answers);
        writer.flush(PATIENCE);
        let text = text(&written);
        assert!(text.starts_with("fir\n"), "{text}");
        assert!(text.contains("\nthird\n"), "{text}");
        assert!(text.contains(" 2 log lines were lost since "), "{text}");
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn the_end_waits_for_what_can_be_written() {
        let (writer, answers, written) = writer();
        drop(answers);
        for _ in 0..1000 {
            writer.put(b"line\n".to_vec());
        }
        writer.flush(PATIENCE);
        assert_eq!(text(&written).lines().count(), 1000);
    }
}
