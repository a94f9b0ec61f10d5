//! What Redis must permit, proved before work is taken. A script whose command is refused in its middle
//! would leave half of its work behind, so each asks first for all that it uses (`guard`): what may be run
//! does not change while a script runs. Once something was refused, nothing new is begun until the proof
//! passes again; what was begun is tried again by whoever does it.

use super::Connection;
use crate::store::StoreError;
use redis::{RedisError, Script};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// What scripts use, and some of it the gateway beside them. The line for the user of Redis in docs/redis.md
/// is made of it. Each has its first key as its first argument, or none: that is what is asked with, and
/// Redis 7.0 dies of a question about a command whose key is not there.
const COMMANDS: [&str; 35] = [
    "DEL",
    "EXISTS",
    "GET",
    "HDEL",
    "HGET",
    "HGETALL",
    "HINCRBY",
    "HLEN",
    "HMGET",
    "HSET",
    "INFO",
    "LINDEX",
    "LLEN",
    "LRANGE",
    "LREM",
    "LTRIM",
    "PTTL",
    "RPUSH",
    "SADD",
    "SET",
    "SISMEMBER",
    "SMEMBERS",
    "SRANDMEMBER",
    "SREM",
    "TIME",
    "ZADD",
    "ZCARD",
    "ZCOUNT",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZREM",
    "ZREMRANGEBYRANK",
    "ZREVRANGE",
    "ZREVRANGEBYSCORE",
    "ZSCORE",
];
/// What is needed beside that, however Redis is set up. Whether a script may run at all, the proof shows.
const BESIDE: &str = "SCRIPT|LOAD";

static PROOF: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/proof.lua")));

/// Why nothing new may be begun, if so; shared by all clones of a connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Rights(Arc<Mutex<Option<StoreError>>>);

impl Rights {
    fn doubt(&self) -> MutexGuard<'_, Option<StoreError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A script ended with an error. Where Redis does not permit something, nothing new is begun.
    pub(super) fn hear(&self, error: &RedisError, explained: &StoreError) {
        let words = error.to_string();
        // Not: "can't access the keys". Which commands are permitted says nothing of that.
        let refusals = ["can't run this command", "no permissions to run"];
        if refusals.iter().any(|refusal| words.contains(refusal)) {
            *self.doubt() = Some(explained.clone());
        }
    }
}

impl Connection {
    /// Whether a durable write can be made now, and all that the gateway needs is permitted.
    pub async fn writable(&self) -> Result<(), StoreError> {
        // No two gateways share a key, so none waits for another.
        let mut proof = PROOF.key(format!("gw:proof:{}", self.replica()));
        let needed = COMMANDS.iter().chain([&BESIDE]);
        let refused: Vec<String> = self
            .run_durably(proof.arg(needed.collect::<Vec<_>>()))
            .await?;
        let doubt = (!refused.is_empty()).then(|| {
            StoreError::Unavailable(format!(
                "Redis does not permit its user what the gateway needs: {}",
                refused.join(" ").to_lowercase()
            ))
        });
        self.rights().doubt().clone_from(&doubt);
        doubt.map_or(Ok(()), Err)
    }

    /// Whether something new may be begun: the store is this installation's, and Redis refused nothing that
    /// is needed, as last seen.
    pub(super) fn may_begin(&self) -> Result<(), StoreError> {
        self.is_ours()?;
        self.rights().doubt().clone().map_or(Ok(()), Err)
    }

    /// Where Redis refused something, whether it still does.
    pub(super) async fn prove_rights(&self) -> Result<(), StoreError> {
        let is_doubted = self.rights().doubt().is_some();
        if is_doubted {
            self.writable().await
        } else {
            Ok(())
        }
    }
}

/// Which of the commands a script names.
pub(super) fn used_by(script: &str) -> Vec<&'static str> {
    let is_named = |name: &&str| script.contains(&format!("'{name}'"));
    COMMANDS.into_iter().filter(is_named).collect()
}

/// What stands before a script: where one of its commands is refused, it ends before it has written
/// anything, and names them.
pub(super) fn guard(script: &str) -> String {
    let used = used_by(script);
    let ask = |name: &&str| format!("may('{name}',KEYS[1])");
    let asked: Vec<String> = used.iter().map(ask).collect();
    format!(
        "local may=redis.acl_check_cmd\n\
         if not({})then\n\
         local refused=''\n\
         for name in string.gmatch('{}','%u+')do\n\
         if not may(name,KEYS[1])then refused=refused..' '..string.lower(name)end\n\
         end\n\
         return redis.error_reply('NOPERM no permissions to run'..refused..' in a script')\n\
         end\n",
        asked.join("and "),
        used.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;
    use crate::store::testing::RedisServer;

    const PAGE: &str = include_str!("../../../docs/redis.md");

    #[test]
    fn the_rules_of_the_page_are_what_the_proof_asks_for() {
        let line = PAGE.lines().find(|l| l.starts_with("user gateway on "));
        let named = line.unwrap().split_whitespace();
        let mut named: Vec<&str> = named.filter_map(|rule| rule.strip_prefix('+')).collect();
        named.sort_unstable();
        let needed = COMMANDS.iter().chain([&BESIDE]);
        let mut all: Vec<String> = needed.map(|name| name.to_lowercase()).collect();
        // By which the proof runs; for replicas to wait for, a database that is named; and nice to know.
        all.extend(["evalsha", "wait", "select", "config|get"].map(str::to_owned));
        all.sort_unstable();
        assert_eq!(named, all);
    }

    #[tokio::test]
    async fn r_57_each_command_that_is_refused_is_named() {
        let server = RedisServer::start();
        // One who may not touch all keys, as docs/redis.md says: Redis looks for the keys then.
        server.say("ACL SETUSER gw on >pw ~gw:* +@all").await;
        let settings = Settings {
            url: format!("{}?user=gw&pass=pw", server.url()).into(),
            wait_replicas: 0,
        };
        let connection = Connection::new(&settings).unwrap();
        connection.writable().await.unwrap();
        let permit = async |sign: &str, name: &str| {
            server.say(&format!("ACL SETUSER gw {sign}{name}")).await;
        };
        for name in COMMANDS.iter().chain([&BESIDE]) {
            let name = name.to_lowercase();
            permit("-", &name).await;
            let error = connection.writable().await.unwrap_err().to_string();
            assert!(error.ends_with(&format!("needs: {name}")), "{error}");
            permit("+", &name).await;
            connection.writable().await.unwrap();
        }
        permit("-", "evalsha").await;
        let error = connection.writable().await.unwrap_err().to_string();
        assert!(error.contains("'evalsha' command"), "{error}");
    }
}
