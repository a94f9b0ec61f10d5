//! The rate of one account as all replicas share it: one script on the clock of Redis.
//!
//! A step says everything a replica has to say and asks for slots at once, so a message costs no
//! round trip of its own. What the numbers mean for a call is decided in `limit`; this file only
//! carries them.

use super::{Connection, keys_of};
use crate::clock;
use crate::domain::{AccountId, UnixMs};
use crate::store::StoreError;
use redis::Script;
use std::sync::LazyLock;
use std::time::Duration;

static STEP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/rate.lua")));

/// The shared rate of one account.
#[derive(Debug, Clone)]
pub(crate) struct SharedRate {
    connection: Connection,
    script: &'static Script,
    /// What the account's keys begin with.
    keys: String,
    /// Whether its clock is that of Redis.
    tells_the_time: bool,
}

/// What a replica says and asks in one step.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ask {
    /// Its number; a step that comes after one with a higher number is refused.
    pub(crate) step: u64,
    /// Calls under way here.
    pub(crate) in_flight: usize,
    /// The rate as far as it is known here, calls per second.
    pub(crate) per_second: Option<f64>,
    /// The same, calls at once.
    pub(crate) concurrency: usize,
    /// Whether that rate shall come into force.
    pub(crate) put: Option<Put>,
    /// Slots wanted.
    pub(crate) most: usize,
    /// Whether they are for calls that count as under way from now on.
    pub(crate) counted: bool,
    /// No slot sooner than this.
    pub(crate) lead: Duration,
    /// None later than this after `lead`.
    pub(crate) horizon: Duration,
    /// How late after its slot a call may start here.
    pub(crate) late: Duration,
    /// The same as this replica reads the clock itself.
    pub(crate) own: Duration,
    /// Whether the provider said "too many".
    pub(crate) too_many: bool,
    /// The pause that it asked for, or that an operator ended.
    pub(crate) pause: Option<Pause>,
    /// Calls that ended here since the last step, less those answered with "too many".
    pub(crate) taken: i64,
    /// Slots that were not used, the last first.
    pub(crate) unused: Vec<Slot>,
}

/// Why a rate comes into force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Put {
    /// A process started with it.
    Start,
    /// An operator set it: the full rate applies at once.
    Operator,
}

/// A pause of all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The provider asked for it.
    Begins(Duration),
    /// An operator ended it.
    Ends,
}

/// A slot on the clock of Redis, in microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot {
    /// When the call may start.
    pub(crate) at: u64,
    /// What was free next when it was handed out.
    pub(crate) after: u64,
}

/// What Redis says, in microseconds on its clock.
#[derive(Debug, Clone)]
pub(crate) struct RateState {
    /// The connection that it came by: another one may lead to another Redis.
    pub(crate) by: u64,
    /// When the step was made.
    pub(crate) now: u64,
    /// When the next slot opens.
    pub(crate) opens: u64,
    /// Calls under way at other replicas.
    pub(crate) elsewhere: usize,
    /// Calls at once.
    pub(crate) concurrency: usize,
    /// Calls per second.
    pub(crate) per_second: Option<f64>,
    /// Those in force.
    pub(crate) effective: Option<f64>,
    /// What is left of a pause.
    pub(crate) wait: Duration,
    /// What was granted; `None` where there is no limit.
    pub(crate) slots: Vec<Option<Slot>>,
}

type Answer = (u64, u64, u64, usize, usize, String, String, u64, Vec<u64>);

impl SharedRate {
    /// The rate of this account.
    pub(crate) fn new(connection: Connection, account: &AccountId) -> Self {
        let (script, keys) = (&*STEP, keys_of(account));
        Self::by(connection, script, keys, true)
    }

    fn by(
        connection: Connection,
        script: &'static Script,
        keys: String,
        tells_the_time: bool,
    ) -> Self {
        Self {
            connection,
            script,
            keys,
            tells_the_time,
        }
    }

    /// The same on a clock that the test sets: `{keys}clock`, in microseconds.
    #[cfg(test)]
    pub(crate) fn on_a_clock(connection: Connection, account: &AccountId) -> Self {
        static ON_A_CLOCK: LazyLock<Script> = LazyLock::new(|| {
            let clock = "(function() local c = redis.call('GET', KEYS[1] .. 'clock')
                return { string.sub(c, 1, -7), string.sub(c, -6) } end)()";
            let text = include_str!("lua/rate.lua");
            assert_eq!(text.matches("redis.call('TIME')").count(), 1);
            Script::new(&text.replace("redis.call('TIME')", clock))
        });
        let (script, keys) = (&*ON_A_CLOCK, keys_of(account));
        Self::by(connection, script, keys, false)
    }

    /// Makes one step.
    ///
    /// # Errors
    /// When Redis does not answer in time, or not as it should. What was asked for may have
    /// happened; nothing of it may be repeated.
    pub(crate) async fn step(&self, ask: &Ask) -> Result<RateState, StoreError> {
        let rate = ask
            .per_second
            .map_or_else(|| "off".to_owned(), |rate| rate.to_string());
        let put = match ask.put {
            None => "",
            Some(Put::Start) => "start",
            Some(Put::Operator) => "set",
        };
        let pause = match ask.pause {
            None => String::new(),
            Some(Pause::Begins(time)) => time.as_micros().to_string(),
            Some(Pause::Ends) => "end".to_owned(),
        };
        let mut call = self.script.key(&self.keys);
        call.arg(self.connection.replica()).arg(ask.step);
        call.arg(ask.in_flight).arg(rate).arg(ask.concurrency);
        call.arg(put).arg(ask.most).arg(u8::from(ask.counted));
        for time in [ask.lead, ask.horizon, ask.late] {
            call.arg(time.as_micros() as u64);
        }
        call.arg(u8::from(ask.too_many)).arg(pause).arg(ask.taken);
        call.arg(ask.own.as_micros() as u64);
        for slot in &ask.unused {
            call.arg(slot.at).arg(slot.after);
        }
        let asked = clock::steady();
        let (answer, by) = self.connection.run_beside_by(&call).await?;
        let report = rate_state(answer, by);
        if self.tells_the_time {
            // Before each claim, so a leap of its clock is known when ages are looked at.
            let now = i64::try_from(report.now / 1000).unwrap_or(i64::MAX);
            clock::follow(UnixMs(now), asked, clock::steady());
        }
        Ok(report)
    }
}

fn rate_state(answer: Answer, by: u64) -> RateState {
    let (now, next, opens, elsewhere, concurrency, rate, effective, wait, at) = answer;
    let after = at.iter().skip(1).copied().chain([next]);
    let slots = at.iter().zip(after);
    let slots = slots.map(|(&at, after)| (at > 0).then_some(Slot { at, after }));
    RateState {
        by,
        now,
        opens,
        elsewhere,
        concurrency,
        // "off" is no number.
        per_second: rate.parse().ok(),
        effective: effective.parse().ok(),
        wait: Duration::from_micros(wait),
        slots: slots.collect(),
    }
}
