//! One HTTP exchange with Jumper, from a request that is ready to the facts of its answer.

use super::wire;
use crate::domain::{Answer, Transport};
use crate::http::outgoing::{self, ClientBuilder, RequestBuilder, Response, Url};
use crate::json::Tree;
use metrics::{counter, histogram};
use std::time::{Duration, Instant};

/// Why there is no client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The address is no URL of http or https.
    #[error("the address of Jumper's API is not an http or https URL")]
    Address,
    /// The credentials have a character that no header can carry.
    #[error("the Basic credentials hold a character that no header can carry")]
    Credentials,
    /// The HTTP client could not be set up.
    #[error(
        "the HTTP client for Jumper cannot be made: are CA certificates installed (ca-certificates, or \
             SSL_CERT_FILE)?"
    )]
    Http,
}

/// A client that talks to nobody but the address it is given, one call at a time on each connection.
pub(super) fn plain(connect_timeout: Duration, deadline: Duration) -> ClientBuilder {
    outgoing::client(connect_timeout, deadline)
        .retry(outgoing::asks_once())
        .http1_only()
}

/// The address of one route.
pub(super) fn address(api_url: &str, path: &str) -> Result<Url, BuildError> {
    let mut url = Url::parse(api_url.trim()).map_err(|_| BuildError::Address)?;
    let http = matches!(url.scheme(), "http" | "https");
    if !http || url.query().is_some() || url.fragment().is_some() {
        return Err(BuildError::Address);
    }
    let path = format!("{}{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Ok(url)
}

/// One spelling for all spellings of an address, as the provider may keep ours in one of its own: with
/// the host in lower case, without the usual port, with a slash at the end.
pub(super) fn canonical(address: &str) -> String {
    let Ok(mut url) = Url::parse(address.trim()) else {
        return address.to_owned();
    };
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    url.set_fragment(None);
    url.into()
}

/// Makes one call and reduces what came back. The body is null unless all of it could be read.
pub(super) async fn exchange(
    request: RequestBuilder,
    limit: usize,
    call: &'static str,
) -> (Answer, Tree) {
    let begun = Instant::now();
    let (answer, body) = match request.send().await {
        Ok(response) => receive(response, limit).await,
        Err(error) => (broken(None, &error), Tree::default()),
    };
    counter!("gateway_provider_calls_total", "call" => call, "result" => result(&answer))
        .increment(1);
    histogram!("gateway_provider_call_seconds", "call" => call).record(begun.elapsed());
    (answer, body)
}

fn result(answer: &Answer) -> &'static str {
    match (answer.transport, answer.http) {
        (Some(Transport::Connect), _) => "connect",
        (Some(Transport::Timeout), _) => "timeout",
        (Some(Transport::Lost), _) => "lost",
        (None, Some(200..=299)) => "2xx",
        (None, Some(429)) => "429",
        (None, Some(400..=499)) => "4xx",
        (None, Some(500..=599)) => "5xx",
        _ => "other",
    }
}

/// The status line has arrived whole, so it counts even when the body does not: a cut 503 still
/// proves that nothing was handed on, and a cut 200 has no `success`, which is unknown.
async fn receive(response: Response, limit: usize) -> (Answer, Tree) {
    let http = response.status().as_u16();
    let pause = outgoing::retry_after(response.headers());
    let answer = match outgoing::body(response, limit).await {
        Ok(Some(body)) => return wire::answer(http, pause, &body),
        Ok(None) => Answer {
            http: Some(http),
            text: Some(format!("an answer of more than {limit} bytes, not read")),
            ..Answer::default()
        },
        Err(error) => broken(Some(http), &error),
    };
    let answer = Answer {
        retry_after: pause,
        ..answer
    };
    (answer, Tree::default())
}

fn broken(http: Option<u16>, error: &outgoing::Error) -> Answer {
    Answer {
        http,
        transport: Some(outgoing::transport(error)),
        text: outgoing::root_cause(error).map(|cause| wire::readable(&cause)),
        ..Answer::default()
    }
}
