//! What Datastore is owed and what it gives back: marks of changed messages, and statuses whose
//! message only Datastore still knows.

use super::damage::Text;
use super::scripts::rank;
use super::{AccountKeys, Call, Store, events, read};
use crate::domain::{AccountId, ChannelId, Message, Names, ProviderId, Template, UnixMs};
use crate::store::{Adopted, Dirty, DirtyEnd, Folded, MARK_HIDDEN, StoreError, Unmatched, row};

impl Store {
    pub(super) fn home_of(&self, account: &AccountId) -> Option<&AccountKeys> {
        let known = |home: &&AccountKeys| home.account == *account;
        self.shared.accounts.iter().find(known)
    }

    /// Takes up to `most` changed messages whose mark is due. Taking hides the mark for
    /// [`MARK_HIDDEN`], nothing else.
    pub async fn take_dirty(
        &self,
        account: &AccountId,
        most: usize,
        now: UnixMs,
    ) -> Result<Vec<Dirty>, StoreError> {
        self.shared.connection.is_ours()?;
        let Some(home) = self.home_of(account) else {
            return Ok(Vec::new());
        };
        let call = Call::new(&self.shared.scripts.take_dirty, home)
            .arg(now.0)
            .arg(now.plus(MARK_HIDDEN).0)
            .arg(most);
        let found: Vec<read::Found> = self.ask(&call).await?;
        let mut taken = Vec::with_capacity(found.len());
        for one in found {
            let (handle, version) = (one.0, read::version(&one));
            match read::record(home, one, row::read_message) {
                Ok(record) => taken.push(Dirty {
                    handle,
                    version,
                    record,
                }),
                // It keeps its mark, and holds back nothing.
                Err(error) => tracing::warn!(handle, %error,
                    event = "record_unreadable",
                    "a changed message cannot be read; Datastore does not get it"),
            }
        }
        Ok(taken)
    }

    /// Ends tries to write. A message that changed meanwhile keeps its mark and is due at once.
    pub async fn settle_dirty(
        &self,
        account: &AccountId,
        ends: Vec<(i64, u64, DirtyEnd)>,
        now: UnixMs,
    ) -> Result<(), StoreError> {
        let Some(home) = self.home_of(account) else {
            return Ok(());
        };
        let mut call = Call::new(&self.shared.scripts.settle_dirty, home).arg(now.0);
        for (handle, version, end) in ends {
            call.push(handle);
            call.push(version);
            match end {
                DirtyEnd::Written => call.push(""),
                DirtyEnd::Later { due } => call.push(due.0),
            }
        }
        let _: u8 = self.ask(&call).await?;
        Ok(())
    }

    /// How many messages wait for Datastore.
    pub async fn dirty_waiting(&self, account: &AccountId) -> Result<u64, StoreError> {
        let mut ask = redis::cmd("ZCARD");
        ask.arg(format!("{}dirty", super::keys_of(account)));
        self.shared.connection.command(&ask).await
    }

    /// Provider ids of the account whose statuses came before `received_before`, that no message
    /// matched, and that Datastore was not asked for; at most `most`. The order is told where this is
    /// called through ([`crate::store::Outbox::unmatched`]).
    pub async fn unmatched(
        &self,
        account: &AccountId,
        received_before: UnixMs,
        most: usize,
    ) -> Result<Vec<Unmatched>, StoreError> {
        self.shared.connection.is_ours()?;
        let Some(home) = self.home_of(account) else {
            return Ok(Vec::new());
        };
        let call = Call::new(&self.shared.scripts.unmatched, home)
            .arg(received_before.0)
            .arg(most);
        let found: Vec<(Text, i64, Text)> = self.ask(&call).await?;
        let read = |(id, received_at, channel): (Text, i64, Text)| {
            Some(Unmatched {
                provider_id: ProviderId::parse(id.as_str()).ok()?,
                channel: ChannelId::parse(channel.as_str()).ok()?,
                received_at: UnixMs(received_at),
            })
        };
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// Takes what Datastore said about an id. `None`: it knows nothing either, and is not asked
    /// again; the statuses stay until they are too old. Else the message is kept as accepted by the
    /// provider, outside the ledger, and its waiting statuses are folded and relayed.
    ///
    /// Where a message of this `msg_id` is here already, it decides: failed or unknown, the record is
    /// its proof, and the id becomes its receipt; queued, being sent or with another receipt, it is
    /// left as it is and the statuses stay, because they are of another send of the same message.
    pub async fn adopt(
        &self,
        account: &AccountId,
        provider_id: &ProviderId,
        found: Option<Adopted>,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        let mut folded = Folded::default();
        let Some(home) = self.home_of(account) else {
            return Ok(folded);
        };
        let mut call = Call::new(&self.shared.scripts.adopt, home)
            .arg(now.0)
            .arg(provider_id.as_str());
        if let Some(adopted) = &found {
            let to = adopted
                .to
                .map(|to| to.number().to_string())
                .unwrap_or_default();
            call.push(adopted.channel.as_str());
            call.push(adopted.msg_id.as_str());
            call.push(to);
            call.push(row::write_message(&message(adopted)));
            call.push(adopted.conversation.as_deref().unwrap_or_default());
            call.push(rank(adopted.progress.status()));
            call.push(adopted.accepted_at.0);
            call.push(adopted.version);
            call.push(adopted.from.phone().number());
            call.push(u8::from(adopted.inferred));
        }
        let (refused, fold): (bool, events::Fold) = self.run(&call).await?;
        events::add(&mut folded, fold);
        if let (true, Some(adopted)) = (refused, found) {
            tracing::warn!(channel = %adopted.channel, msg_id = %adopted.msg_id, %provider_id,
                event = "record_conflict",
                "Datastore has a record of this message with another provider id; the message here \
                 is left as it is, and statuses of that id are not relayed");
        }
        Ok(folded)
    }
}

fn message(adopted: &Adopted) -> Message {
    Message {
        msg_id: adopted.msg_id.clone(),
        from: adopted.from.clone(),
        to: adopted.to.unwrap_or(adopted.from.phone()),
        template: Template {
            name: adopted.template.clone(),
            language: adopted.language.clone(),
            header: None,
            body: Vec::new(),
            buttons: Vec::new(),
            names: Names::default(),
        },
        is_damaged: false,
        campaign: adopted.campaign.as_deref().map(Into::into),
    }
}
