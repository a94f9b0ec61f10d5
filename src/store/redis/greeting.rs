//! What a server says to who connects and asks nothing. Redis tells at once that it has no connection left
//! (`maxclients`), or lets nobody in from outside, and closes: whoever writes meets a broken pipe and reads no
//! word of it. Never used where there is TLS: nothing is said in the clear there.

use redis::{RedisError, parse_redis_value};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long it is listened. Whoever is full says so at once; callers wait meanwhile.
const PATIENCE: Duration = Duration::from_millis(200);
/// The most bytes of the words.
const LONGEST: u64 = 200;

/// Why who listens there takes nobody, if it says so.
pub(super) async fn by_tcp(at: &[SocketAddr]) -> Option<RedisError> {
    let heard = async { first_words(TcpStream::connect(at).await.ok()?).await };
    timeout(PATIENCE, heard).await.ok()?
}

/// The same of a socket in the file system.
pub(super) async fn by_socket(at: &Path) -> Option<RedisError> {
    let heard = async { first_words(UnixStream::connect(at).await.ok()?).await };
    timeout(PATIENCE, heard).await.ok()?
}

async fn first_words(connection: impl AsyncRead + Unpin) -> Option<RedisError> {
    let mut words = Vec::new();
    // What came before it broke counts.
    let _ = connection.take(LONGEST).read_to_end(&mut words).await;
    refusal(&words)
}

/// The refusal in what was said; its first line, as far as it was heard.
fn refusal(words: &[u8]) -> Option<RedisError> {
    let words = String::from_utf8_lossy(words);
    let line = words.lines().next()?;
    let is_refusal = line.strip_prefix('-').is_some_and(|text| !text.is_empty());
    let value = is_refusal.then(|| parse_redis_value(format!("{line}\r\n").as_bytes()))?;
    value.ok()?.extract_error().err()
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Settings};
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    #[test]
    fn r_66_only_a_refusal_counts_as_one() {
        for (text, heard) in [
            (
                "-ERR max number of clients reached\r\n",
                Some("max number of clients reached"),
            ),
            // Longer than what is listened to.
            ("-DENIED Redis is running in prot", Some("DENIED")),
            ("", None),
            ("-", None),
            ("\r\n-ERR late\r\n", None),
            ("+PONG\r\n", None),
            ("SSH-2.0-OpenSSH_9.6\r\n", None),
            ("\u{0}\u{1}", None),
        ] {
            let error = refusal(text.as_bytes()).map(|error| error.to_string());
            match heard {
                Some(words) => assert!(error.unwrap().contains(words), "{text:?}"),
                None => assert_eq!(error, None, "{text:?}"),
            }
        }
    }

    /// What is told of a server that says this to whoever connects, and hangs up.
    async fn told_of(scheme: &str, words: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            while let Ok((mut one, _)) = listener.accept().await {
                let _ = one.write_all(words.as_bytes()).await;
            }
        });
        let settings = Settings {
            url: format!("{scheme}://{at}").into(),
            wait_replicas: 0,
        };
        let connection = Connection::new(&settings).unwrap();
        let asked = connection.command::<String>(&redis::cmd("PING")).await;
        let error = asked.unwrap_err().to_string();
        server.abort();
        error
    }

    #[tokio::test]
    async fn r_66_a_server_that_hangs_up_is_quoted_where_it_says_why() {
        let full = "-ERR max number of clients reached\r\n";
        let report = told_of("redis", full).await;
        let expected = ["takes no more connections", "max number of clients reached"];
        assert!(
            expected.iter().all(|words| report.contains(words)),
            "{report}"
        );
        let report = told_of("redis", "-DENIED Redis is running in protected mode\r\n").await;
        assert!(report.contains("protected mode"), "{report}");
        for (scheme, words) in [("redis", ""), ("rediss", full)] {
            let report = told_of(scheme, words).await;
            assert!(report.contains("Redis cannot be reached ("), "{report}");
            assert!(
                !report.contains("max number"),
                "nothing is said in the clear: {report}"
            );
        }
    }
}
