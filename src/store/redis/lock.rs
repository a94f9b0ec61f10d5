//! A lock at Redis: `gw:{account}:lock:{work}`, taken for 10 s, renewed every 3 s by its holder while
//! it lives, given back by compare-and-delete.
//!
//! What is written under it is fenced besides (`token.rs`), so a holder that slept through its lock
//! can do no harm to what its successor stored.

use super::{Connection, keys_of};
use crate::domain::AccountId;
use crate::store::StoreError;
use redis::Script;
use std::sync::LazyLock;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

/// How long a lock outlives its holder.
const LIFE: Duration = Duration::from_secs(10);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(3);
/// How soon a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_millis(500);
/// What the lock holds after a try in vain; no owner is called so.
const PAUSE: &str = "pause";

/// Takes the lock (answers -1), or says that it is held (0) or for how many ms to pause. An owner who
/// asks again, because the answer was lost, has it. The SET comes first: a Redis that refuses writes
/// gives no lock.
static TAKE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('GET', KEYS[1])
if held == ARGV[3] and ARGV[4] == '0' then return math.max(redis.call('PTTL', KEYS[1]), 1) end
if held and held ~= ARGV[3] and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return -1
",
    )
});

/// Keeps the lock, also one that a restart of Redis forgot; 0 when somebody else has it.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
",
    )
});

/// Gives the lock back, or leaves a pause in its place.
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[2])
return 1
",
    )
});

/// What became of a try to take a lock.
pub(in crate::store) enum Taken {
    Ours(Lock),
    Busy,
    PutOff(Duration),
}

/// A lock that this process holds. Dropping it lets it run out.
#[derive(Debug)]
pub struct Lock {
    connection: Connection,
    key: String,
    owner: String,
    /// Until when Redis surely has it as ours; written by the renewal.
    until: watch::Receiver<Instant>,
    renewal: AbortHandle,
}

impl Connection {
    /// Tries once. `urgent` does not mind a pause that somebody else left.
    pub(in crate::store) async fn lock(
        &self,
        account: &AccountId,
        work: &str,
        urgent: bool,
    ) -> Result<Taken, StoreError> {
        self.is_ours()?;
        let key = format!("{}lock:{work}", keys_of(account));
        let owner = format!("{}-{:016x}", self.replica(), fastrand::u64(..));
        let asked = Instant::now();
        let mut take = TAKE.key(&key);
        take.arg(&owner).arg(millis(LIFE)).arg(PAUSE);
        let taken: i64 = self.run(take.arg(u8::from(urgent))).await?;
        Ok(match taken {
            -1 => Taken::Ours(Lock::new(self.clone(), key, owner, asked + LIFE)),
            0 => Taken::Busy,
            pause => Taken::PutOff(Duration::from_millis(pause.unsigned_abs())),
        })
    }
}

impl Lock {
    fn new(connection: Connection, key: String, owner: String, until: Instant) -> Self {
        let (sender, until) = watch::channel(until);
        let renewal = renew(connection.clone(), key.clone(), owner.clone(), sender);
        Self {
            renewal: tokio::spawn(renewal).abort_handle(),
            connection,
            key,
            owner,
            until,
        }
    }

    /// Whether nobody else can have it now.
    pub fn is_ours(&self) -> bool {
        *self.until.borrow() > Instant::now()
    }

    /// Gives it back; with a pause, nobody who is not urgent gets it before that has passed.
    pub async fn release(self, pause: Option<Duration>) {
        self.renewal.abort();
        let mut back = GIVE_BACK.key(&self.key);
        back.arg(&self.owner)
            .arg(pause.map_or(0, millis))
            .arg(PAUSE);
        if let Err(error) = self.connection.run::<i64>(&back).await {
            tracing::warn!(
                %error, event = "lock_not_given_back",
                "a lock could not be given back; it runs out within 10 s"
            );
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

async fn renew(connection: Connection, key: String, owner: String, until: watch::Sender<Instant>) {
    let mut wait = RENEW;
    loop {
        // waits because a lock is renewed at intervals
        sleep(wait).await;
        let asked = Instant::now();
        let mut keep = KEEP.key(&key);
        wait = match connection
            .run::<i64>(keep.arg(&owner).arg(millis(LIFE)))
            .await
        {
            Ok(0) => {
                let _ = until.send(asked);
                return;
            }
            Ok(_) => {
                let _ = until.send(asked + LIFE);
                RENEW
            }
            Err(_) => RENEW_AGAIN,
        };
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
