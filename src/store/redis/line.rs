//! One line to Redis: the connection that all calls of one kind share, made anew when it is of no use
//! (`verdict`), and the one place that makes a call again. Gives up on a call after its deadline.

use super::place::Place;
use super::rights::Rights;
use super::verdict::{Verdict, verdict};
use crate::store::StoreError;
use redis::aio::MultiplexedConnection;
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult, Script, ScriptInvocation,
    ServerErrorKind, Value,
};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// How long a call may take before it counts as failed, its repeat included. What was asked for may
/// still happen later; every script is written so that this does no harm.
const DEADLINE: Duration = Duration::from_secs(2);
/// Without an answer, and without a write that worked for so long, a connection is made anew.
const GIVEN_UP: Duration = Duration::from_secs(3);
/// The pause before a second try to connect: a Redis that is restarted may be there again.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);
/// The script has not been loaded, or was forgotten.
const UNKNOWN: ErrorKind = ErrorKind::Server(ServerErrorKind::NoScript);
/// What Redis 7.0 says in a script where it says NOPERM elsewhere.
const IN_A_SCRIPT: &str = "The user executing the script can't";
const NOT_PERMITTED: &str = "Redis does not permit its user what the gateway needs";
/// What Redis says to one connection more than it takes.
const FULL: &str = "max number of clients";
/// The most characters of Redis' words about an error.
const LONGEST_WORDS: usize = 300;

/// What is asked of Redis.
pub(super) enum Ask<'a> {
    Script(&'a ScriptInvocation<'a>),
    /// A script, as the command that runs it.
    Run(&'a Script, &'a Cmd),
    Command(&'a Cmd),
    /// Commands that go out together.
    All(&'a Pipeline),
}

impl Ask<'_> {
    async fn of(&self, who: &mut MultiplexedConnection) -> RedisResult<Value> {
        match self {
            // One that Redis does not know (any more) is loaded.
            Self::Script(script) => script.invoke_async(who).await,
            Self::Run(script, command) => match command.query_async(who).await {
                Err(error) if error.kind() == UNKNOWN => {
                    script.load_async(who).await?;
                    command.query_async(who).await
                }
                answer => answer,
            },
            Self::Command(command) => command.query_async(who).await,
            Self::All(all) => all.query_async(who).await,
        }
    }
}

/// What is known of a call before it is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// To make it again does no harm. That it worked says nothing of writes: a replica answers too.
    Any,
    /// To make it again does no harm, and it works at a master only.
    Write,
    /// It works at a master only, and may have happened when its answer is lost: what it takes would
    /// be taken twice.
    Once,
}

/// A line; lives as long as its process. It connects when it is first used.
pub(super) struct Line {
    place: Arc<Place>,
    /// Written when a script was refused something.
    rights: Rights,
    now: Mutex<Now>,
    /// How many connections were made.
    made: AtomicU64,
}

struct Now {
    held: Option<Arc<Held>>,
    /// When it was begun, or last carried a write that worked.
    good_at: Instant,
}

/// A connection. Whoever is asking by it when it is left still gets an answer.
struct Held {
    number: u64,
    since: Instant,
    made: watch::Receiver<Option<RedisResult<Made>>>,
    is_broken: AtomicBool,
    task: AbortHandle,
}

#[derive(Clone)]
struct Made {
    connection: MultiplexedConnection,
    at: Option<SocketAddr>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Held {
    fn begin(place: Arc<Place>, number: u64) -> Self {
        let (tell, made) = watch::channel(None);
        let task = tokio::spawn(make_and_watch(place, tell));
        Self {
            number,
            since: Instant::now(),
            made,
            is_broken: AtomicBool::new(false),
            task: task.abort_handle(),
        }
    }

    fn is_of_use(&self, place: &Place) -> bool {
        // Before the outcome is looked at: who tells it ends right after, or ended in a panic.
        let is_over = self.made.has_changed().is_err();
        let at = match &*self.made.borrow() {
            Some(Ok(made)) => made.at,
            Some(Err(_)) => return false,
            None if is_over => return false,
            None => None,
        };
        !self.is_broken.load(Ordering::Acquire) && !place.is_left(self.since, at)
    }

    async fn made(&self) -> RedisResult<Made> {
        let mut made = self.made.clone();
        let made = made.wait_for(Option::is_some).await;
        let made = made.ok().and_then(|made| (*made).clone());
        // Nobody tells the outcome: the process ends, or there was a panic.
        made.unwrap_or_else(|| Err((ErrorKind::Io, "no connection is made any more").into()))
    }
}

async fn make_and_watch(place: Arc<Place>, tell: watch::Sender<Option<RedisResult<Made>>>) {
    let mut connected = place.connect().await;
    if connected.is_err() {
        // waits because Redis may be on its way back; more tries would only hide the reason
        sleep(CONNECT_AGAIN).await;
        connected = place.connect().await;
    }
    if let Err(error) = connected {
        connected = Err(place.reason(error).await);
    }
    let at = connected.as_ref().ok().and_then(|(_, at)| *at);
    let made = connected.map(|(connection, at)| Made { connection, at });
    let _ = tell.send(Some(made));
    if let Some(at) = at {
        place.until_moved(at).await;
    }
}

impl Line {
    pub(super) fn new(place: Arc<Place>, rights: Rights) -> Self {
        let now = Now {
            held: None,
            good_at: Instant::now(),
        };
        Self {
            place,
            rights,
            now: Mutex::new(now),
            made: AtomicU64::new(0),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Arc<Held> {
        let mut now = self.now();
        if let Some(held) = now.held.as_ref().filter(|held| held.is_of_use(&self.place)) {
            return held.clone();
        }
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let held = Arc::new(Held::begin(self.place.clone(), number));
        now.good_at = Instant::now();
        now.held = Some(held.clone());
        held
    }

    /// Makes a call, and once more at once where the connection turned out to be of no use. Answers
    /// with the number of the connection that it was made by.
    pub(super) async fn call<T: FromRedisValue>(
        &self,
        ask: &Ask<'_>,
        kind: Kind,
    ) -> Result<(T, u64), StoreError> {
        let twice = async {
            match self.once(ask, kind).await {
                Err((_, true)) => self.once(ask, kind).await,
                first => first,
            }
        };
        let answer = timeout(DEADLINE, twice).await;
        self.hear(kind, answer.as_ref().map(Result::is_ok).ok());
        match answer {
            Ok(answer) => answer.map_err(|(error, _)| {
                let explained = StoreError::Unavailable(explain(&error));
                if matches!(ask, Ask::Script(_) | Ask::Run(..)) {
                    self.rights.hear(&error, &explained);
                }
                explained
            }),
            Err(_) => Err(StoreError::Unavailable(format!(
                "Redis did not answer within {} s",
                DEADLINE.as_secs()
            ))),
        }
    }

    /// An error comes with whether the call may be made again on another connection.
    async fn once<T: FromRedisValue>(
        &self,
        ask: &Ask<'_>,
        kind: Kind,
    ) -> Result<(T, u64), (RedisError, bool)> {
        let held = self.held();
        // That was tried twice already.
        let mut made = held.made().await.map_err(|error| (error, false))?;
        let error = match ask.of(&mut made.connection).await {
            Ok(value) => {
                let done = T::from_redis_value(value).map(|done| (done, held.number));
                // Another value than was expected says nothing of the connection.
                return done.map_err(|error| (error.into(), false));
            }
            Err(error) => error,
        };
        let again = match verdict(&error) {
            Verdict::Fit => false,
            Verdict::Elsewhere => self.place.leave(held.since, made.at),
            Verdict::Broken => {
                held.is_broken.store(true, Ordering::Release);
                kind != Kind::Once
            }
        };
        Err((error, again))
    }

    /// Takes note of how a call went; `None`: there was no answer.
    fn hear(&self, kind: Kind, worked: Option<bool>) {
        let mut now = self.now();
        match worked {
            Some(true) if kind != Kind::Any => now.good_at = Instant::now(),
            None if now.good_at.elapsed() > GIVEN_UP => now.held = None,
            _ => {}
        }
    }
}

/// What is wrong with Redis, and what an operator can do.
pub(super) fn explain(error: &RedisError) -> String {
    let advice = match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => {
            "Redis is read-only: REDIS_URL names a replica, or a failover is under way"
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => "Redis is loading its data; wait",
        ErrorKind::Server(ServerErrorKind::MasterDown) => {
            "Redis is a replica that has lost its master"
        }
        ErrorKind::AuthenticationFailed => "Redis refuses the user or password of REDIS_URL",
        ErrorKind::Io => "Redis cannot be reached",
        _ => match error.code() {
            Some("OOM") => "Redis has no memory left: raise maxmemory, or lower store.retention",
            Some("MISCONF") => "Redis cannot save to disk and refuses writes: look at its disk",
            Some("NOAUTH" | "WRONGPASS") => "Redis refuses the user or password of REDIS_URL",
            Some("NOPERM") => NOT_PERMITTED,
            _ if error.to_string().contains(IN_A_SCRIPT) => NOT_PERMITTED,
            _ if error.to_string().contains(FULL) => {
                "Redis takes no more connections: raise its maxclients, or look who holds them"
            }
            _ => return format!("Redis: {}", cut(error)),
        },
    };
    format!("{advice} ({})", cut(error))
}

/// The server's words: it may be none of Redis, or repeat what it was sent.
fn cut(error: &RedisError) -> String {
    error.to_string().chars().take(LONGEST_WORDS).collect()
}
