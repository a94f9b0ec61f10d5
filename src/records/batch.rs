//! One batch of changed messages on its way into Datastore.
//!
//! A piece of a batch is one transaction: what is there is read, and only what is newer is written, so a late
//! or repeated write never takes anything back. One message that Datastore does not take holds back no
//! other; when it takes none at all, that is no message's fault.

use super::Records;
use super::alone::ENOUGH;
use super::entity;
use super::pieces::{Piece, Pieces};
use super::transact::{Failure, Pair, count};
use crate::clock;
use crate::datastore::Error;
use crate::store::{Dirty, DirtyEnd};
use std::ops::Range;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Bytes of one transaction, of the 10 MiB that Datastore takes; what is read in it counts too.
const BATCH_BYTES: usize = 4 << 20;
/// For how long transactions of a batch are begun. With the deadlines of the last one it stays below
/// the time for which the marks are hidden, so that nobody else takes them meanwhile.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);
/// How long after its beginning a batch may be proved with an entity that is no record, within the same time.
const PROVED_WITHIN: Duration = Duration::from_secs(25);

/// A mark and its end.
pub(super) type End = (i64, u64, DirtyEnd);

/// What became of a batch.
#[derive(Default)]
pub(super) struct Written {
    pub(super) ends: Vec<End>,
    /// Not tried, or failed with the whole call.
    pub(super) left: Vec<(i64, u64)>,
    /// Failed one by one, like all others that were tried: to be tried behind those that were not.
    pub(super) behind: Vec<(i64, u64)>,
    /// Why Datastore is to be left alone for a while.
    pub(super) error: Option<Error>,
    /// Whether it takes records for all that is known, though none was there to try it with.
    pub(super) proved: bool,
}

impl Written {
    /// Whether Datastore has some of them.
    pub(super) fn has_some(&self) -> bool {
        let is_written = |(_, _, end): &End| *end == DirtyEnd::Written;
        self.ends.iter().any(is_written)
    }
}

/// A batch while it is written.
struct Job<'a> {
    records: &'a Records,
    pairs: Vec<Pair>,
    pieces: Pieces,
    begun: Instant,
    written: Written,
    /// Whether anything was committed: what Datastore has already proves nothing.
    committed: bool,
    /// What failed by itself, and why; whether it was refused.
    alone: Vec<(usize, Error, bool)>,
    /// Why the last piece was cut or put off.
    cut: Option<Error>,
}

impl Records {
    /// Writes a batch; says what became of each message.
    pub(super) async fn write(&self, batch: Vec<Dirty>) -> Written {
        let pair = |dirty: Dirty| {
            let entity = entity::write(&dirty, self.shared.expire_after);
            Pair { dirty, entity }
        };
        let pairs = batch.into_iter().map(pair);
        let (pairs, apart) = {
            let alone = self.alone();
            let (apart, mut pairs): (Vec<Pair>, Vec<Pair>) =
                pairs.partition(|pair| alone.is_apart(&pair.entity.name));
            let first = pairs.len();
            pairs.extend(apart);
            (pairs, first)
        };
        let (mut pieces, begun) = (Pieces::default(), Instant::now());
        let singly = (apart..pairs.len()).map(|place| place..place + 1);
        for range in chunks(&pairs[..apart]).into_iter().chain(singly) {
            pieces.push(range, begun);
        }
        let job = Job {
            records: self,
            pairs,
            pieces,
            begun,
            written: Written::default(),
            committed: false,
            alone: Vec::new(),
            cut: None,
        };
        job.run().await
    }

    /// Tries Datastore while there is no record to try it with.
    pub(super) async fn probe(&self) -> Written {
        let taken = self.takes_anything(Instant::now() + PROVED_WITHIN).await;
        Written {
            proved: taken.is_ok() && !self.alone().are_many(Instant::now()),
            error: taken.err(),
            ..Written::default()
        }
    }
}

impl Job<'_> {
    async fn run(mut self) -> Written {
        let end = self.begun + BEGUN_WITHIN;
        while !self.is_hopeless()
            && let Some(piece) = self.pieces.take(Instant::now())
        {
            if piece.due.max(Instant::now()) > end {
                self.pieces.put_back(piece);
                break;
            }
            sleep_until(piece.due).await;
            let ended = self
                .records
                .transact(&self.pairs[piece.range.clone()])
                .await;
            if let Err(error) = self.ended(piece, ended) {
                self.written.error = Some(error);
                break;
            }
        }
        let proved = self.is_proved().await;
        self.end(proved)
    }

    /// Whether Datastore takes what is no record, where few records were refused and none was written: then those
    /// are to blame. When it does not, the call is, and says so.
    async fn is_proved(&mut self) -> bool {
        let few = (1..ENOUGH).contains(&self.refused());
        let many = self.records.alone().are_many(Instant::now());
        if !few || many || self.committed || self.written.error.is_some() {
            return false;
        }
        let until = self.begun + PROVED_WITHIN;
        self.written.error = self.records.takes_anything(until).await.err();
        self.written.error.is_none()
    }

    /// Notes how a piece ended; the error where no other has to be tried.
    fn ended(&mut self, piece: Piece, ended: Result<usize, Failure>) -> Result<(), Error> {
        let now = Instant::now();
        let alone = (piece.range.len() == 1).then_some(piece.range.start);
        match ended {
            Ok(committed) => {
                let done = &self.pairs[piece.range];
                self.written.ends.extend(done.iter().map(written));
                self.committed |= committed > 0;
                let names = done.iter().map(|pair| pair.entity.name.as_str());
                let mut alone = self.records.alone();
                match committed {
                    0 => alone.ended(names),
                    _ => alone.written(names, now),
                }
            }
            Err(Failure::Refused(error)) => {
                let alone = self.pieces.refused(piece, now);
                self.cut = Some(error.clone());
                self.alone.extend(alone.map(|place| (place, error, true)));
            }
            Err(Failure::Lost(error)) => {
                count("failed", piece.range.len());
                let alone = self.pieces.lost(piece, now, fastrand::f64);
                self.cut = Some(error.clone());
                self.alone.extend(alone.map(|place| (place, error, false)));
            }
            Err(Failure::Begin(error)) => {
                count("failed", piece.range.len());
                self.pieces.put_back(piece);
                return Err(error);
            }
            Err(Failure::Call(error)) => {
                count("failed", piece.range.len());
                let Some(place) = alone.filter(|_| error.may_be_of_an_entity()) else {
                    self.pieces.put_back(piece);
                    return Err(error);
                };
                self.alone.push((place, error.clone(), false));
                if !self.is_apart(place) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Whether this one is known to fail by itself.
    fn is_apart(&self, place: usize) -> bool {
        self.records
            .alone()
            .is_apart(&self.pairs[place].entity.name)
    }

    /// Whether so many were refused, and none was written, that the others need not be tried.
    fn is_hopeless(&self) -> bool {
        !self.committed && self.refused() >= ENOUGH
    }

    /// How many were refused by themselves.
    fn refused(&self) -> usize {
        let refused = self.alone.iter().filter(|(_, _, refused)| *refused);
        refused.count()
    }

    /// What became of all; `proved` when it is known that those are to blame that were refused.
    fn end(mut self, proved: bool) -> Written {
        for (place, error, refused) in std::mem::take(&mut self.alone) {
            let pair = &self.pairs[place];
            let pause = self.records.alone().failed(
                &pair.entity.name,
                self.committed || (proved && refused),
                refused,
                Instant::now(),
            );
            let (handle, version) = mark(pair);
            let Some(pause) = pause else {
                count("failed", usize::from(refused));
                self.written.behind.push((handle, version));
                self.written.error.get_or_insert(error);
                continue;
            };
            tell(pair, &error, pause);
            count("refused", usize::from(refused));
            let due = clock::now().plus(pause);
            let later = (handle, version, DirtyEnd::Later { due });
            self.written.ends.push(later);
        }
        let left: Vec<_> = self
            .pieces
            .left()
            .map(|place| mark(&self.pairs[place]))
            .collect();
        let nothing = !self.written.has_some() && !proved;
        if self.written.error.is_none() && nothing && !left.is_empty() {
            // The time was over before anything was written or stood alone.
            self.written.error = self.cut;
        }
        self.written.left = left;
        self.written
    }
}

/// One record waits by itself, for a while of its own.
fn tell(pair: &Pair, error: &Error, pause: Duration) {
    let record = &pair.dirty.record;
    tracing::error!(channel = %record.channel, msg_id = %record.message.msg_id,
        error = error.with_advice(), again_in_s = pause.as_secs(),
        event = "record_not_taken",
        "Datastore does not take the record of this message, but takes others; it is kept here and tried again");
}

/// Cuts where the bytes of a transaction are reached.
fn chunks(pairs: &[Pair]) -> Vec<Range<usize>> {
    let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, pair) in pairs.iter().enumerate() {
        let size = pair.entity.size();
        if at > start && bytes + size > BATCH_BYTES {
            chunks.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < pairs.len() {
        chunks.push(start..pairs.len());
    }
    chunks
}

fn mark(pair: &Pair) -> (i64, u64) {
    (pair.dirty.handle, pair.dirty.version)
}

fn written(pair: &Pair) -> End {
    (pair.dirty.handle, pair.dirty.version, DirtyEnd::Written)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::accounts::Channels;
    use crate::datastore::{Entity, Settings, Value};
    use crate::domain::MsgId;
    use axum::http::StatusCode;
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};

    /// A Datastore that answers each commit with a message called `poison` in it, or with any, like this.
    #[derive(Clone)]
    pub(in crate::records) struct Picky {
        answer: Arc<Mutex<(StatusCode, &'static str, bool)>>,
        begun: Arc<Mutex<usize>>,
        /// Whether each begin is answered so too.
        begins: Arc<Mutex<bool>>,
    }

    impl Picky {
        pub(in crate::records) fn answers(
            &self,
            status: StatusCode,
            word: &'static str,
            all: bool,
        ) {
            *self.answer.lock().unwrap() = (status, word, all);
        }

        fn call(&self, path: &str, body: &str) -> (StatusCode, String) {
            let begins = path.ends_with(":beginTransaction");
            *self.begun.lock().unwrap() += usize::from(begins);
            let (status, word, all) = *self.answer.lock().unwrap();
            let refused = path.ends_with(":commit") && (all || body.contains("poison"));
            if refused || begins && *self.begins.lock().unwrap() {
                let error = format!(r#"{{"error":{{"status":"{word}","message":"no"}}}}"#);
                return (status, error);
            }
            (StatusCode::OK, r#"{"transaction":"dHg="}"#.to_owned())
        }
    }

    pub(in crate::records) async fn picky(
        status: StatusCode,
        word: &'static str,
        all: bool,
    ) -> (Picky, Records) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let picky = Picky {
            answer: Arc::new(Mutex::new((status, word, all))),
            begun: Arc::default(),
            begins: Arc::default(),
        };
        let site = picky.clone();
        let answer = async move |uri: axum::http::Uri, body: String| site.call(uri.path(), &body);
        let router = axum::Router::new().fallback(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let settings = Settings {
            project_id: "p".into(),
            kind: "K".into(),
            credentials: None,
            default_credentials: None,
            emulator_host: Some(listener.local_addr().unwrap().to_string()),
            expire_after: Duration::from_secs(1),
        };
        tokio::spawn(async move { axum::serve(listener, router).await });
        let records = Records::new(&settings, Arc::new(Channels::new(Vec::new()))).unwrap();
        (picky, records)
    }

    const REFUSED: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "INVALID_ARGUMENT");
    const LOST: (StatusCode, &str) = (StatusCode::CONFLICT, "ABORTED");

    fn batch(of: std::ops::Range<usize>, poison: &[usize]) -> Vec<Dirty> {
        let named = |n: usize| {
            let mut dirty = entity::tests::dirty();
            dirty.handle = n.try_into().unwrap();
            let name = if poison.contains(&n) { "poison" } else { "m" };
            dirty.record.message.msg_id = MsgId::parse(&format!("{name}{n}")).unwrap();
            dirty
        };
        of.map(named).collect()
    }

    /// Which were written, and for how long each of the others waits.
    fn ends(written: &Written) -> (usize, Vec<(i64, u64)>) {
        let now = clock::now();
        let waits = |(handle, _, end): &End| match end {
            DirtyEnd::Written => None,
            DirtyEnd::Later { due } => Some((*handle, due.since(now).as_secs())),
        };
        let waiting: Vec<_> = written.ends.iter().filter_map(waits).collect();
        (written.ends.len() - waiting.len(), waiting)
    }

    /// Writes until each has its end, as the writer does: on a slow machine that takes several batches. How many
    /// are written, and for how long each of the others waits.
    async fn to_the_end(records: &Records, batch: &[Dirty]) -> (usize, Vec<(i64, u64)>) {
        let (mut rest, mut count, mut waiting) = (batch.to_vec(), 0, Vec::new());
        for _ in 0..50 {
            let written = records.write(rest.clone()).await;
            let (some, more) = ends(&written);
            count += some;
            waiting.extend(more);
            let left = written.left.iter().chain(&written.behind);
            let left: BTreeSet<i64> = left.map(|(handle, _)| *handle).collect();
            rest.retain(|dirty| left.contains(&dirty.handle));
            if rest.is_empty() {
                break;
            }
        }
        assert!(rest.is_empty(), "{} have no end", rest.len());
        (count, waiting)
    }

    #[tokio::test]
    async fn one_refused_message_holds_back_no_other() {
        let (picky, records) = picky(REFUSED.0, REFUSED.1, false).await;
        let (count, waiting) = to_the_end(&records, &batch(0..200, &[120])).await;
        assert!(count == 199 && waiting.len() == 1, "{count} {waiting:?}");
        assert!(waiting[0].0 == 120 && waiting[0].1 < 10, "{waiting:?}");
        // From then on it is tried by itself, and waits longer and longer.
        *picky.begun.lock().unwrap() = 0;
        let (count, again) = to_the_end(&records, &batch(100..200, &[120])).await;
        assert_eq!((count, *picky.begun.lock().unwrap()), (99, 2));
        assert!(again[0].1 > waiting[0].1, "{again:?}");
        // Alone it proves nothing new, and once it is written it is one of many.
        let written = records.write(batch(120..121, &[120])).await;
        assert!(written.error.is_none() && !written.has_some());
        let written = records.write(batch(120..121, &[])).await;
        assert!(written.has_some());
    }

    #[tokio::test]
    async fn r_61_a_batch_that_is_refused_whole_is_no_records_fault() {
        let (picky, records) = picky(REFUSED.0, REFUSED.1, true).await;
        for count in [1, 200] {
            let written = records.write(batch(0..count, &[])).await;
            let error = written.error.as_ref().map(Error::blames_an_entity);
            assert_eq!(error, Some(true));
            assert!(written.ends.is_empty(), "{:?}", written.ends);
            let marks = written.left.iter().chain(&written.behind);
            let marks: BTreeSet<i64> = marks.map(|(handle, _)| *handle).collect();
            assert_eq!(marks.len(), count);
            // Those that were tried are no obstacle for the others.
            assert!(written.behind.len() <= ENOUGH, "{:?}", written.behind);
        }
        assert!(*picky.begun.lock().unwrap() < 40, "few are enough to know");
        picky.answers(REFUSED.0, REFUSED.1, false);
        assert_eq!(to_the_end(&records, &batch(0..200, &[])).await.0, 200);
    }

    #[tokio::test]
    async fn r_61_one_refused_record_in_quiet_hours_is_to_blame_when_anything_else_is_taken() {
        let (picky, records) = picky(REFUSED.0, REFUSED.1, false).await;
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let written = records.write(batch(0..1, &[0])).await;
            assert!(written.error.is_none(), "{:?}", written.error);
            let (count, waiting) = ends(&written);
            assert_eq!((count, waiting.len()), (0, 1));
            pauses.push(waiting[0].1);
        }
        assert!(pauses.is_sorted() && pauses[0] < pauses[2], "{pauses:?}");
        // The record, and what is none.
        assert_eq!(*picky.begun.lock().unwrap(), 6);
        // Two more beside it are no more than two more.
        assert!(records.write(batch(0..3, &[0, 1, 2])).await.error.is_none());
    }

    #[tokio::test]
    async fn r_61_when_many_records_are_refused_no_other_entity_proves_them_to_blame() {
        let (_picky, records) = picky(REFUSED.0, REFUSED.1, false).await;
        for n in 0..ENOUGH {
            let (name, now) = (format!("refused{n}"), Instant::now());
            assert_eq!(records.alone().failed(&name, false, true, now), None);
        }
        let written = records.write(batch(0..1, &[0])).await;
        let error = written.error.as_ref().map(Error::blames_an_entity);
        assert_eq!(error, Some(true));
        assert!(written.ends.is_empty(), "{:?}", written.ends);
        let probed = records.probe().await;
        assert!(probed.error.is_none() && !probed.proved);
    }

    #[tokio::test]
    async fn a_call_that_names_no_record_is_no_records_fault() {
        let (picky, records) = picky(StatusCode::CONFLICT, "ABORTED", false).await;
        *picky.begins.lock().unwrap() = true;
        let written = records.write(batch(0..1, &[])).await;
        assert!(written.error.is_some() && written.ends.is_empty());
        assert_eq!((written.left.len(), written.behind.len()), (1, 0));
    }

    #[tokio::test]
    async fn r_62_a_record_that_always_loses_holds_back_no_other() {
        let (_picky, records) = picky(LOST.0, LOST.1, false).await;
        let (count, waiting) = to_the_end(&records, &batch(0..350, &[33])).await;
        assert_eq!(count, 349);
        assert!(waiting.len() == 1 && waiting[0].0 == 33, "{waiting:?}");
    }

    #[tokio::test]
    async fn what_no_record_can_help_stops_the_batch() {
        let (picky, records) = picky(StatusCode::FORBIDDEN, "PERMISSION_DENIED", true).await;
        let written = records.write(batch(0..9, &[])).await;
        assert!(written.error.is_some() && written.left.len() == 9);
        assert_eq!(*picky.begun.lock().unwrap(), 1);
    }

    #[test]
    fn a_transaction_is_bounded_in_bytes() {
        let dirty = entity::tests::dirty();
        let pair = |bytes: usize| {
            let history = Value::Text("x".repeat(bytes));
            let entity = Entity::named("n").with_unindexed("history", history);
            Pair {
                dirty: dirty.clone(),
                entity,
            }
        };
        let pairs: Vec<Pair> = [1, BATCH_BYTES / 2, BATCH_BYTES / 2, 1, BATCH_BYTES * 2, 1]
            .map(pair)
            .into();
        let sizes: Vec<usize> = chunks(&pairs).iter().map(ExactSizeIterator::len).collect();
        assert_eq!(sizes, [2, 2, 1, 1]);
        assert!(chunks(&[]).is_empty());
    }
}
