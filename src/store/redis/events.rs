//! Writes D and E in one: an event is stored, matched, folded and queued for MoEngage in the same
//! script, so that a receipt and an event can never miss each other.

use super::claim::unreadable;
use super::damage::{self, Text};
use super::gather::{Part, Which};
use super::scripts::rank;
use super::{Store, keys_of};
use crate::domain::{
    AccountId, ChannelId, Incoming, Keyword, OptOut, Person, Phone, Reply, StatusEvent, UnixMs,
    UserId,
};
use crate::store::seen::Mark;
use crate::store::{EventRules, Folded, StoreError, row};
use redis::{FromRedisValue, ParsingError, Value};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::time::Instant;

/// Told, repeated, unmatched, start; then events that went for newer ones.
type Replies = Vec<u32>;

/// What a script folded, as it answers it.
pub(super) struct Fold {
    emitted: u32,
    superseded: u32,
    unmatched: u32,
    inferred: u32,
    /// Channels to wake.
    wake: Vec<Text>,
    /// Keys that are damaged.
    damaged: Vec<Text>,
    misdated: u32,
    /// Opted out of all messages.
    all: u32,
    /// Opted out of promotions.
    marketing: u32,
    /// Names that were not linked.
    conflicts: u32,
}

impl FromRedisValue for Fold {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (
            emitted,
            superseded,
            unmatched,
            inferred,
            wake,
            damaged,
            misdated,
            all,
            marketing,
            conflicts,
        ) = FromRedisValue::from_redis_value(value)?;
        Ok(Self {
            emitted,
            superseded,
            unmatched,
            inferred,
            wake,
            damaged,
            misdated,
            all,
            marketing,
            conflicts,
        })
    }
}

/// Adds what a script folded, and tells of what it found damaged.
pub(super) fn add(folded: &mut Folded, fold: Fold) {
    damage::tell(fold.damaged.iter().map(Text::shown));
    folded.emitted += fold.emitted;
    folded.superseded += fold.superseded;
    folded.unmatched += fold.unmatched;
    folded.inferred += fold.inferred;
    folded.misdated += fold.misdated;
    folded.opted_out += fold.all;
    folded.opted_out_of_marketing += fold.marketing;
    folded.alias_conflicts += fold.conflicts;
    let wake = fold
        .wake
        .iter()
        .filter_map(|channel| ChannelId::parse(channel.as_str()).ok());
    folded.wake.extend(wake);
}

impl Store {
    /// Which of these people the account wrote to.
    pub async fn written_to(
        &self,
        rules: &EventRules,
        people: &HashSet<Phone>,
    ) -> Result<HashSet<Phone>, StoreError> {
        let prefix = &self.home(&rules.channel)?.prefix;
        let mut known = HashSet::new();
        for &phone in people {
            let mut ask = redis::cmd("EXISTS");
            for number in self.numbers_of(&rules.account, phone).await? {
                ask.arg(format!("{prefix}r:{}", number.digits()));
            }
            if self.shared.connection.command::<u32>(&ask).await? > 0 {
                known.insert(phone);
            }
        }
        Ok(known)
    }

    /// All numbers of the person of this one, those too that the account learnt.
    pub async fn numbers_of(
        &self,
        account: &AccountId,
        phone: Phone,
    ) -> Result<Vec<Phone>, StoreError> {
        let person = Person::of(phone);
        let key = person.key().digits();
        let mut ask = redis::cmd("HMGET");
        ask.arg(format!("{}al", keys_of(account)))
            .arg(&key)
            .arg(format!("={key}"));
        let learnt: Vec<Option<Text>> = self.shared.connection.command(&ask).await?;
        let learnt = learnt
            .iter()
            .flatten()
            .find_map(|number| Phone::parse(number.as_str()).ok());
        let learnt = learnt.into_iter().flat_map(|one| Person::of(one).numbers());
        Ok(person.numbers().chain(learnt).collect())
    }

    /// Stores what a webhook brought, in its order.
    pub async fn take_events(
        &self,
        rules: Arc<EventRules>,
        events: impl Into<Arc<[Incoming]>>,
        now: UnixMs,
        begin_by: Instant,
    ) -> Result<Folded, StoreError> {
        if Instant::now() >= begin_by {
            return Err(StoreError::Unavailable(
                "it was too slow to begin in time".into(),
            ));
        }
        let events = events.into();
        let call = part(&rules, &events, now, false)?;
        let mut folded = Folded::default();
        for event in events.iter() {
            if let Incoming::Other { kind, times, .. } = event {
                folded.other.push((kind, *times));
            }
        }
        let home = self.home(&rules.channel)?;
        let gathered: Which = |store, home| (&home.gathers.events, &store.shared.scripts.events);
        let retakes = home.recent.retakes();
        let (fold, replies): (Fold, Replies) = self.gather(gathered, home, call).await?;
        let taken = home.recent.took(&rules, &events, now);
        if home.recent.retakes() != retakes {
            self.take_late(home, taken);
        }
        add(&mut folded, fold);
        if let [queued, repeated, unmatched, start, crowded_out] = replies[..] {
            folded.replies = queued;
            folded.repeated_replies = repeated;
            folded.unmatched_replies = unmatched;
            folded.opted_in = start;
            folded.crowded_out = crowded_out;
        }
        Ok(folded)
    }
}

/// What a webhook brought; `again` where Redis may have forgotten it since (`recent`).
pub(super) fn part(
    rules: &EventRules,
    events: &[Incoming],
    now: UnixMs,
    again: bool,
) -> Result<Part, StoreError> {
    let own = rules.waba_number.as_ref();
    let own = own.map_or("", |number| number.as_written());
    let mut call = Part::default()
        .arg(rules.channel.as_str())
        .number(now.0)
        .number(now.minus(rules.reply_window).0)
        .number(u8::from(rules.relay_unmatched))
        .arg(own)
        .number(rules.early().as_millis())
        .number(u8::from(rules.vouched));
    for event in events {
        match event {
            Incoming::Status(status) => push_status(&mut call, status),
            Incoming::Reply(reply) => {
                let keyword = rules.keywords.meaning(&reply.text);
                // Who wrote START may have written STOP since.
                let keyword = keyword.filter(|word| !again || *word != Keyword::Start);
                push_reply(&mut call, rules, reply, keyword, again)?;
            }
            Incoming::Other { kind, raw, times } => {
                let count = times.to_string();
                let fields = ["o", kind, raw, &count, "", "", "", "", "", "", ""];
                push(&mut call, fields);
            }
        }
    }
    Ok(call)
}

/// The fields of one event: as many as the script reads of each.
fn push(call: &mut Part, fields: [&str; 11]) {
    fields.iter().for_each(|field| call.push(field));
}

fn push_status(call: &mut Part, event: &StatusEvent) {
    let (failure, text) = event.failure().map_or_else(
        || ("null".to_owned(), String::new()),
        |refusal| (row::write_refusal(&refusal), refusal.reason),
    );
    let rank = rank(Some(event.status)).to_string();
    let at = event.at.map_or_else(String::new, |at| at.0.to_string());
    let to = event
        .recipient
        .map_or_else(String::new, |to| to.number().to_string());
    let id = event.provider_id.as_str();
    let user = event.user.as_ref().map_or("", UserId::as_str);
    push(
        call,
        ["s", id, &rank, &at, &to, &failure, &text, user, "", "", ""],
    );
}

fn push_reply(
    call: &mut Part,
    rules: &EventRules,
    reply: &Reply,
    keyword: Option<Keyword>,
    again: bool,
) -> Result<(), StoreError> {
    let mark = Mark::of(&rules.channel, reply);
    // What Redis knows still is the same reply, however it is known.
    let life = mark.life_ms.filter(|_| !again);
    let life = life.map_or_else(String::new, |ms| ms.to_string());
    let context = reply.context.as_ref().map_or("", |id| id.as_str());
    let from = reply.from.map_or_else(String::new, Phone::digits);
    let json = serde_json::to_string(&reply.text).map_err(unreadable)?;
    let at = reply.at.map_or_else(String::new, |at| at.0.to_string());
    let shown = reply.in_history(keyword);
    let keyword = match keyword {
        Some(Keyword::Stop(OptOut::All)) => "oo",
        Some(Keyword::Stop(OptOut::Marketing)) => "om",
        Some(Keyword::Start) => "start",
        None => "",
    };
    let text = reply.text.trim();
    let user = reply.user.as_ref().map_or("", UserId::as_str);
    push(
        call,
        [
            "r", &mark.name, &life, &from, &shown, context, text, &json, &at, keyword, user,
        ],
    );
    Ok(())
}
