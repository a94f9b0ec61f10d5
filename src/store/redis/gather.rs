//! Calls of one script on one account that come at one moment go to Redis as one. What each costs beside
//! its work (a round through the connection, the text of the script, which Redis runs whole) is paid
//! once for all of them; what goes wrong in one stays its own.

use super::line::explain;
use super::{AccountKeys, Store};
use crate::store::StoreError;
use redis::{FromRedisValue, RedisError, RedisWrite, Script, ToRedisArgs, Value};
use std::fmt::{Display, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// The most that goes out as one, unless one call alone has more: Redis does nothing else meanwhile.
const MOST_CALLS: usize = 16;
const MOST_ARGUMENTS: usize = 500;
const MOST_BYTES: usize = 128 * 1024;

type Answer = Result<Value, StoreError>;
/// Where the calls of a script on an account wait, and the script.
pub(super) type Which = for<'a> fn(&'a Store, &'a AccountKeys) -> (&'a Gather, &'a Script);

/// The arguments of one call. They are a person's: not to be shown.
#[derive(Clone, Default)]
pub(super) struct Part {
    text: String,
    /// Where each argument ends.
    ends: Vec<usize>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = (self.ends.len(), self.text.len());
        f.debug_tuple("Part").field(&shown).finish()
    }
}

impl Part {
    pub(super) fn arg(mut self, value: impl AsRef<str>) -> Self {
        self.push(value.as_ref());
        self
    }

    pub(super) fn push(&mut self, value: &str) {
        self.text.push_str(value);
        self.ends.push(self.text.len());
    }

    pub(super) fn number(mut self, value: impl Display) -> Self {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "{value}");
        self.ends.push(self.text.len());
        self
    }
}

/// How many arguments there are, then these: a script tells calls apart by it.
impl ToRedisArgs for Part {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self.ends.len());
        let mut from = 0;
        for end in &self.ends {
            out.write_arg(&self.text.as_bytes()[from..*end]);
            from = *end;
        }
    }
}

/// Calls that go out as one, and who waits for their answers.
#[derive(Debug, Default)]
struct Batch {
    calls: Vec<(Part, oneshot::Sender<Answer>)>,
    arguments: usize,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, part: &Part) -> bool {
        self.calls.len() < MOST_CALLS
            && self.arguments + part.ends.len() <= MOST_ARGUMENTS
            && self.bytes + part.text.len() <= MOST_BYTES
    }
}

/// Calls of one script on one account that have not gone out yet.
#[derive(Debug, Default)]
pub(super) struct Gather(Mutex<Batch>);

impl Gather {
    fn waiting(&self) -> MutexGuard<'_, Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call to those that wait. Whether it is the first; and who has no room for it beside them.
    fn add(&self, part: Part, tell: oneshot::Sender<Answer>) -> (bool, Option<Batch>) {
        let mut waiting = self.waiting();
        let full = !waiting.calls.is_empty() && !waiting.has_room_for(&part);
        let full = full.then(|| std::mem::take(&mut *waiting));
        waiting.arguments += part.ends.len();
        waiting.bytes += part.text.len();
        waiting.calls.push((part, tell));
        (waiting.calls.len() == 1, full)
    }

    fn take(&self) -> Batch {
        std::mem::take(&mut *self.waiting())
    }
}

impl Store {
    /// Runs a script that does no harm when it is run twice, together with others of this moment.
    pub(super) async fn gather<T: FromRedisValue>(
        &self,
        which: Which,
        home: &AccountKeys,
        part: Part,
    ) -> Result<T, StoreError> {
        let (tell, answered) = oneshot::channel();
        let (is_first, full) = which(self, home).0.add(part, tell);
        // In tasks of their own: whoever came first may be gone before the others have their answers.
        if let Some(full) = full {
            let (store, home) = (self.clone(), home.clone());
            tokio::spawn(async move { store.run_all(which, &home, full).await });
        }
        if is_first {
            let (store, home) = (self.clone(), home.clone());
            tokio::spawn(async move {
                // Who is ready to run now runs before this goes on.
                yield_now().await;
                let batch = which(&store, &home).0.take();
                store.run_all(which, &home, batch).await;
            });
        }
        let cut = |_| StoreError::Unavailable("the call was cut short".into());
        let answer = answered.await.map_err(cut)??;
        T::from_redis_value(answer).map_err(|error| StoreError::Unavailable(explain(&error.into())))
    }

    async fn run_all(&self, which: Which, home: &AccountKeys, batch: Batch) {
        if batch.calls.is_empty() {
            return;
        }
        let script = which(self, home).1;
        let mut call = redis::cmd("EVALSHA");
        call.arg(script.get_hash()).arg(1).arg(&*home.prefix);
        for (part, _) in &batch.calls {
            call.arg(part);
        }
        let answers: Result<Vec<Value>, StoreError> =
            self.shared.connection.run_all(script, &call).await;
        let waiting = batch.calls.into_iter().map(|(_, tell)| tell);
        match answers {
            Ok(answers) => waiting.zip(answers).for_each(|(tell, answer)| {
                // Whoever asked may be gone.
                let _ = tell.send(own(answer));
            }),
            Err(error) => waiting.for_each(|tell| {
                let _ = tell.send(Err(error.clone()));
            }),
        }
    }
}

/// The answer to one of the calls: a text is what went wrong in it.
fn own(answer: Value) -> Answer {
    let Value::BulkString(text) = answer else {
        return Ok(answer);
    };
    let text = String::from_utf8_lossy(&text).replace(['\r', '\n'], " ");
    let error = match redis::parse_redis_value(format!("-{text}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => RedisError::from(error),
        Ok(_) => (redis::ErrorKind::UnexpectedReturnType, "not an error").into(),
        Err(error) => error,
    };
    Err(StoreError::Unavailable(explain(&error)))
}

#[cfg(test)]
mod tests {
    use super::super::Store;
    use super::*;
    use crate::domain::Status;
    use crate::domain::{AccountId, ChannelId, UnixMs};
    use crate::store::Accepted;
    use crate::store::testing::RedisServer;
    use crate::store::testing::in_time;
    use crate::store::tests::words::{self, message};
    use std::sync::Arc;
    use tokio::task::JoinSet;

    fn channel() -> ChannelId {
        ChannelId::parse("c").unwrap()
    }

    fn store(server: &RedisServer) -> Store {
        let account = AccountId::parse("default").unwrap();
        Store::open(server.link(), vec![(channel(), account)], false)
    }

    async fn accept(store: &Store, id: &str) -> Result<Accepted, StoreError> {
        let (account, now) = (AccountId::parse("default").unwrap(), UnixMs(1_000_000));
        store
            .accept(&channel(), &account, &message(id, 1), now)
            .await
    }

    /// Accepts all of these at one moment; the answers by their place.
    async fn accept_all(store: &Store, ids: Vec<String>) -> Vec<Result<Accepted, StoreError>> {
        let mut all = JoinSet::new();
        for (place, id) in ids.into_iter().enumerate() {
            let store = store.clone();
            all.spawn(async move { (place, accept(&store, &id).await) });
        }
        let mut answers = all.join_all().await;
        answers.sort_by_key(|(place, _)| *place);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// How often a script ran.
    async fn runs(server: &RedisServer) -> String {
        let stats = server.say("INFO commandstats").await;
        let of_scripts = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
        let calls = of_scripts.and_then(|rest| rest.split(',').next());
        calls.unwrap_or("0").to_owned()
    }

    #[tokio::test]
    async fn what_comes_at_one_moment_goes_out_as_one_and_each_has_its_own_answer() {
        let server = RedisServer::start();
        let store = store(&server);
        accept(&store, "known").await.unwrap();
        server.say("CONFIG RESETSTAT").await;
        let mut ids: Vec<String> = (0..12).map(|n| format!("m{n}")).collect();
        ids.extend(["known".to_owned(), "m3".to_owned()]);
        let answers = accept_all(&store, ids).await;
        assert_eq!(runs(&server).await, "1");
        for (place, answer) in answers.into_iter().enumerate() {
            let expected = match place {
                0..12 => Accepted::Stored,
                _ => Accepted::Repeat { same: true },
            };
            assert_eq!(answer.unwrap(), expected, "{place}");
        }
        assert_eq!(store.ledger(&channel()).accepted, 13);
    }

    #[tokio::test]
    async fn however_many_come_all_are_taken_and_no_call_is_long() {
        let server = RedisServer::start();
        let store = store(&server);
        accept(&store, "known").await.unwrap();
        server.say("CONFIG RESETSTAT").await;
        let answers = accept_all(&store, (0..500).map(|n| format!("m{n}")).collect()).await;
        assert!(
            answers
                .into_iter()
                .all(|answer| answer.unwrap() == Accepted::Stored)
        );
        assert_eq!(
            runs(&server).await,
            500usize.div_ceil(MOST_CALLS).to_string()
        );
    }

    #[tokio::test]
    async fn what_redis_refuses_to_one_it_refuses_to_nobody_else() {
        let server = RedisServer::start();
        let store = store(&server);
        accept(&store, "known").await.unwrap();
        // All keys but that of one id.
        let keys = "~gw:{default}: ~gw:{default}:[^i]* ~gw:{default}:i:c:good*";
        server
            .say(&format!("ACL SETUSER default resetkeys {keys}"))
            .await;
        let ids = ["good1", "other", "good2"].map(str::to_owned);
        let answers = accept_all(&store, ids.to_vec()).await;
        let refused = answers[1].as_ref().unwrap_err().to_string();
        assert!(refused.contains("can't access"), "{refused}");
        for place in [0, 2] {
            assert_eq!(
                *answers[place].as_ref().unwrap(),
                Accepted::Stored,
                "{answers:?}"
            );
        }
    }

    #[tokio::test]
    async fn who_goes_away_takes_no_answer_of_others_along() {
        let server = RedisServer::start();
        let store = store(&server);
        let first = {
            let store = store.clone();
            tokio::spawn(async move { accept(&store, "first").await })
        };
        let second = {
            let store = store.clone();
            tokio::spawn(async move { accept(&store, "second").await })
        };
        // Both wait now, and nothing has gone out.
        yield_now().await;
        first.abort();
        assert_eq!(second.await.unwrap().unwrap(), Accepted::Stored);
        assert!(first.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn each_webhook_hears_of_its_own_events_and_of_its_own_trouble() {
        let server = RedisServer::start();
        let account = AccountId::parse("default").unwrap();
        let channel = words::rules("a").channel;
        let store = Store::open(server.link(), vec![(channel, account)], false);
        let take = |ids: &[&str]| {
            let events = ids
                .iter()
                .map(|id| words::event(id, Status::Delivered, None))
                .collect::<Vec<_>>();
            let (store, rules) = (store.clone(), Arc::new(words::rules("a")));
            async move {
                store
                    .take_events(rules, events, UnixMs(1_000_000), in_time())
                    .await
            }
        };
        take(&["known"]).await.unwrap();
        let keys = "~gw:{default}: ~gw:{default}:[^p]* ~gw:{default}:p:[^x]*";
        server
            .say(&format!("ACL SETUSER default resetkeys {keys}"))
            .await;
        server.say("CONFIG RESETSTAT").await;
        let (first, refused, again) = tokio::join!(
            take(&["one", "two", "known"]),
            take(&["x1"]),
            take(&["one", "three"])
        );
        assert_eq!(runs(&server).await, "1");
        let (first, again) = (first.unwrap(), again.unwrap());
        assert_eq!((first.unmatched, first.superseded), (2, 1));
        assert_eq!((again.unmatched, again.superseded), (1, 1));
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("can't access"), "{refused}");
    }
}
