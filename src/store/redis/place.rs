//! Where Redis is: what its name leads to, and which connections are of no use any more because that
//! has changed. One for all lines of a process, so that what one of them hears counts for all.

use super::greeting;
use redis::aio::MultiplexedConnection;
use redis::io::AsyncDNSResolver;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, RedisError, RedisFuture, RedisResult,
};
use std::collections::HashMap;
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
    known: Mutex<Known>,
}

/// What is known of those that the name led to.
#[derive(Debug, Default)]
struct Known {
    /// Connections made there before are of no use. `None` where there is no name.
    left: HashMap<Option<SocketAddr>, Instant>,
    /// Who said that it is no master, the last one last; not asked as long as the name has other
    /// answers.
    unfit: Vec<SocketAddr>,
}

impl Known {
    fn is_left(&self, since: Instant, at: Option<SocketAddr>) -> bool {
        let mut left = self.left.iter();
        left.any(|(there, before)| (at.is_none() || *there == at) && since < *before)
    }

    /// The answers of a name, without those that are no masters where there are others. When all of
    /// them were asked, they are asked again, the last one not at once.
    fn choose(&mut self, answers: Vec<SocketAddr>) -> Vec<SocketAddr> {
        let is_unfit = |at: &SocketAddr| self.unfit.contains(at);
        if answers.iter().all(is_unfit) {
            let earlier = self.unfit.len().saturating_sub(1);
            self.unfit.drain(..earlier);
        }
        let (unfit, others): (Vec<_>, _) =
            answers.into_iter().partition(|at| self.unfit.contains(at));
        if others.is_empty() { unfit } else { others }
    }
}

impl Place {
    pub(super) fn new(url: &str, names: Names) -> RedisResult<Self> {
        Ok(Self {
            client: Client::open(url)?,
            names,
            known: Mutex::default(),
        })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection begun then was left since, by whichever line. `None` while it is not known
    /// where it leads.
    pub(super) fn is_left(&self, since: Instant, at: Option<SocketAddr>) -> bool {
        self.known().is_left(since, at)
    }

    /// Who was reached by a connection begun then is no master. Whether another one may be asked now.
    pub(super) fn leave(&self, since: Instant, at: Option<SocketAddr>) -> bool {
        let mut known = self.known();
        if !known.is_left(since, at) {
            if since.elapsed() < YOUNG {
                return false;
            }
            known.left.insert(at, Instant::now());
            known.unfit.retain(|there| Some(*there) != at);
            known.unfit.extend(at);
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
            let answers = self.known().choose(answers);
            for at in answers {
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
        let made = in_time
            .unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        if made.is_err() {
            // Who was no master may be one now that the others do not answer.
            self.known().unfit.clear();
        }
        made
    }

    /// Why a connection that was to be made came to nothing: what the server says of it, where it hung up
    /// without an answer and says something.
    pub(super) async fn reason(&self, error: RedisError) -> RedisError {
        if !error.is_io_error() || error.is_timeout() {
            return error;
        }
        let text = match self.client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) => match self.names.answers(host, *port).await {
                Ok(answers) => greeting::by_tcp(&answers).await,
                Err(_) => None,
            },
            ConnectionAddr::Unix(path) => greeting::by_socket(path).await,
            _ => None,
        };
        text.unwrap_or(error)
    }

    /// Returns when the name is known to lead to others only: then no line stays there. One that leads
    /// nowhere, or cannot be looked up, says nothing.
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
                self.known().left.insert(Some(at), Instant::now());
                tracing::info!(
                    event = "redis_moved",
                    "the name of Redis leads elsewhere now: its old address is left"
                );
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
        for (unfit, answers, asked) in [
            (&[][..], &[1, 2][..], &[1, 2][..]),
            (&[1], &[1, 2], &[2]),
            (&[1], &[1], &[1]),
            (&[1], &[2, 3], &[2, 3]),
            (&[1], &[], &[]),
            (&[1, 2], &[1, 2, 3], &[3]),
            (&[1, 2], &[1, 2], &[1]),
            (&[3, 1, 2], &[1, 2, 3], &[1, 3]),
        ] {
            let mut known = Known {
                unfit: addresses(unfit),
                ..Known::default()
            };
            let heard = known.choose(addresses(answers));
            assert_eq!(heard, addresses(asked), "{answers:?} without {unfit:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_three_answers_the_master_is_found() {
        let place = Place::new("redis://redis.internal", Names::System).unwrap();
        let (mut asked, mut begun) = (addresses(&[1, 2, 3]), Instant::now());
        let mut next = async || {
            tokio::time::advance(YOUNG).await;
            assert!(place.leave(begun, Some(asked[0])));
            begun = Instant::now();
            asked = place.known().choose(addresses(&[1, 2, 3]));
            asked.clone()
        };
        assert_eq!(next().await, addresses(&[2, 3]));
        assert_eq!(next().await, addresses(&[3]));
        assert_eq!(next().await, addresses(&[1, 2]), "from the beginning");
    }

    #[tokio::test(start_paused = true)]
    async fn where_a_name_leads_no_more_no_line_stays_and_nobody_else_is_left() {
        let (old, new) = (addresses(&[1])[0], addresses(&[2])[0]);
        let names = Names::Told(std::sync::Arc::new(Mutex::new(vec![new])));
        let place = Place::new("redis://redis.internal", names).unwrap();
        let begun = Instant::now();
        place.until_moved(old).await;
        assert!(place.is_left(begun, Some(old)));
        assert!(place.is_left(begun, None), "it may lead to the old one");
        assert!(!place.is_left(begun, Some(new)));
        assert!(!place.is_left(Instant::now(), Some(old)));
        assert!(place.known().unfit.is_empty(), "nobody said so");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_no_master_is_not_hammered() {
        let place = Place::new("redis://redis.internal", Names::System).unwrap();
        let old = Instant::now();
        tokio::time::advance(YOUNG).await;
        assert!(place.leave(old, None), "it is left at once");
        assert!(place.is_left(old, None));
        let new = Instant::now();
        assert!(
            place.leave(old, None),
            "said again by others who asked there"
        );
        assert!(
            !place.is_left(new, None),
            "the one that took its place stays"
        );
        assert!(!place.leave(new, None), "nothing can have changed yet");
        tokio::time::advance(YOUNG).await;
        assert!(place.leave(new, None) && place.is_left(new, None));
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
