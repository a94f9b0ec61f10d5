//! The stories' world on Redis: a server of its own, and one replica after another on it.

use super::world::CHANNELS;
use super::*;
use crate::store::redis::{self, Connection};
use crate::store::testing::{self, RedisServer};
use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;

/// A fresh one.
pub(in crate::store) fn world() -> World {
    let home = OnRedis::on(Rc::new(RedisServer::start()));
    World::new(home.open(), home)
}

/// Two processes on one server; what is stored by one is there for the other.
pub(super) fn pair() -> (Rc<OnRedis>, World, World) {
    let home = Rc::new(OnRedis::on(Rc::new(RedisServer::start())));
    let open = || World {
        store: home.open(),
        home: home.clone(),
    };
    let (first, second) = (open(), open());
    (home, first, second)
}

/// The server, and the replicas that were opened on it; where leases end, all but the last are dead.
pub(super) struct OnRedis {
    pub(super) server: Rc<RedisServer>,
    replicas: RefCell<Vec<String>>,
    marks: Cell<bool>,
}

impl OnRedis {
    /// Nobody has opened it yet.
    pub(super) fn on(server: Rc<RedisServer>) -> Self {
        Self {
            server,
            replicas: RefCell::default(),
            marks: Cell::new(false),
        }
    }

    /// A new process opens the store by this connection.
    pub(super) fn open_by(&self, link: Connection) -> Outbox {
        self.replicas.borrow_mut().push(link.replica().to_owned());
        let foreign = AccountId::parse("other").unwrap();
        let ours = CHANNELS.map(|name| (channel(name), account()));
        let channels = ours.into_iter().chain([(channel("x"), foreign)]);
        Outbox::Redis(redis::Store::open(link, channels.collect(), self.marks.get()))
    }

    /// The name of the nth process.
    pub(super) fn replica(&self, n: usize) -> String {
        self.replicas.borrow()[n].clone()
    }

    /// What Redis answers to a command.
    pub(super) async fn say(&self, words: &str) -> String {
        self.server.say(words).await
    }

    /// As if nobody had reached Redis for so many seconds.
    pub(super) async fn silent_since(&self, seconds: i64) {
        let time = self.say("TIME").await;
        let now: i64 = time.split(' ').next().unwrap().parse().unwrap();
        let beat = format!("SET gw:{{acc}}:beat {}000", now - seconds);
        self.say(&beat).await;
    }

    /// Ends the leases of the nth process, which goes on and does not know.
    pub(super) async fn expire(&self, n: usize) {
        let replica = self.replicas.borrow()[n].clone();
        testing::expire_replica(&self.server, &replica).await;
    }
}

impl Home for OnRedis {
    fn open(&self) -> Outbox {
        self.open_by(self.server.link())
    }

    fn mark(&self, on: bool) {
        self.marks.set(on);
    }

    fn end_leases<'a>(
        &'a self,
        _store: &'a Outbox,
        _seconds: i64,
        _hold: i64,
    ) -> Pin<Box<dyn Future<Output = ()> + 'a>> {
        let replicas = self.replicas.borrow().clone();
        Box::pin(async move {
            let (_alive, dead) = replicas.split_last().unwrap();
            for replica in dead {
                testing::expire_replica(&self.server, replica).await;
            }
        })
    }

    /// What the rows look like is told by the public interface alone.
    fn look_inside(&self, _ledgers: &[(ChannelId, Ledger)]) {}
}
