//! The processes of a story on their backend: one on the embedded store, three on one Redis, each of
//! these by a road of its own on which an answer may be lost.

use super::on_embedded;
use super::on_redis::OnRedis;
use super::road::Road;
use super::*;
use crate::store::testing::RedisServer;
use std::cell::{Cell, OnceCell};
use std::rc::Rc;

pub(super) struct Rig {
    pub(super) kind: Kind,
    /// The living ones.
    pub(super) processes: Vec<Process>,
    /// How many there ever were.
    started: usize,
}

pub(super) enum Kind {
    Embedded,
    Redis(Rc<OnRedis>),
}

pub(super) struct Process {
    /// Told from all others, also from the one before in its place.
    pub(super) number: usize,
    pub(super) world: World,
    pub(super) road: Option<Road>,
}

pub(super) fn embedded() -> Rig {
    let process = Process {
        number: 0,
        world: on_embedded::world(),
        road: None,
    };
    Rig {
        kind: Kind::Embedded,
        processes: vec![process],
        started: 1,
    }
}

thread_local! {
    /// One server for all stories of a test, emptied between them.
    static SERVER: OnceCell<Rc<RedisServer>> = const { OnceCell::new() };
    /// Whether it knows every script.
    static WARM: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn redis() -> Rig {
    let server = SERVER.with(|server| {
        let started = || Rc::new(RedisServer::start());
        server.get_or_init(started).clone()
    });
    let home = Rc::new(OnRedis::on(server));
    let mut rig = Rig {
        kind: Kind::Redis(home),
        processes: Vec::new(),
        started: 0,
    };
    (0..3).for_each(|_| rig.start());
    rig
}

impl Rig {
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.kind, Kind::Redis(_))
    }

    /// Another process on the same Redis.
    fn start(&mut self) {
        let Kind::Redis(home) = &self.kind else {
            return;
        };
        let road = Road::to(&home.server);
        let world = World {
            store: home.open_by(road.link()),
            home: home.clone(),
        };
        self.processes.push(Process {
            number: self.started,
            world,
            road: Some(road),
        });
        self.started += 1;
    }

    /// A process is killed; another starts, and takes the last place.
    pub(super) async fn replace(&mut self, at: usize) {
        let old = self.processes.remove(at);
        match self.kind {
            Kind::Redis(_) => {
                drop(old);
                self.start();
                self.processes[self.processes.len() - 1].connect().await;
            }
            Kind::Embedded => {
                self.processes.push(Process {
                    number: self.started,
                    world: old.world.reopened(),
                    road: None,
                });
                self.started += 1;
            }
        }
    }

    /// Nothing is there from the story before, and Redis knows every script: the answer to a call is
    /// one answer.
    pub(super) async fn begin(&self) {
        let Kind::Redis(home) = &self.kind else {
            return;
        };
        if !WARM.replace(true) {
            let other = OnRedis::on(home.server.clone());
            rehearse(&World::new(other.open(), other)).await;
        }
        home.say("FLUSHALL").await;
        // As a start leaves it: where nobody handed out work, it may have been emptied.
        let told = home.say("INFO server").await;
        let run = told.split_once("run_id:").unwrap().1;
        let run = run.split_whitespace().next().unwrap();
        home.say(&format!("SET gw:{{acc}}:gate {run}")).await;
        for process in &self.processes {
            process.connect().await;
        }
    }

    /// However slow this machine is, nobody takes that for a silence of Redis.
    pub(super) async fn nobody_was_silent(&self) {
        if let Kind::Redis(home) = &self.kind {
            home.say("DEL gw:{acc}:beat gw:{acc}:calm").await;
        }
    }

    /// The lease of a process is over, whether it lives or not.
    pub(super) async fn end_lease(&self, number: usize) {
        if let Kind::Redis(home) = &self.kind {
            home.expire(number).await;
        }
    }
}

/// Every script once.
async fn rehearse(world: &World) {
    let queue = lane("a", Destination::Status);
    world.sent("m1", 1, "P1", 0).await;
    world.event("P1", Status::Sent, None, 0).await;
    world.relayed(&queue, 1).await;
    world.store.hasten_callbacks(&queue, at(1)).await.unwrap();
    world.sweep(true, 1).await;
    world.store.purge(at(2), at(2)).await.unwrap();
    world.store.leave(&[]).await.unwrap();
    world.check().await;
}

impl Process {
    /// Its connection stands: the next answer is the one to the next call.
    pub(super) async fn connect(&self) {
        if self.road.is_some() {
            while self.world.store.next_due(vec![channel("a")]).await.is_err() {
                // waits because the connection is made anew; bounded by the test's patience
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}
