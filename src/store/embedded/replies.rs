//! Replies of people: matched to a message, opt-outs remembered, queued for MoEngage.

use super::answered::{self, Answered};
use super::here::Here;
use super::named::{self, Named};
use super::opt_out::{self, Home, Name, Stop};
use super::writer::Txn;
use super::{Store, alias, callbacks, crowd, history, link, signed};
use crate::domain::{AccountId, Callback, ChannelId, InboundEntry, Keyword, Phone, Reply, Source};
use crate::store::seen::Mark;
use crate::store::{EventRules, Folded, StoreError};
use rusqlite::{Connection, OptionalExtension, Result};
use std::collections::HashSet;

impl Store {
    /// Which of these people the account wrote to.
    pub async fn written_to(
        &self,
        rules: &EventRules,
        people: &HashSet<Phone>,
    ) -> Result<HashSet<Phone>, StoreError> {
        let (account, people) = (rules.account.clone(), people.clone());
        self.read(move |conn| {
            let mut wrote = conn.prepare_cached(
                "SELECT 1 FROM message WHERE recipient = ?1 AND account = ?2 LIMIT 1",
            )?;
            let mut known = HashSet::new();
            for phone in people {
                for number in alias::numbers_of(conn, &account, phone)? {
                    if wrote.exists((signed(number.number()), account.as_str()))? {
                        known.insert(phone);
                    }
                }
            }
            Ok(known)
        })
        .await
    }
}

/// Takes one reply.
pub(super) fn take(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    reply: &Reply,
    folded: &mut Folded,
) -> Result<()> {
    let mark = Mark::of(&here.rules.channel, reply);
    let keyword = here.rules.keywords.meaning(&reply.text);
    let repeated = seen_before(txn.conn, here, &mark)?;
    if repeated && !mark.counts_again(keyword) {
        folded.repeated_replies += 1;
        return Ok(());
    }
    let account = &here.rules.account;
    let (known_as, other) = Named::from(reply).dialled(txn, account)?;
    let numbers = numbers(txn, account, [reply.from, known_as])?;
    let answered = answered::find(txn.conn, here, reply, &numbers)?;
    let channel = answered
        .as_ref()
        .map_or(&here.rules.channel, |message| &message.channel)
        .clone();
    let recipient = answered.as_ref().and_then(|message| message.recipient);
    let learns = learn(txn, here, answered.as_ref(), reply, folded)?;
    if other.is_some() && !learns && here.rules.vouched {
        folded.alias_conflicts += 1;
    }
    let who = Who {
        recipient,
        known_as,
        other,
    };
    let names = names(txn, here, reply, keyword, who)?;
    obey(txn, here, &channel, keyword, &names)?;
    if repeated {
        folded.repeated_replies += 1;
        return Ok(());
    }
    if !names.is_empty() {
        count(keyword, folded);
    }
    let wanted = answered.is_some() || keyword.is_some() || here.rules.relay_unmatched;
    // Of one who is named by an unknown user id only, a message of ours would say whose it is.
    let Some(from) = recipient.or(known_as).or(reply.from).filter(|_| wanted) else {
        folded.unmatched_replies += 1;
        return crowd::keep_other(txn, here, "unmatched_reply", &reply.text, folded);
    };
    let accepted_at = answered.as_ref().map(|message| message.accepted_at);
    let entry = Callback::Inbound(InboundEntry {
        from,
        waba_number: match &answered {
            Some(message) => message.waba_number.clone(),
            None => own_number(txn.conn, here)?,
        },
        at: here.believed(reply.at, accepted_at.unwrap_or_default(), folded),
        kind: answered::kind(answered.as_ref(), &reply.text),
        text: reply.text.clone(),
        msg_id: answered.as_ref().map(|message| message.msg_id.clone()),
    });
    let message = answered.map(|message| message.id);
    let line = reply.in_history(keyword);
    history::note(txn, message, here.now, "reply", &line)?;
    callbacks::enqueue(txn, &channel, message, &entry, here.now)?;
    folded.replies += 1;
    folded.wake.push(channel);
    Ok(())
}

/// Who may have written a reply, beside the number in it.
struct Who {
    /// To whom the message went that it belongs to.
    recipient: Option<Phone>,
    known_as: Option<Phone>,
    /// Whose the user id is, where the number is not theirs.
    other: Option<Phone>,
}

/// Under what a word counts. A STOP may count for two people where they may be one; a START lifts what the
/// number in it says, or the message.
fn names<'a>(
    txn: &Txn<'_>,
    here: &Here<'_>,
    reply: &'a Reply,
    keyword: Option<Keyword>,
    who: Who,
) -> Result<Vec<Name<'a>>> {
    let also = match keyword {
        Some(Keyword::Stop(_)) => [who.known_as, who.other],
        _ => [None, None],
    };
    let people = [reply.from, who.recipient.or(who.known_as)];
    let people = people.into_iter().chain(also).flatten();
    let mut names: Vec<_> = people.map(Name::Number).collect();
    // It may be known before the number is whose both are.
    let counts = here.rules.vouched && keyword.is_some();
    let user = reply.user.as_ref().filter(|_| counts);
    let user = named::of_nobody(txn, &here.rules.account, user)?;
    names.extend(user.map(Name::User));
    Ok(names)
}

/// What a reply says of the person of a message that it names, if it is certain to. Whoever shows no secret can
/// make up both.
fn learn(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    answered: Option<&Answered>,
    reply: &Reply,
    folded: &mut Folded,
) -> Result<bool> {
    let certain = answered.filter(|message| message.is_certain && here.rules.vouched);
    let Some((to, message)) = certain.and_then(|message| Some((message.recipient?, message.id)))
    else {
        return Ok(false);
    };
    let named = reply.into();
    folded.alias_conflicts += link::learn(txn, &here.rules.account, to, message, &named)?;
    Ok(true)
}

fn count(keyword: Option<Keyword>, folded: &mut Folded) {
    match keyword {
        Some(Keyword::Stop(scope)) => folded.opt_out(scope),
        Some(Keyword::Start) => folded.opted_in += 1,
        None => {}
    }
}

/// What a word asks for on a channel.
fn obey(
    txn: &mut Txn<'_>,
    here: &Here<'_>,
    channel: &ChannelId,
    keyword: Option<Keyword>,
    names: &[Name<'_>],
) -> Result<()> {
    let home = Home {
        account: &here.rules.account,
        channel,
    };
    for name in names {
        match keyword {
            Some(Keyword::Stop(scope)) => {
                let stop = Stop {
                    scope,
                    at: here.now,
                    source: Source::REPLY,
                };
                opt_out::add(txn, home, *name, &stop)?;
            }
            Some(Keyword::Start) => opt_out::lift(txn, home, *name, here.now)?,
            None => {}
        }
    }
    Ok(())
}

/// All numbers of who writes, as the reply names them and as they are known.
fn numbers(txn: &mut Txn<'_>, account: &AccountId, of: [Option<Phone>; 2]) -> Result<Vec<Phone>> {
    let mut numbers = Vec::new();
    for phone in of.into_iter().flatten() {
        if !numbers.contains(&phone) {
            numbers.extend(alias::numbers(txn, account, phone)?);
        }
    }
    Ok(numbers)
}

fn seen_before(conn: &Connection, here: &Here<'_>, mark: &Mark) -> Result<bool> {
    let fresh = conn
        .prepare_cached(
            "INSERT INTO reply_seen (account, id, at) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET at = ?3 WHERE abs(at - ?3) > ?4",
        )?
        .execute((
            here.rules.account.as_str(),
            &mark.name,
            here.now.0,
            mark.life_ms.unwrap_or(i64::MAX),
        ))?;
    Ok(fresh == 0)
}

/// The number that a reply without a message was sent to: the configured one, else the last one
/// that MoEngage named on this channel, else one that it named long ago.
fn own_number(conn: &Connection, here: &Here<'_>) -> Result<String> {
    if let Some(number) = &here.rules.waba_number {
        return Ok(number.as_written().into());
    }
    let channel = here.rules.channel.as_str();
    let mut newest =
        conn.prepare_cached("SELECT channel, body FROM message ORDER BY id DESC LIMIT ?1")?;
    let mut rows = newest.query([answered::LOOKED_THROUGH])?;
    while let Some(row) = rows.next()? {
        if row.get_ref(0)?.as_bytes()? == channel.as_bytes()
            && let Some(number) = answered::sender(row, 1)?
        {
            return Ok(number);
        }
    }
    let any = conn
        .prepare_cached("SELECT body FROM message WHERE channel = ?1 LIMIT 1")?
        .query_row([channel], |row| answered::sender(row, 0))
        .optional()?;
    Ok(any.flatten().unwrap_or_default())
}
