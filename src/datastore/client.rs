//! The calls. Each ends within a deadline and reads a bounded answer; none is retried here,
//! unless its token was refused.

use super::auth::{Auth, Source, whole};
use super::error::{Error, refused, unreachable};
use super::wire::{Entity, WireEntity, key};
use super::{DEADLINE, Settings};
use crate::http::outgoing::{self, Client as HttpClient, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::time::timeout;

/// The most of an answer that is read, in bytes.
const LONGEST_ANSWER: usize = 32 << 20;
/// The same of what is said about a database.
const LONGEST_DATABASE: usize = 64 << 10;
/// Texts that one query may look for; Google takes no more.
pub const MOST_TEXTS: usize = 30;
/// How often what a lookup put off is asked for again.
const LOOKUP_ROUNDS: usize = 5;

/// An open transaction: what is read in it must not change until it is committed.
#[derive(Debug)]
#[must_use = "a transaction must be committed or rolled back"]
pub struct Transaction(String);

/// The way to one project's Datastore. Clones share it.
#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    auth: Arc<Auth>,
    /// The address of the project, without the call.
    base: Arc<str>,
    /// Where Google describes the project's database; nowhere for an emulator.
    database: Option<Arc<str>>,
    kind: Arc<str>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("base", &self.base)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client without connections. The TLS provider of the process must be installed.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        let (host, source) = match (&settings.emulator_host, &settings.credentials) {
            (Some(host), _) => (format!("http://{host}"), Source::Nobody),
            (None, Some(path)) => (GOOGLE.to_owned(), Source::File(path.clone())),
            (None, None) => {
                let file = settings.default_credentials.clone();
                (GOOGLE.to_owned(), Source::Default(file))
            }
        };
        Self::at(&host, source, settings)
    }

    fn at(host: &str, source: Source, settings: &Settings) -> Result<Self, Error> {
        let http = outgoing::client(DEADLINE / 2, DEADLINE)
            .retry(outgoing::asks_once())
            .build()
            .map_err(|error| Error::Build(error.to_string()))?;
        Ok(Self {
            auth: Arc::new(Auth::new(source, http.clone())),
            http,
            base: format!("{host}/v1/projects/{}", settings.project_id).into(),
            database: (host == GOOGLE).then(|| database(FIRESTORE, &settings.project_id)),
            kind: settings.kind.as_str().into(),
        })
    }

    /// The same for entities of another kind.
    pub(super) fn of_kind(&self, kind: &str) -> Self {
        Self {
            kind: kind.into(),
            ..self.clone()
        }
    }

    /// The same, its database described elsewhere.
    #[cfg(test)]
    pub(super) fn described_at(self, address: &str) -> Self {
        Self {
            database: Some(address.into()),
            ..self
        }
    }

    pub(super) fn kind(&self) -> &str {
        &self.kind
    }

    /// The entities of these names that exist, as they are now or as `transaction` sees them.
    pub async fn lookup(
        &self,
        names: &[String],
        transaction: Option<&Transaction>,
    ) -> Result<Vec<Entity>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            found: Vec<Found>,
            #[serde(default)]
            deferred: Vec<Value>,
        }
        let mut keys: Vec<Value> = names.iter().map(|name| key(&self.kind, name)).collect();
        let mut entities = Vec::new();
        for _ in 0..LOOKUP_ROUNDS {
            if keys.is_empty() {
                return Ok(entities);
            }
            let mut body = json!({ "keys": keys });
            if let Some(Transaction(id)) = transaction {
                body["readOptions"] = json!({ "transaction": id });
            }
            let answer: Answer = self.call("lookup", &body).await?;
            entities.extend(answer.found.into_iter().map(|one| one.entity.read()));
            keys = answer.deferred;
        }
        let words = "it puts off part of a lookup again and again".to_owned();
        let status = "UNAVAILABLE".to_owned();
        Err(Error::Answered { status, words })
    }

    /// At most `most` entities whose property is this text.
    pub async fn query(
        &self,
        property: &str,
        text: &str,
        most: usize,
    ) -> Result<Vec<Entity>, Error> {
        let value = json!({ "stringValue": text });
        self.run_query(filter(property, "EQUAL", &value), most)
            .await
    }

    /// At most `most` entities whose property is one of these texts, of which there may be
    /// [`MOST_TEXTS`].
    pub async fn query_any(
        &self,
        property: &str,
        texts: &[&str],
        most: usize,
    ) -> Result<Vec<Entity>, Error> {
        let values = texts.iter().map(|text| json!({ "stringValue": text }));
        let values: Vec<Value> = values.collect();
        let value = json!({ "arrayValue": { "values": values } });
        self.run_query(filter(property, "IN", &value), most).await
    }

    async fn run_query(&self, filter: Value, most: usize) -> Result<Vec<Entity>, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            batch: Batch,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase")]
        struct Batch {
            #[serde(default)]
            entity_results: Vec<Found>,
        }
        let query = json!({ "kind": [{ "name": *self.kind }], "filter": filter, "limit": most });
        let answer: Answer = self.call("runQuery", &json!({ "query": query })).await?;
        let found = answer.batch.entity_results.into_iter();
        Ok(found.map(|one| one.entity.read()).collect())
    }

    /// Begins a transaction that reads and writes.
    pub async fn begin(&self) -> Result<Transaction, Error> {
        #[derive(Deserialize)]
        struct Answer {
            transaction: String,
        }
        let body = json!({ "transactionOptions": { "readWrite": {} } });
        let answer: Answer = self.call("beginTransaction", &body).await?;
        Ok(Transaction(answer.transaction))
    }

    /// Writes these entities whole and ends the transaction. When it fails, nothing was written; an
    /// answer that did not come leaves open whether it was.
    pub async fn commit(&self, transaction: Transaction, entities: &[Entity]) -> Result<(), Error> {
        let upsert = |entity: &Entity| json!({ "upsert": entity.write(&self.kind) });
        let mutations: Vec<Value> = entities.iter().map(upsert).collect();
        let body = json!({
            "mode": "TRANSACTIONAL", "transaction": transaction.0, "mutations": mutations,
        });
        self.call::<Value>("commit", &body).await.map(drop)
    }

    /// Removes the entity of this name, if there is one.
    pub(super) async fn remove(&self, name: &str) -> Result<(), Error> {
        let mutations = json!([{ "delete": key(&self.kind, name) }]);
        let body = json!({ "mode": "NON_TRANSACTIONAL", "mutations": mutations });
        self.call::<Value>("commit", &body).await.map(drop)
    }

    /// What Google says about the database; `None` where it says nothing.
    pub(super) async fn database(&self) -> Option<Vec<u8>> {
        let address = self.database.as_deref()?;
        let token = self.auth.token().await.ok()?;
        let mut request = self.http.get(address);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.ok()?;
        let http = response.status();
        let answer = whole(response, LONGEST_DATABASE).await.ok()?;
        (http == StatusCode::OK).then_some(answer)
    }

    /// Ends a transaction that writes nothing.
    pub async fn rollback(&self, transaction: Transaction) -> Result<(), Error> {
        let body = json!({ "transaction": transaction.0 });
        self.call::<Value>("rollback", &body).await.map(drop)
    }

    pub(super) async fn call<T: for<'a> Deserialize<'a>>(
        &self,
        call: &str,
        body: &Value,
    ) -> Result<T, Error> {
        let called = timeout(DEADLINE, self.exchange(call, body)).await;
        let answer = called.map_err(|_| Error::TooSlow)??;
        serde_json::from_slice(&answer).map_err(|error| Error::Strange(error.to_string()))
    }

    /// One call; one more with a new token when the first one's token was refused.
    async fn exchange(&self, call: &str, body: &Value) -> Result<Vec<u8>, Error> {
        let mut again = true;
        loop {
            let token = self.auth.token().await?;
            let mut request = self.http.post(format!("{}:{call}", self.base)).json(body);
            if let Some(token) = &token {
                request = request.bearer_auth(token);
            }
            let response = request.send().await.map_err(unreachable)?;
            let http = response.status();
            let answer = whole(response, LONGEST_ANSWER).await?;
            if http == StatusCode::OK {
                return Ok(answer);
            }
            let token = token.filter(|_| http == StatusCode::UNAUTHORIZED);
            if let Some(token) = &token {
                self.auth.forget(token).await;
            }
            if token.is_none() || !std::mem::take(&mut again) {
                return Err(refused(http, &answer));
            }
        }
    }
}

fn filter(property: &str, op: &str, value: &Value) -> Value {
    json!({ "propertyFilter": { "property": { "name": property }, "op": op, "value": value } })
}

const GOOGLE: &str = "https://datastore.googleapis.com";
const FIRESTORE: &str = "https://firestore.googleapis.com";

/// The one database that is used (Firestore Admin API v1, projects.databases.get).
fn database(host: &str, project: &str) -> Arc<str> {
    format!("{host}/v1/projects/{project}/databases/(default)").into()
}

#[derive(Deserialize)]
pub(super) struct Found {
    pub(super) entity: WireEntity,
}

#[cfg(test)]
mod tests;
