//! Whether the ledgers say what stands in Redis (lua/recount.lua): what is open is counted where a ledger does not
//! add up. What has ended is never counted: what is off there stays `lost`, or `uncounted` after damage.

use super::damage::{self, Text};
use super::{AccountKeys, Call, Store};
use crate::domain::ChannelId;
use crate::store::StoreError;
use std::sync::atomic::Ordering;

/// Attempts and unknown outcomes that are counted in one step, which holds Redis up. Of more none are.
const MOST: usize = 5_000;

impl Store {
    /// Looks at the ledgers of an account. What was off at the last look too is counted.
    pub(super) async fn recount(&self, home: &AccountKeys) -> Result<(), StoreError> {
        let was_off = home.is_off.load(Ordering::Relaxed);
        let mut call = Call::new(&self.shared.scripts.recount, home)
            .arg(u8::from(was_off))
            .arg(MOST);
        let channels = self.channels_of(home).map(ChannelId::as_str);
        channels.for_each(|channel| call.push(channel));
        let (is_off, damaged): (bool, Vec<Text>) = self.run(&call).await?;
        home.is_off.store(is_off, Ordering::Relaxed);
        damage::tell(damaged.iter().map(Text::shown));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Connection, Settings};
    use super::*;
    use crate::domain::UnixMs;
    use crate::store::testing::RedisServer;
    use crate::store::tests::words::{self, at, message, receipt, refusal, unknown_until};
    use crate::store::{ClaimFrom, ClaimedMessage, Ledger, Settlement, SweepScope, Uncounted};

    /// A channel with something of everything: of each two, 12 accepted.
    struct Shop {
        server: RedisServer,
        store: Store,
        taken: Vec<ClaimedMessage>,
    }

    fn channel() -> ChannelId {
        words::channel("a")
    }

    impl Shop {
        async fn open() -> Self {
            let server = RedisServer::start();
            let channels = vec![(channel(), words::account())];
            let store = Store::open(server.link(), channels, false);
            let mut shop = Self {
                server,
                store,
                taken: Vec::new(),
            };
            shop.work().await;
            shop.work().await;
            shop
        }

        /// One more of each: queued, attempting, unknown, accepted by the provider, and two failed.
        async fn work(&mut self) {
            let ends = [
                receipt(&format!("P{}", fastrand::u64(..))),
                Settlement::failed(refusal()),
                Settlement::failed(refusal()),
                unknown_until(600),
            ];
            self.store.renew().await.unwrap();
            for n in 0..6 {
                self.accept(&format!("m{}-{n}", fastrand::u64(..))).await;
            }
            let mut taken = self.claim(5).await;
            for end in ends {
                let one = taken.pop().unwrap();
                self.settle(&one, end).await;
            }
            self.taken.append(&mut taken);
        }

        async fn accept(&self, id: &str) {
            let message = message(id, fastrand::u64(1..9_000));
            let (channel, account) = (channel(), words::account());
            let accepted = self.store.accept(&channel, &account, &message, at(0));
            accepted.await.unwrap();
        }

        async fn claim(&self, most: usize) -> Vec<ClaimedMessage> {
            let queue = ClaimFrom {
                channel: channel(),
                ages: UnixMs(0).into(),
                retries: usize::MAX,
                aside: usize::MAX,
            };
            let claims = self.store.claim(vec![queue], most, at(1)).await.unwrap();
            assert_eq!(claims.taken.len(), most);
            claims.taken
        }

        async fn settle(&self, one: &ClaimedMessage, end: Settlement) {
            let settled = self.store.settle(one, end, String::new(), at(2));
            settled.await.unwrap();
        }

        async fn ledger(&self) -> Ledger {
            let (channel, account) = (channel(), words::account());
            self.store.ledger_of(&account, &channel).await.unwrap()
        }

        async fn minute(&self) {
            let rules = vec![words::sweep_rule("a", 3)];
            let swept = self.store.sweep(rules, SweepScope::Ages, at(3).into());
            assert!(swept.await.unwrap().is_empty());
        }

        /// The ledger after two minutes; what is open in it is what stands there.
        async fn looked_at(&self) -> Ledger {
            self.minute().await;
            self.minute().await;
            let ledger = self.ledger().await;
            let open = [ledger.queued, ledger.attempting, ledger.unknown];
            let there = self.store.count_open().await.unwrap();
            assert_eq!(open, there, "{ledger:?}");
            ledger
        }

        async fn harm(&self, what: &str) {
            self.server.say(&what.replace("L ", "gw:{acc}:l:a ")).await;
        }

        /// The oldest of a sorted set is deleted by hand, with all that is known of it.
        async fn delete_from(&self, set: &str) {
            let id = self.server.say(&format!("ZRANGE {set} 0 0")).await;
            assert_ne!(id, "");
            for what in ["ZREM SET ID", "DEL gw:{acc}:m:ID gw:{acc}:d:ID"] {
                let what = what.replace("SET", set).replace("ID", &id);
                self.server.say(&what).await;
            }
        }
    }

    fn off(ledger: &Ledger) -> Option<(i64, Option<&'static str>)> {
        let Uncounted {
            messages, counter, ..
        } = ledger.uncounted?;
        Some((messages, counter))
    }

    const QUEUE: &str = "gw:{acc}:q:a";
    const UNKNOWN: &str = "gw:{acc}:u";

    /// Whatever is damaged, before or after a message was deleted by hand: the message is lost, all else is not.
    #[tokio::test]
    async fn r_66_a_damaged_counter_is_uncounted_and_a_real_loss_still_shows() {
        let counters = [
            ("accepted", Some((-12, Some("accepted")))),
            ("failed", Some((4, Some("failed")))),
            (
                "accepted_by_provider",
                Some((2, Some("accepted_by_provider"))),
            ),
            ("queued", None),
            ("attempting", None),
            ("unknown", None),
        ];
        for (name, expected) in counters {
            for (value, deleted) in [("x", 0), ("''", 1), ("9223372036854775807", 2)] {
                let mut shop = Shop::open().await;
                if deleted == 0 {
                    shop.delete_from(QUEUE).await;
                    assert_eq!(shop.looked_at().await.lost(), 1);
                }
                shop.harm(&format!("HSET L {name} {value}")).await;
                if deleted == 1 {
                    shop.delete_from(QUEUE).await;
                }
                shop.work().await;
                let taken = shop.taken.remove(0);
                shop.settle(&taken, receipt("P-late")).await;
                if deleted == 2 {
                    shop.delete_from(UNKNOWN).await;
                }
                let ledger = shop.looked_at().await;
                let found = (ledger.lost(), off(&ledger));
                assert_eq!(found, (1, expected), "{name} {value}: {ledger:?}");
                // It stays so.
                shop.work().await;
                let ledger = shop.looked_at().await;
                let found = (ledger.lost(), off(&ledger));
                assert_eq!(found, (1, expected), "{name} {value}: {ledger:?}");
            }
        }
    }

    /// Nobody counts on, and it is told all the same.
    #[tokio::test]
    async fn r_66_a_damaged_counter_that_nobody_uses_is_uncounted_too() {
        let shop = Shop::open().await;
        shop.harm("HSET L accepted x").await;
        let ledger = shop.looked_at().await;
        assert_eq!(
            (ledger.lost(), off(&ledger)),
            (0, Some((-12, Some("accepted"))))
        );
        assert!(ledger.uncounted.unwrap().at.0 > 1_600_000_000_000);
    }

    /// Several at once, or all: who of them was off by how much nobody knows, and nothing is lost.
    #[tokio::test]
    async fn r_66_of_several_damaged_counters_nothing_is_lost() {
        for (what, expected) in [
            ("HSET L accepted x queued x", -12),
            ("HSET L failed x unknown x accepted x", 4 - 12),
            ("HSET L queued x attempting x", 0),
            // Of what is gone only the open is counted: 2 queued, 2 attempting, 2 unknown.
            ("SET L text", -6),
        ] {
            for works in [true, false] {
                let mut shop = Shop::open().await;
                shop.harm(what).await;
                if works {
                    shop.work().await;
                }
                let ledger = shop.looked_at().await;
                let messages = ledger.uncounted.map_or(0, |off| off.messages);
                assert_eq!(
                    (ledger.lost(), messages),
                    (0, expected),
                    "{what}: {ledger:?}"
                );
                shop.delete_from(QUEUE).await;
                let ledger = shop.looked_at().await;
                assert_eq!(ledger.lost(), 1, "{what}: {ledger:?}");
            }
        }
    }

    /// What an older program left, or a step that ended in its middle: nothing was damaged.
    #[tokio::test]
    async fn r_66_what_is_open_is_counted_when_it_was_off_twice() {
        let shop = Shop::open().await;
        shop.harm("HINCRBY L attempting -1").await;
        shop.minute().await;
        assert_eq!(shop.ledger().await.attempting, 1, "seen once");
        shop.minute().await;
        let ledger = shop.ledger().await;
        assert_eq!((ledger.attempting, ledger.lost()), (2, 0));
        assert_eq!(ledger.uncounted, None);
        // What has ended is never counted.
        shop.harm("HINCRBY L failed -1").await;
        let ledger = shop.looked_at().await;
        assert_eq!(
            (ledger.failed, ledger.lost(), ledger.uncounted),
            (3, 1, None)
        );
        shop.delete_from(UNKNOWN).await;
        let ledger = shop.looked_at().await;
        assert_eq!((ledger.failed, ledger.unknown, ledger.lost()), (3, 1, 2));
    }

    /// Redis does not permit the user to read that one key: which commands are permitted says nothing of it.
    #[tokio::test]
    async fn r_66_a_count_that_is_refused_in_the_middle_wipes_nothing() {
        let shop = Shop::open().await;
        shop.server
            .say("ACL SETUSER gw on >pw ~gw:{acc}: ~gw:{acc}:[^l]* %W~gw:{acc}:l:* +@all")
            .await;
        let settings = Settings {
            url: format!("{}?user=gw&pass=pw", shop.server.url()).into(),
            wait_replicas: 0,
        };
        let (channel, account) = (channel(), words::account());
        let channels = vec![(channel.clone(), account.clone())];
        let other = Store::open(Connection::new(&settings).unwrap(), channels, false);
        let message = message("refused", 1);
        let accepted = other.accept(&channel, &account, &message, at(0));
        accepted.await.unwrap();
        let ledger = shop.ledger().await;
        assert_eq!((ledger.accepted, ledger.queued), (12, 2));
    }
}
