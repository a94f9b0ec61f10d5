//! Where the gateways of a run keep their data, and what can be done to it as a whole.

use crate::fault::plan::{Class, Plan, Store};
use crate::fault::upset::Upset;
use crate::kit::disk::Disk;
use crate::kit::event_bodies::own_port;
use crate::kit::harness::Setup;
use crate::kit::proxy::{Direction, Road, Target, Way};
use crate::kit::redis_server::{Options, Redis};
use crate::kit::shim::Shim;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio_util::task::AbortOnDropHandle;

/// The small disk.
const DISK_MB: u64 = 96;
/// How long a replica may need to have all.
const FOLLOWS: Duration = Duration::from_secs(30);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// By whom Redis is asked while others may not do something.
const AS_OPERATOR: [&str; 5] = ["--user", "operator", "--pass", "-", "--no-auth-warning"];
/// What a server says that is no master, or is being made a replica.
const NO_MASTER: [&str; 3] = ["READONLY", "MASTERDOWN", "LOADING"];

/// What Redis is called where its name moves, and the last numbers of where it leads to.
const NAME: &str = "redis.fault";
const PLACES: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
/// Bytes a second on a long road.
const WIDE: u64 = 20_000_000;

/// Where the gateways of a run keep their data.
pub(crate) struct Ground {
    /// The one that the name leads to first, unless a replica took over.
    servers: Vec<Arc<Redis>>,
    master: usize,
    /// Where they listen for each other.
    ports: Vec<u16>,
    pub(crate) road: Option<Road>,
    /// Where the name leads to later, on the same port.
    other_road: Option<Road>,
    pub(crate) shim: Option<Shim>,
    pub(crate) disk: Option<Disk>,
    data: tempfile::TempDir,
    resets: Option<AbortOnDropHandle<()>>,
    /// Connections that were reset.
    reset: Arc<AtomicU64>,
    /// How long the append-only file was, and a copy of all files.
    length: u64,
    copy: Option<Arc<tempfile::TempDir>>,
    /// Bytes that Redis forgot.
    forgotten: u64,
}

impl Ground {
    pub(crate) async fn of(plan: &Plan) -> Self {
        let mut ground = Self {
            servers: Vec::new(),
            master: 0,
            ports: Vec::new(),
            road: None,
            other_road: None,
            shim: None,
            disk: None,
            data: tempfile::tempdir().expect("a directory"),
            resets: None,
            reset: Arc::default(),
            length: 0,
            copy: None,
            forgotten: 0,
        };
        if plan.store == Store::Redis {
            let shim = Shim::build();
            let first = start(plan, &shim).await;
            ground.road = Some(Road::to(Target::Unix(first.socket().into())).await);
            // Whoever may do all, whatever the gateways may do.
            let rules = ["on", "nopass", "~*", "&*", "+@all"];
            first.cli(&[&["ACL", "SETUSER", "operator"], &rules[..]].concat());
            ground.servers.push(first);
            if matches!(plan.class, Class::FailoverReadonly | Class::FailoverName) {
                ground.servers.push(start(plan, &shim).await);
                ground.replicate().await;
            }
            if plan.class == Class::FailoverName {
                ground.name_two().await;
            }
            if let (Some(road), 1..) = (&ground.road, plan.distance_ms) {
                road.set(far(plan.distance_ms));
            }
            ground.shim = Some(shim);
        } else if plan.class == Class::DiskFull {
            let disk = Disk::new(DISK_MB);
            ground.disk = Some(disk.expect("run.sh starts this where it may mount"));
        }
        ground
    }

    /// The setup of a gateway that keeps its data here.
    pub(crate) fn hold(&self, plan: &Plan, setup: Setup) -> Setup {
        if let (Some(redis), Some(road)) = (self.servers.first(), &self.road) {
            let url = match plan.class {
                Class::FailoverName => format!("redis://{NAME}:{}", road.addr().port()),
                _ => format!("redis://{}", road.addr()),
            };
            let setup = match plan.wait_replicas {
                0 => setup,
                wait => setup.env("REDIS_WAIT_REPLICAS", &wait.to_string()),
            };
            return setup.sharing(redis).by_way_of(&url);
        }
        let dir = self.disk.as_ref().map_or(self.data.path(), Disk::path);
        setup.env("DATA_DIR", &dir.join("data").display().to_string())
    }

    /// The one that the name leads to.
    pub(crate) fn redis(&self) -> Option<Arc<Redis>> {
        self.servers.get(self.master).cloned()
    }

    fn master(&self) -> Arc<Redis> {
        self.redis().expect("a class of Redis alone")
    }

    /// The second one becomes a replica of the first.
    async fn replicate(&mut self) {
        self.ports = self.servers.iter().map(|_| own_port()).collect();
        for (server, port) in self.servers.iter().zip(&self.ports) {
            server.listen(*port);
        }
        self.servers[1].follow(self.ports[0]);
        until_it_follows(&self.servers[1]).await;
    }

    /// The road that the name leads to later.
    async fn name_two(&mut self) {
        let road = self.road.as_ref().expect("a class of Redis alone");
        let mut at = road.addr();
        at.set_ip(PLACES[1].into());
        let second = Target::Unix(self.servers[1].socket().into());
        self.other_road = Some(Road::from(at, second).await);
    }

    pub(crate) async fn begin(&mut self, upset: Upset) {
        let redis = self.master();
        match upset {
            Upset::Failover => self.fail_over().await,
            Upset::TwoMasters => self.promote().await,
            Upset::Clock(seconds) => self.shift(seconds),
            Upset::Resets(each_ms) => self.resets = Some(self.reset_all(each_ms)),
            Upset::Forbid(command) => permit(&redis, &format!("-{command}")),
            Upset::TailLost => self.length = redis.length(),
            Upset::PutBack { .. } => {
                self.length = redis.length();
                self.copy = Some(Arc::new(redis.copy()));
            }
        }
    }

    pub(crate) async fn end(&mut self, upset: Upset) {
        let (redis, length) = (self.master(), self.length);
        match upset {
            // Nothing of it ends: the other one is the master now.
            Upset::Failover => {}
            // The old one hears of it at last.
            Upset::TwoMasters => {
                self.servers[0].follow(self.ports[1]);
                self.master = 1;
            }
            Upset::Clock(_) => self.shift(0),
            Upset::Resets(_) => self.resets = None,
            Upset::Forbid(command) => permit(&redis, &format!("+{command}")),
            Upset::TailLost => {
                let cut = tokio::task::spawn_blocking(move || redis.cut_to(length)).await;
                self.forgotten += cut.expect("Redis starts again");
            }
            Upset::PutBack { .. } => {
                self.forgotten += redis.length().saturating_sub(length);
                let copy = self.copy.clone().expect("made at the beginning");
                let done = tokio::task::spawn_blocking(move || redis.put_back(&copy)).await;
                done.expect("Redis starts again");
            }
        }
    }

    /// How often a harm of this kind has shown so far.
    pub(crate) fn shown(&self, upset: Upset) -> u64 {
        match upset {
            Upset::Failover => {
                let all = self.servers.iter().map(|one| errors(&[], one, &NO_MASTER));
                all.sum()
            }
            // Who came by the name found the other one.
            Upset::TwoMasters => callers(&self.servers[1]),
            Upset::Clock(_) => self.shim.as_ref().map_or(0, |shim| shim.seen().clocks),
            Upset::Resets(_) => self.reset.load(Ordering::Relaxed),
            Upset::Forbid(_) => {
                let redis = self.master();
                errors(&AS_OPERATOR, &redis, &["NOPERM"]) + logged(&redis)
            }
            Upset::TailLost | Upset::PutBack { .. } => self.forgotten,
        }
    }

    fn shift(&self, seconds: i64) {
        let shim = self.shim.as_ref().expect("a class of Redis alone");
        shim.clock(seconds * 1_000);
    }

    /// Every second connection of the first server is reset.
    pub(crate) fn reset_half(&self) {
        let all = self.servers[0].cli(&["CLIENT", "LIST", "TYPE", "normal"]);
        let id = |line: &str| Some(line.strip_prefix("id=")?.split_once(' ')?.0.to_owned());
        // Whoever asks is there too.
        let others = all.lines().filter(|line| !line.contains("cmd=client|list"));
        for id in others.filter_map(id).step_by(2) {
            self.servers[0].cli(&["CLIENT", "KILL", "ID", &id]);
        }
    }

    /// The replica takes over, and the master lives on.
    async fn promote(&mut self) {
        until_it_follows(&self.servers[1]).await;
        let promoted = self.servers[1].cli(&["REPLICAOF", "NO", "ONE"]);
        assert!(promoted.starts_with("OK"), "{promoted}");
    }

    async fn fail_over(&mut self) {
        let (old, new) = (self.master, 1 - self.master);
        let (master, replica) = (&self.servers[old], &self.servers[new]);
        until_it_follows(replica).await;
        let promoted = replica.cli(&["REPLICAOF", "NO", "ONE"]);
        assert!(promoted.starts_with("OK"), "{promoted}");
        let road = self.road.as_ref().expect("a class of Redis alone");
        road.lead_to(Target::Unix(replica.socket().into()));
        master.follow(self.ports[new]);
        self.master = new;
    }

    /// Resets all connections again and again, until it is dropped.
    fn reset_all(&self, each_ms: u64) -> AbortOnDropHandle<()> {
        let (redis, reset) = (self.master(), self.reset.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                let redis = redis.clone();
                let kill = move || redis.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
                let killed = tokio::task::spawn_blocking(kill).await;
                let killed = killed.expect("Redis answers").parse().unwrap_or(0);
                reset.fetch_add(killed, Ordering::Relaxed);
                // waits because the plan says how long
                tokio::time::sleep(Duration::from_millis(each_ms)).await;
            }
        }))
    }
}

async fn start(plan: &Plan, shim: &Shim) -> Arc<Redis> {
    let options = match plan.redis_always {
        true => Options::always(),
        false => Options::every_second(),
    };
    let env = shim.env();
    let start = move || Arc::new(Redis::start_under(options, &env));
    let redis = tokio::task::spawn_blocking(start).await;
    redis.expect("Redis starts")
}

fn far(delay_ms: u64) -> Way {
    Way::Slow {
        delay_ms,
        bytes_per_second: WIDE,
        direction: Direction::Both,
    }
}

/// How many connections a server has but for the one that asks.
fn callers(redis: &Redis) -> u64 {
    let all = redis.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
    all.lines().count().saturating_sub(1) as u64
}

async fn until_it_follows(replica: &Redis) {
    let give_up = Instant::now() + FOLLOWS;
    while !replica
        .cli(&["INFO", "replication"])
        .contains("master_link_status:up")
    {
        assert!(Instant::now() < give_up, "the replica does not follow");
        // waits because two other processes talk; bounded
        tokio::time::sleep(LOOK).await;
    }
}

/// Changes what the gateways may do.
fn permit(redis: &Redis, rule: &str) {
    let rules = ["ACL", "SETUSER", "default", rule];
    assert_eq!(redis.cli(&[&AS_OPERATOR[..], &rules].concat()), "OK");
}

/// How often a server answered with one of these errors.
fn errors(by: &[&str], redis: &Redis, words: &[&str]) -> u64 {
    let told = redis.cli(&[by, &["INFO", "errorstats"]].concat());
    let count = |line: &str| {
        let (word, count) = line.strip_prefix("errorstat_")?.split_once(":count=")?;
        words
            .contains(&word)
            .then(|| count.trim().parse::<u64>())?
            .ok()
    };
    told.lines().filter_map(count).sum()
}

/// How many refusals its own log of them has.
fn logged(redis: &Redis) -> u64 {
    let told = redis.cli(&[&AS_OPERATOR[..], &["ACL", "LOG"]].concat());
    let lines: Vec<&str> = told.lines().collect();
    let counts = lines.windows(2).filter(|pair| pair[0] == "count");
    counts.filter_map(|pair| pair[1].parse::<u64>().ok()).sum()
}
