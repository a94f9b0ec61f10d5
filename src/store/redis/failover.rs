//! Another server is meant by the name: the old one says that it is no master, or the name says so.
//! Real servers; the names are the test's.

use super::connection::Connection;
use super::place::Names;
use super::{Settings, Store, keys_of};
use crate::clock::now;
use crate::domain::{AccountId, ChannelId};
use crate::store::testing::RedisServer;
use crate::store::{Accepted, StoreError};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Longer than the name is not looked up.
const LOOKED_UP: Duration = Duration::from_secs(7);

/// A server with an address.
async fn server() -> (RedisServer, SocketAddr) {
    let server = RedisServer::start();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    let listens = server.say(&format!("CONFIG SET port {}", at.port())).await;
    assert_eq!(listens, "OK");
    (server, at)
}

/// What `redis.internal` leads to.
type Answers = Arc<Mutex<Vec<SocketAddr>>>;

fn link(answers: &[SocketAddr], wait_replicas: u32) -> (Connection, Answers) {
    let answers = Arc::new(Mutex::new(answers.to_vec()));
    let settings = Settings {
        url: "redis://redis.internal".into(),
        wait_replicas,
    };
    let connection = Connection::by(&settings, Names::Told(answers.clone())).unwrap();
    (connection, answers)
}

async fn keep(connection: &Connection, value: &str) -> Result<(), StoreError> {
    connection
        .save_setting("paused:a", Some(value.into()))
        .await
}

async fn kept(server: &RedisServer) -> String {
    server.say("HGET gw:runtime paused:a").await
}

/// What the other line sees.
async fn beside(connection: &Connection) -> Option<String> {
    let mut ask = redis::cmd("HGET");
    ask.arg("gw:runtime").arg("paused:a");
    connection.command_beside(&ask).await.unwrap()
}

#[tokio::test]
async fn r_53_who_was_no_master_is_asked_again_when_the_others_are_gone() {
    let ((first, first_at), (second, second_at)) = (server().await, server().await);
    let (connection, answers) = link(&[first_at], 0);
    keep(&connection, "1").await.unwrap();
    // waits because young connections are left alone, so that nobody is hammered
    sleep(Duration::from_millis(300)).await;
    first.say("REPLICAOF 127.0.0.1 1").await;
    *answers.lock().unwrap() = vec![first_at, second_at];
    keep(&connection, "2").await.unwrap();
    assert_eq!(kept(&second).await, "2");
    // The name goes on to lead to both.
    first.say("REPLICAOF NO ONE").await;
    drop(second);
    let again = async {
        while keep(&connection, "3").await.is_err() {
            // waits because a connection is made by two processes; bounded
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(20), again)
        .await
        .expect("nobody asks the first one again");
    assert_eq!(kept(&first).await, "3");
}

#[tokio::test]
async fn r_53_a_server_that_says_it_is_no_master_is_left_at_once_on_every_line() {
    let ((old, old_at), (new, new_at)) = (server().await, server().await);
    let (connection, answers) = link(&[old_at], 0);
    keep(&connection, "1").await.unwrap();
    assert_eq!(beside(&connection).await.as_deref(), Some("1"));
    // waits because young connections are left alone, so that nobody is hammered
    sleep(Duration::from_millis(300)).await;
    old.say("REPLICAOF 127.0.0.1 1").await;
    *answers.lock().unwrap() = vec![old_at, new_at];
    keep(&connection, "2").await.unwrap();
    assert_eq!(kept(&new).await, "2");
    assert_eq!(
        beside(&connection).await.as_deref(),
        Some("2"),
        "a replica may be asked"
    );
}

#[tokio::test]
async fn r_53_a_name_with_no_other_answer_is_asked_until_it_leads_to_a_master() {
    let (only, at) = server().await;
    let (connection, _) = link(&[at], 0);
    keep(&connection, "1").await.unwrap();
    only.say("REPLICAOF 127.0.0.1 1").await;
    let connections = async || -> u64 {
        let stats = only.say("INFO stats").await;
        let made = stats.split("total_connections_received:").nth(1).unwrap();
        made.split('\r').next().unwrap().parse().unwrap()
    };
    let (before, begun, mut asked) = (connections().await, Instant::now(), 0);
    while asked < 100 || begun.elapsed() < Duration::from_secs(1) {
        let error = keep(&connection, "2").await.unwrap_err().to_string();
        assert!(error.contains("read-only"), "{error}");
        asked += 1;
    }
    let made = connections().await - before;
    // Four a second, the first, and who asks.
    let most = begun.elapsed().as_millis() as u64 / 250 + 2;
    assert!(
        made <= most,
        "{made} connections for {asked} calls, not {most}"
    );
    only.say("REPLICAOF NO ONE").await;
    keep(&connection, "3").await.unwrap();
}

#[tokio::test]
async fn r_56_an_address_is_left_when_the_name_has_only_others() {
    let ((old, old_at), (new, new_at)) = (server().await, server().await);
    let (connection, answers) = link(&[old_at], 0);
    keep(&connection, "1").await.unwrap();
    assert_eq!(beside(&connection).await.as_deref(), Some("1"));
    let name = |leads: &[SocketAddr]| *answers.lock().unwrap() = leads.to_vec();
    for answers in [&[new_at, old_at][..], &[]] {
        name(answers);
        let begun = Instant::now();
        while begun.elapsed() < LOOKED_UP {
            keep(&connection, "2").await.unwrap();
            assert_eq!(kept(&new).await, "", "it is among {answers:?}");
            // waits because names are looked up every 5 s
            sleep(Duration::from_millis(100)).await;
        }
    }
    name(&[new_at]);
    let moves = async {
        while kept(&new).await.is_empty() {
            keep(&connection, "3").await.unwrap();
            // waits because names are looked up every 5 s; bounded
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LOOKED_UP, moves).await.expect("it is left");
    assert_eq!(
        beside(&connection).await.as_deref(),
        Some("3"),
        "the other line"
    );
    let own = "CLIENT LIST TYPE normal";
    assert_eq!(
        old.say(own).await.lines().count(),
        1,
        "nobody is there any more"
    );
}

#[tokio::test]
async fn a_line_whose_connection_is_not_made_for_a_panic_makes_another() {
    let (only, at) = server().await;
    let (connection, answers) = link(&[at], 0);
    let panics = answers.clone();
    // From now on whoever looks the name up panics.
    std::thread::spawn(move || {
        let _held = panics.lock();
        panic!("of the test");
    })
    .join()
    .unwrap_err();
    assert!(keep(&connection, "1").await.is_err());
    answers.clear_poison();
    keep(&connection, "2").await.unwrap();
    assert_eq!(kept(&only).await, "2");
}

/// The replicas of the new master say nothing of what only the old one heard.
#[tokio::test]
async fn r_56_replicas_of_another_server_do_not_confirm_what_that_server_never_heard() {
    let ((old, old_at), (new, new_at)) = (server().await, server().await);
    let copy = RedisServer::start();
    new.say("CONFIG SET repl-diskless-sync-delay 0").await;
    copy.say(&format!("REPLICAOF 127.0.0.1 {}", new_at.port()))
        .await;
    let give_up = Instant::now() + Duration::from_secs(20);
    while !copy
        .say("INFO replication")
        .await
        .contains("master_link_status:up")
    {
        assert!(Instant::now() < give_up, "the copy does not follow");
        // waits because the copy is another process; bounded
        sleep(Duration::from_millis(20)).await;
    }
    let (channel, account) = (
        ChannelId::parse("a").unwrap(),
        AccountId::parse("default").unwrap(),
    );
    let give_up = Instant::now() + Duration::from_secs(60);
    for n in 1.. {
        let (connection, answers) = link(&[old_at], 1);
        let store = Store::open(connection, vec![(channel.clone(), account.clone())], false);
        let message = crate::store::tests::message(&format!("m{n}"), n);
        let accepting = {
            let (channel, account) = (channel.clone(), account.clone());
            tokio::spawn(async move { store.accept(&channel, &account, &message, now()).await })
        };
        while !accepting.is_finished()
            && !old.say("INFO clients").await.contains("blocked_clients:1")
        {
            // waits because the question is asked by another task; bounded by its answer
            sleep(Duration::from_millis(1)).await;
        }
        *answers.lock().unwrap() = vec![new_at];
        old.say("CLIENT KILL TYPE normal SKIPME yes").await;
        match accepting.await.unwrap() {
            // The old one had been waited for in vain by then: another message.
            Err(error) => assert!(Instant::now() < give_up, "{error}"),
            Ok(accepted) => {
                assert_eq!(accepted, Accepted::Stored);
                let known = format!("EXISTS {}i:a:m{n}", keys_of(&account));
                assert_eq!(new.say(&known).await, "1", "success was answered");
                return;
            }
        }
    }
}
