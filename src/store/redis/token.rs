//! An account's tokens: the hash `gw:{account}:token`, written whole by one script and only over an
//! older one, and beside it what the old connector shares with us.
//!
//! The old connector kept one pair, as plain text in `jumper_auth_token` (expiring after 2,000,000 s)
//! and `jumper_refresh_token`. The account `default` reads and writes them too; fingerprints tell
//! what of it is known. They lie outside the account's hash tag and perhaps outside what the user of
//! REDIS_URL may touch, so a failure there never fails the script (Redis Cluster would need a second
//! command). Never logs a token.

use super::{Connection, keys_of};
use crate::clock::now;
use crate::domain::{AccountId, UnixMs};
use crate::store::{StoreError, StoredToken};
use redis::{Script, cmd};
use secrecy::{ExposeSecret, SecretString};
use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

const OLD_ACCESS: &str = "jumper_auth_token";
const OLD_REFRESH: &str = "jumper_refresh_token";
/// The only account that the old connector knew.
const OLD_ACCOUNT: &str = "default";
/// How long the old connector lets an access token live at most.
const OLD_LIFE: Duration = Duration::from_secs(2_000_000);

/// 0: what is kept is as new. 1: kept, or the very same was kept before. 2: kept, not mirrored.
/// Also when the memory is used up: a pair that is not kept is lost.
static SAVE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"#!lua flags=allow-oom,allow-cross-slot-keys
local fence, refresh, access, dead = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local mode, old_access, old_refresh = ARGV[8], ARGV[9], ARGV[10]
local kept = redis.call('HMGET', KEYS[1], 'fence', 'refresh', 'access', 'dead')
if kept[1] and tonumber(kept[1]) >= tonumber(fence) then
  local same = kept[1] == fence and kept[2] == refresh and kept[3] == access and kept[4] == dead
  return same and 1 or 0
end
redis.call('HSET', KEYS[1], 'fence', fence, 'refresh', refresh, 'access', access, 'dead', dead,
  'seed', ARGV[5], 'obtained_at', ARGV[6], 'expires_at', ARGV[7])
if mode == 'none' then return 1 end
local done = 1
if mode ~= 'seen' then
  if redis.pcall('SET', old_access, access, 'PX', mode).err then done = 2 end
  if redis.pcall('SET', old_refresh, refresh).err then done = 2 end
end
if done == 1 then
  redis.call('HSET', KEYS[1], 'mirrored_refresh', redis.sha1hex(refresh),
    'mirrored_access', redis.sha1hex(access))
end
return done
",
    )
});

/// The old connector's pair: access, its remaining ms, refresh; nothing when we know it already.
static OLD: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        r"
local function text(key)
  local value = redis.pcall('GET', key)
  return type(value) == 'string' and value:match('^%s*(.-)%s*$') or ''
end
local access, refresh = text(ARGV[1]), text(ARGV[2])
if refresh == '' then return false end
local known = redis.call('HMGET', KEYS[1], 'refresh', 'mirrored_refresh', 'mirrored_access')
if known[1] and known[2] == redis.sha1hex(refresh)
  and (access == '' or known[3] == redis.sha1hex(access)) then return false end
return {access, access == '' and -1 or redis.call('PTTL', ARGV[1]), refresh}
",
    )
});

/// A pair that the old connector stored and that we do not know yet.
#[derive(Debug, Clone)]
pub struct OldPair {
    /// Its access token, when it has not run out there.
    pub access: Option<SecretString>,
    /// When the old connector drops the access token.
    pub drops_in: Option<Duration>,
    /// Its refresh token.
    pub refresh: SecretString,
}

impl Connection {
    /// The account's tokens.
    pub async fn load_token(&self, account: &AccountId) -> Result<Option<StoredToken>, StoreError> {
        self.is_ours()?;
        let hash: HashMap<String, String> = self.command(cmd("HGETALL").arg(key(account))).await?;
        if hash.is_empty() {
            return Ok(None);
        }
        read(&hash)
            .map(Some)
            // Never the text itself: it holds the tokens.
            .ok_or_else(|| StoreError::Unreadable(format!("the tokens of account {account}")))
    }

    /// Keeps the account's tokens, whole and durably, unless what is kept is as new; says whether
    /// they are kept. Repeating it does no harm.
    pub async fn save_token(
        &self,
        account: &AccountId,
        token: &StoredToken,
    ) -> Result<bool, StoreError> {
        // They would replace the new owner's.
        self.is_ours()?;
        let mirrored = account.as_str() == OLD_ACCOUNT && token.dead.is_none();
        let mode = match &token.access {
            Some(_) if mirrored => {
                let left = token.expires_at.since(now()).min(OLD_LIFE);
                left.as_millis().max(1).to_string()
            }
            _ => "none".to_owned(),
        };
        self.keep(account, token, &mode).await
    }

    /// The same for a pair that came from the old connector, which is not written back to it.
    pub async fn save_imported(
        &self,
        account: &AccountId,
        token: &StoredToken,
    ) -> Result<bool, StoreError> {
        self.is_ours()?;
        self.keep(account, token, "seen").await
    }

    /// Forgets the account's tokens and its template list; with `old` what the old connector shares with us
    /// too, or it would be taken up again.
    pub async fn forget_account(&self, account: &AccountId, old: bool) -> Result<(), StoreError> {
        if old && account.as_str() == OLD_ACCOUNT {
            for old in [OLD_ACCESS, OLD_REFRESH] {
                // The user of REDIS_URL may have no right to them: then they are not taken up either.
                let _ = self.command::<u32>(cmd("DEL").arg(old)).await;
            }
        }
        let templates = format!("{}templates", keys_of(account));
        self.command(cmd("DEL").arg(templates).arg(key(account)))
            .await
    }

    /// What the old connector stored since we last looked or wrote.
    pub async fn old_pair(&self, account: &AccountId) -> Result<Option<OldPair>, StoreError> {
        if account.as_str() != OLD_ACCOUNT {
            return Ok(None);
        }
        let mut old = OLD.key(key(account));
        old.arg(OLD_ACCESS).arg(OLD_REFRESH);
        let found: Option<(String, i64, String)> = self.run(&old).await?;
        Ok(found.and_then(|(access, left, refresh)| {
            Some(OldPair {
                access: filled(&access),
                drops_in: u64::try_from(left).ok().map(Duration::from_millis),
                refresh: filled(&refresh)?,
            })
        }))
    }

    async fn keep(
        &self,
        account: &AccountId,
        token: &StoredToken,
        mode: &str,
    ) -> Result<bool, StoreError> {
        let shown = |secret: &SecretString| secret.expose_secret().to_owned();
        let mut save = SAVE.key(key(account));
        save.arg(token.fence)
            .arg(shown(&token.refresh))
            .arg(token.access.as_ref().map(shown).unwrap_or_default())
            .arg(token.dead.as_deref().unwrap_or_default())
            .arg(token.seed.as_deref().unwrap_or_default())
            .arg(token.obtained_at.0)
            .arg(token.expires_at.0)
            .arg(mode)
            .arg(OLD_ACCESS)
            .arg(OLD_REFRESH);
        let done: u8 = self.run_durably(&save).await?;
        if done == 2 {
            tracing::warn!(
                %account, event = "old_token_keys_refused",
                "the new tokens are kept, but Redis does not let them into {OLD_ACCESS} and \
                 {OLD_REFRESH}, where the old connector looks: it must not run any more"
            );
        }
        Ok(done > 0)
    }
}

fn key(account: &AccountId) -> String {
    format!("{}token", keys_of(account))
}

fn filled(text: &str) -> Option<SecretString> {
    let text = text.trim();
    (!text.is_empty()).then(|| text.into())
}

/// Fields that this version does not know are left alone, here and by [`SAVE`].
pub(super) fn read(hash: &HashMap<String, String>) -> Option<StoredToken> {
    let text = |name: &str| hash.get(name).filter(|text| !text.is_empty());
    Some(StoredToken {
        access: text("access").map(|text| text.as_str().into()),
        refresh: text("refresh")?.as_str().into(),
        obtained_at: UnixMs(text("obtained_at")?.parse().ok()?),
        expires_at: UnixMs(text("expires_at")?.parse().ok()?),
        fence: text("fence")?.parse().ok()?,
        dead: text("dead").cloned(),
        seed: text("seed").cloned(),
    })
}
