//! Where Redis is: what its name leads to, and which connections are of no use any more because that
//! has changed. One for all lines of a process, so that what one of them hears counts for all.

use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, RedisFuture, RedisResult,
};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How often the name is looked up.
const LOOK_UP_EVERY: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// A connection younger than this was led here by the name as it is: making another would only
/// hammer a server that is no master yet.
const YOUNG: Duration = Duration::from_millis(250);

/// Who knows what a name leads to.
#[derive(Debug, Clone)]
pub(super) enum Names {
    /// The machine.
    System,
    /// The test.
    #[cfg(test)]
    Told(std::sync::Arc<Mutex<Vec<SocketAddr>>>),
}

impl Names {
    async fn answers(&self, host: &str, port: u16) -> RedisResult<Vec<SocketAddr>> {
        match self {
            Self::System => Ok(tokio::net::lookup_host((host, port)).await?.collect()),
            #[cfg(test)]
            Self::Told(answers) => Ok(answers.lock().unwrap().clone()),
        }
    }
}

/// Where Redis is.
pub(super) struct Place {
    client: Client,
    names: Names,
    unfit: Mutex<Unfit>,
}

/// What a server said that is no master.
#[derive(Debug, Clone, Copy)]
struct Unfit {
    /// Connections made before are of no use.
    before: Instant,
    /// Where it was; not asked as long as the name has other answers.
    at: Option<SocketAddr>,
}

impl Place {
    pub(super) fn new(url: &str, names: Names) -> RedisResult<Self> {
        let (before, at) = (Instant::now(), None);
        Ok(Self {
            client: Client::open(url)?,
            names,
            unfit: Mutex::new(Unfit { before, at }),
        })
    }

    fn unfit(&self) -> MutexGuard<'_, Unfit> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection made then was left since, by whichever line.
    pub(super) fn is_left(&self, since: Instant) -> bool {
        since < self.unfit().before
    }

    /// Who was reached by a connection made then is no master. Whether another one may be asked now.
    pub(super) fn leave(&self, since: Instant, at: Option<SocketAddr>) -> bool {
        let mut unfit = self.unfit();
        if since >= unfit.before {
            if since.elapsed() < YOUNG {
                return false;
            }
            let before = Instant::now();
            *unfit = Unfit { before, at };
        }
        true
    }

    /// A new connection, and which of the name's answers it leads to; `None` where there is no name.
    /// Of several the first that lets us in.
    pub(super) async fn connect(&self) -> RedisResult<(MultiplexedConnection, Option<SocketAddr>)> {
        let made = async {
            let Some((host, port)) = self.name() else {
                let connection = self
                    .client
                    .get_multiplexed_async_connection_with_config(&config())
                    .await?;
                return Ok((connection, None));
            };
            let answers = self.names.answers(host, port).await?;
            let mut tries = JoinSet::new();
            for at in to_be_asked(answers, self.unfit().at) {
                let (client, config) = (self.client.clone(), config().set_dns_resolver(Only(at)));
                tries.spawn(async move {
                    let connected = client.get_multiplexed_async_connection_with_config(&config);
                    Ok((connected.await?, Some(at)))
                });
            }
            let mut failed = RedisError::from((ErrorKind::Io, "the name has no address"));
            while let Some(tried) = tries.join_next().await {
                match tried {
                    Ok(Ok(connected)) => return Ok(connected),
                    Ok(Err(error)) => failed = error,
                    Err(_) => {}
                }
            }
            Err(failed)
        };
        let in_time = timeout(CONNECT, made).await;
        in_time.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()))
    }

    /// Returns when the name is known to lead to others only. One that leads nowhere, or cannot be
    /// looked up, says nothing.
    pub(super) async fn until_moved(&self, at: SocketAddr) {
        let Some((host, port)) = self.name() else {
            return std::future::pending().await;
        };
        loop {
            // waits because nobody tells of a name that changes
            sleep(LOOK_UP_EVERY).await;
            if let Ok(answers) = self.names.answers(host, port).await
                && is_elsewhere(at, &answers)
            {
                tracing::info!("the name of Redis leads elsewhere now: its old address is left");
                return;
            }
        }
    }

    /// The name, where it is one: a socket's path and an address are what they are.
    fn name(&self) -> Option<(&str, u16)> {
        let (host, port) = match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host, *port)
            }
            _ => return None,
        };
        host.parse::<IpAddr>().is_err().then_some((host, port))
    }
}

fn config() -> AsyncConnectionConfig {
    // Whoever asks has a deadline of its own.
    AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(None)
}

fn is_elsewhere(at: SocketAddr, answers: &[SocketAddr]) -> bool {
    !answers.is_empty() && !answers.contains(&at)
}

/// The answers of a name, without the one that is no master where there are others.
fn to_be_asked(mut answers: Vec<SocketAddr>, unfit: Option<SocketAddr>) -> Vec<SocketAddr> {
    let is_other = |at: &SocketAddr| Some(*at) != unfit;
    if answers.iter().any(is_other) {
        answers.retain(is_other);
    }
    answers
}

/// Knows one answer to every name.
struct Only(SocketAddr);

impl AsyncDNSResolver for Only {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        _: &'b str,
        _: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        let only: Box<dyn Iterator<Item = SocketAddr> + Send> = Box::new(std::iter::once(self.0));
        Box::pin(async move { Ok(only) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(last: &[u8]) -> Vec<SocketAddr> {
        let address = |n: &u8| SocketAddr::from(([10, 0, 0, *n], 6379));
        last.iter().map(address).collect()
    }

    #[test]
    fn an_address_is_left_only_when_the_name_has_others_and_not_this_one() {
        let ours = addresses(&[1])[0];
        for (answers, elsewhere) in [
            (&[][..], false),
            (&[1], false),
            (&[2, 1], false),
            (&[2], true),
            (&[3, 2], true),
        ] {
            assert_eq!(
                is_elsewhere(ours, &addresses(answers)),
                elsewhere,
                "{answers:?}"
            );
        }
    }

    #[test]
    fn who_is_no_master_is_asked_only_when_nobody_else_is_there() {
        let unfit = Some(addresses(&[1])[0]);
        for (answers, asked) in [
            (&[1, 2][..], &[2][..]),
            (&[1], &[1]),
            (&[2, 3], &[2, 3]),
            (&[], &[]),
        ] {
            assert_eq!(to_be_asked(addresses(answers), unfit), addresses(asked));
        }
        assert_eq!(to_be_asked(addresses(&[1, 2]), None), addresses(&[1, 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_no_master_is_not_hammered() {
        let place = Place::new("redis://redis.internal", Names::System).unwrap();
        let old = Instant::now();
        tokio::time::advance(YOUNG).await;
        assert!(place.leave(old, None), "it is left at once");
        assert!(place.is_left(old));
        let new = Instant::now();
        assert!(
            place.leave(old, None),
            "said again by others who asked there"
        );
        assert!(!place.is_left(new), "the one that took its place stays");
        assert!(!place.leave(new, None), "nothing can have changed yet");
        tokio::time::advance(YOUNG).await;
        assert!(place.leave(new, None) && place.is_left(new));
    }

    #[test]
    fn only_names_are_looked_up() {
        for (url, name) in [
            ("redis://redis.internal", Some(("redis.internal", 6379))),
            (
                "rediss://redis.internal:7000/1",
                Some(("redis.internal", 7000)),
            ),
            ("redis://127.0.0.1:7000", None),
            ("redis://[::1]:7000", None),
            ("redis+unix:///run/redis.sock", None),
        ] {
            let place = Place::new(url, Names::System).unwrap();
            assert_eq!(place.name(), name, "{url}");
        }
    }
}
