//! What goes into a store and what comes out, the same for every backend.

use crate::domain::template::Variant;
use crate::domain::{
    Ages, Callback, ChannelId, Destination, DoorName, Message, MsgId, OptOut, Phone, Refusal,
    UnixMs,
};
use secrecy::SecretString;
use std::time::Duration;

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// It cannot write or read now; it heals by itself or an operator must look.
    #[error("the store cannot be used now: {0}")]
    Unavailable(String),
    /// Less than `min_free` can be used for new messages; what is here is sent all the same.
    #[error(
        "the disk of DATA_DIR is nearly full: {} MB can be used, {} MB must be free for new messages. \
         They are refused until there is room; messages that are here are sent. Make room on the \
         disk, or lower store.min_free",
        .room >> 20, .needed >> 20
    )]
    DiskLow {
        /// Bytes that can be used: free ones of the disk, and free pages of the store's file.
        room: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// So little is free that only what is under way can end.
    #[error(
        "the disk of DATA_DIR is full: {} MB free, {} MB must be free. Nothing is accepted or sent \
         until there is room; webhooks are stored as long as they fit. Make room on the disk",
        .free >> 20, .needed >> 20
    )]
    DiskFull {
        /// Bytes free on the disk.
        free: u64,
        /// Bytes that must be free.
        needed: u64,
    },
    /// Another process works on the same data.
    #[error("{0}")]
    InUse(String),
    /// A stored row cannot be read by this version.
    #[error("a stored row cannot be read: {0}")]
    Unreadable(String),
}

/// An account's tokens as they are kept. Written whole, in one step.
#[derive(Debug, Clone)]
pub struct StoredToken {
    /// The access token; `None` while only a seed is known.
    pub access: Option<SecretString>,
    /// The refresh token.
    pub refresh: SecretString,
    /// When the pair came.
    pub obtained_at: UnixMs,
    /// When the access token ends.
    pub expires_at: UnixMs,
    /// Grows by one with every stored change.
    pub fence: u64,
    /// Why the refresh token is of no use any more, if it is.
    pub dead: Option<String>,
    /// Fingerprint (not reversible) of the last seed taken from the configuration, so that a seed
    /// that died is not tried at every start.
    pub seed: Option<String>,
}

/// A template list as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedTemplates {
    /// When.
    pub fetched_at: UnixMs,
    /// The approved variants.
    pub variants: Vec<Variant>,
}

/// A store that went back to an older state, and not all of what was sent since could be put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WentBack {
    /// Since when sending is held.
    pub since: UnixMs,
    /// How far it went back at the least.
    pub by: Duration,
    /// How many messages waited in the older state; some may have been sent since.
    pub waited: u64,
    /// How many processes were seen to send what it forgot, and do not say what.
    pub silent: usize,
    /// Whether an operator asked for the hold, who knows of a copy that was put back.
    pub is_asked: bool,
}

impl WentBack {
    /// What happened, for people.
    pub fn words(&self) -> String {
        if self.is_asked {
            return "an operator started the gateway with --hold, because a copy of the store was put back".into();
        }
        let far = match self.by.as_secs() {
            0 => "an older state".to_owned(),
            seconds => format!("a state at least {seconds} s older"),
        };
        let why = match self.silent {
            0 => "not all that was sent since is remembered".to_owned(),
            1 => "a gateway process that sent messages since does not answer".to_owned(),
            some => format!("{some} gateway processes do not answer, and messages were sent since"),
        };
        format!("the store went back to {far}, and {why}")
    }
}

/// What nothing but the store itself can tell, for whoever puts a copy of it back.
pub const NO_MARK: &str = "nothing outside of the store says how far it came: if you put a copy back while no gateway \
                           runs, start the first one with `gateway serve --hold`";

/// A message at the door.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What is to be sent.
    pub message: &'a Message,
    /// Whether its template is a promotion, which some people do not want.
    pub is_marketing: bool,
}

impl<'a> From<&'a Message> for Arrival<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            message,
            is_marketing: false,
        }
    }
}

/// What became of a message at the door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is kept, and will be sent or reported failed.
    Stored,
    /// Its `msg_id` was accepted before; nothing changed.
    Repeat {
        /// Whether the content is the same as the first time.
        same: bool,
    },
    /// The recipient does not want it; nothing was kept.
    OptedOut(OptOut),
}

/// One channel from which messages may be claimed.
#[derive(Debug, Clone)]
pub struct ClaimFrom {
    /// The channel.
    pub channel: ChannelId,
    /// Messages that are too old are failed instead of sent; one about whose age the clocks disagree
    /// waits.
    pub ages: Ages,
    /// The most that were tried before, while others wait that were not.
    pub retries: usize,
    /// The most that were put aside, while others wait.
    pub aside: usize,
}

/// A trial: one message, and not again the one of the last trial where there is another.
#[derive(Debug, Clone)]
pub struct Trial {
    /// Channels to take it from, and how old a message may be.
    pub channels: Vec<(ChannelId, Ages)>,
    /// Recipient and template of the last trial.
    pub tried: Option<(Phone, String)>,
}

/// A message that a worker may send now.
#[derive(Debug, Clone)]
pub struct ClaimedMessage {
    /// The store's handle.
    pub handle: i64,
    /// Which claim this is: what a later claim of the same message does not carry.
    pub claim: u64,
    /// Under which term of the lease it was claimed.
    pub term: u64,
    /// Its channel.
    pub channel: ChannelId,
    /// What to send.
    pub message: Message,
    /// Which try this is, from 1.
    pub attempt: u32,
    /// Whether it had been put aside.
    pub aside: bool,
    /// Whether the person wants no promotions; whether it is one, only its template tells.
    pub no_marketing: bool,
    /// When it was accepted.
    pub accepted_at: UnixMs,
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct Claims {
    /// To be sent.
    pub taken: Vec<ClaimedMessage>,
    /// Failed instead of taken, with their reasons.
    pub failed: Vec<(ChannelId, MsgId, Refusal)>,
}

/// One take of a callback: what a later take of the same callback is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallbackLease {
    /// The store's handle.
    pub callback: i64,
    /// The claim that brought it.
    pub claim: u64,
}

/// A callback on its way.
#[derive(Debug, Clone)]
pub struct PendingCallback {
    /// Which take of which callback this is.
    pub handle: CallbackLease,
    /// Under which term of the lease it was taken.
    pub term: u64,
    /// What to tell.
    pub callback: Callback,
    /// How often it was tried.
    pub tries: u32,
    /// When it was queued; tries do not change it.
    pub created: UnixMs,
}

/// The end of a try to relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayOutcome {
    /// MoEngage took it.
    Taken {
        /// For the record.
        summary: String,
    },
    /// Once more, later.
    Later {
        /// When.
        due: UnixMs,
    },
    /// Given up; it is kept and counted.
    Dead {
        /// Why.
        reason: String,
    },
}

/// A queue of callbacks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CallbackQueue {
    /// The channel.
    pub channel: ChannelId,
    /// Who is told.
    pub door: DoorName,
    /// Statuses or replies.
    pub destination: Destination,
}

impl CallbackQueue {
    /// Every queue of a channel.
    pub fn all_of(channel: &ChannelId) -> impl Iterator<Item = Self> {
        let queue = |(door, destination)| Self {
            channel: channel.clone(),
            door,
            destination,
        };
        let pairs = DoorName::ALL.into_iter();
        pairs
            .flat_map(|door| Destination::ALL.map(|destination| (door, destination)))
            .map(queue)
    }

    /// The number of this queue among those of its channel, as it is stored.
    pub(in crate::store) fn number(&self) -> u8 {
        queue_number(self.door, self.destination)
    }
}

/// The number of a queue among those of its channel, as it is stored.
pub(in crate::store) fn queue_number(door: DoorName, destination: Destination) -> u8 {
    match (door, destination) {
        (DoorName::Moengage, Destination::Status) => 0,
        (DoorName::Moengage, Destination::Inbound) => 1,
    }
}

/// What a round of retention removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purged {
    /// Messages with their histories.
    pub messages: usize,
    /// Early statuses that no receipt ever matched.
    pub early_statuses: usize,
    /// Other kept events, ids of replies, dead letters.
    pub others: usize,
}
