//! The fake's token desk: mints token pairs, rotates them, and says of a bearer token whose it is. Pure; the
//! clock is an argument. Signatures are random bytes: the tokens look like Jumper's (contracts/jumper.md 2.4)
//! and prove nothing.

use std::collections::HashMap;

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use fastrand::Rng;
use serde_json::json;

use crate::sandbox::{dice, knobs::Knobs};

/// A fresh pair, as the refresh route answers it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pair {
    pub(super) access: String,
    pub(super) refresh: String,
    pub(super) expires_in: u64,
}

/// Why a token is not accepted, as an Apigee errorcode with its text (contracts/jumper.md 3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Denied(pub(super) &'static str, pub(super) &'static str);

const MISSING: Denied = Denied("oauth.v2.InvalidAccessToken", "Invalid access token");
const MALFORMED: Denied = Denied("steps.jwt.FailedToDecode", "Failed to Decode Token");
const EXPIRED: Denied = Denied("steps.jwt.TokenExpired", "Token expired");
const REVOKED: Denied = Denied(
    "keymanagement.service.invalid_access_token",
    "Invalid Access Token",
);
const DEAD_REFRESH: Denied = Denied(
    "keymanagement.service.invalid_refresh_token",
    "Invalid Refresh Token",
);

/// A refresh token that nobody was ever given; the route answers `invalid_grant`.
pub(super) const UNKNOWN_REFRESH: Denied = Denied("invalid_grant", "Unknown refresh token");

#[derive(Debug)]
struct Issued {
    merchant: usize,
    expires_ms: u64,
    revoked: bool,
}

/// All tokens of all merchants; merchants are named by their position.
#[derive(Debug, Default)]
pub(in crate::sandbox) struct Desk {
    access: HashMap<String, Issued>,
    refresh: HashMap<String, Issued>,
    /// Pairs minted so far, so that no two tokens are drawn from the same dice.
    minted: u64,
}

impl Desk {
    /// Makes a refresh token good for a merchant; it does not expire by itself.
    pub(in crate::sandbox) fn seed(&mut self, merchant: usize, token: &str) {
        let issued = Issued {
            merchant,
            expires_ms: u64::MAX,
            revoked: false,
        };
        self.refresh.insert(token.to_owned(), issued);
    }

    /// The merchant of a presented `Authorization` header.
    pub(super) fn bearer(&self, header: Option<&str>, now_ms: u64) -> Result<usize, Denied> {
        let token = header
            .and_then(|value| value.strip_prefix("Bearer "))
            .map(str::trim)
            .ok_or(MISSING)?;
        match self.access.get(token) {
            Some(issued) if issued.revoked => Err(REVOKED),
            Some(issued) if issued.expires_ms <= now_ms => Err(EXPIRED),
            Some(issued) => Ok(issued.merchant),
            None if token.split('.').count() == 3 => Err(REVOKED),
            None => Err(MALFORMED),
        }
    }

    /// The merchant a refresh token is good for.
    pub(super) fn owner(&self, refresh: &str, now_ms: u64) -> Result<usize, Denied> {
        match self.refresh.get(refresh.trim()) {
            Some(issued) if !issued.revoked && issued.expires_ms > now_ms => Ok(issued.merchant),
            Some(_) => Err(DEAD_REFRESH),
            None => Err(UNKNOWN_REFRESH),
        }
    }

    /// Retires a refresh token and the access tokens of its merchant, as far as the knobs want it.
    pub(super) fn retire(&mut self, refresh: &str, knobs: &Knobs, now_ms: u64) {
        let Some(used) = self.refresh.get_mut(refresh.trim()) else {
            return;
        };
        used.expires_ms = used.expires_ms.min(now_ms + knobs.refresh_grace_s * 1000);
        let merchant = used.merchant;
        if !knobs.old_access_survives {
            self.revoke_access(merchant);
        }
    }

    /// Mints a pair for a merchant.
    pub(super) fn mint(&mut self, merchant: usize, name: &str, seed: u64, life: Life) -> Pair {
        self.minted += 1;
        let mut rng = dice::rng(seed, &["token", name], self.minted);
        let access = jwt(name, 28, life, &mut rng);
        let refresh = jwt(name, 32, life, &mut rng);
        // A refresh token that died together with its access token could never be used in need, and
        // nobody renews a pair more than once a minute for its age alone.
        let lives = [
            (&mut self.access, &access, life.ttl_s),
            (&mut self.refresh, &refresh, 2 * life.ttl_s + 600),
        ];
        for (map, token, life_s) in lives {
            let issued = Issued {
                merchant,
                expires_ms: life.now_ms + life_s * 1000,
                revoked: false,
            };
            map.insert(token.clone(), issued);
        }
        Pair {
            access,
            refresh,
            expires_in: life.ttl_s,
        }
    }

    pub(in crate::sandbox) fn revoke_access(&mut self, merchant: usize) {
        revoke(&mut self.access, merchant);
    }

    pub(in crate::sandbox) fn revoke_refresh(&mut self, merchant: usize) {
        revoke(&mut self.refresh, merchant);
    }
}

fn revoke(tokens: &mut HashMap<String, Issued>, merchant: usize) {
    for issued in tokens
        .values_mut()
        .filter(|issued| issued.merchant == merchant)
    {
        issued.revoked = true;
    }
}

/// When a pair is minted and how long it lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) now_ms: u64,
    pub(super) ttl_s: u64,
}

/// An RS256-looking JWT with the claims seen in Jumper's; `sub` is as long as Apigee's opaque token.
fn jwt(merchant_id: &str, sub: usize, life: Life, rng: &mut Rng) -> String {
    let iat = life.now_ms / 1000;
    let claims = json!({
        "sub": dice::opaque(rng, sub),
        "aud": dice::opaque(rng, 48),
        "iss": "urn://apigee-edge-JWT-policy-test",
        "merchant_id": merchant_id,
        "exp": iat + life.ttl_s,
        "iat": iat,
        "jti": dice::uuid(rng),
    });
    let signature: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(256).collect();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!(
        "{}.{}.{}",
        encode(br#"{"alg":"RS256","typ":"JWT"}"#),
        encode(claims.to_string().as_bytes()),
        encode(&signature)
    )
}

/// Key and secret of a Basic header.
pub(super) fn basic(header: Option<&str>) -> Option<(String, String)> {
    let encoded = header?.strip_prefix("Basic ")?.trim();
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (key, secret) = text.split_once(':')?;
    Some((key.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const LIFE: Life = Life {
        now_ms: 1_000_000,
        ttl_s: 60,
    };

    fn bearer(desk: &Desk, token: &str, now_ms: u64) -> Result<usize, Denied> {
        desk.bearer(Some(&format!("Bearer {token}")), now_ms)
    }

    #[test]
    fn a_token_looks_like_jumpers() {
        let pair = Desk::default().mint(0, "1234", 9, LIFE);
        assert!(
            (650..800).contains(&pair.access.len()),
            "{}",
            pair.access.len()
        );
        let claims = pair.access.split('.').nth(1).unwrap();
        let claims: Value =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["merchant_id"], "1234");
        assert_eq!(
            claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
            60
        );
        assert_eq!(claims["sub"].as_str().unwrap().len(), 28);
        assert_ne!(pair.access, pair.refresh);
    }

    #[test]
    fn tokens_are_denied_for_the_right_reason() {
        let mut desk = Desk::default();
        let pair = desk.mint(3, "1", 9, LIFE);
        assert_eq!(bearer(&desk, &pair.access, 1_059_999), Ok(3));
        assert_eq!(bearer(&desk, &pair.access, 1_060_000), Err(EXPIRED));
        assert_eq!(desk.bearer(None, 0), Err(MISSING));
        assert_eq!(bearer(&desk, "garbage", 0), Err(MALFORMED));
        assert_eq!(bearer(&desk, "a.b.c", 0), Err(REVOKED));
        desk.revoke_access(3);
        assert_eq!(bearer(&desk, &pair.access, 1_000_000), Err(REVOKED));
    }

    #[test]
    fn a_used_refresh_token_is_dead_unless_there_is_grace() {
        let mut desk = Desk::default();
        desk.seed(0, "seed");
        assert_eq!(desk.owner(" seed\n", 5), Ok(0));
        assert_eq!(desk.owner("made-up", 5), Err(UNKNOWN_REFRESH));
        let knobs = Knobs {
            refresh_grace_s: 2,
            ..Knobs::default()
        };
        desk.retire("seed", &knobs, 10_000);
        assert_eq!(desk.owner("seed", 11_999), Ok(0));
        assert_eq!(desk.owner("seed", 12_000), Err(DEAD_REFRESH));
        let pair = desk.mint(0, "1", 9, LIFE);
        desk.retire(&pair.refresh, &Knobs::default(), 1_000_000);
        assert_eq!(desk.owner(&pair.refresh, 1_000_000), Err(DEAD_REFRESH));
        assert_eq!(bearer(&desk, &pair.access, 1_000_000), Err(REVOKED));
    }

    #[test]
    fn an_old_access_token_may_survive() {
        let mut desk = Desk::default();
        let pair = desk.mint(0, "1", 9, LIFE);
        let knobs = Knobs {
            old_access_survives: true,
            ..Knobs::default()
        };
        desk.retire(&pair.refresh, &knobs, 1_000_000);
        assert_eq!(bearer(&desk, &pair.access, 1_000_000), Ok(0));
    }

    #[test]
    fn basic_credentials_are_read() {
        let header = format!("Basic {}", STANDARD.encode("key:se:cret"));
        assert_eq!(basic(Some(&header)), Some(("key".into(), "se:cret".into())));
        assert_eq!(basic(Some("Basic !!")), None);
        assert_eq!(basic(None), None);
    }
}
