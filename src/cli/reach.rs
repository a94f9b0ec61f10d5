//! HTTP as the commands use it: one short call, with a deadline, and words for what went wrong.
//!
//! Follows no redirect and no proxy, like the gateway itself. The words never hold an address,
//! because an address may hold a secret.

use crate::http::outgoing::{self, Client, ClientBuilder, Response};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// A client whose calls end within `deadline`.
pub(super) fn client(deadline: Duration) -> anyhow::Result<Client> {
    built(outgoing::client(deadline, deadline))
}

/// The same for listeners of this machine, which speak no TLS: it needs no CA certificates.
pub(super) fn local_client(deadline: Duration) -> anyhow::Result<Client> {
    built(outgoing::client(deadline, deadline).tls_certs_only([]))
}

fn built(builder: ClientBuilder) -> anyhow::Result<Client> {
    builder
        .build()
        .map_err(|error| anyhow::anyhow!(why(&error)))
}

/// The most of an answer that is read, in bytes: something else may listen there.
const LONGEST_ANSWER: usize = 4 << 20;

/// The body of an answer; what is too long comes cut.
pub(super) async fn text(answer: Response) -> Result<String, outgoing::Error> {
    let (body, broken) = outgoing::beginning(answer, LONGEST_ANSWER).await;
    match broken {
        Some(error) => Err(error),
        None => Ok(String::from_utf8_lossy(&body).into_owned()),
    }
}

/// The address at which a listener of this machine is asked: one on all interfaces is asked on
/// loopback.
pub(super) fn local(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

/// Why there was no answer, and where to look.
pub(super) fn why(error: &outgoing::Error) -> String {
    let cause = outgoing::root_cause(error).unwrap_or_default();
    explained(error.is_timeout(), &cause)
}

fn explained(timeout: bool, cause: &str) -> String {
    let cause: String = cause
        .chars()
        .filter(|c| !c.is_control())
        .take(160)
        .collect();
    let lower = cause.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let advice = if timeout {
        return "no answer in time: is a firewall in between?".to_owned();
    } else if has(&["lookup", "resolve", "name or service", "dns"]) {
        "the host name is unknown: check its spelling and the DNS of this machine"
    } else if has(&["refused"]) {
        "nothing listens there"
    } else if has(&["no ca certificates"]) {
        "this machine has no CA certificates: install ca-certificates, or name a file of them in \
         SSL_CERT_FILE"
    } else if has(&["invalidcontenttype", "corrupt message"]) {
        "that port speaks no TLS: write http:// instead of https://, or name the port that does"
    } else if has(&["invalid http version"]) {
        "that port does not speak plain HTTP: write https:// instead of http://"
    } else if has(&["expired", "notvalidyet", "not valid yet"]) {
        "its certificate is not valid at this time: check the clock of this machine, then the \
         certificate"
    } else if has(&["unknownissuer", "unknown issuer"]) {
        "no trusted TLS connection: this machine does not know who signed the certificate; install \
         that CA, or ca-certificates"
    } else if has(&["notvalidforname", "not valid for name"]) {
        "its certificate is for another host name: check the spelling of the host"
    } else if has(&["certificate", "tls", "handshake"]) {
        "no trusted TLS connection: check the certificate, the clock and the port"
    } else if has(&["unreachable", "no route"]) {
        "the network does not lead there"
    } else if cause.is_empty() {
        return "the call failed".to_owned();
    } else {
        return cause;
    };
    format!("{advice} ({cause})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_becomes_advice() {
        let cases = [
            (true, "", "no answer in time"),
            (
                false,
                "failed to lookup address information: Name or service not known",
                "host name",
            ),
            (
                false,
                "Connection refused (os error 111)",
                "nothing listens there",
            ),
            (
                false,
                "invalid peer certificate: UnknownIssuer",
                "no trusted TLS",
            ),
            (
                false,
                "Network is unreachable (os error 101)",
                "network does not lead",
            ),
            (
                false,
                "unexpected error: No CA certificates were loaded from the system",
                "install ca-certificates",
            ),
            (
                false,
                "received corrupt message of type InvalidContentType",
                "write http:// instead of https://",
            ),
            (
                false,
                "invalid HTTP version parsed",
                "write https:// instead of http://",
            ),
            (
                false,
                "invalid peer certificate: certificate expired: verification time 1",
                "check the clock",
            ),
            (
                false,
                "invalid peer certificate: certificate not valid for name \"a\"",
                "another host name",
            ),
            (false, "", "the call failed"),
            (false, "something else", "something else"),
        ];
        for (timeout, cause, text) in cases {
            let words = explained(timeout, cause);
            assert!(words.contains(text), "{cause}: {words}");
        }
    }

    #[test]
    fn a_listener_on_all_interfaces_is_asked_on_loopback() {
        for (listens, asked) in [
            ("0.0.0.0:3001", "127.0.0.1:3001"),
            ("[::]:3001", "[::1]:3001"),
            ("127.0.0.1:3002", "127.0.0.1:3002"),
            ("10.0.0.5:1", "10.0.0.5:1"),
        ] {
            assert_eq!(local(listens.parse().unwrap()), asked.parse().unwrap());
        }
    }

    #[tokio::test]
    async fn a_closed_port_is_explained_without_its_address() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{addr}/a-secret");
        let client = client(Duration::from_secs(5)).unwrap();
        let words = why(&client.get(url).send().await.unwrap_err());
        assert!(words.contains("nothing listens there"), "{words}");
        assert!(!words.contains("a-secret"));
    }
}
