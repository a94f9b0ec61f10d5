//! One batch of changed messages on its way into Datastore.
//!
//! A batch is one transaction: what is there is read, and only what is newer is written, so a late
//! or repeated write never takes anything back. One message that Datastore refuses does not hold
//! back the others.

use super::entity;
use super::{Archive, told};
use crate::clock;
use crate::datastore::{Entity, Error};
use crate::store::{Dirty, DirtyEnd};
use metrics::counter;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Bytes of one transaction, of the 10 MiB that Datastore takes; what is read in it counts too.
const BATCH_BYTES: usize = 4 << 20;
/// When a message that Datastore refuses by itself is tried again.
const REFUSED_AGAIN: Duration = Duration::from_secs(3600);
/// For how long transactions of a batch are begun. With the deadlines of the last one it stays below
/// the time for which the marks are hidden, so that nobody else takes them meanwhile.
const BEGUN_WITHIN: Duration = Duration::from_secs(5);

/// A message and its entity.
type Pair = (Dirty, Entity);
/// A mark and its end.
pub(super) type End = (i64, u64, DirtyEnd);

/// What became of a batch.
#[derive(Default)]
pub(super) struct Written {
    pub(super) ends: Vec<End>,
    /// Not tried, or failed with the whole call.
    pub(super) left: Vec<(i64, u64)>,
    pub(super) error: Option<Error>,
}

impl Archive {
    /// Writes a batch; says what became of each message.
    pub(super) async fn write(&self, batch: Vec<Dirty>) -> Written {
        let pair = |dirty: Dirty| {
            let entity = entity::write(&dirty, self.shared.expire_after);
            (dirty, entity)
        };
        let pairs: Vec<Pair> = batch.into_iter().map(pair).collect();
        let begun = Instant::now();
        let mut written = Written::default();
        for chunk in chunks(&pairs) {
            if written.error.is_some() || begun.elapsed() > BEGUN_WITHIN {
                written.left.extend(chunk.iter().map(mark));
                continue;
            }
            match self.transact(chunk).await {
                Ok(()) => written.ends.extend(chunk.iter().map(done)),
                Err(error) if error.blames_an_entity() => {
                    self.write_each(chunk, begun, &mut written).await;
                }
                Err(error) => {
                    count("failed", chunk.len());
                    written.left.extend(chunk.iter().map(mark));
                    written.error = Some(error);
                }
            }
        }
        written
    }

    /// One message is refused, and the others must not wait for it.
    async fn write_each(&self, chunk: &[Pair], begun: Instant, written: &mut Written) {
        for pair in chunk {
            if written.error.is_some() || begun.elapsed() > BEGUN_WITHIN {
                written.left.push(mark(pair));
                continue;
            }
            match self.transact(std::slice::from_ref(pair)).await {
                Ok(()) => written.ends.push(done(pair)),
                Err(error) if error.blames_an_entity() => {
                    count("refused", 1);
                    let record = &pair.0.record;
                    tracing::error!(channel = %record.channel, msg_id = %record.message.msg_id,
                        error = told(&error), "Datastore refuses the record of this message; it is \
                        kept here and tried again in an hour");
                    let due = clock::now().plus(REFUSED_AGAIN);
                    let (handle, version) = mark(pair);
                    written
                        .ends
                        .push((handle, version, DirtyEnd::Later { due }));
                }
                Err(error) => {
                    written.left.push(mark(pair));
                    written.error = Some(error);
                }
            }
        }
    }

    /// Writes what is newer than what is there, all of it or nothing.
    async fn transact(&self, chunk: &[Pair]) -> Result<(), Error> {
        let client = &self.shared.client;
        let transaction = client.begin().await?;
        let names: Vec<String> = chunk.iter().map(|(_, one)| one.name.clone()).collect();
        let there = match client.lookup(&names, Some(&transaction)).await {
            Ok(there) => there,
            Err(error) => {
                // It would end by itself; a failure of this call changes nothing.
                let _ = client.rollback(transaction).await;
                return Err(error);
            }
        };
        let there: HashMap<&str, &Entity> =
            there.iter().map(|one| (one.name.as_str(), one)).collect();
        let now = clock::now();
        let is_newer = |(_, one): &&Pair| {
            let there = there.get(one.name.as_str());
            there.is_none_or(|there| entity::supersedes(one, there, now))
        };
        let newer: Vec<Entity> = chunk
            .iter()
            .filter(is_newer)
            .map(|(_, one)| one.clone())
            .collect();
        if newer.is_empty() {
            let _ = client.rollback(transaction).await;
        } else {
            client.commit(transaction, &newer).await?;
        }
        count("written", newer.len());
        count("superseded", chunk.len() - newer.len());
        Ok(())
    }
}

/// Cuts where the bytes of a transaction are reached.
fn chunks(pairs: &[Pair]) -> Vec<&[Pair]> {
    let (mut chunks, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (at, (_, entity)) in pairs.iter().enumerate() {
        let size = entity.size();
        if at > start && bytes + size > BATCH_BYTES {
            chunks.push(&pairs[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += size;
    }
    if start < pairs.len() {
        chunks.push(&pairs[start..]);
    }
    chunks
}

fn mark((dirty, _): &Pair) -> (i64, u64) {
    (dirty.handle, dirty.version)
}

fn done((dirty, _): &Pair) -> End {
    (dirty.handle, dirty.version, DirtyEnd::Written)
}

fn count(outcome: &'static str, n: usize) {
    if n > 0 {
        counter!("gateway_datastore_records_total", "outcome" => outcome).increment(n as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channels;
    use crate::datastore::{Settings, Value};
    use crate::domain::MsgId;
    use axum::http::StatusCode;
    use std::sync::Arc;

    /// A Datastore that refuses every commit with a message called `poison` in it.
    async fn picky() -> Archive {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answer = async |body: String| match body.contains("poison") && body.contains("upsert") {
            true => (
                StatusCode::BAD_REQUEST,
                r#"{"error":{"status":"INVALID_ARGUMENT","message":"no"}}"#,
            ),
            false => (StatusCode::OK, r#"{"transaction":"dHg="}"#),
        };
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
        Archive::new(&settings, Arc::new(Channels::new(Vec::new()))).unwrap()
    }

    #[tokio::test]
    async fn one_refused_message_holds_back_no_other() {
        let named = |(handle, id): (i64, &str)| {
            let mut dirty = entity::tests::dirty();
            dirty.handle = handle;
            dirty.record.message.msg_id = MsgId::parse(id).unwrap();
            dirty
        };
        let batch = [(1, "a"), (2, "poison"), (3, "c")].map(named).to_vec();
        let written = picky().await.write(batch).await;
        assert!(written.error.is_none() && written.left.is_empty());
        let ends: Vec<_> = written
            .ends
            .iter()
            .map(|(handle, _, end)| (*handle, *end))
            .collect();
        assert_eq!(
            (ends[0], ends[2]),
            ((1, DirtyEnd::Written), (3, DirtyEnd::Written))
        );
        let DirtyEnd::Later { due } = ends[1].1 else {
            panic!("{ends:?}")
        };
        assert!(due.since(clock::now()) > REFUSED_AGAIN / 2);
    }

    #[test]
    fn a_transaction_is_bounded_in_bytes() {
        let dirty = entity::tests::dirty();
        let pair = |bytes: usize| {
            let history = Value::Text("x".repeat(bytes));
            let entity = Entity::named("n").with_unindexed("history", history);
            (dirty.clone(), entity)
        };
        let pairs: Vec<Pair> = [1, BATCH_BYTES / 2, BATCH_BYTES / 2, 1, BATCH_BYTES * 2, 1]
            .map(pair)
            .into();
        let sizes: Vec<usize> = chunks(&pairs).iter().map(|chunk| chunk.len()).collect();
        assert_eq!(sizes, [2, 2, 1, 1]);
        assert!(chunks(&[]).is_empty());
    }
}
