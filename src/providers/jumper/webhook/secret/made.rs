//! A secret that nobody can guess.

use crate::store::StoreError;
use ring::rand::{SecureRandom, SystemRandom};

/// Bytes of a secret; it has twice as many letters.
const BYTES: usize = 24;

/// Makes one.
pub(super) fn made() -> Result<String, StoreError> {
    let mut bytes = [0; BYTES];
    let drawn = SystemRandom::new().fill(&mut bytes);
    drawn.map_err(|_| StoreError::Unavailable("this machine gives no random numbers".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
