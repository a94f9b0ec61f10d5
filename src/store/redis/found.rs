//! What a claim brings, as its script answers it.

use super::damage::Text;
use crate::domain::{ChannelId, Message, MsgId, OptOut, Phone, Refusal, UnixMs};
use crate::store::row::RowError;
use crate::store::{refusals, row};
use redis::{FromRedisValue, ParsingError, Value};

/// Number, channel, `msg_id`, phone, accept, attempt, row, whether it was put aside, whether the person
/// wants no promotions.
pub(super) type Taken = (i64, String, Text, Text, Text, i64, Text, bool, bool);
/// Channel, `msg_id`, which refusal.
pub(super) type Failed = (String, Text, u8);
/// What was taken, what was failed instead, how many are left for a newer program, keys that are
/// damaged, the step.
pub(super) type Found = (Vec<Taken>, Vec<Failed>, u32, Vec<Text>, String);

/// The answer to a claim.
pub(super) enum Claimed {
    NoLease,
    /// No work is handed out now.
    Closed,
    Found(Found),
}

impl FromRedisValue for Claimed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        match value {
            Value::Nil => Ok(Self::NoLease),
            Value::Int(_) => Ok(Self::Closed),
            found => Found::from_redis_value(found).map(Self::Found),
        }
    }
}

/// The message that was taken, and when it was accepted; one of which any part cannot be read is
/// damaged.
pub(super) fn read(
    [msg_id, to, accepted_at, row]: [&Text; 4],
) -> Result<(Message, UnixMs), RowError> {
    let damaged = |error: &dyn std::fmt::Display| RowError::Damaged(error.to_string());
    let number = |text: &Text| {
        text.as_str()
            .parse::<i64>()
            .map_err(|error| damaged(&error))
    };
    let msg_id = MsgId::parse(msg_id.as_str()).map_err(|error| damaged(&error))?;
    let to = u64::try_from(number(to)?).map_err(|error| damaged(&error))?;
    let to = Phone::from_number(to).map_err(|error| damaged(&error))?;
    let message = row::read_message(msg_id, to, row.as_str())?;
    Ok((message, UnixMs(number(accepted_at)?)))
}

/// What was failed, with the reason.
pub(super) fn refused(
    channel: &str,
    msg_id: &Text,
    which: u8,
) -> Option<(ChannelId, MsgId, Refusal)> {
    let refusal = if which == 0 {
        refusals::too_old()
    } else {
        OptOut::All.refusal()
    };
    Some((
        ChannelId::parse(channel).ok()?,
        MsgId::parse(msg_id.as_str()).ok()?,
        refusal,
    ))
}
