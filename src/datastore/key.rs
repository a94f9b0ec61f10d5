//! Credentials for Google as they stand in files, and what is posted for a token with them.
//!
//! A service account signs a claim with its key (RFC 7523); a user's credentials, as gcloud leaves them,
//! have a refresh token. Never printed, nor any part of them.

use super::Error;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use serde_json::json;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// What the tokens are asked for.
const SCOPE: &str = "https://www.googleapis.com/auth/datastore";
/// The most of a file that is read; a key takes 3 KB.
const LONGEST_FILE: u64 = 64 << 10;
/// How long a signed claim is good for, in seconds; Google takes no longer one.
const CLAIM: i64 = 3600;

/// Whom Google gives a token to.
pub(super) enum Credentials {
    /// This machine, by its metadata server.
    Machine,
    /// Whom a file names.
    Files(Key),
}

/// What a file says.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Key {
    Account {
        client_email: String,
        private_key: String,
        token_uri: String,
    },
    User {
        client_id: String,
        client_secret: String,
        refresh_token: String,
    },
}

/// What is posted for a token.
pub(super) struct Grant {
    pub(super) address: String,
    pub(super) form: Vec<(&'static str, String)>,
}

impl Credentials {
    /// Reads a file. The error repeats nothing of it.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let mut text = String::new();
        let read = file.take(LONGEST_FILE).read_to_string(&mut text);
        read.map_err(|error| error.to_string())?;
        let key: Key = serde_json::from_str(&text)
            .map_err(|_| "neither a service account nor a user's credentials".to_owned())?;
        if let Key::Account { private_key, .. } = &key {
            pair(private_key)?;
        }
        Ok(Self::Files(key))
    }
}

impl Key {
    /// What is posted; `now` is in Unix seconds, `users` is where a user's refresh token is exchanged.
    pub(super) fn grant(&self, now: i64, users: &str) -> Result<Grant, Error> {
        match self {
            Self::Account {
                client_email,
                private_key,
                token_uri,
            } => {
                let claim = json!({
                    "iss": client_email, "scope": SCOPE, "aud": token_uri,
                    "iat": now, "exp": now + CLAIM,
                });
                let assertion = signed(&claim, private_key).map_err(Error::Credentials)?;
                let kind = "urn:ietf:params:oauth:grant-type:jwt-bearer".to_owned();
                Ok(Grant {
                    address: token_uri.clone(),
                    form: vec![("grant_type", kind), ("assertion", assertion)],
                })
            }
            Self::User {
                client_id,
                client_secret,
                refresh_token,
            } => Ok(Grant {
                address: users.to_owned(),
                form: vec![
                    ("grant_type", "refresh_token".to_owned()),
                    ("client_id", client_id.clone()),
                    ("client_secret", client_secret.clone()),
                    ("refresh_token", refresh_token.clone()),
                ],
            }),
        }
    }
}

fn pair(pem: &str) -> Result<RsaKeyPair, String> {
    let wrong = || "its private_key is no RSA key in PKCS #8".to_owned();
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())?;
    RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| wrong())
}

/// A JSON Web Token, RS256 (RFC 7515).
fn signed(claim: &serde_json::Value, pem: &str) -> Result<String, String> {
    let part = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
    let head = part(r#"{"alg":"RS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", part(&claim.to_string()));
    let pair = pair(pem)?;
    let mut signature = vec![0; pair.public().modulus_len()];
    pair.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        text.as_bytes(),
        &mut signature,
    )
    .map_err(|_| "its private_key does not sign".to_owned())?;
    Ok(format!(
        "{text}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(signature)
    ))
}
