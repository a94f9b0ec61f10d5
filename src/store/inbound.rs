//! What comes in by webhooks: how it is read, within which bounds it is kept, what became of it.

use super::{Outbox, StoreError};
use crate::domain::{
    AccountId, BELIEVED, BusinessNumber, ChannelId, Incoming, Moment, OptOut, Phone, UnixMs,
};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

impl Outbox {
    /// Which of these people the account wrote to.
    pub async fn written_to(
        &self,
        rules: &EventRules,
        people: &HashSet<Phone>,
    ) -> Result<HashSet<Phone>, StoreError> {
        match self {
            Self::Embedded(store) => store.written_to(rules, people).await,
            Self::Redis(store) => store.written_to(rules, people).await,
        }
    }

    /// All numbers of the person of this one, those too that the account learnt.
    pub async fn numbers_of(
        &self,
        account: &AccountId,
        phone: Phone,
    ) -> Result<Vec<Phone>, StoreError> {
        match self {
            Self::Embedded(store) => store.numbers_of(account, phone).await,
            Self::Redis(store) => store.numbers_of(account, phone).await,
        }
    }

    /// Stores what a webhook brought, in its order, all or nothing; nothing where it cannot begin in time.
    /// While the disk is nearly full, statuses that match nothing are left out (`Folded::no_room`).
    pub async fn take_events(
        &self,
        rules: Arc<EventRules>,
        events: impl Into<Arc<[Incoming]>>,
        now: UnixMs,
        begin_by: Instant,
    ) -> Result<Folded, StoreError> {
        let events = events.into();
        match self {
            Self::Embedded(store) => store.take_events(rules, events, now, begin_by).await,
            Self::Redis(store) => store.take_events(rules, events, now, begin_by).await,
        }
    }
}

/// Statuses of an account that match no message and are kept for one. What nobody sent is made up
/// without end (cases R-67); at a hundred messages a second this is all that can be early in ten
/// minutes.
pub(super) const MOST_EARLY: u32 = 50_000;
/// Statuses of one such message: a few words, spelt for a few numbers of one person.
pub(super) const MOST_OF_ONE: u32 = 16;
/// Of a person about whom there is more than this, messages in doubt or ids that match nothing, nothing
/// is inferred: to look through all would hold up everybody.
pub(super) const MOST_INFERRED: u32 = 100;
/// Other events of a channel that are kept for a person to look at.
pub(super) const MOST_OTHERS: u32 = 1000;

/// What a webhook's events became; counts for metrics and the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Folded {
    /// Statuses that are to be relayed.
    pub emitted: u32,
    /// Statuses that say nothing new.
    pub superseded: u32,
    /// Statuses that no message matches yet.
    pub unmatched: u32,
    /// Replies that are to be relayed.
    pub replies: u32,
    /// Replies seen before.
    pub repeated_replies: u32,
    /// Replies that answer no message of ours.
    pub unmatched_replies: u32,
    /// Kinds of events that were kept and left alone, and how many.
    pub other: Vec<(&'static str, u32)>,
    /// People who do not want messages any more.
    pub opted_out: u32,
    /// People who do not want promotions any more.
    pub opted_out_of_marketing: u32,
    /// Other numbers and user ids that were not linked to a person, as they or the person have another link.
    pub alias_conflicts: u32,
    /// People who want messages again.
    pub opted_in: u32,
    /// Unknown sends that an event proved.
    pub inferred: u32,
    /// Times of events that were not believed.
    pub misdated: u32,
    /// Events that matched nothing and went for newer ones, as there were too many.
    pub crowded_out: u32,
    /// Statuses that matched nothing and were not kept, as the disk is nearly full.
    pub no_room: u32,
    /// Channels that have something to relay now.
    pub wake: Vec<ChannelId>,
}

impl Folded {
    /// Somebody does not want these messages any more.
    pub(super) fn opt_out(&mut self, scope: OptOut) {
        match scope {
            OptOut::All => self.opted_out += 1,
            OptOut::Marketing => self.opted_out_of_marketing += 1,
        }
    }

    /// Adds what more events became.
    pub fn add(&mut self, more: Self) {
        self.emitted += more.emitted;
        self.superseded += more.superseded;
        self.unmatched += more.unmatched;
        self.replies += more.replies;
        self.repeated_replies += more.repeated_replies;
        self.unmatched_replies += more.unmatched_replies;
        self.other.extend(more.other);
        self.opted_out += more.opted_out;
        self.opted_out_of_marketing += more.opted_out_of_marketing;
        self.alias_conflicts += more.alias_conflicts;
        self.opted_in += more.opted_in;
        self.inferred += more.inferred;
        self.misdated += more.misdated;
        self.crowded_out += more.crowded_out;
        self.no_room += more.no_room;
        self.wake.extend(more.wake);
    }
}

/// Where events come in, and how they are read there.
#[derive(Debug, Clone)]
pub struct EventRules {
    /// The channel whose webhook was called.
    pub channel: ChannelId,
    /// Its account: events are matched within it, whatever the channel.
    pub account: AccountId,
    /// Stop and start words.
    pub keywords: crate::domain::Keywords,
    /// How long a reply without context belongs to the last message.
    pub reply_window: Duration,
    /// Whether replies that answer nothing are told to MoEngage.
    pub relay_unmatched: bool,
    /// The channel's own number.
    pub waba_number: Option<BusinessNumber>,
    /// Whether the caller showed the secret: else the events may be made up.
    pub vouched: bool,
    /// How long a message is known, from its acceptance until it is removed.
    pub kept: Duration,
    /// How far our own clocks disagree.
    pub clock_doubt: Duration,
}

impl EventRules {
    /// How long before the acceptance of its message an event may have happened.
    pub fn early(&self) -> Duration {
        BELIEVED + self.clock_doubt
    }

    /// The rules for a moment: while the clocks disagree, a reply is not cut off from its message by
    /// the one that shows the later time, nor is the time of an event.
    pub fn by(rules: &Arc<Self>, moment: Moment) -> Arc<Self> {
        if !moment.is_in_doubt() {
            return rules.clone();
        }
        let clock_doubt = moment.latest.since(moment.earliest);
        Arc::new(Self {
            reply_window: rules.reply_window + clock_doubt,
            clock_doubt,
            ..(**rules).clone()
        })
    }
}
