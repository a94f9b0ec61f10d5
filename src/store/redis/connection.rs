//! The way to Redis: two lines, and what may be asked by them. What has to be durable is confirmed by
//! the connection that it was written by: after a failover another one may lead to a server that
//! never heard of it.

use super::confirm::Confirmed;
use super::foreign::Foreign;
use super::line::{Ask, Kind, Line};
use super::place::{Names, Place};
use super::report::Reports;
use super::rights::Rights;
use crate::store::StoreError;
use redis::{Cmd, FromRedisValue, Pipeline, Script, ScriptInvocation};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;

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
pub struct Connection {
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
    rights: Rights,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The client's own would show the address, password and all.
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    /// A connection that is made when it is first used.
    ///
    /// # Errors
    /// When the URL cannot be understood.
    pub fn new(settings: &Settings) -> Result<Self, StoreError> {
        Self::by(settings, Names::System)
    }

    /// The same with names that these know.
    pub(super) fn by(settings: &Settings, names: Names) -> Result<Self, StoreError> {
        // Not redis' own words: they may repeat the URL.
        let place = Place::new(settings.url.expose_secret(), names)
            .map_err(|error| StoreError::Unavailable(format!("REDIS_URL: {}", error.category())))?;
        let (place, rights) = (Arc::new(place), Rights::default());
        Ok(Self {
            main: Arc::new(Line::new(place.clone(), rights.clone())),
            beside: Arc::new(Line::new(place, rights.clone())),
            confirmed: Arc::default(),
            wait_replicas: settings.wait_replicas,
            replica: format!("{:016x}", fastrand::u64(..)).into(),
            reports: Reports::default(),
            foreign: Arc::default(),
            rights,
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

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Runs a script that does no harm when it is run twice.
    pub(crate) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let answer = self.main.call(&Ask::Script(script), Kind::Any).await;
        answer.map(|(done, _)| done)
    }

    /// Runs a script that must not wait behind the work, need not be durable, and may not happen
    /// twice.
    pub(crate) async fn run_beside<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let answer = self.run_beside_by(script).await;
        answer.map(|(done, _)| done)
    }

    /// The same. Tells by which connection it went: another one may lead to another server.
    pub(super) async fn run_beside_by<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<(T, u64), StoreError> {
        self.beside.call(&Ask::Script(script), Kind::Once).await
    }

    /// Runs a script that does no harm when it is run twice, and must be durable: waits for the
    /// replicas that the configuration names.
    pub(crate) async fn run_durably<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.durably(&Ask::Script(script), Kind::Write, |_| true)
            .await
    }

    /// The same, as the command that runs it.
    pub(super) async fn run_all<T: FromRedisValue>(
        &self,
        script: &Script,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        self.durably(&Ask::Run(script, command), Kind::Write, |_| true)
            .await
    }

    /// The same for a script that may not happen twice.
    pub(super) async fn run_once<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        self.durably(&Ask::Script(script), Kind::Once, |_| true)
            .await
    }

    /// Asks whether something is there; that it is, as durably as what is written.
    pub(super) async fn is_there(&self, question: &Cmd) -> Result<bool, StoreError> {
        self.durably(&Ask::Command(question), Kind::Any, |there| *there)
            .await
    }

    async fn durably<T: FromRedisValue>(
        &self,
        ask: &Ask<'_>,
        kind: Kind,
        must_last: fn(&T) -> bool,
    ) -> Result<T, StoreError> {
        let (mut done, mut by) = self.main.call(ask, kind).await?;
        if !must_last(&done) || self.replicated(by).await? {
            return Ok(done);
        }
        if kind != Kind::Once {
            (done, by) = self.main.call(ask, kind).await?;
            if !must_last(&done) || self.replicated(by).await? {
                return Ok(done);
            }
        }
        Err(StoreError::Unavailable(
            "the connection to Redis was lost before its replicas confirmed the write".into(),
        ))
    }

    /// Runs one command that does no harm when it is run twice.
    pub(crate) async fn command<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let answer = self.main.call(&Ask::Command(command), Kind::Any).await;
        answer.map(|(done, _)| done)
    }

    /// The same for commands that go out together. Tells by which connection they went.
    pub(super) async fn pipeline<T: FromRedisValue>(
        &self,
        all: &Pipeline,
    ) -> Result<(T, u64), StoreError> {
        self.main.call(&Ask::All(all), Kind::Write).await
    }

    /// Runs one command that must not wait behind the work and does no harm when it is run twice.
    pub(crate) async fn command_beside<T: FromRedisValue>(
        &self,
        command: &Cmd,
    ) -> Result<T, StoreError> {
        let answer = self.beside.call(&Ask::Command(command), Kind::Any).await;
        answer.map(|(done, _)| done)
    }
}
