//! Values as JSON, for people and for `gateway trace`. Phone numbers are masked here.

use super::standing::Standing;
use super::why::{self, AccountFacts, ChannelFacts, Reason, Site};
use super::{AccountOps, OpsState, webhook};
use crate::accounts::{Channel, Channels};
use crate::domain::access::TokenState;
use crate::domain::phone::mask_digits;
use crate::domain::{Destination, Status, UnixMs};
use crate::outbox::Outbox;
use crate::relay::Trouble;
use crate::store::{Ledger, Moment, Record, Uncounted};
use serde_json::{Value, json};

/// A moment as RFC 3339.
pub(super) fn time(at: UnixMs) -> Value {
    jiff::Timestamp::from_millisecond(at.0).map_or(Value::Null, |at| at.to_string().into())
}

/// The ledger of every channel, and their sum. Queued messages of a paused or held channel are
/// shown as held (design.md G2).
pub(super) fn ledger(channels: &Channels, outbox: &Outbox) -> Value {
    let mut sum = Shown::default();
    let mut each = serde_json::Map::new();
    for channel in channels.iter() {
        let shown = Shown::of(channel, &outbox.store.ledger(&channel.id));
        sum.add(&shown);
        each.insert(channel.id.to_string(), shown.json());
    }
    json!({ "total": sum.json(), "channels": each })
}

#[derive(Default)]
struct Shown {
    ledger: Ledger,
    held: i64,
}

impl Shown {
    fn of(channel: &Channel, ledger: &Ledger) -> Self {
        let held = if channel.is_stopped() {
            ledger.queued
        } else {
            0
        };
        Self {
            ledger: Ledger {
                queued: ledger.queued - held,
                ..*ledger
            },
            held,
        }
    }

    fn lost(&self) -> i64 {
        self.ledger.lost() - self.held
    }

    fn add(&mut self, other: &Self) {
        let (sum, one) = (&mut self.ledger, &other.ledger);
        self.held += other.held;
        sum.accepted += one.accepted;
        sum.queued += one.queued;
        sum.attempting += one.attempting;
        sum.unknown += one.unknown;
        sum.accepted_by_provider += one.accepted_by_provider;
        sum.failed += one.failed;
        sum.callbacks_waiting += one.callbacks_waiting;
        sum.callbacks_taken += one.callbacks_taken;
        sum.dead_letters += one.dead_letters;
        sum.events += one.events;
        sum.expired_events += one.expired_events;
        sum.uncounted = both(sum.uncounted, one.uncounted);
    }

    fn json(&self) -> Value {
        let ledger = &self.ledger;
        let uncounted = ledger.uncounted;
        json!({
            "accepted": ledger.accepted,
            "queued": ledger.queued,
            "in_flight": ledger.attempting,
            "held": self.held,
            "unknown": ledger.unknown,
            "accepted_by_provider": ledger.accepted_by_provider,
            "failed": ledger.failed,
            "lost": self.lost(),
            "uncounted": uncounted.map_or(0, |off| off.messages),
            "uncounted_cause": uncounted.map(|off| off.cause()),
            "uncounted_at": uncounted.map(|off| time(off.at)),
            "callbacks": {
                "waiting": ledger.callbacks_waiting,
                "taken": ledger.callbacks_taken,
                "dead_letters": ledger.dead_letters,
            },
            "events": ledger.events,
            "early_statuses_expired": ledger.expired_events,
        })
    }
}

/// What is uncounted in two ledgers; why, of the later one.
fn both(one: Option<Uncounted>, other: Option<Uncounted>) -> Option<Uncounted> {
    let (Some(a), Some(b)) = (one, other) else {
        return one.or(other);
    };
    let later = if a.at > b.at { a } else { b };
    let messages = a.messages + b.messages;
    Some(Uncounted { messages, ..later })
}

/// A channel as it stands.
pub(super) fn channel(channel: &Channel, ops: &OpsState, site: &Site) -> Value {
    let outbox = &ops.shared.outbox;
    let troubles = ops.shared.relayed.of(&channel.id);
    let failing: Vec<Value> = troubles
        .iter()
        .map(|(destination, trouble)| not_taken(*destination, trouble))
        .collect();
    let facts = ChannelFacts::read(ops, channel);
    let why = facts.and_then(|facts| why::channel(site, &facts));
    json!({
        "channel": channel.id.as_str(),
        "account": channel.account.id.as_str(),
        "paused": channel.is_paused(),
        "held": channel.account.holding.held(&channel.id).map(|hold| json!({
            "id": hold.scope.to_string(), "reason": hold.words, "since": time(hold.since),
        })),
        "why": why.map(|why| why.json()),
        "queued": outbox.store.ledger(&channel.id).queued,
        "callbacks_failing": failing,
        "webhook_open": ops.shared.webhooks.get(channel.id.as_str()).map(|one| webhook::open(one)),
    })
}

/// A destination that MoEngage does not take callbacks at; readers of the ops API call it a lane.
fn not_taken(destination: Destination, trouble: &Trouble) -> Value {
    json!({
        "lane": destination.as_str(),
        "since": time(trouble.since),
        "answer": trouble.answer,
    })
}

/// An account as it stands.
pub(super) fn account(ops: &AccountOps, site: &Site) -> Value {
    let rate = ops.account.limiter.now();
    let facts = AccountFacts::read(ops);
    let held = ops
        .account
        .held()
        .or_else(|| ops.account.store_hold())
        .map(|hold| json!({ "reason": hold.reason, "since": time(hold.since) }));
    json!({
        "account": ops.account.id.as_str(),
        "held": held,
        "why": why::account(site, &facts).map(|why| why.json()),
        "breaker": if ops.breaker.is_open() { "open" } else { "closed" },
        "rate": {
            "per_second": per_second(rate.set.per_second),
            "effective": per_second(rate.effective),
            "temporary": rate.set.per_second.is_none() && rate.effective.is_some(),
            "asked_to_wait_until": facts.asked_to_wait.map(time),
            "concurrency": rate.set.concurrency,
            "in_flight": rate.in_flight + rate.elsewhere,
            "started": rate.started,
            "layer": if rate.set == ops.configured { "configured" } else { "runtime" },
        },
        "token": token(&ops.provider.token_state()),
    })
}

fn per_second(rate: Option<f64>) -> Value {
    rate.map_or_else(|| "off".into(), Into::into)
}

/// The tokens of an account, without the tokens.
pub(super) fn token(state: &TokenState) -> Value {
    match state {
        TokenState::Missing => json!({ "state": "missing" }),
        TokenState::Stale => json!({ "state": "stale" }),
        TokenState::Fresh {
            expires_at,
            refresh_at,
        } => json!({
            "state": "fresh", "expires_at": time(*expires_at), "refresh_at": time(*refresh_at),
        }),
        TokenState::Refused { reason, since } => json!({
            "state": "refused", "reason": reason, "since": time(*since),
        }),
        TokenState::Dead {
            reason,
            since,
            sends,
        } => json!({
            "state": "dead", "reason": reason, "since": time(*since), "sends": sends,
        }),
        TokenState::WrongCredentials {
            reason,
            since,
            sends,
        } => json!({
            "state": "wrong_credentials", "reason": reason, "since": time(*since), "sends": sends,
        }),
    }
}

/// A message with its history; `why` it waits, if it does.
pub(super) fn record(record: &Record, why: Option<&Reason>) -> Value {
    let message = &record.message;
    let standing = Standing::of(record.state, record.status);
    let code = standing.code(&record.history);
    json!({
        "channel": record.channel.as_str(),
        "account": record.account.as_str(),
        "msg_id": message.msg_id.to_string(),
        "state": standing.as_str(),
        "status": record.status.map(Status::as_str),
        "code": code,
        "means": mask_digits(&standing.means(&record.history, record.due, why)),
        "why": why.map(Reason::json),
        "to": message.to.to_string(),
        "from": message.from.to_string(),
        "template": message.template.name,
        "language": message.template.language,
        "campaign_id": message.campaign.as_deref().map(mask_digits),
        "accepted_at": time(record.accepted_at),
        "due": record.due.map(time),
        "attempts": record.attempts,
        "proof": record.proof.as_str(),
        "provider_id": record.provider_id.as_deref().map(mask_digits),
        "receipt_inferred": record.inferred,
        "history": history(&record.history),
        "callbacks": record.callbacks,
    })
}

/// The lines of a history, oldest first.
pub(super) fn history(moments: &[Moment]) -> Vec<Value> {
    let line = |moment: &Moment| {
        json!({
            "at": time(UnixMs(moment.at)),
            "what": moment.what,
            "detail": mask_digits(&moment.detail),
        })
    };
    moments.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r_66_what_is_uncounted_in_two_channels_is_one_sum_with_the_later_cause() {
        let off = |messages, counter, at| Ledger {
            accepted: messages,
            uncounted: Some(Uncounted {
                messages,
                counter: Some(counter),
                at: UnixMs(at),
            }),
            ..Ledger::default()
        };
        let (early, late) = (off(-3, "accepted", 1_000), off(1, "failed", 2_000));
        let sound = Ledger {
            accepted: 2,
            ..Ledger::default()
        };
        for order in [[early, late, sound], [sound, late, early]] {
            let mut sum = Shown::default();
            for ledger in order {
                sum.add(&Shown { ledger, held: 0 });
            }
            let shown = sum.json();
            assert_eq!(
                (&shown["lost"], &shown["uncounted"]),
                (&json!(2), &json!(-2))
            );
            let cause = shown["uncounted_cause"].as_str().unwrap();
            assert!(cause.contains("the counter failed"), "{cause}");
            assert_eq!(shown["uncounted_at"], "1970-01-01T00:00:02Z");
        }
        let shown = Shown::default().json();
        assert_eq!(
            (&shown["uncounted"], &shown["uncounted_at"]),
            (&json!(0), &Value::Null)
        );
    }
}
