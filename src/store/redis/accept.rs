//! Write A: a message comes in, once.

use super::Store;
use super::gather::{Part, Which};
use crate::domain::{AccountId, ChannelId, MsgId, OptOut, UnixMs};
use crate::store::{Accepted, Arrival, StoreError, row};

impl Store {
    /// Keeps a message unless its `msg_id` is known or its recipient does not want it. On return Redis
    /// has acknowledged it (what that is worth: design.md G1).
    pub async fn accept(
        &self,
        channel: &ChannelId,
        _account: &AccountId,
        arrival: impl Into<Arrival<'_>>,
        now: UnixMs,
    ) -> Result<Accepted, StoreError> {
        self.answers()?;
        let Arrival {
            message,
            is_marketing,
        } = arrival.into();
        let part = Part::default()
            .arg(channel.as_str())
            .arg(message.msg_id.as_str())
            .number(message.to.number())
            .arg(row::write_message(message))
            .arg(message.from.as_written())
            .number(now.0)
            .number(u8::from(is_marketing));
        let home = self.home(channel)?;
        let accepts: Which = |store, home| (&home.gathers.accepts, &store.shared.scripts.accept);
        let code: i64 = self.gather(accepts, home, part).await?;
        Ok(match code {
            1 => Accepted::Repeat { same: true },
            2 => Accepted::Repeat { same: false },
            3 => Accepted::OptedOut(OptOut::All),
            4 => Accepted::OptedOut(OptOut::Marketing),
            number => {
                home.recent.accepted(number);
                self.shared.ledgers.change(channel, |ledger| {
                    ledger.accepted += 1;
                    ledger.queued += 1;
                });
                Accepted::Stored
            }
        })
    }

    /// Whether a message of this id was accepted before, as durably as an accept.
    pub async fn is_accepted(
        &self,
        channel: &ChannelId,
        msg_id: &MsgId,
    ) -> Result<bool, StoreError> {
        let prefix = &self.home(channel)?.prefix;
        let mut ask = redis::cmd("EXISTS");
        ask.arg(format!("{prefix}i:{channel}:{}", msg_id.as_str()));
        self.shared.connection.is_there(&ask).await
    }
}
