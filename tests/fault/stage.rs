//! The parts of one run and what can be done to them: sandbox, gateways, the roads between them, the
//! disk and the clock. What they keep their data in is `ground.rs`.

use crate::fault::ground::Ground;
use crate::fault::plan::{Class, Harm, Party, Plan};
use crate::fault::quiet::quietly;
use crate::fault::settings::{self, Pair};
use crate::fault::traffic::Posted;
use crate::fault::upset::Upset;
use crate::kit::disk::Disk;
use crate::kit::event_bodies::figure;
use crate::kit::harness::{Gateway, SECRET, Sandbox, Setup};
use crate::kit::log::{Log, Reader};
use crate::kit::proxy::{Road, Target, Way};
use crate::kit::redis_server::Redis;
use crate::kit::shim::{Seen, Shim};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::task::AbortOnDropHandle;

/// How long a gateway may take to come back, whatever else is broken meanwhile.
const COME_BACK: Duration = Duration::from_secs(60);
/// The free space below which the gateway stops accepting, on the small disk.
const MIN_FREE: &str = "store.min_free=2MB";
/// The disk of a log: more than all logs of a run.
const LOG_DISK_MB: u64 = 64;
/// How long Redis may take to answer and is not called stopped.
const PING: Duration = Duration::from_millis(300);
/// How long a gateway may take to show its metrics.
const METRICS: Duration = Duration::from_secs(2);
/// How long a machine sleeps by its own steady clock.
const ASLEEP: Duration = Duration::from_millis(300);
/// How long the messages of all others may take, however busy the machine is.
const OTHERS: Duration = Duration::from_secs(150);
/// How long none of them may go on.
const STALL: Duration = Duration::from_secs(20);
/// The most messages that one person gets.
const OF_ONE_PERSON: u64 = 2;
/// How long callers stay with a gateway.
const TURN: Duration = Duration::from_millis(100);
/// After so many turns callers are led to a gateway that stands still too.
const LOOKS: usize = 16;

/// How often an operator looks.
const OPERATOR: Duration = Duration::from_millis(300);
/// The flag of the first start over a copy that was put back.
const HOLD: &str = "--hold";

/// A place for a gateway process, empty while it is dead.
type Slot = Arc<Mutex<Option<Gateway>>>;

/// One run's world.
pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sandbox: Sandbox,
    ground: Ground,
    jumper: Road,
    moengage: Road,
    pub(crate) door: Arc<Road>,
    slots: Vec<Slot>,
    setups: Vec<Setup>,
    shims: Vec<Shim>,
    /// Where the logs of the replicas lead, when they are to be harmed.
    log_ways: Vec<LogWay>,
    /// What dead processes printed.
    logs: Arc<Mutex<Vec<String>>>,
    /// The last start of each replica; whoever stops one waits for that.
    starting: Vec<Option<JoinHandle<()>>>,
    /// What an operator is at.
    errands: JoinSet<()>,
    /// Processes that were killed or told to end.
    stopped: u64,
    /// Messages that the operator let fail.
    decided: Arc<AtomicUsize>,
    pub(crate) posted: Arc<Posted>,
}

fn address(url: &str) -> SocketAddr {
    let rest = url.trim_start_matches("http://");
    rest.parse().expect("an address of this machine")
}

/// Where the log of a replica leads.
enum LogWay {
    Pipe(Arc<Log>),
    /// A small disk of its own.
    Disk(Disk, Arc<Log>),
}

impl LogWay {
    fn of(class: Class) -> Option<Self> {
        match class {
            Class::LogGone | Class::LogStalled => Some(Self::Pipe(Log::pipe())),
            Class::LogFull => {
                let disk = Disk::new(LOG_DISK_MB).expect("run.sh starts this where it may mount");
                let log = Log::file(&disk.path().join("log"));
                Some(Self::Disk(disk, log))
            }
            _ => None,
        }
    }

    fn log(&self) -> &Arc<Log> {
        match self {
            Self::Pipe(log) | Self::Disk(_, log) => log,
        }
    }

    fn harm(&self, class: Class) {
        match self {
            Self::Pipe(log) if class == Class::LogGone => log.set(Reader::Gone),
            Self::Pipe(log) => log.set(Reader::Stalls),
            Self::Disk(disk, _) => disk.fill(0),
        }
    }

    fn heal(&self) {
        match self {
            Self::Pipe(log) => log.set(Reader::Reads),
            Self::Disk(disk, _) => disk.empty(),
        }
    }
}

impl Stage {
    pub(crate) async fn build(plan: Arc<Plan>) -> Self {
        let sandbox = Sandbox::start_seeded(plan.seed, plan.knobs.clone()).await;
        let fakes = Target::Tcp(address(&sandbox.url));
        let jumper = Road::to(fakes.clone()).await;
        let moengage = Road::to(fakes).await;
        let ground = Ground::of(&plan).await;
        let shims: Vec<Shim> = (0..plan.replicas).map(|_| Shim::build()).collect();
        let log_ways: Vec<LogWay> = (0..plan.replicas)
            .filter_map(|_| LogWay::of(plan.class))
            .collect();
        let setups = shims.iter().enumerate().map(|(n, shim)| {
            let mut setup = setup(&plan, &sandbox, &jumper, &moengage);
            setup.env.extend(shim.env());
            setup.log = log_ways.get(n).map(|way| way.log().clone());
            ground.hold(&plan, setup)
        });
        let setups: Vec<Setup> = setups.collect();
        let ours = setups.clone();
        // On a thread of its own: it waits for a line, and the roads are served by these threads.
        let started = tokio::task::spawn_blocking(move || {
            let gateways = ours.into_iter().map(Gateway::start_unheard);
            gateways.collect::<Vec<_>>()
        });
        let gateways = started.await.expect("the gateways start");
        let door = Road::to(Target::Tcp(address(&gateways[0].url))).await;
        let webhook = format!("http://{}/jumper_callback/{SECRET}", door.addr());
        let entry = json!([{ "permission": "livechat", "webhook": webhook, "deliver": true }]);
        sandbox.put("subscriptions", entry).await;
        let slot = |one| Arc::new(Mutex::new(Some(one)));
        Self {
            plan,
            sandbox,
            ground,
            jumper,
            moengage,
            door: Arc::new(door),
            starting: gateways.iter().map(|_| None).collect(),
            slots: gateways.into_iter().map(slot).collect(),
            setups,
            shims,
            log_ways,
            logs: Arc::default(),
            errands: JoinSet::new(),
            stopped: 0,
            decided: Arc::default(),
            posted: Arc::default(),
        }
    }

    /// Leads whoever calls to the gateways that live, in turn, until it is dropped.
    pub(crate) fn rotate(&self) -> AbortOnDropHandle<()> {
        let (slots, door) = (self.slots.clone(), self.door.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            for turn in 0.. {
                lead(&slots, &door, turn);
                // waits because callers stay with a gateway for a moment
                tokio::time::sleep(TURN).await;
            }
        }))
    }

    fn road(&self, party: Party) -> &Road {
        match (party, &self.ground.road) {
            (Party::Jumper, _) => &self.jumper,
            (Party::Moengage, _) => &self.moengage,
            (Party::Redis, Some(road)) => road,
            (Party::Redis, None) | (Party::Caller, _) => &self.door,
        }
    }

    /// Whether anything took the long road to Redis.
    pub(crate) fn far_away(&self) -> bool {
        self.ground
            .road
            .as_ref()
            .is_some_and(|road| road.harmed() > 0)
    }

    /// Does a harm.
    pub(crate) async fn begin(&mut self, harm: &Harm) {
        match harm {
            Harm::Kill(replica) => self.kill(*replica).await,
            Harm::Freeze(replica) => self.freeze(*replica, "-STOP").await,
            Harm::Restart(replica, _) => self.terminate(*replica).await,
            Harm::RedisKill => self.redis(Redis::kill9),
            Harm::RedisPause => self.redis(Redis::pause),
            Harm::Upset(upset) => {
                self.ground.begin(*upset).await;
                if *upset == Upset::TwoMasters {
                    self.move_name();
                }
            }
            Harm::Road(party, way) => self.road(*party).set(*way),
            Harm::Knobs(knobs) => self.sandbox.knobs(knobs.clone()).await,
            Harm::Clock(replica, seconds) => self.shims[*replica].clock(seconds * 1_000),
            Harm::Sleep(replica, seconds) => {
                self.freeze(*replica, "-STOP").await;
                // waits because what is under way when a machine falls asleep stands still
                tokio::time::sleep(ASLEEP).await;
                self.shims[*replica].clock(seconds * 1_000);
                self.freeze(*replica, "-CONT").await;
            }
            Harm::Answer(answer) => {
                self.sandbox.post("rules", answer.clone()).await;
            }
            Harm::SlowDisk(ms) => self.slow(*ms),
            Harm::FullDisk(leave) => self.fill(Some(*leave)),
            Harm::FailWrites(why) => self.fail_writes(Some(*why)),
            Harm::Log(replica) => self.log_ways[*replica].harm(self.plan.class),
            Harm::Script(outcomes) => self.sandbox.script("send", outcomes).await,
            Harm::List(list) => {
                let rule = json!({ "route": "list", "list": list });
                self.sandbox.post("rules", rule).await;
            }
            Harm::RevokeAccess => {
                self.sandbox.post("token/revoke-access", json!({})).await;
            }
            Harm::KillRefresh => {
                self.sandbox.post("token/kill-refresh", json!({})).await;
            }
        }
    }

    /// How often a harm of this kind has shown so far. More at its end than before it began, and it
    /// bit.
    pub(crate) async fn shown(&self, harm: &Harm) -> u64 {
        match harm {
            Harm::Kill(_) | Harm::Restart(..) => self.stopped,
            Harm::Freeze(replica) => {
                let slot = lock(&self.slots[*replica]);
                let pid = slot.as_ref().map(|one| one.process.id());
                u64::from(pid.is_some_and(stands_still))
            }
            Harm::RedisKill | Harm::RedisPause => u64::from(!self.redis_answers().await),
            Harm::Upset(upset) => self.ground.shown(*upset),
            Harm::Road(party, _) => self.road(*party).harmed() as u64,
            Harm::Clock(replica, _) | Harm::Sleep(replica, _) => self.shims[*replica].seen().clocks,
            Harm::Log(replica) => self.lost_lines(*replica).await,
            Harm::SlowDisk(_) => self.seen(|seen| seen.syncs),
            // Also where the gateway lets nothing in because there is little room.
            Harm::FullDisk(_) | Harm::FailWrites(_) => {
                let refused = self.posted.refused.load(Ordering::Relaxed);
                self.seen(|seen| seen.refusals) + refused as u64
            }
            Harm::Knobs(_)
            | Harm::Script(_)
            | Harm::List(_)
            | Harm::Answer(_)
            | Harm::RevokeAccess
            | Harm::KillRefresh => counted(harm, &self.sandbox.counts().await),
        }
    }

    /// Lines of its log that a replica says it lost; 0 of one that does not say.
    async fn lost_lines(&self, replica: usize) -> u64 {
        let asked = lock(&self.slots[replica])
            .as_ref()
            .map(|one| one.http.get(format!("{}/metrics", one.ops)));
        let Some(asked) = asked else { return 0 };
        let answer = tokio::time::timeout(METRICS, asked.send()).await;
        let text = match answer {
            Ok(Ok(answer)) => answer.text().await.unwrap_or_default(),
            _ => String::new(),
        };
        figure(&text, "gateway_log_lines_lost_total") as u64
    }

    fn seen(&self, what: fn(Seen) -> u64) -> u64 {
        let shims = self.shims.iter().chain(&self.ground.shim);
        shims.map(|shim| what(shim.seen())).sum()
    }

    async fn redis_answers(&self) -> bool {
        let Some(redis) = self.ground.redis() else {
            return true;
        };
        let ping = async {
            let mut line = UnixStream::connect(redis.socket()).await.ok()?;
            line.write_all(b"PING\r\n").await.ok()?;
            line.read(&mut [0; 8]).await.ok().filter(|read| *read > 0)
        };
        let answer = tokio::time::timeout(PING, ping).await;
        answer.is_ok_and(|answer| answer.is_some())
    }

    /// Ends a harm.
    pub(crate) async fn end(&mut self, harm: &Harm) {
        match harm {
            Harm::Kill(replica) => self.start(*replica, &[]),
            Harm::Restart(replica, settings) => self.start(*replica, settings),
            Harm::RedisKill => {
                if let Some(redis) = self.ground.redis() {
                    let started = tokio::task::spawn_blocking(move || redis.restart());
                    started.await.expect("Redis starts again");
                }
            }
            Harm::RedisPause => self.redis(Redis::resume),
            Harm::Upset(Upset::ANEW) => self.all_anew().await,
            Harm::Upset(upset) => self.ground.end(*upset).await,
            Harm::Road(party, _) => self.road(*party).set(Way::Open),
            Harm::Knobs(knobs) => self.sandbox.knobs(self.usual(knobs)).await,
            Harm::Clock(replica, _) | Harm::Sleep(replica, _) => self.shims[*replica].clock(0),
            Harm::SlowDisk(_) => self.slow(0),
            Harm::FullDisk(_) => self.fill(None),
            Harm::FailWrites(_) => self.fail_writes(None),
            Harm::Log(replica) => self.log_ways[*replica].heal(),
            Harm::Freeze(replica) => self.freeze(*replica, "-CONT").await,
            Harm::Answer(answer) => {
                if answer["recipient"].is_string() {
                    self.others_ended().await;
                }
                self.sandbox.delete("rules").await;
            }
            // A bad time lasts for a time, not for a number of calls: trials of a hold make one call in
            // minutes.
            Harm::List(_) | Harm::Script(_) => self.sandbox.delete("rules").await,
            Harm::KillRefresh => self.new_seed().await,
            Harm::RevokeAccess => {}
        }
    }

    /// These knobs as the plan began; `null` is the sandbox's default.
    fn usual(&self, knobs: &Value) -> Value {
        let names = knobs.as_object().expect("knobs are an object").keys();
        names
            .map(|name| (name.clone(), self.plan.knobs[name].clone()))
            .collect()
    }

    fn redis(&self, act: impl FnOnce(&Redis)) {
        if let Some(redis) = self.ground.redis() {
            act(&redis);
        }
    }

    fn slow(&self, ms: i64) {
        for shim in self.shims.iter().chain(&self.ground.shim) {
            shim.sync_delay(ms);
        }
    }

    fn fill(&self, leave: Option<u64>) {
        let Some(disk) = &self.ground.disk else {
            return;
        };
        match leave {
            Some(bytes) => disk.fill(bytes),
            None => disk.empty(),
        }
    }

    fn fail_writes(&self, why: Option<i32>) {
        // On Redis it is the disk of Redis; the gateways have none.
        match &self.ground.shim {
            Some(shim) => shim.fail_writes(why),
            None => self.shims.iter().for_each(|shim| shim.fail_writes(why)),
        }
    }

    /// The name of Redis leads to the other one, and half of those at the first have to look for it.
    fn move_name(&self) {
        self.shims.iter().for_each(|shim| shim.name(1));
        self.ground.reset_half();
    }

    /// All gateways die, a copy of the store is put back, and they start as docs/redis.md says.
    async fn all_anew(&mut self) {
        for replica in 0..self.slots.len() {
            self.kill(replica).await;
        }
        self.ground.end(Upset::ANEW).await;
        self.setups[0].set.push(HOLD.to_owned());
        self.start(0, &[]);
        self.setups[0].set.pop();
        self.started(0).await;
        assert!(
            self.with(|gateway| gateway.process.output().contains(HOLD)),
            "it does not say that it holds"
        );
        for replica in 1..self.slots.len() {
            self.start(replica, &[]);
        }
    }

    /// An operator looks whether something is held because the store went back, and lets fail what
    /// waited then, until it is dropped. Adds up how many messages that were.
    pub(crate) fn operator(&self) -> AbortOnDropHandle<()> {
        let (slots, decided) = (self.slots.clone(), self.decided.clone());
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut done = BTreeSet::new();
            for turn in 0.. {
                // waits because an operator looks now and then
                tokio::time::sleep(OPERATOR).await;
                let slot = &slots[turn % slots.len()];
                let there = lock(slot)
                    .as_ref()
                    .map(|one| (one.http.clone(), format!("{}/api/holds", one.ops)));
                let Some((http, holds)) = there else { continue };
                let Some(answer) = read(http.get(&holds)).await else {
                    continue;
                };
                let items = answer["items"].as_array().into_iter().flatten();
                let id = |hold: &Value| hold["id"].as_str().unwrap_or_default().to_owned();
                for hold in items.filter(|hold| id(hold).starts_with("store:")) {
                    let confirm = json!({ "confirm": hold["waiting"] });
                    let fail = http.post(format!("{holds}/{}/fail", id(hold)));
                    let failing = read(fail.json(&confirm)).await.unwrap_or_default();
                    // What is told once more is not counted once more.
                    if failing["failing"].is_u64() && done.insert(hold["since"].to_string()) {
                        let messages = failing["failing"].as_u64().unwrap_or(0) as usize;
                        decided.fetch_add(messages, Ordering::Relaxed);
                    }
                }
            }
        }))
    }

    /// Messages that the operator let fail.
    pub(crate) fn decided(&self) -> usize {
        self.decided.load(Ordering::Relaxed)
    }

    async fn kill(&mut self, replica: usize) {
        self.started(replica).await;
        let dead = lock(&self.slots[replica]).take();
        if let Some(mut gateway) = dead {
            gateway.process.kill();
            self.stopped += 1;
            self.bury(&gateway);
        }
        lead(&self.slots, &self.door, replica + 1);
    }

    async fn freeze(&mut self, replica: usize, signal: &str) {
        self.started(replica).await;
        if let Some(gateway) = lock(&self.slots[replica]).as_ref() {
            let pid = gateway.process.id().to_string();
            let sent = Command::new("kill").args([signal, &pid]).status();
            assert!(sent.is_ok_and(|sent| sent.success()), "kill {signal} {pid}");
        }
    }

    /// SIGTERM; the start that follows waits for the end.
    async fn terminate(&mut self, replica: usize) {
        self.started(replica).await;
        if let Some(gateway) = lock(&self.slots[replica]).as_ref() {
            gateway.process.terminate();
            self.stopped += 1;
        }
    }

    /// An operator gets a new refresh token from Jumper and puts it in, until a gateway took it.
    async fn new_seed(&mut self) {
        let mut seed = self.sandbox.post("token/new-seed", json!({})).await;
        let (control, slots) = (self.sandbox.http.clone(), self.slots.clone());
        let path = format!("{}/_sandbox/token/new-seed", self.sandbox.url);
        self.errands.spawn(async move {
            let give_up = Instant::now() + COME_BACK;
            for turn in 0.. {
                let slot = &slots[turn % slots.len()];
                let there = lock(slot)
                    .as_ref()
                    .map(|one| (one.http.clone(), one.ops.clone()));
                if let Some((http, ops)) = there {
                    let put = http.put(format!("{ops}/api/accounts/default/token/seed"));
                    let answer = put.json(&seed).send().await;
                    match answer.map(|answer| answer.status()) {
                        Ok(status) if status.is_success() => return,
                        // Jumper may have forgotten this one too by now.
                        Ok(status) if status.is_client_error() => {
                            let another = control.post(&path).json(&json!({})).send().await;
                            let another = another.expect("the sandbox answers");
                            seed = another.json().await.expect("a seed");
                        }
                        _ => {}
                    }
                }
                assert!(Instant::now() < give_up, "no gateway takes the new seed");
                // waits because an operator tries again; bounded
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        });
    }

    fn bury(&self, gateway: &Gateway) {
        let log = gateway.process.output();
        self.logs.lock().expect("no panic holds it").push(log);
    }

    /// Starts a replica, again and again until it is there, as whoever supervises it would.
    fn start(&mut self, replica: usize, settings: &[(&'static str, String)]) {
        for (name, value) in settings {
            self.setups[replica].set.push(format!("{name}={value}"));
        }
        let (slot, setup) = (self.slots[replica].clone(), self.setups[replica].clone());
        let logs = self.logs.clone();
        self.starting[replica] = Some(tokio::task::spawn_blocking(move || {
            let old = lock(&slot).take();
            if let Some(mut old) = old {
                // After SIGTERM it ends in order; nobody else may open its store before.
                old.process.wait();
                logs.lock()
                    .expect("no panic holds it")
                    .push(old.process.output());
            }
            let give_up = Instant::now() + COME_BACK;
            loop {
                let started = quietly(|| Gateway::start_unheard(setup.clone()));
                match started {
                    Ok(gateway) => break *lock(&slot) = Some(gateway),
                    Err(_) if Instant::now() < give_up => {}
                    Err(why) => std::panic::resume_unwind(why),
                }
            }
        }));
    }

    /// Waits until nothing is open but the messages of one recipient, or for too long.
    async fn others_ended(&self) {
        let give_up = Instant::now() + OTHERS;
        let (mut least, mut stalled_at) = (u64::MAX, Instant::now() + STALL);
        while Instant::now() < give_up.min(stalled_at) {
            let unposted = self.plan.messages - self.posted.accepted_at().len();
            let ledger = self.ledger().await;
            let open = ["queued", "in_flight", "held", "unknown"];
            let open = open.map(|name| ledger["total"][name].as_u64().unwrap_or(u64::MAX / 8));
            let left = unposted as u64 + open.iter().sum::<u64>();
            if left <= OF_ONE_PERSON {
                return;
            }
            if left < least {
                (least, stalled_at) = (left, Instant::now() + STALL);
            }
            // waits because it polls another process; bounded
            tokio::time::sleep(TURN).await;
        }
    }

    /// Waits until a replica that is being started is there.
    async fn started(&mut self, replica: usize) {
        if let Some(start) = self.starting[replica].take() {
            start.await.expect("a gateway comes back");
        }
    }

    /// Waits until every replica that was to come back is there, and every errand is done.
    pub(crate) async fn all_started(&mut self) {
        for replica in 0..self.slots.len() {
            self.started(replica).await;
        }
        while let Some(done) = self.errands.join_next().await {
            done.expect("the operator gets through");
        }
    }

    /// A gateway that lives, to ask it something.
    pub(crate) fn with<T>(&self, ask: impl FnOnce(&Gateway) -> T) -> T {
        let slot = self.slots.iter().find(|slot| lock(slot).is_some());
        let held = lock(slot.expect("a gateway lives"));
        ask(held.as_ref().expect("it was there"))
    }

    /// The ledger of a gateway that lives, the rows counted too.
    pub(crate) async fn ledger(&self) -> Value {
        self.ask("/api/ledger").await
    }

    /// A message as the gateway knows it.
    pub(crate) async fn message(&self, msg_id: &str) -> Value {
        self.ask(&format!("/api/messages/{msg_id}")).await
    }

    /// What a gateway that lives holds; nothing of one that does not know.
    pub(crate) async fn holds(&self) -> Vec<Value> {
        let holds = self.ask("/api/holds").await;
        holds["items"].as_array().cloned().unwrap_or_default()
    }

    async fn ask(&self, path: &str) -> Value {
        let request = self.with(|gateway| gateway.http.get(format!("{}{path}", gateway.ops)));
        match request.send().await {
            Ok(answer) => answer.json().await.unwrap_or_default(),
            Err(_) => Value::Null,
        }
    }

    /// Which settings of the gateways are not the defaults.
    pub(crate) fn settings(&self) -> BTreeSet<Pair> {
        settings::of(&self.setups)
    }

    /// The process ids of all gateways.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let of = |slot: &Slot| lock(slot).as_ref().map(|one| one.process.id());
        self.slots.iter().filter_map(of).collect()
    }

    /// No call reaches a gateway any more, and none leaves it.
    pub(crate) fn close_roads(&self) {
        for road in [&self.jumper, &self.moengage, &*self.door] {
            road.set(Way::Refuse);
        }
    }

    /// All that any gateway of this run printed.
    pub(crate) fn logs(&self) -> Vec<String> {
        let mut logs = self.logs.lock().expect("no panic holds it").clone();
        for slot in &self.slots {
            logs.extend(lock(slot).as_ref().map(|one| one.process.output()));
        }
        logs
    }
}

/// What a gateway answers, if it does.
async fn read(request: reqwest::RequestBuilder) -> Option<Value> {
    request.send().await.ok()?.json().await.ok()
}

fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Gateway>> {
    slot.lock().expect("no panic holds it")
}

/// How often the fakes met with such a harm, by their counts.
fn counted(harm: &Harm, counts: &Value) -> u64 {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let outcome = |name: &str| number(&counts["outcomes"][name]);
    let by_knob = |name: &String| match name.as_str() {
        "event_delay_ms" => number(&counts["sends_accepted"]),
        "old_access_survives" | "refresh_slow_ms" | "refresh_lost_answer" => {
            number(&counts["refreshes"])
        }
        _ if name.starts_with("moengage_") => number(&counts["callback_posts"]),
        _ => outcome(name.trim_start_matches("share_")),
    };
    match harm {
        Harm::Knobs(knobs) => knobs
            .as_object()
            .into_iter()
            .flat_map(|knobs| knobs.keys())
            .map(by_knob)
            .sum(),
        Harm::Script(outcomes) => {
            let name = |text: &&str| text.split(':').next().unwrap_or_default().to_owned();
            outcomes.iter().map(|text| outcome(&name(text))).sum()
        }
        Harm::List(_) => outcome("list"),
        Harm::Answer(answer) => outcome(answer["outcome"].as_str().unwrap_or("rule")),
        Harm::RevokeAccess => number(&counts["calls"]["unauthorized"]),
        Harm::KillRefresh => number(&counts["refreshes_denied"]),
        _ => 0,
    }
}

/// Leads callers to one of the gateways that live. One that stands still is left out but for now and
/// then, as by a balancer that looks whether it answers.
fn lead(slots: &[Slot], door: &Road, turn: usize) {
    let looks = turn.is_multiple_of(LOOKS);
    let of = |slot: &Slot| {
        let slot = lock(slot);
        let one = slot.as_ref()?;
        (looks || !stands_still(one.process.id())).then(|| address(&one.url))
    };
    let alive: Vec<SocketAddr> = slots.iter().filter_map(of).collect();
    if !alive.is_empty() {
        door.lead_to(Target::Tcp(alive[(turn + turn / LOOKS) % alive.len()]));
    }
}

/// Whether a process was stopped by a signal.
fn stands_still(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| rest.starts_with('T'))
}

/// Which lines are logged.
fn filter(plan: &Plan) -> &'static str {
    match plan.class {
        // Enough to fill the buffer in a run.
        Class::LogStalled => "trace",
        _ if plan.seed % 4 < 2 => "debug",
        _ => "info",
    }
}

/// The gateway's settings: the defaults, but for what makes a run of this class take minutes.
fn setup(plan: &Plan, sandbox: &Sandbox, jumper: &Road, moengage: &Road) -> Setup {
    let mut setup = Setup::towards(sandbox)
        .env("JUMPER_API_URL", &format!("http://{}", jumper.addr()))
        .env(
            "MOENGAGE_CALLBACK_URL",
            &format!("http://{}/moengage/dlr", moengage.addr()),
        )
        .env("RATE_PER_SECOND", &plan.rate.to_string())
        .env("RUST_LOG", filter(plan))
        .env("CONCURRENT_API_CALLS", &plan.concurrency.to_string())
        .env("AMBIGUOUS_HOLD", &format!("{}ms", plan.hold_ms));
    if Class::OF_POLICY.contains(&plan.class) {
        setup.set.retain(|pair| !pair.starts_with("policy."));
    }
    setup
        .set
        .extend(short(plan).iter().map(|one| (*one).to_owned()));
    setup
}

/// What has to be shorter than by default, by names that older releases know.
fn short(plan: &Plan) -> Vec<&'static str> {
    let mut short = Vec::new();
    if plan.spoils_lists() {
        short.push("jumper.template_refresh=1s");
    }
    // Calls that are never answered.
    if plan.is_doubtful() || plan.harms_road_to(Party::Jumper) {
        short.extend(["jumper.socket_timeout=6s", "jumper.connect_timeout=2s"]);
    }
    // Pauses that would outlast a MoEngage that is down for seconds.
    if plan.harms_moengage() {
        short.extend(["moengage.max_pause=1s", "moengage.callback_timeout=2s"]);
    }
    // The small disk is smaller than that.
    if plan.class == Class::DiskFull {
        short.push(MIN_FREE);
    }
    short
}
