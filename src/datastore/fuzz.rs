//! What Datastore answers, for the fuzzer.

use super::error::refused;
use super::wire::{Entity, Value, WireEntity};
use crate::http::outgoing::StatusCode;

/// Reads bytes as an error and as an entity, which comes back the same when it is written again.
pub(crate) fn entity(bytes: &[u8]) -> Option<Entity> {
    for status in [StatusCode::BAD_REQUEST, StatusCode::TOO_MANY_REQUESTS] {
        let error = refused(status, bytes);
        let _ = (error.is_worth_retrying(), error.advice(), error.to_string());
    }
    let entity = serde_json::from_slice::<WireEntity>(bytes).ok()?.read();
    let again = entity.write("K");
    let again = serde_json::from_value::<WireEntity>(again).expect("an entity");
    for (name, one) in again.read().properties {
        let lost = matches!(entity.get(&name), Value::Entity(_) | Value::Other);
        assert!(lost || one.value == *entity.get(&name), "{name}");
    }
    let _ = entity.size();
    Some(entity)
}
