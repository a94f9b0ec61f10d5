//! What a seed means: the store, the knobs, and which harm is done when. Pure, so that a seed is
//! replayed exactly as far as one machine can repeat what several processes do at once.

use crate::fault::answers;
use crate::fault::traffic::person;
use crate::fault::upset::{self, Upset};
use crate::kit::proxy::{Direction, Way};
use fastrand::Rng;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// Where the gateway keeps its data in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Store {
    Embedded,
    Redis,
}

impl Store {
    pub(crate) const ALL: [Self; 2] = [Self::Embedded, Self::Redis];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Redis => "redis",
        }
    }
}

/// A class of faults: a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Gateway processes die by kill -9, at random moments, and come back; or they stand still for a
    /// moment.
    Kill,
    /// A gateway process stands still for longer than its lease, and goes on (SIGSTOP).
    Freeze,
    /// Redis dies by kill -9 and comes back with its data.
    RedisKill,
    /// Redis stops answering and goes on later (SIGSTOP).
    RedisPause,
    /// What lies between the gateway and Jumper is cut, swallows bytes, is slow, is half closed.
    RoadJumper,
    /// The same towards MoEngage.
    RoadMoengage,
    /// The same towards Redis.
    RoadRedis,
    /// The same on the way in, for MoEngage's messages and Jumper's webhooks.
    RoadIn,
    /// The disk fills up, to the last byte, or fails.
    DiskFull,
    /// Each sync of the disk takes long.
    DiskSlow,
    /// The clock of the machine jumps by minutes to days, forth and back, or the machine sleeps.
    Clock,
    /// MoEngage is down, slow, refuses, fails, says 200 and "failure", loses its answers.
    Moengage,
    /// Jumper takes a message and its answer is lost, late, cut short or unreadable.
    Ambiguous,
    /// Both limits: our own holds, and Jumper's is lower and refuses.
    Limits,
    /// Access tokens die, expire and are renewed, and the answer of a renewal is lost.
    Tokens,
    /// The template list is empty, halved or cut, and whole again.
    Templates,
    /// Statuses come before the receipt, out of order, twice, all at once and odd.
    Storm,
    /// MoEngage posts the same message again and again, at once and later.
    Repeats,
    /// Ordered stops, and starts with another configuration.
    Config,
    /// The disk that the log is on fills up, to the last byte.
    LogFull,
    /// Whoever reads the log goes away, and comes back.
    LogGone,
    /// Whoever reads the log stands still.
    LogStalled,
    /// One recipient's messages are refused as if everybody's were.
    Poison,
    /// One of the provider's two nodes answers badly.
    OneNode,
    /// For some seconds, up to a minute, every send is answered by an error page, or as if for its token.
    BurstBlocked,
    /// The same, refused for good.
    BurstRefused,
    /// The same, not now.
    BurstBusy,
    /// Several of the above at once.
    Together,
    /// A replica of Redis takes over, and the old master becomes its replica.
    FailoverReadonly,
    /// Redis resets all connections, again and again.
    RedisResets,
    /// A command that the gateway needs is not permitted for a moment.
    CommandMissing,
    /// Redis dies, and the end of its append-only file is lost.
    TailLost,
    /// A copy of the files of Redis is put back, while gateways run or after all of them died.
    Restore,
    /// The name of Redis leads to another master while the old one lives, and takes writes.
    FailoverName,
    /// Redis is far away, all the time.
    RedisDistance,
    /// The clock of Redis jumps, forth and back.
    RedisClock,
}

impl Class {
    pub(crate) const ALL: [Self; 36] = [
        Self::Kill,
        Self::Freeze,
        Self::RedisKill,
        Self::RedisPause,
        Self::RoadJumper,
        Self::RoadMoengage,
        Self::RoadRedis,
        Self::RoadIn,
        Self::DiskFull,
        Self::DiskSlow,
        Self::Clock,
        Self::Moengage,
        Self::Ambiguous,
        Self::Limits,
        Self::Tokens,
        Self::Templates,
        Self::Storm,
        Self::Repeats,
        Self::Config,
        Self::LogFull,
        Self::LogGone,
        Self::LogStalled,
        Self::Poison,
        Self::OneNode,
        Self::BurstBlocked,
        Self::BurstRefused,
        Self::BurstBusy,
        Self::Together,
        Self::FailoverReadonly,
        Self::RedisResets,
        Self::CommandMissing,
        Self::TailLost,
        Self::Restore,
        Self::FailoverName,
        Self::RedisDistance,
        Self::RedisClock,
    ];

    /// Those that are about Redis and what it may forget. Some of their harm has to hit in every run.
    pub(crate) const OF_UPSETS: [Self; 8] = [
        Self::FailoverReadonly,
        Self::RedisResets,
        Self::CommandMissing,
        Self::TailLost,
        Self::Restore,
        Self::FailoverName,
        Self::RedisDistance,
        Self::RedisClock,
    ];

    /// Those that harm the log.
    pub(crate) const OF_LOGS: [Self; 3] = [Self::LogFull, Self::LogGone, Self::LogStalled];

    /// Those whose answers say more than what becomes of one message (design.md section 5).
    pub(crate) const OF_POLICY: [Self; 5] = [
        Self::Poison,
        Self::OneNode,
        Self::BurstBlocked,
        Self::BurstRefused,
        Self::BurstBusy,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kill => "gateway-kill",
            Self::Freeze => "gateway-freeze",
            Self::RedisKill => "redis-kill",
            Self::RedisPause => "redis-pause",
            Self::RoadJumper => "net-jumper",
            Self::RoadMoengage => "net-moengage",
            Self::RoadRedis => "net-redis",
            Self::RoadIn => "net-inbound",
            Self::DiskFull => "disk-full",
            Self::DiskSlow => "disk-slow",
            Self::Clock => "clock-jump",
            Self::Moengage => "moengage",
            Self::Ambiguous => "jumper-unclear",
            Self::Limits => "rate-limits",
            Self::Tokens => "tokens",
            Self::Templates => "template-list",
            Self::Storm => "status-storm",
            Self::Repeats => "repeats",
            Self::Config => "config-restart",
            Self::LogFull => "log-disk-full",
            Self::LogGone => "log-reader-gone",
            Self::LogStalled => "log-reader-stalled",
            Self::Poison => "poison",
            Self::OneNode => "one-node",
            Self::BurstBlocked => "burst-blocked",
            Self::BurstRefused => "burst-refused",
            Self::BurstBusy => "burst-busy",
            Self::Together => "together",
            Self::FailoverReadonly => "failover-readonly",
            Self::RedisResets => "redis-resets",
            Self::CommandMissing => "command-missing",
            Self::TailLost => "tail-lost",
            Self::Restore => "restore",
            Self::FailoverName => "failover-name",
            Self::RedisDistance => "redis-distance",
            Self::RedisClock => "redis-clock",
        }
    }

    /// The classes that a store has.
    pub(crate) fn of(store: Store) -> Vec<Self> {
        let has = |class: &Self| match class {
            Self::Freeze | Self::RedisKill | Self::RedisPause | Self::RoadRedis => {
                store == Store::Redis
            }
            _ if Self::OF_UPSETS.contains(class) => store == Store::Redis,
            _ => true,
        };
        Self::ALL.into_iter().filter(has).collect()
    }
}

/// Which road.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    Jumper,
    Moengage,
    Redis,
    /// Whoever calls the gateway.
    Caller,
}

/// One harm.
#[derive(Debug, Clone)]
pub(crate) enum Harm {
    /// kill -9 of a replica; its end is a new start.
    Kill(usize),
    /// SIGSTOP of a replica, and SIGCONT.
    Freeze(usize),
    /// SIGTERM of a replica; its end is a start with these settings changed.
    Restart(usize, Vec<(&'static str, String)>),
    RedisKill,
    RedisPause,
    Upset(Upset),
    Road(Party, Way),
    /// Knobs of the fakes while it lasts; its end puts back what the plan began with.
    Knobs(Value),
    /// The clock of a replica is off by so many seconds.
    Clock(usize, i64),
    /// The machine of a replica sleeps for so many seconds; its end is a clock that was wrong.
    Sleep(usize, i64),
    /// What Jumper answers while it lasts, by a rule of the sandbox.
    Answer(Value),
    /// Each sync to disk takes so many milliseconds more.
    SlowDisk(i64),
    /// So many bytes are left on the disk.
    FullDisk(u64),
    /// Each write to a file fails with this number of the system.
    FailWrites(i32),
    /// What becomes of the next sends at Jumper, one after another.
    Script(Vec<&'static str>),
    /// What the log of a replica leads to takes nothing, in the way of the class.
    Log(usize),
    /// The template list is as this word of the sandbox's rules says.
    List(&'static str),
    /// Jumper forgets all access tokens.
    RevokeAccess,
    /// Jumper forgets all refresh tokens; its end is a new one that an operator puts in.
    KillRefresh,
}

/// A harm and when it happens, in milliseconds after the first message.
#[derive(Debug, Clone)]
pub(crate) struct Blow {
    pub(crate) at_ms: u64,
    pub(crate) for_ms: u64,
    pub(crate) harm: Harm,
}

impl Blow {
    pub(crate) fn end_ms(&self) -> u64 {
        self.at_ms + self.for_ms
    }
}

/// All of a run that is decided beforehand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) class: Class,
    pub(crate) store: Store,
    /// Gateway processes.
    pub(crate) replicas: usize,
    /// Whether Redis syncs every write, or once a second.
    pub(crate) redis_always: bool,
    pub(crate) messages: usize,
    /// Replicas of Redis that must have a write before it counts.
    pub(crate) wait_replicas: usize,
    /// How far away Redis is, each way, in milliseconds.
    pub(crate) distance_ms: u64,
    /// Calls a second to Jumper. MoEngage posts faster, so that there is always something to hold
    /// back.
    pub(crate) rate: usize,
    /// Calls at once of each replica.
    pub(crate) concurrency: usize,
    /// The share of messages that MoEngage posts more than once.
    pub(crate) repeats: f64,
    /// Messages whose callbacks MoEngage refuses for good.
    pub(crate) refused: usize,
    /// How long an unknown outcome waits for evidence.
    pub(crate) hold_ms: i64,
    pub(crate) knobs: Value,
    pub(crate) blows: Vec<Blow>,
}

/// How long the sends of a run last at the most, in milliseconds; and where a name is left for another only when
/// it is looked up again, so that messages come after that too.
const TRAFFIC_MS: u64 = 8_000;
const LONG_TRAFFIC_MS: u64 = 12_000;
/// How long a disk is full at the last, in milliseconds: longer than a webhook waits for the store.
const LONG_FULL_MS: RangeInclusive<u64> = 3_300..=4_500;
/// How much faster MoEngage posts than Jumper takes.
const POSTS_FASTER: f64 = 1.3;
/// No space left on the device, and an error of the device.
const NO_SPACE: i32 = 28;
const IO_FAULT: i32 = 5;
/// The most calls at once that an operator sets.
const MOST_CALLS: usize = 16;
/// The share of calls at once that is always under way, and the longest that one may take then.
const BUSY: f64 = 0.6;
const MOST_LATENCY_MS: f64 = 300.0;
/// When statuses come that are to be late for a gateway that stood still, in milliseconds after the
/// send.
const LATE_EVENT_MS: u64 = 15_000;
/// How long one recipient is refused, in milliseconds: all others are served meanwhile.
const POISON_MS: u64 = 14_000;
/// The shortest hold that an operator sets.
const LEAST_HOLD_MS: i64 = 1_000;

impl Plan {
    /// The plan of a seed. The same seed, class and number of messages make the same plan.
    pub(crate) fn new(seed: u64, class: Class, store: Store, messages: usize) -> Self {
        let salt = (class as u64) << 32 | (store as u64) << 40;
        let mut rng = Rng::with_seed(seed ^ salt);
        let replicas = match (store, class) {
            (Store::Embedded, _) => 1,
            (Store::Redis, Class::Freeze) => rng.usize(2..=3),
            (Store::Redis, _) => rng.usize(1..=3),
        };
        let mut plan = Self {
            seed,
            class,
            store,
            replicas,
            // With `always` Redis ends itself when it cannot write.
            redis_always: rng.bool() && class != Class::DiskFull,
            messages,
            wait_replicas: 0,
            distance_ms: 0,
            rate: (messages * 1_000 / traffic_ms(class) as usize).max(20),
            concurrency: rng.usize(2..=16),
            hold_ms: 4_000,
            repeats: 0.02,
            refused: 0,
            knobs: quiet(&mut rng),
            blows: Vec::new(),
        };
        let blows = match class {
            Class::Freeze | Class::LogStalled => 1,
            _ if Class::OF_POLICY.contains(&class) => 1,
            Class::Clock => rng.usize(2..=3),
            Class::Templates => 2,
            Class::Restore | Class::FailoverName => 1,
            Class::TailLost => rng.usize(1..=2),
            // The server that was left is not to come back before somebody has looked at the new one.
            Class::FailoverReadonly => rng.usize(2..=3),
            _ => rng.usize(2..=4),
        };
        plan.keep_busy();
        plan.knob("webhook_keep_alive", json!(replicas == 1));
        plan.add(&mut rng, class, blows);
        plan.blows.sort_by_key(|blow| blow.at_ms);
        plan
    }

    /// Messages a second from MoEngage.
    pub(crate) fn post_rate(&self) -> f64 {
        self.rate as f64 * POSTS_FASTER
    }

    fn any(&self, is: impl Fn(&Harm) -> bool) -> bool {
        self.blows.iter().any(|blow| is(&blow.harm))
    }

    /// Whether the answer to a send may get lost on its way, so that nobody knows.
    pub(crate) fn hides_answers(&self) -> bool {
        self.any(|harm| {
            let road = matches!(harm, Harm::Road(Party::Jumper, _));
            road || matches!(
                harm,
                Harm::Kill(_) | Harm::Freeze(_) | Harm::Upset(Upset::ANEW)
            )
        })
    }

    /// Whether Jumper spoils answers to sends.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.any(|harm| match harm {
            Harm::Script(_) => true,
            Harm::Knobs(knobs) => knobs.to_string().contains("accept_"),
            _ => false,
        })
    }

    /// Whether the answer to a callback may get lost on its way, or who would write it down.
    pub(crate) fn loses_callbacks(&self) -> bool {
        self.any(|harm| match harm {
            Harm::Kill(_) | Harm::Freeze(_) | Harm::Road(Party::Moengage, _) => true,
            Harm::Upset(upset) => upset.forgets(),
            Harm::Knobs(knobs) => {
                let knob = |name: &str| knobs[name].as_f64().unwrap_or(0.0);
                knob("moengage_lose_answer_share") > 0.0 || knob("moengage_latency_ms") > 1_000.0
            }
            _ => false,
        })
    }

    /// Whether Redis forgets something.
    pub(crate) fn forgets(&self) -> bool {
        self.any(|harm| matches!(harm, Harm::Upset(upset) if upset.forgets()))
    }

    /// Whether two masters take writes for a while, and nothing keeps one of them from it.
    pub(crate) fn has_two_masters(&self) -> bool {
        self.wait_replicas == 0 && self.any(|harm| matches!(harm, Harm::Upset(Upset::TwoMasters)))
    }

    /// Whether a road is harmed.
    pub(crate) fn harms_road_to(&self, party: Party) -> bool {
        self.any(|harm| matches!(harm, Harm::Road(of, _) if *of == party))
    }

    /// Whether callbacks are kept from MoEngage for a while.
    pub(crate) fn harms_moengage(&self) -> bool {
        self.any(|harm| match harm {
            Harm::Road(party, _) => *party == Party::Moengage,
            Harm::Knobs(knobs) => knobs.to_string().contains("moengage_"),
            _ => false,
        })
    }

    /// Whether the template list is spoiled for a while.
    pub(crate) fn spoils_lists(&self) -> bool {
        self.any(|harm| matches!(harm, Harm::List(_)))
    }

    /// Whether a clock is wrong for a while.
    pub(crate) fn shifts_clocks(&self) -> bool {
        self.any(|harm| {
            let of_redis = matches!(harm, Harm::Upset(Upset::Clock(_)));
            of_redis || matches!(harm, Harm::Clock(..) | Harm::Sleep(..))
        })
    }

    /// Whether Jumper's own words make messages fail that are as good as others.
    pub(crate) fn refuses_good_ones(&self) -> bool {
        self.any(|harm| matches!(harm, Harm::Answer(answer) if answers::is_final(answer)))
    }

    /// The shortest time that an unknown outcome has to wait.
    pub(crate) fn least_hold_ms(&self) -> i64 {
        match self.any(|harm| matches!(harm, Harm::Restart(..))) {
            true => self.hold_ms.min(LEAST_HOLD_MS),
            false => self.hold_ms,
        }
    }

    /// The most calls at once, over all replicas and whatever an operator sets.
    pub(crate) fn most_at_once(&self) -> usize {
        let most = match self.any(|harm| matches!(harm, Harm::Restart(..))) {
            true => self.concurrency.max(MOST_CALLS),
            false => self.concurrency,
        };
        most * self.replicas
    }

    /// The most sends that may get lost with gateways: those that were under way.
    pub(crate) fn most_orphans(&self) -> usize {
        let dead = |blow: &Blow| match blow.harm {
            Harm::Kill(_) | Harm::Freeze(_) => 1,
            Harm::Upset(Upset::ANEW) => self.replicas,
            _ => 0,
        };
        self.blows.iter().map(dead).sum::<usize>() * self.most_at_once() / self.replicas
    }

    /// What will be done, to read.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "seed {}: {} on {}, {} gateways, appendfsync always {}, wait for {} replicas, {} ms away, {} messages at {}/s, {} calls at once, hold {} ms, repeats {:.2}, knobs {}",
            self.seed,
            self.class.name(),
            self.store.name(),
            self.replicas,
            self.redis_always,
            self.wait_replicas,
            self.distance_ms,
            self.messages,
            self.rate,
            self.concurrency,
            self.hold_ms,
            self.repeats,
            self.knobs,
        );
        for blow in &self.blows {
            let _ = write!(
                text,
                "\n    {} ms + {} ms: {:?}",
                blow.at_ms, blow.for_ms, blow.harm
            );
        }
        text
    }

    /// Jumper answers just so fast that calls are always under way: harm is to hit some.
    fn keep_busy(&mut self) {
        let calls = BUSY * (self.concurrency * self.replicas) as f64;
        let ms = (1_000.0 * calls / self.rate as f64).min(MOST_LATENCY_MS);
        self.knob("latency_ms", json!(ms as u64));
        self.knob("latency_jitter_ms", json!(ms as u64 / 3));
    }

    fn add(&mut self, rng: &mut Rng, class: Class, blows: usize) {
        match class {
            Class::Together => {
                let mut others = Class::of(self.store);
                // A full disk has its own row: with nothing writable other harm teaches little. So has
                // a long stop. A process or a Redis that is stopped already cannot be stopped again.
                // A start is seen by its log.
                let either = match rng.bool() {
                    true => [Class::Config, Class::RedisPause],
                    false => [Class::Kill, Class::RedisKill],
                };
                let apart = [Class::Together, Class::DiskFull, Class::Freeze];
                // Others would blur how many may fail.
                let apart = apart
                    .into_iter()
                    .chain(Class::OF_UPSETS)
                    .chain(Class::OF_LOGS)
                    .chain(Class::OF_POLICY);
                others.retain(|one| !either.contains(one) && apart.clone().all(|not| not != *one));
                rng.shuffle(&mut others);
                for class in others.into_iter().take(4) {
                    self.add(rng, class, 1);
                }
            }
            Class::Freeze => return self.standstill(rng),
            _ if Class::OF_POLICY.contains(&class) => return self.answers(rng, class),
            // Some holds end before the evidence comes.
            Class::Ambiguous => {
                self.hold_ms = if rng.bool() { LEAST_HOLD_MS } else { 4_000 };
                self.knob("event_delay_ms", json!(rng.u64(5..1_500)));
            }
            // A token may seem to end, and must not.
            Class::Clock => {
                let life = rng.choice([7_200, 36_000, 7_776_000]);
                self.knob("token_ttl_s", json!(life));
            }
            Class::FailoverName => self.wait_replicas = rng.usize(..=1),
            Class::RedisDistance => self.distance_ms = rng.u64(10..=75),
            // Synced once a second, by a thread of its own, nobody waits for the disk.
            Class::DiskSlow => self.redis_always = true,
            Class::Tokens => self.tokens(rng),
            Class::Limits => self.limits(rng),
            Class::Storm => self.storm(rng),
            Class::Repeats => self.repeats = 0.7,
            // What was sent is asked for again, by somebody who was told that it is stored.
            Class::FailoverReadonly | Class::TailLost => self.repeats = 0.3,
            Class::Moengage => {
                self.refused = 3;
                self.knob("moengage_reject_msg_ids", json!(["m0", "m1", "m2"]));
            }
            _ => {}
        }
        if class != Class::Together {
            let each = (traffic_ms(class) - 1_000) / blows as u64;
            let spread = if class == Class::FailoverName { 12 } else { 3 };
            for n in 0..blows as u64 {
                // One after another: harm of one kind does not overlap with itself.
                let at_ms = 300 + n * each + rng.u64(..each / spread);
                let is_last = n + 1 == blows as u64;
                let for_ms = duration(rng, class, (at_ms, each), is_last);
                self.blow(rng, class, (at_ms, for_ms));
            }
        }
    }

    /// A gateway stands still, and of what it was sending then nothing is told at all, or only when
    /// it was given up.
    fn standstill(&mut self, rng: &mut Rng) {
        self.hold_ms = LEAST_HOLD_MS;
        // Longer than a lease, the look at it and the hold together; and not in the first second,
        // which a new limiter lets pass.
        let at_ms = rng.u64(2_000..3_000);
        self.blow(rng, Class::Freeze, (at_ms, 13_000));
        self.blows.push(Blow {
            at_ms: at_ms - MOST_LATENCY_MS as u64 - 100,
            for_ms: MOST_LATENCY_MS as u64 + 200,
            harm: Harm::Knobs(json!({
                "event_delay_ms": LATE_EVENT_MS,
                "event_shapes": ["gen3_batch"],
                "share_read": 0,
                "share_never": 0.4,
            })),
        });
    }

    /// Jumper answers badly, and pauses that are fixed pass until all is well.
    fn answers(&mut self, rng: &mut Rng, class: Class) {
        let (mut answer, for_ms) = match class {
            Class::Poison => (answers::of_a_recipient(rng), POISON_MS),
            Class::OneNode => (answers::of_a_node(rng), rng.u64(4_000..=8_000)),
            Class::BurstBlocked => (answers::blocked(rng), burst_ms(rng)),
            Class::BurstRefused => (answers::refused(rng), burst_ms(rng)),
            _ => (answers::busy(rng), burst_ms(rng)),
        };
        answer["route"] = json!("send");
        let mut at_ms = rng.u64(1_000..2_500);
        match class {
            Class::Poison => {
                // Before its message comes, so that it is never taken.
                at_ms = 0;
                let n = self.messages / 5 + rng.usize(..self.messages / 10);
                answer["recipient"] = json!(person(n)[1..]);
            }
            // Each process counts alone: with two of them that take turns, one would meet the node
            // that is broken and no other.
            Class::OneNode => answer["every"] = json!(if self.replicas == 2 { 3 } else { 2 }),
            _ => {}
        }
        self.blows.push(Blow {
            at_ms,
            for_ms,
            harm: Harm::Answer(answer),
        });
    }

    fn knob(&mut self, name: &str, value: Value) {
        self.knobs[name] = value;
    }

    /// Jumper allows less than we are told to use, in one of its ways to say so.
    fn limits(&mut self, rng: &mut Rng) {
        let share = rng.choice([0.6, 0.8, 1.0]).unwrap_or(1.0);
        self.knob("rate_per_second", json!(self.rate as f64 * share));
        self.knob("rate_mode", json!(rng.choice(["bucket", "spaced"])));
        self.knob("rate_status", json!(rng.choice([429, 500])));
        self.knob("retry_after_s", json!(rng.choice([None, Some(1)])));
        self.knob("rate_counts_refresh", json!(rng.bool()));
    }

    /// Tokens that live for seconds are renewed all the time; one run in four has long ones, which
    /// are revoked.
    fn tokens(&mut self, rng: &mut Rng) {
        if rng.u8(..4) > 0 {
            self.knob("token_ttl_s", json!(rng.u64(3..=5)));
            // A refresh token that was used is good for a moment only.
            self.knob("refresh_grace_s", json!(3));
        }
    }

    /// How the renewal of a token may go, and what makes it be renewed.
    fn renewal(&mut self, rng: &mut Rng, (at_ms, for_ms): (u64, u64)) {
        let harm = match (self.knobs["token_ttl_s"].is_u64(), rng.u8(..6)) {
            (true, 0 | 1) => Harm::KillRefresh,
            // Whoever comes next must know the newest pair. Among others the process may be stopped
            // already.
            (true, 2) if self.class != Class::Together => Harm::Kill(rng.usize(..self.replicas)),
            (true, 3) => Harm::Knobs(json!({ "refresh_slow_ms": rng.u64(100..1_500) })),
            (true, _) => Harm::Knobs(json!({ "refresh_lost_answer": 1 })),
            (false, kind) => {
                let knobs = match kind % 3 {
                    0 => json!({ "refresh_slow_ms": rng.u64(100..1_500) }),
                    1 => json!({ "refresh_lost_answer": 1 }),
                    _ => json!({ "old_access_survives": true }),
                };
                self.blows.push(Blow {
                    at_ms: at_ms.saturating_sub(100),
                    for_ms: for_ms + 200,
                    harm: Harm::Knobs(knobs),
                });
                Harm::RevokeAccess
            }
        };
        self.blows.push(Blow {
            at_ms,
            for_ms,
            harm,
        });
    }

    fn storm(&mut self, rng: &mut Rng) {
        for (name, most) in [
            ("event_first", 0.6),
            ("share_out_of_order", 0.6),
            ("share_duplicate", 0.6),
            ("share_odd", 0.3),
            ("share_skip_delivered", 0.4),
            ("share_late_failed", 0.3),
            ("share_failed", 0.2),
            ("share_never", 0.1),
        ] {
            self.knob(name, json!(rng.f64() * most));
        }
        self.knob("event_delay_ms", json!(rng.u64(0..30)));
        self.knob("webhook_parallel", json!(rng.usize(1..200)));
    }

    fn blow(&mut self, rng: &mut Rng, class: Class, (at_ms, for_ms): (u64, u64)) {
        let replica = rng.usize(..self.replicas);
        let harm = match class {
            Class::Kill if rng.u8(..4) == 0 => Harm::Freeze(replica),
            Class::Kill => Harm::Kill(replica),
            Class::Freeze => Harm::Freeze(replica),
            Class::RedisKill => Harm::RedisKill,
            Class::RedisPause => Harm::RedisPause,
            Class::RoadJumper => Harm::Road(Party::Jumper, way(rng)),
            Class::RoadMoengage => Harm::Road(Party::Moengage, way(rng)),
            Class::RoadRedis => Harm::Road(Party::Redis, way(rng)),
            Class::RoadIn => Harm::Road(Party::Caller, way(rng)),
            Class::DiskFull if self.store == Store::Redis => Harm::FailWrites(NO_SPACE),
            Class::DiskFull => match rng.u8(..4) {
                0 => Harm::FullDisk(0),
                1 => Harm::FullDisk(100_000),
                2 => Harm::FullDisk(4 << 20),
                _ => Harm::FailWrites(if rng.bool() { NO_SPACE } else { IO_FAULT }),
            },
            Class::DiskSlow => Harm::SlowDisk(rng.i64(20..400)),
            Class::Clock if rng.u8(..3) == 0 => Harm::Sleep(replica, slept(rng)),
            Class::Clock => Harm::Clock(replica, clock(rng)),
            Class::Moengage => Harm::Knobs(moengage(rng)),
            Class::Ambiguous if rng.bool() => Harm::Script(every_answer(rng)),
            Class::Ambiguous => Harm::Knobs(unclear(rng)),
            Class::Templates => {
                Harm::List(rng.choice(["empty", "half", "next"]).unwrap_or("empty"))
            }
            Class::Tokens => return self.renewal(rng, (at_ms, for_ms)),
            Class::Config => Harm::Restart(replica, settings(rng)),
            Class::LogFull | Class::LogGone | Class::LogStalled => Harm::Log(replica),
            Class::FailoverReadonly => Harm::Upset(Upset::Failover),
            Class::RedisResets => Harm::Upset(Upset::Resets(rng.u64(30..=300))),
            Class::CommandMissing => Harm::Upset(Upset::Forbid(upset::command(rng))),
            Class::TailLost => Harm::Upset(Upset::TailLost),
            Class::Restore => {
                let anew = rng.bool();
                // What nobody remembers is sent again to whoever asks for it again.
                self.repeats = if anew { 0.0 } else { 0.3 };
                Harm::Upset(Upset::PutBack { anew })
            }
            Class::FailoverName => Harm::Upset(Upset::TwoMasters),
            Class::RedisClock => Harm::Upset(Upset::Clock(leap(rng))),
            Class::RedisDistance => return,
            Class::Limits | Class::Storm | Class::Repeats | Class::Together => return,
            Class::Poison
            | Class::OneNode
            | Class::BurstBlocked
            | Class::BurstRefused
            | Class::BurstBusy => return,
        };
        self.blows.push(Blow {
            at_ms,
            for_ms,
            harm,
        });
    }
}

fn traffic_ms(class: Class) -> u64 {
    match class {
        Class::FailoverName => LONG_TRAFFIC_MS,
        _ => TRAFFIC_MS,
    }
}

/// How long a harm lasts that has so many milliseconds to itself.
fn duration(rng: &mut Rng, class: Class, (at_ms, each): (u64, u64), is_last: bool) -> u64 {
    match class {
        Class::DiskFull if is_last => rng.u64(LONG_FULL_MS),
        // Until the buffer of the gateway is full too.
        Class::LogStalled => TRAFFIC_MS - at_ms,
        // Renewals are seconds apart, and one of them is to be hit.
        Class::Tokens => each / 2,
        // Lists are a second apart, and one of them is to be spoiled; and some sends are to
        // stand still.
        Class::Templates | Class::Clock => each * 2 / 3,
        Class::CommandMissing => rng.u64(200..=2_000).min(each * 2 / 3),
        // Longer than until each gateway has looked the name up again.
        Class::FailoverName => rng.u64(9_000..=10_000),
        Class::RedisClock => each * 2 / 3,
        Class::RedisResets => rng.u64(700..=each * 2 / 3),
        // Some work is to be forgotten, and some is to wait in the copy.
        Class::TailLost | Class::Restore => rng.u64(each / 4..=each / 2),
        _ => rng.u64(200..=each / 2),
    }
}

/// What is always a little uneven.
fn quiet(rng: &mut Rng) -> Value {
    json!({
        "rate_per_second": 0,
        "event_delay_ms": rng.u64(5..80),
        "event_jitter_ms": rng.u64(0..60),
        "share_read": 0.6,
        "share_failed": 0.02,
        "share_refuse_200": 0.01,
        "webhook_parallel": 64,
        "webhook_retries": 10_000,
        "webhook_retry_ms": 50,
        "webhook_retry_max_ms": 400,
        "accept_slow_s": 10.0,
        "refresh_grace_s": 60,
    })
}

fn direction(rng: &mut Rng) -> Direction {
    match rng.u8(..3) {
        0 => Direction::Forth,
        1 => Direction::Back,
        _ => Direction::Both,
    }
}

/// One way for a road to be bad.
fn way(rng: &mut Rng) -> Way {
    match rng.u8(..6) {
        0 => Way::Refuse,
        1 => Way::Cut,
        2 => Way::BlackHole(direction(rng)),
        3 => Way::Slow {
            delay_ms: rng.u64(5..400),
            bytes_per_second: rng.u64(20_000..400_000),
            direction: direction(rng),
        },
        4 => Way::HalfClose(direction(rng)),
        _ => Way::Ragged {
            seed: rng.u64(..),
            share: 0.05 + rng.f64() * 0.6,
        },
    }
}

/// Seconds that a clock may be off: also more than a message may wait (24 h), and a callback (8 days).
fn clock(rng: &mut Rng) -> i64 {
    let sizes = [1, 30, 600, 3_600, 20 * 3_600, 25 * 3_600, 240 * 3_600];
    let size = *rng.choice(&sizes).unwrap_or(&1);
    if rng.bool() { size } else { -size }
}

/// Seconds that the clock of Redis may be off: less than it keeps what was settled (8 days).
fn leap(rng: &mut Rng) -> i64 {
    let sizes = [1, 30, 600, 3_600, 20 * 3_600, 25 * 3_600];
    let size = *rng.choice(&sizes).unwrap_or(&1);
    if rng.bool() { size } else { -size }
}

/// Seconds that a machine sleeps.
fn slept(rng: &mut Rng) -> i64 {
    *rng.choice(&[60, 3_600, 25 * 3_600]).unwrap_or(&60)
}

/// Milliseconds that a burst of refusals lasts.
fn burst_ms(rng: &mut Rng) -> u64 {
    match rng.u8(..8) {
        0 => rng.u64(20_000..=60_000),
        _ => rng.u64(5_000..=10_000),
    }
}

fn moengage(rng: &mut Rng) -> Value {
    match rng.u8(..8) {
        0 => json!({ "moengage_status": 503 }),
        1 => json!({ "moengage_status": rng.choice([401, 403, 404, 405, 410]) }),
        2 => json!({ "moengage_status": 429 }),
        3 => json!({ "moengage_latency_ms": rng.u64(500..2_500) }),
        4 => json!({ "moengage_lying": true }),
        5 => json!({ "moengage_fail_share": rng.f64() }),
        6 => json!({ "moengage_lose_answer_share": rng.f64() }),
        _ => json!({ "moengage_status": 500, "moengage_latency_ms": 300 }),
    }
}

fn unclear(rng: &mut Rng) -> Value {
    let kinds = [
        "share_accept_then_close",
        "share_accept_then_slow",
        "share_accept_then_502_html",
        "share_accept_then_truncated",
        "share_accept_non_json",
        "share_500_before",
        "share_refuse_400",
        "share_503",
    ];
    let mut knobs = json!({});
    for _ in 0..2 {
        if let Some(kind) = rng.choice(kinds) {
            knobs[kind] = json!(rng.f64() * 0.3);
        }
    }
    if rng.bool() {
        // The status overtakes the answer, or is all that ever tells.
        knobs["event_first"] = json!(0.5);
    }
    knobs
}

/// Every way in which a send can end badly, in some order.
fn every_answer(rng: &mut Rng) -> Vec<&'static str> {
    let mut all = vec![
        "accept_then_close",
        "accept_then_slow:10",
        "accept_then_502_html",
        "accept_then_truncated",
        "accept_then_half_json",
        "accept_non_json",
        "refuse_200",
        "refuse_400",
        "500_before",
        "status:502",
        "close_before",
        "hang:10",
        "503",
        "401",
    ];
    rng.shuffle(&mut all);
    all
}

/// Settings that an operator may change between a stop and a start, by names that older releases know.
fn settings(rng: &mut Rng) -> Vec<(&'static str, String)> {
    vec![
        (
            "jumper.concurrent_api_calls",
            rng.usize(1..=MOST_CALLS).to_string(),
        ),
        ("moengage.batch_entries", rng.u32(1..=50).to_string()),
        ("moengage.callback_concurrency", rng.u32(1..=16).to_string()),
        (
            "policy.ambiguous_hold",
            format!("{}ms", rng.i64(LEAST_HOLD_MS..4_000)),
        ),
        ("policy.retry_base", format!("{}ms", rng.u32(20..500))),
        ("jumper.max_sockets", rng.u32(2..=100).to_string()),
    ]
}
