//! The connection to Redis: heals by itself, and gives up on a call after its deadline.

use super::confirm::Confirmed;
use super::foreign::Foreign;
use super::report::Reports;
use crate::store::StoreError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, ScriptInvocation, ServerErrorKind,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a call may take before it counts as failed. What was asked for may still happen later;
/// every script is written so that this does no harm.
const DEADLINE: Duration = Duration::from_secs(2);
/// After so long with nothing but errors a connection is made anew.
const GIVEN_UP: Duration = Duration::from_secs(3);
/// The most characters of Redis' words about an error.
const LONGEST_WORDS: usize = 300;
/// The longest pause between two tries to connect.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// Where Redis is, and what is asked of it.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `redis://`, `rediss://` or `redis+unix://`, with user and password.
    pub url: SecretString,
    /// How many replicas must confirm what has to be durable; 0 asks none.
    pub wait_replicas: u32,
}

/// A connection to Redis. Clones share it.
#[derive(Clone)]
pub struct Link {
    /// For the work.
    main: Arc<Line>,
    /// For what must not wait behind the work: leases, permits, ledgers.
    beside: Arc<Line>,
    wait_replicas: u32,
    confirmed: Arc<Confirmed>,
    /// Who this process is among those that share the server; new at every start.
    replica: Arc<str>,
    /// How Redis stood when it was last asked.
    reports: Reports,
    foreign: Arc<Foreign>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The manager's own would show the address, password and all.
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// A connection that is made when it is first used.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        // Not redis' own words: they may repeat the URL.
        let line = || {
            Line::new(settings).map_err(|error| {
                StoreError::Unavailable(format!("REDIS_URL: {}", error.category()))
            })
        };
        Ok(Self {
            main: Arc::new(line()?),
            beside: Arc::new(line()?),
            confirmed: Arc::default(),
            wait_replicas: settings.wait_replicas,
            replica: format!("{:016x}", fastrand::u64(..)).into(),
            reports: Reports::default(),
            foreign: Arc::default(),
        })
    }

    /// Who this process is among those that share the server.
    pub(crate) fn replica(&self) -> &str {
        &self.replica
    }

    /// How many replicas must confirm what has to be durable.
    pub(super) fn wait_replicas(&self) -> u32 {
        self.wait_replicas
    }

    /// What replicas have confirmed of what was written on the connection for the work.
    pub(super) fn confirmed(&self) -> &Confirmed {
        &self.confirmed
    }

    pub(super) fn reports(&self) -> &Reports {
        &self.reports
    }

    pub(super) fn foreign(&self) -> &Foreign {
        &self.foreign
    }

    /// Runs a script; one that Redis does not know (any more) is loaded.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.main.connection();
        self.main
            .heard(within(script.invoke_async(&mut connection)).await)
    }

    /// The same for what must not wait behind the work, and need not be durable.
    pub(crate) async fn run_beside<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.beside.connection();
        self.beside
            .heard(within(script.invoke_async(&mut connection)).await)
    }

    /// The same for what must be durable: waits for the replicas that the configuration names.
    pub(crate) async fn run_durably<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let done = self.run(script).await?;
        self.replicated().await?;
        Ok(done)
    }

    /// Runs one command.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let mut connection = self.main.connection();
        self.main
            .heard(within(command.query_async(&mut connection)).await)
    }

    /// Runs commands that go out together, on one connection.
    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        all: &Pipeline,
    ) -> Result<T, StoreError> {
        let mut connection = self.main.connection();
        self.main
            .heard(within(all.query_async(&mut connection)).await)
    }

    /// Runs one command that must not wait behind the work.
    pub(crate) async fn command_beside<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let mut connection = self.beside.connection();
        self.beside
            .heard(within(command.query_async(&mut connection)).await)
    }
}

/// One connection. It connects again by itself after it broke; and anew when nothing but errors came
/// for a while, because the library takes a refused user for final.
struct Line {
    client: redis::Client,
    now: Mutex<Now>,
}

struct Now {
    connection: ConnectionManager,
    /// When it was made, or last brought an answer that was no error.
    good_at: Instant,
}

impl Line {
    fn new(settings: &Settings) -> Result<Self, RedisError> {
        let client = redis::Client::open(settings.url.expose_secret())?;
        let now = Now {
            connection: connect(&client)?,
            good_at: Instant::now(),
        };
        Ok(Self {
            client,
            now: Mutex::new(now),
        })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> ConnectionManager {
        self.now().connection.clone()
    }

    fn heard<T>(&self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let mut now = self.now();
        if answer.is_ok() {
            now.good_at = Instant::now();
        } else if now.good_at.elapsed() > GIVEN_UP
            && let Ok(connection) = connect(&self.client)
        {
            *now = Now {
                connection,
                good_at: Instant::now(),
            };
        }
        answer
    }
}

fn connect(client: &redis::Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(DEADLINE))
        .set_response_timeout(Some(DEADLINE))
        // Whoever asks next tries again; more tries here would only hide the reason.
        .set_number_of_retries(1)
        .set_max_delay(RECONNECT_PAUSE);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

async fn within<T>(call: impl Future<Output = Result<T, RedisError>>) -> Result<T, StoreError> {
    match timeout(DEADLINE, call).await {
        Ok(done) => done.map_err(|error| StoreError::Unavailable(explain(&error))),
        Err(_) => Err(StoreError::Unavailable(format!(
            "Redis did not answer within {} s",
            DEADLINE.as_secs()
        ))),
    }
}

/// What is wrong with Redis, and what an operator can do.
fn explain(error: &RedisError) -> String {
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
            Some("NOPERM") => "Redis does not permit its user what the gateway needs",
            _ => return format!("Redis: {}", cut(error)),
        },
    };
    format!("{advice} ({})", cut(error))
}

/// The server's words: it may be none of Redis, or repeat what it was sent.
fn cut(error: &RedisError) -> String {
    error.to_string().chars().take(LONGEST_WORDS).collect()
}
