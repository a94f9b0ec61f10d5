//! What has to be durable waits for the replicas of Redis that the configuration names.

use super::Connection;
use crate::store::StoreError;
use redis::Script;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long replicas have to confirm a write. Two of these and a little are less than a deadline, as
/// a write may come while others are being asked for.
const CONFIRM: Duration = Duration::from_millis(500);

/// A write, also when memory is used up.
static MARK: LazyLock<Script> = LazyLock::new(|| {
    Script::new("#!lua flags=allow-oom\nreturn redis.call('SET', KEYS[1], 1, 'PX', 60000)")
});

/// What replicas have confirmed.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    /// How many writes asked to be confirmed; each takes its number when it has been made.
    tickets: AtomicU64,
    /// The last question; held while it is asked.
    last: tokio::sync::Mutex<Confirmation>,
}

#[derive(Debug)]
struct Confirmation {
    /// The last write that it is about.
    upto: u64,
    /// The connection that it was asked by.
    by: u64,
    /// How many replicas have it.
    replicas: Result<u32, StoreError>,
}

impl Default for Confirmation {
    fn default() -> Self {
        Self {
            upto: 0,
            by: 0,
            replicas: Ok(0),
        }
    }
}

impl Connection {
    /// Waits until what was written by this connection is on the replicas that were asked for; whether
    /// it is. Not where another connection took its place meanwhile: it may lead to another server,
    /// whose replicas say nothing of this write. WAIT holds up everything behind it, so one serves all
    /// writes before it, and no two are under way.
    ///
    /// Since Redis 7.2 WAIT is about what its own connection wrote last. A repeat of a message writes
    /// nothing; so something is written before it, and all that Redis had until then is confirmed with
    /// it.
    pub(super) async fn replicated(&self, by: u64) -> Result<bool, StoreError> {
        let wanted = self.wait_replicas();
        if wanted == 0 {
            return Ok(true);
        }
        let Confirmed { tickets, last } = self.confirmed();
        let ticket = tickets.fetch_add(1, Ordering::AcqRel) + 1;
        let mut last = last.lock().await;
        if last.upto < ticket {
            // One question serves everybody who has written until now: it blocks the connection.
            let upto = tickets.load(Ordering::Acquire);
            let mut ask = redis::pipe();
            ask.load_script(&MARK).ignore();
            let key = format!("gw:confirm:{}", self.replica());
            ask.invoke_script(&MARK.key(key)).ignore();
            ask.cmd("WAIT").arg(wanted).arg(CONFIRM.as_millis());
            let asked = self.pipeline::<(u32,)>(&ask).await;
            // Only now, and whole: who asks may be gone before there is an answer.
            *last = Confirmation {
                upto,
                by: asked.as_ref().map_or(0, |(_, by)| *by),
                replicas: asked.map(|((replicas,), _)| replicas),
            };
        }
        match last.replicas.clone()? {
            _ if last.by != by => Ok(false),
            enough if enough >= wanted => Ok(true),
            few => Err(StoreError::Unavailable(format!(
                "only {few} of {wanted} Redis replicas confirmed the write"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::redis::Settings;
    use crate::store::testing::RedisServer;
    use tokio::time::timeout;

    #[tokio::test]
    async fn a_question_without_an_answer_confirms_nothing_to_others() {
        let server = RedisServer::start();
        let settings = Settings {
            url: server.url().into(),
            wait_replicas: 1,
        };
        let connection = Connection::new(&settings).unwrap();
        let ((), by) = connection
            .pipeline(redis::pipe().ping().ignore())
            .await
            .unwrap();
        let mut last = connection.confirmed().last.lock().await;
        // Then there was a replica.
        *last = Confirmation {
            upto: 0,
            by,
            replicas: Ok(1),
        };
        let mut asks = Box::pin(connection.replicated(by));
        let mut relies = Box::pin(connection.replicated(by));
        assert!(timeout(Duration::ZERO, &mut asks).await.is_err());
        assert!(timeout(Duration::ZERO, &mut relies).await.is_err());
        drop(last);
        assert!(timeout(Duration::ZERO, &mut asks).await.is_err());
        drop(asks);
        let confirmed = relies.await;
        assert!(confirmed.is_err(), "{confirmed:?}");
    }
}
