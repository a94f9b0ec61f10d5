//! Google's access tokens: from a service-account file, from application default credentials (the file
//! that `GOOGLE_APPLICATION_CREDENTIALS` names, gcloud's, the metadata server), or none for an emulator.
//!
//! Found when first needed, so that a start never waits for Google. One token serves until it is nearly
//! over or refused. What a token endpoint answers is read up to a bound, as everything is that others
//! say; the libraries for this read to the end, whatever comes.

use super::Error;
use super::error::{cut, unreachable};
use super::key::{Credentials, Grant};
use crate::http::outgoing::{self, Client, RequestBuilder, Response, header::ACCEPT};
use jiff::Timestamp;
use serde::Deserialize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The most of an answer that is read; a token takes 2 KB.
const LONGEST_ANSWER: usize = 64 << 10;
/// A token is not used when it ends within this.
const MARGIN: Duration = Duration::from_secs(60);
/// The life of a token that does not say how long it lives, and the longest that is believed.
const LIFE: Duration = Duration::from_secs(3600);
/// How long one is waited for. Shorter than a call may take, so that it is known who did not answer.
const PATIENCE: Duration = Duration::from_secs(6);

/// Who gives tokens, but for the endpoint that a service account's file names.
#[derive(Debug, Clone, Copy)]
struct Endpoints {
    /// Where the machines of Google get theirs.
    metadata: &'static str,
    /// Where a user's refresh token is exchanged.
    users: &'static str,
}

const GOOGLE: Endpoints = Endpoints {
    metadata: "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token",
    users: "https://oauth2.googleapis.com/token",
};

/// Where access tokens come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    /// Nobody asks for them.
    Nobody,
    /// A service-account key file.
    File(PathBuf),
    /// Application default credentials: this file, or the metadata server when there is none.
    Default(Option<PathBuf>),
}

/// The access tokens of one client.
pub(super) struct Auth {
    source: Source,
    endpoints: Endpoints,
    http: Client,
    /// Locked while a token is asked for, so that many calls ask once.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    /// As they were found. Looked for anew after a token was refused.
    credentials: Option<Credentials>,
    /// With its end.
    token: Option<(Arc<str>, Instant)>,
    /// Whether a token ever came: then there are credentials, and who gives none now does so again.
    proved: bool,
}

#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

impl Auth {
    pub(super) fn new(source: Source, http: Client) -> Self {
        Self {
            source,
            endpoints: GOOGLE,
            http,
            held: Mutex::default(),
        }
    }

    /// A token that is good now; `None` where none is asked for.
    pub(super) async fn token(&self) -> Result<Option<Arc<str>>, Error> {
        if matches!(self.source, Source::Nobody) {
            return Ok(None);
        }
        let mut held = self.held.lock().await;
        if let Some((token, end)) = &held.token
            && Instant::now() + MARGIN < *end
        {
            return Ok(Some(token.clone()));
        }
        let proved = held.proved;
        let credentials = match &mut held.credentials {
            Some(credentials) => credentials,
            none => none.insert(self.find(proved)?),
        };
        let asked = self.ask(credentials, proved).await;
        if asked.is_err() {
            // A file that did not do may be replaced before the next call.
            held.credentials = None;
        }
        let answer = asked?;
        let life = answer.expires_in.map_or(LIFE, Duration::from_secs);
        let token: Arc<str> = answer.access_token.into();
        held.token = Some((token.clone(), Instant::now() + life.min(LIFE)));
        held.proved = true;
        Ok(Some(token))
    }

    /// This token was refused: the next call looks for credentials anew, unless another has done so
    /// meanwhile. That happens before its time too: a machine that slept did not see the time pass.
    pub(super) async fn forget(&self, refused: &str) {
        let mut held = self.held.lock().await;
        if held
            .token
            .take_if(|(token, _)| **token == *refused)
            .is_some()
        {
            held.credentials = None;
        }
    }

    /// Finds the credentials; `proved` when they were good before: then a file is perhaps being replaced now.
    fn find(&self, proved: bool) -> Result<Credentials, Error> {
        let (path, read) = match &self.source {
            Source::File(path) | Source::Default(Some(path)) => (path, Credentials::read(path)),
            Source::Default(None) | Source::Nobody => return Ok(Credentials::Machine),
        };
        read.map_err(|error| {
            let path = path.display();
            let why = match &self.source {
                Source::File(_) => {
                    format!("DT_JSON_PATH {path} is no readable service-account key: {error}")
                }
                _ => format!(
                    "the application default credentials in {path} cannot be used ({error}): set \
                     DT_JSON_PATH to a service-account key"
                ),
            };
            match proved {
                true => Error::NoToken(why),
                false => Error::Credentials(why),
            }
        })
    }

    /// Asks for a token; `proved` when one came before.
    async fn ask(&self, credentials: &Credentials, proved: bool) -> Result<Answer, Error> {
        let request = self.request(credentials)?.timeout(PATIENCE);
        let sent = request.header(ACCEPT, "application/json").send().await;
        let response = sent.map_err(|error| self.no_way(unreachable(error), proved))?;
        let http = response.status();
        let body = whole(response, LONGEST_ANSWER).await;
        let body = body.map_err(|error| self.refused(&of_the_endpoint(error)))?;
        let answer = serde_json::from_slice::<Answer>(&body).ok();
        match answer.filter(|_| http.is_success()) {
            Some(answer) => Ok(answer),
            None => Err(self.refused(&format!("HTTP {}{}", http.as_u16(), words(&body)))),
        }
    }

    fn request(&self, credentials: &Credentials) -> Result<RequestBuilder, Error> {
        Ok(match credentials {
            Credentials::Machine => {
                let asked = self.http.get(self.endpoints.metadata);
                asked.header("Metadata-Flavor", "Google")
            }
            Credentials::Files(key) => {
                let now = Timestamp::now().as_second();
                let Grant { address, form } = key.grant(now, self.endpoints.users)?;
                self.http.post(address).form(&form)
            }
        })
    }

    /// Nobody answers. Off Google's machines that means that there are no credentials at all; on them the metadata
    /// server is out of reach for the first seconds of a pod. Time alone tells.
    fn no_way(&self, error: Error, proved: bool) -> Error {
        let why = of_the_endpoint(error);
        match &self.source {
            Source::Default(None) if !proved => Error::NoToken(format!(
                "no credentials for Google were found, and no metadata server answers ({why}): set \
                 DT_JSON_PATH to a service-account key, or run where application default credentials exist"
            )),
            _ => self.refused(&why),
        }
    }

    fn refused(&self, why: &str) -> Error {
        let whose = match &self.source {
            Source::File(path) => format!("the service account in {}", path.display()),
            _ => "the application default credentials".to_owned(),
        };
        Error::NoToken(format!("Google gives no token for {whose}: {why}"))
    }
}

/// The words of an error on the way to the token endpoint, which is not Datastore.
fn of_the_endpoint(error: Error) -> String {
    match error {
        Error::Unreachable(why) => format!("the token endpoint cannot be reached: {why}"),
        Error::TooSlow => format!(
            "the token endpoint did not answer within {} s",
            PATIENCE.as_secs()
        ),
        Error::Strange(why) => format!("the answer of the token endpoint cannot be used: {why}"),
        other => other.to_string(),
    }
}

/// What an endpoint says of an error, behind a blank, masked and cut: its words (RFC 6749 section 5.2, or Google's
/// own form), or whatever else stands there, unless somebody may have put back what we sent or asked for.
fn words(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let is_ours = |text: &str| {
        ["token", "assertion", "secret"]
            .iter()
            .any(|word| text.contains(word))
    };
    let line = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(body) => {
            let (error, long) = (&body["error"], &body["error_description"]);
            let line = [error.as_str(), error["message"].as_str(), long.as_str()];
            line.into_iter().flatten().collect::<Vec<_>>().join(": ")
        }
        Err(_) if is_ours(&text.to_ascii_lowercase()) => String::new(),
        Err(_) => text.into_owned(),
    };
    behind_a_blank(&cut(&line))
}

fn behind_a_blank(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(" {words}"),
    }
}

/// The body of an answer, unless it is longer than `most` bytes.
pub(super) async fn whole(response: Response, most: usize) -> Result<Vec<u8>, Error> {
    let body = outgoing::body(response, most).await.map_err(unreachable)?;
    body.ok_or_else(|| Error::Strange(format!("more than {most} bytes")))
}

#[cfg(test)]
mod tests;
