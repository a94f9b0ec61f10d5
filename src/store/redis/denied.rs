//! One command is not permitted for a moment: each script, without each of the commands that it
//! uses, changes nothing at all, says which one it is, and is done once it is permitted again. One story, in
//! which every script has something to do; after each, every message is in exactly one place.

use super::rights::used_by;
use super::scripts::shared;
use super::*;
use crate::domain::{
    BusinessNumber, Incoming, MsgId, OptOut, OptOutEntry, OptOutName, Progress, Source,
};
use crate::domain::{Destination, Status, UnixMs};
use crate::store::testing::{RedisServer, in_time};
use crate::store::tests::words::{self, at, event, lane, message, phone, receipt, rules};
use crate::store::{
    Accepted, Adopted, ClaimFrom, ClaimedMessage, Claims, DirtyEnd, Entrance, Folded,
    PendingCallback, QuickReply, RelayOutcome, Settlement, SweepRule, SweepScope,
};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

/// All that is kept, but for what only says when somebody was last there.
const DIGEST: &str = "
local all, P = {}, KEYS[1]
for _, key in ipairs(redis.call('KEYS', '*')) do
  if key ~= P .. 'beat' and key ~= P .. 'calm' then all[#all + 1] = key .. redis.call('DUMP', key) end
end
table.sort(all)
return redis.sha1hex(table.concat(all))";

/// Messages that are not in exactly one place.
const MISPLACED: &str = "
local P, places, wrong = KEYS[1], {}, {}
local function see(ids)
  for _, id in ipairs(ids) do places[id] = (places[id] or 0) + 1 end
end
for _, key in ipairs({ 'q:a', 'rq:a', 'aq:a', 'u', 'done' }) do see(redis.call('ZRANGE', P .. key, 0, -1)) end
for _, key in ipairs(redis.call('KEYS', P .. 'att:*')) do see(redis.call('HKEYS', key)) end
for _, key in ipairs(redis.call('KEYS', P .. 'm:*')) do
  local id = string.match(key, '(%d+)$')
  if places[id] ~= 1 then wrong[#wrong + 1] = id end
end
return wrong";

struct Denied {
    server: RedisServer,
    store: Store,
    seen: BTreeSet<&'static str>,
}

fn channel() -> ChannelId {
    words::channel("a")
}

fn queue() -> ClaimFrom {
    ClaimFrom {
        channel: channel(),
        ages: UnixMs(0).into(),
        retries: usize::MAX,
        aside: usize::MAX,
    }
}

impl Denied {
    fn start() -> Self {
        let server = RedisServer::start();
        let channels = vec![(channel(), words::account())];
        let store = Store::open(server.link(), channels, true);
        let seen = BTreeSet::new();
        Self {
            server,
            store,
            seen,
        }
    }

    async fn lua<T: FromRedisValue>(&self, script: &str) -> T {
        let script = Script::new(script);
        let call = script.key(keys_of(&words::account()));
        self.server.link().run(&call).await.unwrap()
    }

    /// Does a step without each of the commands of its script, and then with all of them.
    async fn whole<T: Debug>(
        &mut self,
        script: &'static str,
        step: impl AsyncFn(&Store) -> Result<T, StoreError>,
    ) -> T {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/lua");
        let body = std::fs::read_to_string(format!("{dir}/{script}.lua")).unwrap();
        let before: String = self.lua(DIGEST).await;
        for name in used_by(&compose::compose(&shared(true), &body)) {
            let name = name.to_lowercase();
            self.server
                .say(&format!("ACL SETUSER default -{name}"))
                .await;
            let refused = step(&self.store).await;
            let after: String = self.lua(DIGEST).await;
            self.server
                .say(&format!("ACL SETUSER default +{name}"))
                .await;
            assert_eq!(after, before, "{script} did a part without {name}");
            let error = refused.expect_err("it is refused").to_string();
            assert!(
                error.contains(&format!("run {name} in")),
                "{script}: {error}"
            );
            self.store.writable().await.unwrap();
        }
        let done = step(&self.store).await.unwrap();
        let after: String = self.lua(DIGEST).await;
        assert_ne!(after, before, "{script} had nothing to do");
        let misplaced: Vec<String> = self.lua(MISPLACED).await;
        assert_eq!(misplaced, Vec::<String>::new(), "after {script}");
        self.seen.insert(script);
        done
    }

    async fn accept(&mut self, id: &str, to: u64) {
        let (account, message) = (words::account(), message(id, to));
        let accepted = self
            .store
            .accept(&channel(), &account, &message, at(0))
            .await;
        assert_eq!(accepted.unwrap(), Accepted::Stored);
    }

    async fn claim(&mut self) -> ClaimedMessage {
        let mut claims: Claims = self
            .whole("claim", async |store| {
                store.claim(vec![queue()], 1, at(1)).await
            })
            .await;
        claims.taken.pop().unwrap()
    }

    async fn settle(&mut self, claimed: &ClaimedMessage, end: Settlement) -> Folded {
        self.whole("settle", async |store| {
            let text = "as the test wants it".to_owned();
            store.settle(claimed, end.clone(), text, at(2)).await
        })
        .await
    }

    async fn take(&mut self, events: Vec<Incoming>) -> Folded {
        self.whole("events", async |store| {
            let rules = Arc::new(rules("a"));
            store
                .take_events(rules, events.clone(), at(3), in_time())
                .await
        })
        .await
    }

    async fn take_callback(&mut self, of: Destination) -> PendingCallback {
        let mut taken = self
            .whole("take_callbacks", async |store| {
                store.take_callbacks(&lane("a", of), 1, at(6)).await
            })
            .await;
        taken.pop().unwrap()
    }

    async fn end(&mut self, of: Destination, callback: &PendingCallback, end: RelayOutcome) {
        self.whole("settle_callbacks", async |store| {
            let ends = vec![(callback.handle, end.clone())];
            store.settle_callbacks(&lane("a", of), ends, at(5)).await
        })
        .await;
    }
}

impl Denied {
    /// Accepted, tried twice, sent; its statuses, early and late, and a reply.
    async fn sent(&mut self) {
        self.whole("accept", async |store| {
            let (account, message) = (words::account(), message("m1", 1));
            store.accept(&channel(), &account, &message, at(0)).await
        })
        .await;
        let claimed = self.claim().await;
        let taps = vec![QuickReply {
            label: "Yes".into(),
            payload: "y".into(),
        }];
        self.whole("taps", async |store| {
            store.know_taps(&claimed, taps.clone()).await
        })
        .await;
        self.settle(&claimed, Settlement::retry(at(0))).await;
        let claimed = self.claim().await;
        let folded = self.take(vec![event("P1", Status::Sent, None)]).await;
        assert_eq!(folded.unmatched, 1);
        let folded = self.settle(&claimed, receipt("P1")).await;
        assert_eq!(folded.emitted, 1);
        let folded = self.take(vec![event("P1", Status::Read, Some(1))]).await;
        assert_eq!(folded.emitted, 1);
        let reply = Incoming::Reply(words::reply(1, "STOP"));
        assert_eq!(self.take(vec![reply]).await.replies, 1);
    }

    /// The same relayed: put off, taken, given up.
    async fn told(&mut self) {
        let first = self.take_callback(Destination::Status).await;
        let due = at(9_000);
        self.end(Destination::Status, &first, RelayOutcome::Later { due })
            .await;
        self.whole("hasten", async |store| {
            store
                .hasten_callbacks(&lane("a", Destination::Status), at(4))
                .await
        })
        .await;
        let again = self.take_callback(Destination::Status).await;
        assert_eq!(again.callback, first.callback);
        self.end(Destination::Status, &again, words::taken()).await;
        let second = self.take_callback(Destination::Status).await;
        assert_ne!(second.callback, first.callback);
        let reason = "HTTP 400".to_owned();
        self.end(Destination::Status, &second, RelayOutcome::Dead { reason })
            .await;
        let reply = self.take_callback(Destination::Inbound).await;
        self.end(Destination::Inbound, &reply, words::taken()).await;
    }

    /// The other ends of an attempt: failed, unknown and proved, unknown until its hold is over, taken over,
    /// taken and never given to a sender, given up by an operator.
    async fn ended(&mut self) {
        self.accept("m2", 2).await;
        let claimed = self.claim().await;
        self.settle(&claimed, Settlement::failed(words::refusal()))
            .await;
        self.accept("m3", 3).await;
        let claimed = self.claim().await;
        self.settle(&claimed, words::unknown_until(600)).await;
        let folded = self
            .take(vec![event("P3", Status::Delivered, Some(3))])
            .await;
        assert_eq!((folded.inferred, folded.emitted), (1, 1));
        self.accept("m4", 4).await;
        let claimed = self.claim().await;
        self.settle(&claimed, words::unknown_until(600)).await;
        let swept = self
            .whole("sweep", async |store| {
                let rule = SweepRule {
                    channel: channel(),
                    resend: false,
                    expired_before: UnixMs(0),
                    hold: Duration::from_secs(600),
                };
                store
                    .sweep(vec![rule], SweepScope::Ages, at(700).into())
                    .await
            })
            .await;
        assert_eq!(swept.failed.len(), 1);
        self.server.say("HINCRBY gw:{acc}:l:a queued 1").await;
        self.whole("recount", async |store| {
            store.recount(&store.shared.accounts[0]).await
        })
        .await;
        self.accept("m5", 5).await;
        self.claim().await;
        self.whole("takeover", async |store| store.leave(&[]).await)
            .await;
        self.store.renew().await.unwrap();
        self.accept("m6", 6).await;
        let claimed = self.claim().await;
        // As if the answer had been lost.
        self.store.lose(&words::account(), claimed.claim);
        self.whole("renew", async |store| store.renew().await).await;
        let failed = self
            .whole("fail_queued", async |store| {
                store
                    .fail_queued(&channel(), &words::refusal(), 1, at(6))
                    .await
            })
            .await;
        assert_eq!(failed, 1);
    }

    /// What Datastore is owed and gives back, and what becomes too old.
    async fn kept(&mut self) {
        let account = words::account();
        let taken = self
            .whole("take_dirty", async |store| {
                store.take_dirty(&account, 100, at(7)).await
            })
            .await;
        assert_eq!(taken.len(), 6);
        self.whole("settle_dirty", async |store| {
            let ends = taken.iter();
            let ends = ends.map(|one| (one.handle, one.version, DirtyEnd::Written));
            store.settle_dirty(&account, ends.collect(), at(8)).await
        })
        .await;
        self.take(vec![event("P9", Status::Sent, Some(9))]).await;
        self.server.say("ZADD gw:{acc}:ask 1 gone").await;
        let unmatched = self
            .whole("unmatched", async |store| {
                store.unmatched(&account, at(9), 10).await
            })
            .await;
        assert_eq!(unmatched.len(), 1);
        let folded = self
            .whole("adopt", async |store| {
                let id = words::provider_id("P9");
                store.adopt(&account, &id, Some(adopted()), at(9)).await
            })
            .await;
        assert_eq!(folded.emitted, 1);
        self.opt_outs().await;
        let purged = self
            .whole("purge", async |store| store.purge(at(2000), at(2000)).await)
            .await;
        assert!(purged.messages > 0, "{purged:?}");
        self.accept("m7", 7).await;
        let held = self
            .whole("hold_back", async |store| {
                store.hold_back(&words::account()).await
            })
            .await;
        assert_eq!(held, 1);
    }
}

impl Denied {
    async fn opt_outs(&mut self) {
        let account = words::account();
        let text = OptOutEntry {
            channel: channel(),
            name: OptOutName::Number(phone(9)),
            scope: OptOut::All,
            is_out: true,
            at: at(8),
            source: Source::kept(Source::IMPORT),
        };
        let taken = self
            .whole("take_opt_outs", async |store| {
                let text = vec![text.clone()];
                store.take_opt_outs(&account, Entrance::Import, text).await
            })
            .await;
        assert_eq!(taken, 1);
        let owed = self
            .whole("owed_opt_outs", async |store| {
                store.owed_opt_outs(&account, 9, at(8)).await
            })
            .await;
        assert!(owed.contains(&text), "{owed:?}");
        self.whole("opt_outs_kept", async |store| {
            store.opt_outs_kept(&account, owed.clone()).await
        })
        .await;
    }
}

fn adopted() -> Adopted {
    Adopted {
        channel: channel(),
        msg_id: MsgId::parse("old").unwrap(),
        to: Some(phone(9)),
        inferred: false,
        from: BusinessNumber::parse("12025550999").unwrap(),
        template: "7".into(),
        language: String::new(),
        campaign: None,
        conversation: None,
        progress: Progress::at(None),
        accepted_at: at(-90),
        version: 7,
    }
}

#[tokio::test]
async fn r_57_without_one_command_a_script_does_nothing_and_with_it_all() {
    let mut story = Denied::start();
    story.store.renew().await.unwrap();
    story.sent().await;
    story.told().await;
    story.ended().await;
    story.kept().await;
    let ledger = story
        .store
        .ledger_of(&words::account(), &channel())
        .await
        .unwrap();
    assert_eq!(ledger.lost(), 0, "{ledger:?}");
    assert_eq!((ledger.accepted, ledger.queued), (7, 1), "{ledger:?}");
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/redis/lua");
    let files = std::fs::read_dir(dir).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    // Not: what all share, what writes nothing or by one command only, and the parts of a roll call, which
    // went_back.rs calls: they are guarded as these are, and made again until they end.
    let others = [
        "common",
        "rate",
        "proof",
        "find",
        "ahead",
        "count_open",
        "list_opt_outs",
        "recall",
        "answer",
        "close",
        "fail_copy",
        "infer_early",
    ];
    let scripts: BTreeSet<String> = names
        .map(|name| name.trim_end_matches(".lua").to_owned())
        .filter(|name| !others.contains(&name.as_str()))
        .collect();
    let seen: BTreeSet<String> = story.seen.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(seen, scripts);
}

#[tokio::test]
async fn r_57_after_a_refusal_nothing_new_is_begun_until_all_is_permitted_again() {
    let story = Denied::start();
    let (store, server) = (&story.store, &story.server);
    let accept = async |id: &str| {
        let (account, message) = (words::account(), message(id, 1));
        store.accept(&channel(), &account, &message, at(0)).await
    };
    accept("m1").await.unwrap();
    server.say("ACL SETUSER default -zrem -lrem").await;
    // An accept needs neither.
    accept("m2").await.unwrap();
    let refused = store.claim(vec![queue()], 1, at(1)).await.unwrap_err();
    assert!(refused.to_string().contains("zrem"), "{refused}");
    for refused in [
        accept("m3").await.map(|_| ()),
        store.claim(vec![queue()], 1, at(1)).await.map(|_| ()),
        store.look().await,
        store.answers(),
        store.writable().await,
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("zrem"), "{error}");
    }
    let error = store.writable().await.unwrap_err().to_string();
    assert!(error.ends_with("needs: lrem zrem"), "{error}");
    server.say("ACL SETUSER default +zrem").await;
    let error = store.look().await.unwrap_err().to_string();
    assert!(error.ends_with("needs: lrem"), "{error}");
    server.say("ACL SETUSER default +lrem").await;
    store.look().await.unwrap();
    accept("m3").await.unwrap();
    let taken = store.claim(vec![queue()], 5, at(1)).await.unwrap().taken;
    assert_eq!(taken.len(), 3);
}

/// What 0.1 left where a command was refused in the middle of an accept, or of a claim: the message is known, and
/// stands in no queue.
#[tokio::test]
async fn r_57_a_repeat_of_a_message_without_a_place_puts_it_there() {
    for is_counted in [false, true] {
        let story = Denied::start();
        let (store, server) = (&story.store, &story.server);
        let accept = async |id: &str| {
            let (account, message) = (words::account(), message(id, 1));
            let channel = channel();
            let accepted = store.accept(&channel, &account, &message, at(0));
            accepted.await.unwrap()
        };
        let claim = async || store.claim(vec![queue()], 5, at(1)).await.unwrap().taken;
        accept("m1").await;
        server.say("DEL gw:{acc}:q:a").await;
        if !is_counted {
            server.say("DEL gw:{acc}:l:a gw:{acc}:r:12025550001").await;
        }
        assert_eq!(claim().await.len(), 0);
        assert_eq!(accept("m1").await, Accepted::Repeat { same: true });
        let places = async || server.say("ZCARD gw:{acc}:q:a").await;
        assert_eq!(places().await, "1");
        assert_eq!(accept("m1").await, Accepted::Repeat { same: true });
        assert_eq!(places().await, "1");
        let counted = server.say("HGET gw:{acc}:l:a accepted").await;
        assert_eq!(counted, "1", "counted {is_counted}");
        let taken = claim().await;
        assert_eq!(taken.len(), 1);
        // It is being sent, was tried before, was sent: a repeat changes nothing.
        let ends = [Settlement::retry(at(0)), receipt("P1")];
        let mut claimed = taken.into_iter().next();
        for end in ends {
            assert_eq!(accept("m1").await, Accepted::Repeat { same: true });
            assert_eq!(places().await, "0");
            let one = claimed.take().unwrap();
            store.settle(&one, end, String::new(), at(2)).await.unwrap();
            assert_eq!(accept("m1").await, Accepted::Repeat { same: true });
            assert_eq!(places().await, "0");
            claimed = claim().await.pop();
        }
        assert!(claimed.is_none(), "sent once");
    }
}
