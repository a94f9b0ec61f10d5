//! The one place that says which errors leave a connection of no use, and whether the call that met
//! one may have happened all the same.

use redis::{ErrorKind, RedisError};

/// What an error says about the connection that it came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict {
    /// It is as good as any other: the answer is about the call, or about Redis as a whole.
    Fit,
    /// Nothing was done, and it will not be done there: whoever is asked by the name now may do it.
    Elsewhere,
    /// It carries nothing any more, or nobody knows what. What was asked for may have happened.
    Broken,
}

/// What this error says about its connection. Of several, the worst.
pub(super) fn verdict(error: &RedisError) -> Verdict {
    if matches!(error.kind(), ErrorKind::Io | ErrorKind::Parse) {
        return Verdict::Broken;
    }
    let errors = error.clone().into_server_errors();
    let errors = errors.iter().flat_map(|errors| errors.iter());
    let verdicts = errors.map(|(_, one)| of(one.code(), one.details().unwrap_or_default()));
    verdicts.max().unwrap_or(Verdict::Fit)
}

fn of(code: &str, details: &str) -> Verdict {
    match code {
        // A replica, or about to be one; one that loads may be a demoted master on its way to that.
        "READONLY" | "MASTERDOWN" | "LOADING" => Verdict::Elsewhere,
        // A master without its replicas: after a split, the one that nobody follows any more.
        "NOREPLICAS" => Verdict::Elsewhere,
        // A node of a cluster that does not serve the keys.
        "CLUSTERDOWN" | "MOVED" => Verdict::Elsewhere,
        // It was reset, or something between changed what is behind it: a new one says who we are.
        "NOAUTH" => Verdict::Elsewhere,
        // Sent before Redis closes it, to whoever waited for replicas of what is no master any more.
        "UNBLOCKED" => Verdict::Broken,
        "ERR" if details.starts_with("Protocol error") => Verdict::Broken,
        // Every connection to this server gets the same: OOM, MISCONF, NOPERM, WRONGPASS, BUSY,
        // NOSCRIPT, TRYAGAIN, ASK, WRONGTYPE, ERR. Whether another server is meant, the name tells.
        _ => Verdict::Fit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_no_master_is_left_and_who_only_refuses_this_is_not() {
        use Verdict::{Broken, Elsewhere, Fit};
        for (text, expected) in [
            (
                "READONLY You can't write against a read only replica.",
                Elsewhere,
            ),
            ("MASTERDOWN Link with MASTER is down", Elsewhere),
            ("LOADING Redis is loading the dataset in memory", Elsewhere),
            ("NOREPLICAS Not enough good replicas to write.", Elsewhere),
            ("CLUSTERDOWN The cluster is down", Elsewhere),
            ("MOVED 1 127.0.0.1:1", Elsewhere),
            ("NOAUTH Authentication required.", Elsewhere),
            ("UNBLOCKED force unblock from blocking operation", Broken),
            ("ERR Protocol error: invalid bulk length", Broken),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Fit,
            ),
            ("MISCONF Redis is configured to save RDB snapshots", Fit),
            ("NOPERM this user has no permissions", Fit),
            ("WRONGPASS invalid username-password pair", Fit),
            ("BUSY Redis is busy running a script.", Fit),
            ("NOSCRIPT No matching script.", Fit),
            ("TRYAGAIN Multiple keys request during rehashing", Fit),
            ("WRONGTYPE Operation against a key", Fit),
            ("STALE an older step came late", Fit),
            ("ERR unknown command", Fit),
            ("Protocol error", Fit),
        ] {
            let bytes = format!("-{text}\r\n");
            let value = redis::parse_redis_value(bytes.as_bytes()).unwrap();
            let error = value.extract_error().unwrap_err();
            assert_eq!(verdict(&error), expected, "{text}");
        }
    }

    #[test]
    fn what_carries_no_answers_is_broken() {
        use std::io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, UnexpectedEof};
        for kind in [
            BrokenPipe,
            ConnectionRefused,
            ConnectionReset,
            UnexpectedEof,
        ] {
            let error = RedisError::from(std::io::Error::from(kind));
            assert_eq!(verdict(&error), Verdict::Broken, "{kind}");
        }
        let garbled = redis::parse_redis_value(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
        assert_eq!(verdict(&garbled), Verdict::Broken, "{garbled}");
    }
}
