//! Calls to others: one way to make a client, to bound what is read of an answer, and to say why there was none.
//!
//! Nobody else names the crate that makes the calls, but the sandbox, which plays others. An address may
//! hold a secret, and the crate's [`Error`] prints it: say [`root_cause`] instead, or take it off with
//! `without_url`.

pub use reqwest::{
    Client, ClientBuilder, Error, RequestBuilder, Response, StatusCode, Url, header,
};

use crate::clock;
use crate::domain::{Transport, UnixMs};
use header::{HeaderMap, RETRY_AFTER};
use std::error::Error as _;
use std::time::Duration;

/// However long somebody asks us to wait, we ask again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// A client whose calls end within `deadline`, and only the address that it is given is asked: where
/// calls go is the configuration's business alone, not the environment's or an answer's.
///
/// The addresses of one host share `connect`, so that one that drops packets does not cost the others
/// their turn. It may be as long as the deadline.
pub fn client(connect: Duration, deadline: Duration) -> ClientBuilder {
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .timeout(deadline)
}

/// For a client none of whose requests may be repeated unseen: without it, what an HTTP/2 server refused
/// unread is sent again.
pub fn asks_once() -> reqwest::retry::Builder {
    reqwest::retry::never()
}

/// How a call failed.
pub fn transport(error: &Error) -> Transport {
    // A deadline that passes while connecting is both; that nothing was sent is what counts.
    if error.is_connect() || error.is_builder() {
        Transport::Connect
    } else if error.is_timeout() {
        Transport::Timeout
    } else {
        Transport::Lost
    }
}

/// The innermost cause of a failed call, in the words of others; `None` when only the outermost is
/// known, which shows the address.
pub fn root_cause(error: &Error) -> Option<String> {
    let mut cause = error.source()?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

/// How long an answer asks us to wait, an hour at most.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?;
    pause(value, clock::now())
}

/// Reads a `Retry-After`: seconds, or an HTTP date (RFC 9110 section 10.2.3).
pub fn pause(value: &str, now: UnixMs) -> Option<Duration> {
    let value = value.trim();
    let seconds = match value.parse::<u64>() {
        Ok(seconds) => seconds,
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
            u64::try_from(date.as_second().saturating_sub(now.seconds())).unwrap_or(0)
        }
    };
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

/// The body of an answer; `None` when it is longer than `most` bytes.
pub async fn body(response: Response, most: usize) -> Result<Option<Vec<u8>>, Error> {
    let (body, broken) = beginning(response, most.saturating_add(1)).await;
    match broken {
        Some(error) => Err(error),
        None => Ok((body.len() <= most).then_some(body)),
    }
}

/// The first `most` bytes of an answer, and why it broke off before.
pub async fn beginning(mut response: Response, most: usize) -> (Vec<u8>, Option<Error>) {
    let mut body = Vec::new();
    while body.len() < most {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = most - body.len();
                body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            }
            Ok(None) => break,
            Err(error) => return (body, Some(error)),
        }
    }
    (body, None)
}

#[cfg(test)]
pub(crate) mod testing {
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::timeout;

    /// A listener that answers no packet of a new connection, and what keeps it so.
    pub(crate) async fn dropping(at: SocketAddr) -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(at).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // Until its queue of connections is full.
        while let Ok(taken) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            waiting.push(taken.expect("a full queue drops what comes"));
        }
        (listener, waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    // On other systems 127.0.0.2 is no address of the machine.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_drops_packets_leaves_the_others_of_its_host_their_time() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let answering = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = answering.local_addr().unwrap();
        let router = axum::Router::new().fallback(|| async { "here" });
        let server = tokio::spawn(async move { axum::serve(answering, router).await });
        let _dropping = testing::dropping(([127, 0, 0, 2], address.port()).into()).await;
        let deadline = Duration::from_secs(4);
        let client = client(deadline, deadline)
            .resolve_to_addrs(
                "two.example",
                &[([127, 0, 0, 2], 0).into(), ([127, 0, 0, 1], 0).into()],
            )
            .build()
            .unwrap();
        let url = format!("http://two.example:{}/", address.port());
        let answer = client.get(url).send().await.unwrap();
        assert_eq!(answer.text().await.unwrap(), "here");
        server.abort();
    }

    #[test]
    fn a_pause_is_seconds_or_a_date() {
        let now = UnixMs(784_111_770_000);
        let cases = [
            ("7", Some(7)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sat, 06 Nov 1993 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1993 08:49:37 GMT", None),
            ("99999999999999", Some(3600)),
            ("18446744073709551615", Some(3600)),
            ("-1", None),
            ("soon", None),
        ];
        for (value, seconds) in cases {
            let got = pause(value, now).map(|pause| pause.as_secs());
            assert_eq!(got, seconds, "{value}");
        }
    }
}
