//! Redis, when messages are kept there: is it in reach, does it take writes, how well does it keep
//! them? The one write is a key of its own that is removed at once.

use super::remote::host;
use super::{DEADLINE, Finding, Mark, finding};
use crate::store::redis::{Connection, Persistence, Settings};
use crate::store::{Promise, Report};
use secrecy::ExposeSecret;
use std::time::{Duration, Instant};
use tokio::time::timeout;

const ITEM: &str = "redis";
/// Scripts and their errors are written for this one and later.
const OLDEST: u32 = 7;
/// The rate is kept at this distance (`limit`).
const FAR: Duration = Duration::from_millis(100);
/// Every accepted message waits this long at least.
const SLOW: Duration = Duration::from_millis(50);

/// Reachability, a write, durability; nothing more is asked of a Redis that does not answer.
pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let asked = async {
        let connection = Connection::new(settings)?;
        let persistence = connection.persistence().await?;
        // Not permitted: the write names what is not.
        Ok((persistence, connection.distance().await.ok(), connection))
    };
    let at = place(settings.url.expose_secret());
    let (persistence, away, connection) = match timeout(DEADLINE, asked).await {
        Ok(Ok(answered)) => answered,
        Ok::<Result<_, crate::store::StoreError>, _>(Err(error)) => {
            return vec![finding(ITEM, Mark::Fault, format!("{at}: {error}"))];
        }
        Err(_) => {
            let words = format!("{at}: does not answer within {} s", DEADLINE.as_secs());
            return vec![finding(ITEM, Mark::Fault, words)];
        }
    };
    let mut findings = vec![greet(&at, &persistence, away), write(&connection).await];
    findings.extend(clocks(&connection).await);
    findings.extend(durability(persistence.judge(settings.wait_replicas)));
    findings
}

/// Of the URL only the host: user and password are not shown.
fn place(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, _)) if scheme.contains("unix") => "unix socket".into(),
        _ => host(url),
    }
}

fn greet(at: &str, persistence: &Persistence, away: Option<Duration>) -> Finding {
    let Some(version) = &persistence.version else {
        let words = format!("{at}: answers, but does not tell its version");
        return finding(ITEM, Mark::Unknown, words);
    };
    let major: Option<u32> = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_some_and(|major| major < OLDEST) {
        let words = format!("{at}: version {version}; {OLDEST}.0 or later is needed");
        return finding(ITEM, Mark::Fault, words);
    }
    let is_far = away.is_some_and(|away| away > FAR);
    let away = away.map(|away| format!(" within {:.2} ms", away.as_secs_f64() * 1000.0));
    let (away, role) = (away.unwrap_or_default(), persistence.role());
    let words = format!("{at}: version {version} answers{away}; {role}");
    if is_far {
        let far = "the rate is kept up to 100 ms; move the gateway nearer to Redis";
        return finding(ITEM, Mark::Warn, format!("{words}; {far}"));
    }
    finding(ITEM, Mark::Ok, words)
}

/// The connection is there already, so what is measured is the write.
async fn write(connection: &Connection) -> Finding {
    let item = "redis write";
    let begun = Instant::now();
    match connection.writable().await {
        Err(error) => finding(item, Mark::Fault, error.to_string()),
        Ok(()) => {
            let took = begun.elapsed();
            let words = format!(
                "a durable write took {:.1} ms; Redis permits every command that the gateway needs",
                took.as_secs_f64() * 1000.0
            );
            if took > SLOW {
                let words = format!("{words}; every accepted message waits that long");
                return finding(item, Mark::Warn, words);
            }
            finding(item, Mark::Ok, words)
        }
    }
}

/// Nothing is said of clocks that agree.
async fn clocks(connection: &Connection) -> Option<Finding> {
    let apart = connection.clocks(false).await.ok()?;
    (apart.is_off == Some(true)).then(|| {
        let words = format!(
            "this machine's clock is {}; run a time service such as NTP on both",
            apart.shown()
        );
        finding("redis clock", Mark::Warn, words)
    })
}

fn durability(report: Report) -> Vec<Finding> {
    let mark = match report.promise {
        Promise::Holds => Mark::Ok,
        Promise::Unknown => Mark::Unknown,
        Promise::LastMoments | Promise::Broken => Mark::Warn,
    };
    let mut findings = vec![finding("durability", mark, report.summary)];
    let warnings = report.warnings.into_iter();
    findings.extend(warnings.map(|one| finding("durability", Mark::Warn, one)));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::RedisServer;

    fn settings(url: String) -> Settings {
        Settings {
            url: url.into(),
            wait_replicas: 0,
        }
    }

    fn marks(findings: &[Finding]) -> Vec<(&str, Mark)> {
        let shown = |one| {
            let Finding { item, mark, .. }: &Finding = one;
            (item.as_str(), *mark)
        };
        findings.iter().map(shown).collect()
    }

    #[tokio::test]
    async fn reach_writes_and_durability_are_told() {
        let server = RedisServer::start();
        let url = server.url();
        let found = look(&settings(url.clone())).await;
        let expected = [
            ("redis", Mark::Ok),
            ("redis write", Mark::Ok),
            ("durability", Mark::Warn),
            ("durability", Mark::Warn),
        ];
        assert_eq!(marks(&found), expected, "{found:?}");
        assert!(found[0].words.contains("version 7."), "{found:?}");
        let role = "a master that no replica follows";
        assert!(found[0].words.ends_with(role), "{found:?}");
        assert!(found[3].words.contains("appendonly yes"), "{found:?}");
        assert_eq!(server.say("DBSIZE").await, "0", "checking leaves nothing");

        server.say("CONFIG SET appendonly yes").await;
        server.say("CONFIG SET appendfsync always").await;
        let found = look(&settings(url.clone())).await;
        assert_eq!(marks(&found[2..]), [("durability", Mark::Ok)], "{found:?}");

        server.say("REPLICAOF 127.0.0.1 1").await;
        let found = look(&settings(url.clone())).await;
        assert!(found[0].words.ends_with("a replica"), "{found:?}");
        assert_eq!(found[1].mark, Mark::Fault, "{found:?}");
        assert!(found[1].words.contains("read-only"), "{found:?}");

        drop(server);
        let found = look(&settings(url)).await;
        assert_eq!(marks(&found), [("redis", Mark::Fault)], "{found:?}");
    }

    #[tokio::test]
    async fn of_the_url_nothing_secret_is_shown() {
        for (url, shown) in [
            ("redis://user:secret@127.0.0.1:1/0", "redis://127.0.0.1:1: "),
            ("redis+unix:///no?user=a&pass=secret", "unix socket: "),
            ("secret://secret", ""),
        ] {
            let found = look(&settings(url.into())).await;
            assert_eq!(marks(&found), [("redis", Mark::Fault)], "{found:?}");
            assert!(found[0].words.starts_with(shown), "{found:?}");
            assert!(!found[0].words.contains(":secret"), "{found:?}");
            assert!(!found[0].words.contains("=secret"), "{found:?}");
        }
    }

    #[test]
    fn r_63_a_redis_that_is_far_away_is_told() {
        let persistence = Persistence {
            version: Some("7.0.15".into()),
            ..Persistence::default()
        };
        let at = |ms| greet("here", &persistence, Some(Duration::from_millis(ms)));
        assert_eq!(at(100).mark, Mark::Ok);
        let far = at(101);
        assert_eq!(far.mark, Mark::Warn);
        assert!(far.words.contains("up to 100 ms"), "{far:?}");
    }

    #[test]
    fn an_old_redis_is_refused() {
        let of = |version: Option<&str>| {
            let version = version.map(str::to_owned);
            let persistence = Persistence {
                version,
                ..Persistence::default()
            };
            greet("here", &persistence, None).mark
        };
        assert_eq!(of(Some("6.2.14")), Mark::Fault);
        assert_eq!(of(Some("7.0.15")), Mark::Ok);
        assert_eq!(of(Some("10.0.0")), Mark::Ok);
        assert_eq!(of(None), Mark::Unknown);
    }
}
