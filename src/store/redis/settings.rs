//! Small values that are written whole: template lists (`gw:{account}:templates`) and settings made
//! at run time (the hash `gw:runtime`, shared by all replicas).

use super::{Connection, keys_of};
use crate::domain::AccountId;
use crate::store::{CachedTemplates, StoreError, listed};
use redis::{Script, cmd};
use std::sync::LazyLock;

const RUNTIME: &str = "gw:runtime";

/// Keeps a setting, or forgets it when there is no value.
static SET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
if ARGV[2] then return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
return redis.call('HDEL', KEYS[1], ARGV[1])
",
    )
});

/// Keeps a setting unless there is one.
static KEEP: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept then return kept end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return ARGV[2]
",
    )
});

impl Connection {
    /// The account's template list, as last fetched. One that cannot be read is as good as none.
    pub async fn load_templates(
        &self,
        account: &AccountId,
    ) -> Result<Option<CachedTemplates>, StoreError> {
        let key = format!("{}templates", keys_of(account));
        let text: Option<String> = self.command(cmd("GET").arg(key)).await?;
        Ok(text.and_then(|text| listed::read(&text).ok()))
    }

    /// Keeps the account's template list.
    pub async fn save_templates(
        &self,
        account: &AccountId,
        templates: &CachedTemplates,
    ) -> Result<(), StoreError> {
        let key = format!("{}templates", keys_of(account));
        self.is_ours()?;
        let text = listed::write(templates)
            .map_err(|error| StoreError::Unavailable(format!("the template list: {error}")))?;
        self.command(cmd("SET").arg(key).arg(text)).await
    }

    /// A setting made at run time: `paused:{channel}`, `pace:{account}`.
    pub async fn load_setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.command(cmd("HGET").arg(RUNTIME).arg(name)).await
    }

    /// Several of them at once, in their order.
    pub(super) async fn load_settings(
        &self,
        names: &[String],
    ) -> Result<Vec<Option<String>>, StoreError> {
        self.command_beside(cmd("HMGET").arg(RUNTIME).arg(names))
            .await
    }

    /// Keeps or forgets a setting made at run time, durably.
    pub async fn save_setting(&self, name: &str, value: Option<String>) -> Result<(), StoreError> {
        let mut set = SET.key(RUNTIME);
        set.arg(name);
        if let Some(value) = value {
            set.arg(value);
        }
        self.run_durably::<i64>(&set).await.map(|_| ())
    }

    /// Keeps a setting unless there is one, durably; answers what is kept.
    pub async fn keep_setting(&self, name: &str, value: String) -> Result<String, StoreError> {
        let mut keep = KEEP.key(RUNTIME);
        self.run_durably(keep.arg(name).arg(value)).await
    }
}
