//! Answers to "what happened to this message?".

use super::claim::unreadable;
use super::damage::Text;
use super::{AccountKeys, Call, Store, callbacks};
use crate::domain::proof::LastProof;
use crate::domain::{ChannelId, Message, MsgId, Names, Phone, State, Status, Template, UnixMs};
use crate::store::row::RowError;
use crate::store::{Record, Search, StoreError, row};
use std::collections::HashMap;

/// Number, small fields, row and history, callbacks (place, callback, reason).
pub(super) type Found = (i64, HashMap<String, Text>, Text, Vec<(String, Text, Text)>);

impl Store {
    /// The newest messages that fit, at most `most`.
    pub async fn find(&self, search: Search, most: usize) -> Result<Vec<Record>, StoreError> {
        let script = &self.shared.scripts.find;
        match search {
            Search::MsgId(channel, id) => {
                let home = self.home(&channel)?;
                let call = Call::new(script, home)
                    .arg("msg_id")
                    .arg(channel.as_str())
                    .arg(id);
                self.found(home, &call).await
            }
            Search::ProviderId(account, id) => {
                let known = |home: &&AccountKeys| home.account == account;
                match self.shared.accounts.iter().find(known) {
                    Some(home) => {
                        let call = Call::new(script, home).arg("provider_id").arg(id);
                        self.found(home, &call).await
                    }
                    None => Ok(Vec::new()),
                }
            }
            Search::Phone(phone) => {
                let mut all = Vec::new();
                for home in &self.shared.accounts {
                    let call = Call::new(script, home)
                        .arg("phone")
                        .arg(phone.number())
                        .arg(most);
                    all.extend(self.found(home, &call).await?);
                }
                all.sort_by_key(|record| std::cmp::Reverse(record.accepted_at));
                all.truncate(most);
                Ok(all)
            }
        }
    }

    async fn found(&self, home: &AccountKeys, call: &Call<'_>) -> Result<Vec<Record>, StoreError> {
        let found: Vec<Found> = self.ask(call).await?;
        let shown = found.into_iter().map(|one| record(home, one, show));
        let (found, damaged): (Vec<_>, Vec<_>) = shown.partition(Result::is_ok);
        // One that cannot be read hides no other.
        let shown = if found.is_empty() { damaged } else { found };
        shown.into_iter().collect()
    }

    /// Counts of messages by state where they stand, to check the ledger against (design.md G2):
    /// queued, attempting, unknown.
    pub async fn count_open(&self) -> Result<[i64; 3], StoreError> {
        let mut sum = [0; 3];
        for home in &self.shared.accounts {
            let mut call = Call::new(&self.shared.scripts.count_open, home);
            self.channels_of(home)
                .for_each(|channel| call.push(channel.as_str()));
            let counts: [i64; 3] = self.ask(&call).await?;
            sum.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
        Ok(sum)
    }
}

impl Store {
    /// How many queued messages of a channel are due before `due`, those that were put aside apart.
    pub async fn ahead(&self, channel: &ChannelId, due: UnixMs) -> Result<u64, StoreError> {
        let call = Call::new(&self.shared.scripts.ahead, self.home(channel)?)
            .arg(channel.as_str())
            .arg(due.0);
        self.ask(&call).await
    }
}

/// The version of a message.
pub(super) fn version((_, fields, ..): &Found) -> u64 {
    let version = fields.get("vr").and_then(|text| text.as_str().parse().ok());
    version.unwrap_or_default()
}

/// The message of a row, for people: of one that only a newer version can read, who sent it, and in
/// the place of the template why there is no more.
pub(super) fn show(msg_id: MsgId, to: Phone, text: &str) -> Result<Message, RowError> {
    let read = row::read_message(msg_id.clone(), to, text);
    let (Err(newer @ RowError::Newer(_)), Some(from)) = (&read, row::sender(text)) else {
        return read;
    };
    let template = Template {
        name: newer.to_string(),
        language: String::new(),
        header: None,
        body: Vec::new(),
        buttons: Vec::new(),
        names: Names::default(),
    };
    Ok(Message {
        msg_id,
        from,
        to,
        template,
        is_damaged: false,
        campaign: None,
    })
}

/// What was found, its row read by `read`.
pub(super) fn record(
    home: &AccountKeys,
    (_, fields, text, open): Found,
    read: fn(MsgId, Phone, &str) -> Result<Message, RowError>,
) -> Result<Record, StoreError> {
    let field = |name: &str| fields.get(name).map(Text::as_str);
    let number = |name: &str| field(name).and_then(|text| text.parse::<i64>().ok());
    let place = number("s").and_then(|state| usize::try_from(state).ok());
    let state = place.and_then(|place| State::ALL.get(place).copied());
    let state = state.ok_or_else(|| unreadable("a message is in no state we know"))?;
    let msg_id = MsgId::parse(field("mi").unwrap_or_default()).map_err(unreadable)?;
    let to = number("to").unwrap_or_default().unsigned_abs();
    let to = Phone::from_number(to).map_err(unreadable)?;
    let (row, history) = text.split_line();
    let message = read(msg_id, to, row).map_err(unreadable)?;
    let waits = matches!(state, State::Queued | State::Unknown);
    let spoken = |(place, kept, reason): &(String, Text, Text)| {
        callbacks::spoken(place, kept.as_str(), &reason.shown())
    };
    Ok(Record {
        channel: ChannelId::parse(field("ch").unwrap_or_default()).map_err(unreadable)?,
        account: home.account.clone(),
        message,
        state,
        due: number("du").filter(|_| waits).map(UnixMs),
        accepted_at: UnixMs(number("ac").unwrap_or_default()),
        attempts: number("n")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or_default(),
        provider_id: field("pi").map(Into::into),
        conversation: field("cv").map(Into::into),
        status: number("pr").and_then(status),
        inferred: field("in") == Some("1"),
        proof: LastProof::from_number(number("pf").unwrap_or_default()),
        history: row::read_history(&history),
        callbacks: open.iter().map(spoken).collect(),
    })
}

/// The status of a progress.
fn status(rank: i64) -> Option<Status> {
    let place = usize::try_from(rank.checked_sub(1)?).ok()?;
    Status::ALL.get(place).copied()
}
