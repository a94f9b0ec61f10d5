//! The ops listener of a running gateway, asked by the commands. Sends `OPS_TOKEN` when one is
//! configured and never shows it.

use super::reach;
use super::table::plain;
use crate::config::Config;
use crate::http::outgoing::{self, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// Asks one ops listener.
#[derive(Debug)]
pub(super) struct OpsClient {
    http: outgoing::Client,
    addr: SocketAddr,
    token: Option<SecretString>,
}

/// Why there is no answer to work with.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody answered.
    #[error(
        "no gateway answers at {addr}: {why}. Is it running? OPS_ADDR (or --set ops.addr=...) \
         says where to ask, OPS_TOKEN what to present"
    )]
    Unreachable {
        /// Where it was tried.
        addr: SocketAddr,
        /// What happened.
        why: String,
    },
    /// It answered no.
    #[error("the gateway at {addr} answered {status}: {detail}")]
    Refused {
        /// Where it was asked.
        addr: SocketAddr,
        /// HTTP status.
        status: u16,
        /// Its explanation.
        detail: String,
    },
}

impl OpsClient {
    /// The listener that the configuration names.
    pub(super) fn new(config: &Config, deadline: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            http: reach::local_client(deadline)?,
            addr: reach::local(config.ops.addr),
            token: config.ops.token.clone(),
        })
    }

    /// Where it asks.
    pub(super) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Reads a document of the API.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Failure> {
        let text = self.text(path).await?;
        self.parsed(&text)
    }

    /// Reads a document as text.
    pub(super) async fn text(&self, path: &str) -> Result<String, Failure> {
        self.ask(self.http.get(self.url(path))).await
    }

    /// Finds messages by any id or by the phone number of the recipient; with what the gateway has
    /// to say about the search.
    pub(super) async fn search(&self, id: &str) -> Result<(Vec<Value>, Option<String>), Failure> {
        let request = self.http.post(self.url("/api/search"));
        let text = self
            .ask(request.json(&serde_json::json!({ "id": id })))
            .await?;
        let mut found = self.parsed(&text)?;
        let note = found["note"].as_str().map(plain);
        match found["messages"].take() {
            Value::Array(messages) => Ok((messages, note)),
            _ => Err(self.strange()),
        }
    }

    /// A part of the list of who opted out.
    pub(super) async fn list_opt_outs(&self, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let request = self.http.get(self.url("/api/optouts")).query(query);
        let text = self.ask(request).await?;
        self.parsed(&text)
    }

    /// Takes in a part of such a list, or only looks at it.
    pub(super) async fn import_opt_outs(
        &self,
        csv: String,
        line: u64,
        check: bool,
    ) -> Result<Value, Failure> {
        let request = self.http.post(self.url("/api/optouts/import"));
        let request = request
            .query(&[("line", line.to_string()), ("check", check.to_string())])
            .header("content-type", "text/csv")
            .body(csv);
        let text = self.ask(request).await?;
        self.parsed(&text)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    async fn ask(&self, request: RequestBuilder) -> Result<String, Failure> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        let unreachable = |error: outgoing::Error| Failure::Unreachable {
            addr: self.addr,
            why: reach::why(&error),
        };
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let text = reach::text(answer).await.map_err(unreachable)?;
        if status == StatusCode::OK {
            return Ok(text);
        }
        let problem: Value = serde_json::from_str(&text).unwrap_or_default();
        let detail = problem["detail"].as_str().unwrap_or("no explanation");
        Err(Failure::Refused {
            addr: self.addr,
            status: status.as_u16(),
            detail: plain(detail),
        })
    }

    fn parsed(&self, text: &str) -> Result<Value, Failure> {
        serde_json::from_str(text).map_err(|_| self.strange())
    }

    fn strange(&self) -> Failure {
        Failure::Refused {
            addr: self.addr,
            status: 200,
            detail: "with something else than this command expects; is it another program?".into(),
        }
    }
}
