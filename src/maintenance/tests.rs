//! The loops on a real store.

use super::*;
use crate::domain::{AccountId, BusinessNumber, ChannelId, Message, MsgId, Names, Phone, Template};
use crate::store;
use crate::store::redis::Store;
use crate::store::testing::RedisServer;

/// A lease that cannot be renewed says nothing about what can be read.
#[tokio::test]
async fn what_others_did_is_shown_also_while_the_lease_cannot_be_renewed() {
    let server = RedisServer::start();
    let (channel, account) = (
        ChannelId::parse("a").unwrap(),
        AccountId::parse("acc").unwrap(),
    );
    let open = || {
        Store::open(
            server.link(),
            vec![(channel.clone(), account.clone())],
            false,
        )
    };
    let (ours, theirs) = (open(), open());
    server.say("SET gw:{acc}:replicas nonsense").await;
    let outbox = Outbox::new(store::Outbox::Redis(ours.clone()), [channel.clone()]);
    let (channels, stop) = (
        Arc::new(Channels::new(Vec::new())),
        CancellationToken::new(),
    );
    let maintenance = tokio::spawn(keep_lease(outbox, channels, Vec::new(), stop.clone()));
    let message = Message {
        msg_id: MsgId::parse("m1").unwrap(),
        from: BusinessNumber::parse("+1 202-555-0999").unwrap(),
        to: Phone::from_number(12_025_550_001).unwrap(),
        template: Template {
            name: "order_update".into(),
            language: "en".into(),
            header: None,
            body: Vec::new(),
            buttons: Vec::new(),
            names: Names::default(),
        },
        is_damaged: false,
        campaign: None,
    };
    let accepted = theirs.accept(&channel, &account, &message, clock::now());
    accepted.await.unwrap();
    let give_up = Instant::now() + Duration::from_secs(10);
    while ours.ledger(&channel).accepted != 1 {
        assert!(Instant::now() < give_up, "it never looks");
        // waits because the look is another task's; bounded
        sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    maintenance.await.unwrap();
}
