//! A message's record as an entity, and an entity as what it says of a message.
//!
//! Seven properties have the names that the old connector gave them, so that what was built on its
//! kind goes on working; its own entities, which lack all the others and have the provider's id as
//! name of their key, are read too. What is longer than an index allows, and the history, is
//! unindexed.

use crate::datastore::{Entity, Value};
use crate::domain::{ChannelId, MsgId, Phone, State, Status, UnixMs};
use crate::store::{Dirty, Moment, Record};
use std::time::Duration;

/// What Datastore says of a message.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Whether this program wrote it; else the old connector did.
    pub ours: bool,
    /// Its channel, as text; empty in the old connector's.
    pub channel: String,
    /// Its account, as text; empty in the old connector's.
    pub account: String,
    /// MoEngage's id.
    pub msg_id: MsgId,
    /// Where it was.
    pub state: State,
    /// The highest status that was told.
    pub status: Option<Status>,
    /// The recipient, where it is known.
    pub to: Option<Phone>,
    /// The brand's number, as it was written.
    pub from: String,
    /// The template's name; Jumper's id of it in the old connector's.
    pub template: String,
    /// The template's language; empty in the old connector's.
    pub language: String,
    /// The campaign.
    pub campaign: Option<String>,
    /// The provider's id.
    pub provider_id: Option<String>,
    /// The provider's id of the conversation.
    pub conversation: Option<String>,
    /// Whether the provider's id was inferred from an event.
    pub inferred: bool,
    /// When it was accepted, or at least first written.
    pub accepted_at: UnixMs,
    /// How often it was tried; 0 when that is not known.
    pub attempts: u32,
    /// The version that was written; 0 in the old connector's.
    pub version: u64,
    /// Its history, oldest first.
    pub history: Vec<Moment>,
}

/// The name in the key of a message's entity. Datastore allows 1,500 bytes, these are at most 577.
pub(super) fn name(channel: &ChannelId, msg_id: &MsgId) -> String {
    format!("{}:{}", channel.as_str(), msg_id.as_str())
}

/// The whole entity of a message.
pub(super) fn write(dirty: &Dirty, expire_after: Duration) -> Entity {
    let record = &dirty.record;
    let message = &record.message;
    let text = |text: &str| Value::Text(text.to_owned());
    let maybe = |value: Option<&str>| value.map_or(Value::Null, text);
    let history = serde_json::to_string(&record.history).unwrap_or_default();
    let version = i64::try_from(dirty.version).unwrap_or(i64::MAX);
    Entity::named(name(&record.channel, &message.msg_id))
        .with("mo_msg_id", text(message.msg_id.as_str()))
        .with("mo_waba_number", text(message.from.as_written()))
        .with("mo_template_id", text(&message.template.name))
        .with("wa_message_id", maybe(record.provider_id.as_deref()))
        .with("wa_conv_id", maybe(record.conversation.as_deref()))
        // A text, as the old connector's, so that one index orders both.
        .with("created_date", Value::Text(iso(record.accepted_at)))
        .with(
            "campaign_id",
            text(message.campaign.as_deref().unwrap_or("")),
        )
        .with("account", text(record.account.as_str()))
        .with("channel", text(record.channel.as_str()))
        .with("recipient", Value::Text(message.to.digits()))
        .with("state", text(record.state.as_str()))
        .with("status", maybe(record.status.map(Status::as_str)))
        .with_unindexed("status_at", status_at(record))
        .with_unindexed("template_language", text(&message.template.language))
        .with_unindexed("attempts", Value::Integer(record.attempts.into()))
        .with_unindexed("inferred", Value::Bool(record.inferred))
        .with_unindexed("history", Value::Text(history))
        .with_unindexed("version", Value::Integer(version))
        .with_unindexed(
            "expireAt",
            Value::Time(record.accepted_at.plus(expire_after).0),
        )
}

fn status_at(record: &Record) -> Value {
    let is_reported = |moment: &&Moment| matches!(moment.what.as_str(), "status" | "failed");
    let last = record.history.iter().rev().find(is_reported);
    match (record.status, last) {
        (Some(_), Some(moment)) => Value::Time(moment.at),
        _ => Value::Null,
    }
}

fn iso(at: UnixMs) -> String {
    jiff::Timestamp::from_millisecond(at.0).map_or_else(|_| String::new(), |at| format!("{at:.3}"))
}

/// Whether our entity of a message takes the place of the one that is there. Of one life of the message the
/// higher version counts; of two lives the newer one: a store that was lost, or has forgotten the message, counts
/// from 1 again when it comes again.
pub(super) fn supersedes(ours: &Entity, there: &Entity, now: UnixMs) -> bool {
    let (own, other) = (accepts(ours), accepts(there));
    let same = own.iter().any(|at| other.contains(at));
    match (own.first(), other.first()) {
        // An accept that is still to come was dated by a clock that was wrong.
        (Some(own), Some(other)) if !same => own > other || *other > now.0,
        _ => version(ours) > version(there),
    }
}

/// When an entity says that its message was accepted: as the history has it, and as it was corrected where the
/// clock had been ahead.
fn accepts(entity: &Entity) -> Vec<i64> {
    let history = entity.text("history");
    let history: Vec<Moment> = history
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let first = history.first().filter(|moment| moment.what == "accepted");
    let first = first.map(|moment| moment.at);
    let kept = entity.time("created_date");
    first.into_iter().chain(kept).collect()
}

/// The version of an entity of ours; 0 of another.
fn version(entity: &Entity) -> u64 {
    entity
        .integer("version")
        .map_or(0, |version| version.try_into().unwrap_or(0))
}

/// What an entity says of a message; `None` when it names none.
pub(super) fn read(entity: &Entity) -> Option<Kept> {
    let text = |name: &str| entity.text(name).filter(|text| !text.is_empty());
    let msg_id = MsgId::parse(&text("mo_msg_id")?).ok()?;
    let number = |name: &str| text(name).and_then(|text| Phone::parse(&text).ok());
    let state = text("state");
    let state = State::ALL
        .into_iter()
        .find(|known| state.as_deref() == Some(known.as_str()));
    let history = text("history").and_then(|text| serde_json::from_str(&text).ok());
    Some(Kept {
        ours: entity.integer("version").is_some(),
        channel: text("channel").unwrap_or_default(),
        account: text("account").unwrap_or_default(),
        msg_id,
        // The old connector wrote what the provider had taken, and nothing else.
        state: state.unwrap_or(State::Accepted),
        status: status(entity),
        to: number("recipient").or_else(|| number("receiver_number")),
        from: text("mo_waba_number").unwrap_or_default(),
        template: text("mo_template_id").unwrap_or_default(),
        language: text("template_language").unwrap_or_default(),
        campaign: text("campaign_id"),
        provider_id: text("wa_message_id"),
        conversation: text("wa_conv_id"),
        inferred: entity.get("inferred") == &Value::Bool(true),
        accepted_at: UnixMs(entity.time("created_date").unwrap_or_default()),
        attempts: entity
            .integer("attempts")
            .map_or(0, |n| n.try_into().unwrap_or(0)),
        version: version(entity),
        history: history.unwrap_or_default(),
    })
}

/// The highest status: a word in ours; in the old connector's a word that the last writer left
/// (`final_status`) and a set of all that were seen (`status`).
fn status(entity: &Entity) -> Option<Status> {
    let word = |name| entity.text(name).and_then(|word| Status::parse(&word));
    let seen = match entity.get("status") {
        Value::Entity(seen) => seen
            .iter()
            .filter(|(_, yes)| **yes == Value::Bool(true))
            .filter_map(|(word, _)| Status::parse(word))
            .max(),
        _ => None,
    };
    word("status").max(word("final_status")).max(seen)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::{AccountId, BusinessNumber, Message, Names, Template};
    use proptest::prelude::*;

    pub(in crate::records) fn dirty() -> Dirty {
        let moment = |at, what: &str| Moment {
            at,
            what: what.into(),
            detail: "x".repeat(2000),
        };
        Dirty {
            handle: 1,
            version: 4,
            record: Record {
                channel: ChannelId::parse("default").unwrap(),
                account: AccountId::parse("acc").unwrap(),
                message: Message {
                    msg_id: MsgId::parse("m:1").unwrap(),
                    from: BusinessNumber::parse("+1 202 555 0100").unwrap(),
                    to: Phone::parse("12025550143").unwrap(),
                    template: Template {
                        name: "order_update".into(),
                        language: "en".into(),
                        header: None,
                        body: vec!["Ana".into()],
                        buttons: Vec::new(),
                        names: Names::default(),
                    },
                    is_damaged: false,
                    campaign: None,
                },
                state: State::Accepted,
                due: None,
                accepted_at: UnixMs(1_930_000_000_000),
                attempts: 2,
                provider_id: Some("P1".into()),
                conversation: Some("C1".into()),
                status: Some(Status::Read),
                inferred: true,
                proof: crate::domain::proof::LastProof::Taken,
                history: vec![
                    moment(1, "accepted"),
                    moment(7, "status"),
                    moment(8, "relayed"),
                ],
                callbacks: Vec::new(),
            },
        }
    }

    #[test]
    fn a_record_comes_back_from_its_entity() {
        let dirty = dirty();
        let entity = write(&dirty, Duration::from_secs(86_400));
        assert_eq!(entity.name, "default:m:1");
        assert_eq!(
            entity.text("created_date").as_deref(),
            Some("2031-02-27T23:06:40.000Z")
        );
        assert_eq!(entity.text("campaign_id").as_deref(), Some(""));
        assert_eq!(entity.time("expireAt"), Some(1_930_086_400_000));
        assert_eq!(entity.time("status_at"), Some(7));
        assert!(!entity.properties["history"].indexed);
        let kept = read(&entity).unwrap();
        assert!(kept.ours && kept.inferred);
        assert_eq!(
            (kept.channel.as_str(), kept.account.as_str()),
            ("default", "acc")
        );
        assert_eq!(
            (kept.version, kept.attempts, kept.status),
            (4, 2, Some(Status::Read))
        );
        assert_eq!(kept.accepted_at, dirty.record.accepted_at);
        assert_eq!(kept.history, dirty.record.history);
        assert_eq!(kept.to, Some(dirty.record.message.to));
    }

    #[test]
    fn the_longest_name_is_within_what_datastore_takes() {
        let channel = ChannelId::parse(&"c".repeat(64)).unwrap();
        let msg_id = MsgId::parse(&"é".repeat(256)).unwrap();
        assert_eq!(name(&channel, &msg_id).len(), 577);
        assert!(MsgId::parse(&"m".repeat(513)).is_err());
        // `__...__` is reserved; a name of ours begins with a channel's, which never begins so.
        assert_eq!(
            name(
                &ChannelId::parse("a").unwrap(),
                &MsgId::parse("__x__").unwrap()
            ),
            "a:__x__"
        );
    }

    /// An entity of a life that began then, with this version.
    fn of_life(accepted_at: i64, version: u64) -> Entity {
        let mut dirty = dirty();
        dirty.version = version;
        dirty.record.accepted_at = UnixMs(accepted_at);
        dirty.record.history[0].at = accepted_at;
        write(&dirty, Duration::ZERO)
    }

    #[test]
    fn r_65_the_record_of_the_newer_life_counts_and_in_one_life_the_higher_version() {
        let now = UnixMs(2_000_000_000_000);
        let wins = |ours: &Entity, there: &Entity| supersedes(ours, there, now);
        let (old, new) = (1_930_000_000_000, 1_930_000_000_001);
        for (ours, there, counts) in [
            ((old, 5), (old, 4), true),
            ((old, 4), (old, 4), false),
            ((new, 1), (old, 9), true),
            ((old, 9), (new, 1), false),
            // Who wrote that had a clock that was far ahead.
            ((old, 1), (now.0 + 1, 9), true),
        ] {
            let (ours, there) = (of_life(ours.0, ours.1), of_life(there.0, there.1));
            assert_eq!(wins(&ours, &there), counts, "{ours:?} {there:?}");
        }
        // The same life, its accept put back because the clock had been ahead; then only the record knew it.
        let mut put_back = dirty();
        put_back.version = 5;
        put_back.record.history[0].at = new;
        put_back.record.accepted_at = UnixMs(old);
        let corrected = write(&put_back, Duration::ZERO);
        assert!(wins(&corrected, &of_life(new, 4)) && !wins(&of_life(new, 4), &corrected));
        put_back.version = 6;
        put_back.record.history[0] = Moment {
            what: "adopted".into(),
            ..put_back.record.history[0].clone()
        };
        assert!(wins(&write(&put_back, Duration::ZERO), &corrected));
        // Without a time the version is all there is; what has neither is none of ours.
        let bare = |version| Entity::named("n").with("version", Value::Integer(version));
        assert!(wins(&of_life(old, 4), &bare(3)) && !wins(&of_life(old, 4), &bare(4)));
        assert!(wins(&of_life(old, 1), &Entity::named("n")));
    }

    proptest! {
        /// Of two records one stays, whoever comes last; only an accept that is still to come keeps nobody out.
        #[test]
        fn r_65_no_two_records_take_each_others_place(
            (a, b) in ((0_i64..4, 1_u64..4), (0_i64..4, 1_u64..4)),
            now in 0_i64..5,
        ) {
            let to_come = a.0 != b.0 && a.0.max(b.0) > now;
            let keeps_nobody_out = a.0 != b.0 && b.0 > now;
            let (a, b, now) = (of_life(a.0, a.1), of_life(b.0, b.1), UnixMs(now));
            let (over, under) = (supersedes(&a, &b, now), supersedes(&b, &a, now));
            prop_assert!(to_come || !(over && under));
            prop_assert!(over || !keeps_nobody_out);
            prop_assert!(a == b || over || under);
        }
    }

    /// As the old connector wrote them, the early ones and the late ones.
    #[test]
    fn the_old_connectors_entities_are_read() {
        let early = Entity::named("P1")
            .with("mo_msg_id", Value::Text("m1".into()))
            .with("mo_waba_number", Value::Text("12025550100".into()))
            .with("mo_template_id", Value::Integer(5_629_499_534_213_120))
            .with("wa_message_id", Value::Text("P1".into()))
            .with("wa_conv_id", Value::Integer(7))
            .with(
                "created_date",
                Value::Text("2024-03-01T10:00:00.123456789Z".into()),
            )
            .with("campaign_id", Value::Null);
        let kept = read(&early).unwrap();
        assert!(!kept.ours);
        assert_eq!(
            (kept.state, kept.status, kept.to),
            (State::Accepted, None, None)
        );
        assert_eq!(kept.template, "5629499534213120");
        assert_eq!(kept.accepted_at, UnixMs(1_709_287_200_123));
        let seen = [
            ("sent", true),
            ("delivered", true),
            ("clicks", true),
            ("read", false),
        ];
        let seen = seen.map(|(word, yes)| (word.to_owned(), Value::Bool(yes)));
        let late = early
            .with("receiver_number", Value::Text("12025550143".into()))
            .with("final_status", Value::Text("sent".into()))
            .with("status", Value::Entity(seen.into()));
        let kept = read(&late).unwrap();
        // Its last writer won: what was seen counts, not what was written last (B-31).
        assert_eq!(kept.status, Some(Status::Delivered));
        assert_eq!(kept.to, Phone::parse("12025550143").ok());
        assert!(read(&Entity::named("config")).is_none());
    }
}
