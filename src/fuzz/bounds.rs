//! What one body may cost: rows and bytes that are kept, and time, each in proportion to its length.
//! Anybody may post, so whatever grows faster than what they send is theirs to use (cases R-67).

use rusqlite::{Connection, OpenFlags};
use rustix::time::{ClockId, clock_gettime};
use std::path::Path;
use std::time::Duration;

/// Rows for any body, and the bytes of a body that must stand behind each further one.
const ROWS: (usize, usize) = (4, 8);
/// Bytes for any body, and further ones for each of its bytes: of a short element a callback is made.
const BYTES: (usize, usize) = (4096, 24);
/// Time of the processor for any body, and for each of its bytes. In debug builds, far from tight: a
/// second of a body that is read once is a minute of one that is read at each of its bytes.
const TIME: (Duration, Duration) = (Duration::from_millis(50), Duration::from_micros(4));

/// What is kept because of webhooks, read beside the store.
pub(super) struct Kept {
    conn: Connection,
    /// The newest row of each table.
    newest: [i64; 2],
}

/// Of the rows after one: the newest, how many, the bytes of their texts.
const AFTER: [&str; 2] = [
    "SELECT max(id), count(*), total(octet_length(coalesce(provider_id, '') || coalesce(error, '') || coalesce(raw, '')))
     FROM event WHERE id > ?1",
    "SELECT max(id), count(*), total(octet_length(body)) FROM callback WHERE id > ?1",
];

impl Kept {
    pub(super) fn open(dir: &Path) -> Self {
        let file = dir.join("gateway.db");
        let conn = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY);
        let mut kept = Self {
            conn: conn.expect("the file of the store"),
            newest: [0; 2],
        };
        kept.more();
        kept
    }

    /// Checks what has been kept since the last check, of a body of so many bytes.
    pub(super) fn check(&mut self, body: usize) {
        let (rows, bytes) = self.more();
        let most = (ROWS.0 + body / ROWS.1, BYTES.0 + BYTES.1 * body);
        assert!(rows <= most.0, "{rows} rows of {body} bytes");
        assert!(bytes <= most.1, "{bytes} bytes are kept of {body}");
    }

    /// Rows and bytes since the last question.
    fn more(&mut self) -> (usize, usize) {
        let (mut rows, mut bytes) = (0, 0.0);
        for (sql, newest) in AFTER.iter().zip(&mut self.newest) {
            let row = self.conn.query_row(sql, [*newest], |row| {
                Ok((
                    row.get::<_, Option<i64>>(0)?,
                    row.get::<_, u32>(1)?,
                    row.get::<_, f64>(2)?,
                ))
            });
            let (last, count, length) = row.expect("the tables of the store");
            *newest = last.unwrap_or(*newest);
            rows += count as usize;
            bytes += length;
        }
        (rows, bytes as usize)
    }
}

/// Does some work on a body of so many bytes, which takes no longer than in proportion to them. Of this
/// thread alone: others may want the processor.
pub(super) fn timed<T>(body: usize, work: impl FnOnce() -> T) -> T {
    let began = used();
    let done = work();
    let took = used().saturating_sub(began);
    let times = u32::try_from(body).unwrap_or(u32::MAX);
    let most = TIME.0 + TIME.1.saturating_mul(times);
    assert!(took <= most, "{took:?} for {body} bytes");
    done
}

/// The time that this thread has used so far.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_nanos(time.tv_nsec.unsigned_abs())
}
