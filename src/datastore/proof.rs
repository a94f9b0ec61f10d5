//! What may be done in a project's Datastore: tried with one scratch entity, never under the kind of the records.
//!
//! Reading and writing are told apart, because a role may give one without the other. The mode of the database is
//! told where Google says it; an emulator has none.

use super::client::Client;
use super::error::Error;
use super::wire::{Entity, Value};
use serde::Deserialize;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::time::timeout;

/// What is put behind the kind of the records for all that is none.
const SUFFIX: &str = "_GATEWAY";
/// How long the mode of the database is waited for: nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long after its making a scratch entity may be removed by Datastore's expiry, if we could not.
const EXPIRES_MS: i64 = 86_400_000;

/// What was found out.
#[derive(Debug, Clone)]
pub struct Proof {
    /// Whether entities can be read.
    pub read: Result<(), Error>,
    /// Whether they can be written.
    pub write: Result<(), Error>,
    /// The scratch entity that is still there, and why.
    pub left: Option<(String, Error)>,
    /// The database's mode, where it can be told.
    pub mode: Option<Mode>,
}

/// What a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Firestore in Datastore mode: the one to expect.
    Datastore,
    /// The same with the transactions of the old Datastore.
    EntityGroups,
    /// Firestore in native mode, which takes none of these calls.
    Native,
}

impl Mode {
    /// Its name, as Google's console has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Datastore => "Firestore in Datastore mode",
            Self::EntityGroups => {
                "Firestore in Datastore mode, with entity groups as in the old Datastore"
            }
            Self::Native => "Firestore in native mode, which takes no records",
        }
    }
}

/// The kind of what the gateway keeps beside the records.
pub fn own_kind(kind: &str) -> String {
    format!("{kind}{SUFFIX}")
}

impl Client {
    /// The same for what the gateway keeps beside the records.
    pub fn beside_records(&self) -> Self {
        self.of_kind(&own_kind(self.kind()))
    }
}

/// An entity to try Datastore with.
struct Scratch {
    client: Client,
    entity: Entity,
    /// Whether it may be there.
    is_there: AtomicBool,
}

impl Scratch {
    fn new(client: &Client, now: i64) -> Self {
        let entity = Entity::named(format!("check-{:016x}", fastrand::u64(..)))
            .with_unindexed("written", Value::Time(now))
            .with_unindexed("expireAt", Value::Time(now.saturating_add(EXPIRES_MS)));
        Self {
            client: client.beside_records(),
            entity,
            is_there: AtomicBool::new(false),
        }
    }

    async fn put(&self) -> Result<(), Error> {
        let transaction = self.client.begin().await?;
        // A write of which no answer came may have been done.
        self.is_there.store(true, Relaxed);
        let entities = std::slice::from_ref(&self.entity);
        let written = self.client.commit(transaction, entities).await;
        if written
            .as_ref()
            .is_err_and(|error| !error.is_worth_retrying())
        {
            self.is_there.store(false, Relaxed);
        }
        written
    }

    /// What can be done with it, but for its removal.
    async fn ask(&self) -> Proof {
        let (write, mode) = tokio::join!(self.put(), timeout(PATIENCE, self.client.mode()));
        let names = std::slice::from_ref(&self.entity.name);
        let read = match self.client.lookup(names, None).await {
            Ok(found) if write.is_ok() && found != [self.entity.clone()] => Err(Error::Strange(
                "the scratch entity that was written is not what is read".to_owned(),
            )),
            other => other.map(drop),
        };
        Proof {
            read,
            write,
            left: None,
            mode: mode.ok().flatten(),
        }
    }

    /// Removes it where it may be there; its name, and why, when that cannot be done.
    async fn remove(self) -> Option<(String, Error)> {
        if !self.is_there.load(Relaxed) {
            return None;
        }
        let removed = self.client.remove(&self.entity.name).await;
        removed.err().map(|error| (self.entity.name, error))
    }
}

impl Client {
    /// Writes, reads and removes one scratch entity. `now` is in milliseconds since 1970.
    pub async fn prove(&self, now: i64) -> Proof {
        let scratch = Scratch::new(self, now);
        let proof = scratch.ask().await;
        proved(scratch, proof).await
    }

    /// The same, asked until `end`; the removal has its own time. Without a proof: the scratch entity that may
    /// still be there, and why.
    pub async fn prove_until(
        &self,
        now: i64,
        end: impl Future<Output = ()>,
    ) -> Result<Proof, Option<(String, Error)>> {
        let scratch = Scratch::new(self, now);
        let proof = tokio::select! {
            proof = scratch.ask() => Some(proof),
            () = end => None,
        };
        match proof {
            Some(proof) => Ok(proved(scratch, proof).await),
            None => Err(scratch.remove().await),
        }
    }

    /// Whether anything at all is taken: writes one scratch entity and removes it.
    pub async fn takes_anything(&self, now: i64) -> Result<(), Error> {
        let scratch = Scratch::new(self, now);
        let written = scratch.put().await;
        if let Some((name, error)) = scratch.remove().await {
            tracing::debug!(
                name,
                error = error.with_advice(),
                "a scratch entity stays in Datastore"
            );
        }
        written
    }

    async fn mode(&self) -> Option<Mode> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Database {
            r#type: String,
            #[serde(default)]
            concurrency_mode: String,
        }
        let answer = self.database().await?;
        let database: Database = serde_json::from_slice(&answer).ok()?;
        match (&*database.r#type, &*database.concurrency_mode) {
            ("DATASTORE_MODE", "OPTIMISTIC_WITH_ENTITY_GROUPS") => Some(Mode::EntityGroups),
            ("DATASTORE_MODE", _) => Some(Mode::Datastore),
            ("FIRESTORE_NATIVE", _) => Some(Mode::Native),
            _ => None,
        }
    }
}

async fn proved(scratch: Scratch, mut proof: Proof) -> Proof {
    let left = scratch.remove().await;
    proof.left = left.filter(|_| proof.write.is_ok());
    proof
}

impl Proof {
    /// Whether all that is wrong may be right in a moment, without anybody doing anything.
    pub fn may_heal(&self) -> bool {
        let errors = [&self.read, &self.write].map(|done| done.as_ref().err());
        let mut errors = errors.into_iter().flatten();
        self.mode != Some(Mode::Native) && errors.all(Error::is_worth_retrying)
    }

    /// Whether records can be written as they should.
    pub fn is_good(&self) -> bool {
        self.read.is_ok() && self.write.is_ok() && self.mode != Some(Mode::Native)
    }

    /// In words for an operator, with what to do; without the last full stop.
    pub fn words(&self) -> String {
        let advice = Error::with_advice;
        let mut words = match (&self.read, &self.write) {
            (Ok(()), Ok(())) => "reads and writes".to_owned(),
            (Ok(()), Err(write)) => format!("reads, but cannot write: {}", advice(write)),
            (Err(read), Ok(())) => format!("writes, but cannot read: {}", advice(read)),
            (Err(read), Err(write)) if advice(read) == advice(write) => advice(read),
            (Err(read), Err(write)) => format!(
                "cannot read: {}. It cannot write either: {}",
                advice(read),
                advice(write)
            ),
        };
        if let Some((name, error)) = &self.left {
            words += &format!(
                "; the scratch entity {name} could not be removed: {}",
                advice(error)
            );
        }
        if let Some(mode) = self.mode {
            words += &format!("; the database is {}", mode.as_str());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datastore::Settings;
    use axum::http::{StatusCode, Uri};
    use serde_json::json;
    use std::sync::{Arc, Mutex};

    /// A Datastore that keeps one entity, refuses these calls, and says this of its database. The calls too.
    async fn stub(
        refused: &'static [&str],
        mode: &'static str,
    ) -> (Client, Arc<Mutex<Vec<String>>>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let calls: Arc<Mutex<Vec<String>>> = Arc::default();
        let (seen, kept) = (calls.clone(), Mutex::new(serde_json::Value::Null));
        let kept = Arc::new(kept);
        let answer = async move |uri: Uri, body: String| {
            let call = uri.path().rsplit(':').next().unwrap_or_default().to_owned();
            let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
            let mutation = &body["mutations"][0];
            let path = mutation["upsert"]["key"]["path"][0]["kind"].as_str();
            let what = if mutation["delete"].is_object() {
                "delete"
            } else {
                ""
            };
            seen.lock()
                .unwrap()
                .push(format!("{call} {what}{}", path.unwrap_or_default()));
            if refused.contains(&&*format!("{call} hangs")) {
                std::future::pending::<()>().await;
            }
            if refused.contains(&&*call) {
                let error = json!({ "error": { "status": "PERMISSION_DENIED", "message": call } });
                return (StatusCode::FORBIDDEN, error.to_string());
            }
            if mutation["upsert"].is_object() {
                *kept.lock().unwrap() = mutation["upsert"].clone();
            }
            let kept = kept.lock().unwrap().clone();
            let found = kept.is_object().then(|| json!({ "entity": kept }));
            let found: Vec<_> = found.into_iter().collect();
            (
                StatusCode::OK,
                json!({ "transaction": "dHg=", "found": found }).to_string(),
            )
        };
        let database = async move || mode;
        let router = axum::Router::new()
            .route("/database", axum::routing::get(database))
            .fallback(answer);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let settings = Settings {
            project_id: "p".into(),
            kind: "K".into(),
            credentials: None,
            default_credentials: None,
            emulator_host: Some(host.clone()),
            expire_after: Duration::ZERO,
        };
        let client = Client::new(&settings).unwrap();
        (
            client.described_at(&format!("http://{host}/database")),
            calls,
        )
    }

    #[tokio::test]
    async fn the_scratch_entity_has_a_kind_of_its_own_and_is_removed_again() {
        let (client, calls) = stub(&[], "").await;
        let proof = client.prove(1).await;
        assert!(proof.is_good() && proof.left.is_none(), "{proof:?}");
        assert_eq!(proof.words(), "reads and writes");
        let calls = calls.lock().unwrap().join(", ");
        assert_eq!(
            calls,
            "beginTransaction , commit K_GATEWAY, lookup , commit delete"
        );
    }

    #[tokio::test]
    async fn the_scratch_entity_is_removed_also_when_the_time_is_over() {
        for (hangs, awaited, removed) in [
            (&["lookup hangs"][..], "lookup", true),
            (&["beginTransaction hangs"], "beginTransaction", false),
        ] {
            let (client, calls) = stub(hangs, "").await;
            let has = |call: &str| {
                calls
                    .lock()
                    .unwrap()
                    .iter()
                    .any(|one| one.starts_with(call))
            };
            let hung = async {
                while !has(awaited) {
                    // waits because the stub tells nobody what it is asked
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let proof = client.prove_until(1, hung).await;
            assert!(matches!(proof, Err(None)), "{proof:?}");
            assert_eq!(has("commit delete"), removed, "{hangs:?}");
        }
    }

    #[test]
    fn what_may_heal_by_itself_is_told_from_what_needs_somebody() {
        let no_token = || Err(Error::NoToken("not there yet".into()));
        let proof = |read, write, mode| Proof {
            read,
            write,
            left: None,
            mode,
        };
        assert!(proof(no_token(), no_token(), None).may_heal());
        let denied = Err(Error::Credentials("unreadable".into()));
        assert!(!proof(no_token(), denied, None).may_heal());
        assert!(!proof(Ok(()), Ok(()), Some(Mode::Native)).may_heal());
    }

    #[tokio::test]
    async fn whether_anything_is_taken_is_tried_with_a_scratch_entity() {
        let (client, calls) = stub(&[], "").await;
        assert!(client.takes_anything(1).await.is_ok());
        let calls = calls.lock().unwrap().join(", ");
        assert_eq!(calls, "beginTransaction , commit K_GATEWAY, commit delete");
        let (client, _) = stub(&["commit"], "").await;
        assert!(client.takes_anything(1).await.is_err());
    }

    #[tokio::test]
    async fn the_rights_to_read_and_to_write_are_told_apart() {
        for (refused, words) in [
            (
                &["commit"][..],
                "reads, but cannot write: Datastore answered PERMISSION_DENIED: commit.",
            ),
            (
                &["lookup"],
                "writes, but cannot read: Datastore answered PERMISSION_DENIED: lookup.",
            ),
            (&["lookup", "beginTransaction"], "cannot read: "),
        ] {
            let (client, _) = stub(refused, "").await;
            let proof = client.prove(1).await;
            let report = proof.words();
            assert!(
                report.starts_with(words) && report.contains("Cloud Datastore User"),
                "{report}"
            );
            assert!(!proof.is_good(), "{proof:?}");
        }
    }

    #[tokio::test]
    async fn the_mode_of_the_database_is_told_where_google_says_it() {
        for (text, mode) in [
            (
                r#"{"type":"DATASTORE_MODE","concurrencyMode":"OPTIMISTIC"}"#,
                Some(Mode::Datastore),
            ),
            (
                r#"{"type":"DATASTORE_MODE","concurrencyMode":"OPTIMISTIC_WITH_ENTITY_GROUPS"}"#,
                Some(Mode::EntityGroups),
            ),
            (r#"{"type":"FIRESTORE_NATIVE"}"#, Some(Mode::Native)),
            (r#"{"type":"NEW"}"#, None),
            ("<html>", None),
        ] {
            let (client, _) = stub(&[], text).await;
            let proof = client.prove(1).await;
            assert_eq!(proof.mode, mode, "{text}");
            assert_eq!(proof.is_good(), mode != Some(Mode::Native));
            assert_eq!(proof.words().contains("the database is"), mode.is_some());
        }
    }
}
