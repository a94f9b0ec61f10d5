//! What this machine must have for the gateway to start: free ports, a data directory that nobody
//! else works on, a clock that is right.

use super::{Finding, Mark, finding};
use crate::config::Config;
use crate::store::embedded;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// Farther from the others a clock is wrong.
const CLOCK_OFF: Duration = Duration::from_secs(120);

/// The ports of both listeners; `runs` when a gateway answers that may have them.
pub(super) fn ports(config: &Config, runs: bool) -> Vec<Finding> {
    let public = SocketAddr::new(config.http.bind, config.http.port);
    let listeners = [
        ("public port", public, "PORT or http.bind"),
        ("ops port", config.ops.addr, "OPS_ADDR"),
    ];
    // The system chooses for a port of 0.
    let fixed = listeners
        .into_iter()
        .filter(|(_, addr, _)| addr.port() != 0);
    fixed
        .map(|(item, addr, setting)| {
            let tried = TcpListener::bind(addr).map(drop);
            port(item, addr, setting, tried.map_err(|error| (error, runs)))
        })
        .collect()
}

fn port(
    item: &str,
    addr: SocketAddr,
    setting: &str,
    tried: Result<(), (io::Error, bool)>,
) -> Finding {
    let (error, runs) = match tried {
        Ok(()) => return finding(item, Mark::Ok, format!("{addr} is free")),
        Err(found) => found,
    };
    if runs && error.kind() == ErrorKind::AddrInUse {
        return finding(item, Mark::Ok, format!("{addr} is the running gateway's"));
    }
    finding(
        item,
        Mark::Fault,
        crate::app::cannot_listen(addr, setting, &error),
    )
}

/// Whether another process works on the data directory.
pub(super) fn lock(config: &Config, runs: bool) -> Option<Finding> {
    if config.store.redis_url.is_some() {
        return None;
    }
    let dir = &config.store.data_dir;
    let owner = embedded::owner(dir)?;
    let item = "data directory lock";
    if runs {
        return Some(finding(item, Mark::Ok, "held by the running gateway"));
    }
    let words = format!(
        "process {owner} works on {}: stop it, or set DATA_DIR to another directory. A second \
         gateway does not start on it",
        dir.display()
    );
    Some(finding(item, Mark::Fault, words))
}

/// The own clock compared with that of who answered; `ahead` in milliseconds.
pub(super) fn clock(who: &str, ahead: i64) -> Finding {
    let off = Duration::from_millis(ahead.unsigned_abs());
    let (seconds, minutes) = (off.as_secs(), off.as_secs() / 60);
    if off <= CLOCK_OFF {
        return finding("clock", Mark::Ok, format!("within {seconds} s of {who}'s"));
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let words = format!(
        "this machine's clock is {minutes} min {side} {who}'s: set it right (NTP). Tokens, ages and \
         retries go by it"
    );
    finding("clock", Mark::Warn, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_46_a_port_that_is_taken_is_named_with_its_variable() {
        let addr = "127.0.0.1:3001".parse().unwrap();
        let of = |kind: ErrorKind, runs| {
            let tried = Err((io::Error::from(kind), runs));
            port("public port", addr, "PORT or http.bind", tried)
        };
        let taken = of(ErrorKind::AddrInUse, false);
        assert_eq!(taken.mark, Mark::Fault);
        for part in ["127.0.0.1:3001", "another program", "PORT or http.bind"] {
            assert!(taken.words.contains(part), "{taken:?}");
        }
        assert_eq!(of(ErrorKind::AddrInUse, true).mark, Mark::Ok);
        for kind in [ErrorKind::PermissionDenied, ErrorKind::AddrNotAvailable] {
            let found = of(kind, true);
            assert_eq!(found.mark, Mark::Fault);
            assert!(found.words.contains("http.bind"), "{found:?}");
        }
        assert_eq!(port("x", addr, "PORT", Ok(())).mark, Mark::Ok);
    }

    #[test]
    fn r_46_a_clock_that_is_wrong_by_minutes_is_told() {
        for (ahead, mark, words) in [
            (0, Mark::Ok, "within 0 s of Jumper's"),
            (-119_000, Mark::Ok, "within 119 s"),
            (301_000, Mark::Warn, "5 min ahead of Jumper's"),
            (-3_600_000, Mark::Warn, "60 min behind Jumper's"),
        ] {
            let found = clock("Jumper", ahead);
            assert_eq!(found.mark, mark, "{found:?}");
            assert!(found.words.contains(words), "{found:?}");
        }
    }
}
