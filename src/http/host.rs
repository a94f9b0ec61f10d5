//! A request must say whom it asks, once and readably (RFC 9112 section 3.2).
//!
//! Whoever stands between a caller and us goes by this header, and so does the ops listener without a
//! token: a request that two programs would read differently is answered by none. HTTP/1.0 knew no such
//! header; what watches may still speak it.

use super::{because, last_message};
use crate::telemetry::OncePerSecond;
use axum::http::header::HOST;
use axum::http::{HeaderMap, Request, StatusCode, Version};
use axum::response::Response;

static LOG: OncePerSecond = OncePerSecond::new();

/// Why a request is not read, if it is not.
pub(super) fn refusal<B>(request: &Request<B>) -> Option<Response> {
    let fault = fault(request.version(), request.headers())?;
    metrics::counter!("gateway_http_bad_host_total").increment(1);
    if LOG.passes() {
        tracing::warn!(
            reason = fault,
            event = "request_refused",
            "refused a request"
        );
    }
    Some(because(last_message(StatusCode::BAD_REQUEST, fault), fault))
}

fn fault(version: Version, headers: &HeaderMap) -> Option<&'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    match (first, second) {
        (_, Some(_)) => Some("The request has more than one Host header"),
        (None, _) if version < Version::HTTP_11 => None,
        (None, _) => Some("The request has no Host header"),
        (Some(host), None) if host.is_empty() => Some("The Host header of the request is empty"),
        (Some(host), None) if host.as_bytes().iter().all(u8::is_ascii_graphic) => None,
        (Some(_), None) => Some("The Host header of the request is not printable ASCII"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn r_78_a_host_is_named_once_and_readably() {
        let of = |version, hosts: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, HeaderValue::from_bytes(host).unwrap());
            }
            fault(version, &headers)
        };
        for good in ["gw.example.com", "127.0.0.1:3001", "[::1]:3001", "x"] {
            assert_eq!(of(Version::HTTP_11, &[good.as_bytes()]), None, "{good}");
        }
        assert_eq!(of(Version::HTTP_10, &[]), None);
        assert!(of(Version::HTTP_11, &[]).is_some());
        assert!(of(Version::HTTP_11, &[b"a", b"a"]).is_some());
        for bad in [&b""[..], b"a b", b"\xff", "ö.test".as_bytes()] {
            assert!(of(Version::HTTP_11, &[bad]).is_some(), "{bad:?}");
        }
        assert!(of(Version::HTTP_10, &[b"a", b"b"]).is_some());
    }
}
