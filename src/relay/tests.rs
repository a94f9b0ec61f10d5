//! What the loop has taken ahead and may not tell any more.

use super::*;
use crate::domain::{AccountId, ChannelId, DoorName, Incoming, Keywords, Phone, Reply};
use crate::doors::moengage::callback::{CallbackSettings, Callbacks};
use crate::store;
use crate::store::redis::Store;
use crate::store::testing::{self, RedisServer};
use crate::store::{EventRules, SweepRule, SweepScope};

/// The relay of the replies of channel `a`, at a store of its own on this server.
fn relay(server: &RedisServer) -> (Store, Relay) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let queue = CallbackQueue {
        channel: ChannelId::parse("a").unwrap(),
        door: DoorName::Moengage,
        destination: Destination::Inbound,
    };
    let account = AccountId::parse("acc").unwrap();
    let channels = vec![(queue.channel.clone(), account)];
    let store = Store::open(server.link(), channels, false);
    let outbox = Outbox::new(store::Outbox::Redis(store.clone()), [queue.channel.clone()]);
    let settings = Settings {
        concurrency: 1,
        batch_entries: 1,
        batch_bytes: 100_000,
        retry_for: Duration::from_secs(3600),
        longest_pause: Duration::from_secs(60),
    };
    let callbacks = Callbacks::new(CallbackSettings::default()).unwrap();
    let door = Door::Moengage(callbacks);
    let relay = Relay::new(queue, "http://127.0.0.1:9/dlr", outbox, door, settings);
    (store, relay)
}

/// A person says something that MoEngage is to be told.
async fn replied(store: &Store, text: &str) {
    let rules = EventRules {
        channel: ChannelId::parse("a").unwrap(),
        account: AccountId::parse("acc").unwrap(),
        keywords: Keywords::new(&["STOP"], &[], &["START"]),
        reply_window: Duration::from_secs(3600),
        kept: Duration::from_secs(31 * 86_400),
        clock_doubt: Duration::ZERO,
        vouched: true,
        relay_unmatched: true,
        waba_number: None,
    };
    let reply = Reply {
        id: None,
        from: Phone::from_number(12_025_550_001).ok(),
        user: None,
        context: None,
        text: text.into(),
        at: None,
        dated: String::new(),
    };
    let events = vec![Incoming::Reply(reply)];
    let taken = store.take_events(Arc::new(rules), events, clock::now(), testing::in_time());
    taken.await.unwrap();
}

fn held(relay: &Relay) -> usize {
    relay.waiting.len()
}

#[tokio::test]
async fn a_reply_that_waits_in_the_relay_when_its_lease_ends_is_told_by_whoever_took_over() {
    let server = RedisServer::start();
    let ((ours, mut first), (theirs, mut second)) = (relay(&server), relay(&server));
    replied(&ours, "Hello").await;
    assert!(first.fill().await.unwrap().is_none());
    assert_eq!(held(&first), 1);
    testing::expire_replica(&server, ours.link().replica()).await;
    let rule = SweepRule {
        channel: first.queue.channel.clone(),
        resend: false,
        expired_before: clock::now().minus(Duration::from_secs(3600)),
        hold: Duration::from_secs(600),
    };
    theirs
        .sweep(vec![rule], SweepScope::Holds, clock::now().into())
        .await
        .unwrap();
    ours.renew().await.unwrap();
    assert!(second.fill().await.unwrap().is_none());
    assert!(first.fill().await.unwrap().is_some(), "it has nothing");
    assert_eq!((held(&first), held(&second)), (0, 1));
}

#[tokio::test]
async fn a_reply_that_waits_in_the_relay_when_its_lease_ends_is_told_although_nobody_took_over() {
    let server = RedisServer::start();
    let (ours, mut relay) = relay(&server);
    replied(&ours, "Hello").await;
    assert!(relay.fill().await.unwrap().is_none());
    testing::expire_replica(&server, ours.link().replica()).await;
    ours.renew().await.unwrap();
    assert!(relay.fill().await.unwrap().is_some(), "not ours for now");
    ours.renew().await.unwrap();
    assert!(relay.fill().await.unwrap().is_none());
    assert_eq!(held(&relay), 1);
}

/// Taken under a lease that ended while more was taken.
#[tokio::test]
async fn what_is_taken_beside_a_lease_that_began_anew_is_told_once() {
    let server = RedisServer::start();
    let (ours, mut relay) = relay(&server);
    replied(&ours, "Hello").await;
    assert!(relay.fill().await.unwrap().is_none());
    // Room for more, and to take it the lease begins anew.
    relay.settings.batch_entries = 2;
    testing::expire_replica(&server, ours.link().replica()).await;
    relay.fill().await.unwrap();
    assert_eq!(held(&relay), 0, "of the lease before");
    ours.renew().await.unwrap();
    relay.fill().await.unwrap();
    assert_eq!(held(&relay), 1);
    ours.renew().await.unwrap();
    assert_eq!(relay.cut().len(), 1);
}

#[tokio::test]
async fn r_43_that_moengage_takes_nothing_is_shown_with_its_answer_until_it_takes_something() {
    use super::post::Health;
    let server = RedisServer::start();
    let (_store, mut relay) = relay(&server);
    let refused = || Health::Refuses("HTTP 400 no such field".into());
    let shown = |relay: &Relay| {
        let troubles = relay.standing.of(&relay.queue.channel);
        troubles.into_iter().map(|(_, one)| one.answer).next()
    };
    let mut judged = Vec::new();
    for health in [
        // One that is refused now and then is a dead letter and no more.
        refused(),
        Health::Takes,
        refused(),
        refused(),
        refused(),
        Health::Takes,
        Health::Down("HTTP 401 who are you".into(), None),
        refused(),
        Health::Takes,
    ] {
        relay.judge(Instant::now(), &health).await;
        judged.push(shown(&relay).map(|answer| answer[..8].to_owned()));
    }
    let told = |answer: &str| Some(answer.to_owned());
    let (bad, unknown) = (told("HTTP 400"), told("HTTP 401"));
    let all_is_well = None;
    assert_eq!(
        judged,
        [
            all_is_well.clone(),
            all_is_well.clone(),
            all_is_well.clone(),
            all_is_well.clone(),
            bad.clone(),
            all_is_well.clone(),
            unknown,
            bad,
            all_is_well,
        ]
    );
}
