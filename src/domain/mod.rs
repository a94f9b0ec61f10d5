//! The words of the program: plain values and pure decisions.
//!
//! Standard library only, and tables of Unicode for `keyword`: no serde, no clock, no I/O. A value of one of these
//! types is proof that it was checked on the way in, so nothing downstream checks it again.
//! Decisions (state machine, who may write, status fold, circumstances) take what they need as arguments and
//! are tested by table and by property.

pub mod access;
pub mod callback;
pub mod circumstance;
pub mod event;
pub mod id;
pub mod keyword;
pub mod life;
pub mod message;
pub mod opt_out;
pub mod outcome;
pub mod person;
pub mod phone;
pub mod policy;
pub mod proof;
pub mod refusal;
pub mod state;
pub mod status;
pub mod template;
pub mod time;
pub mod user;

pub use callback::{Callback, Destination, DoorName, InboundEntry, StatusEntry};
pub use event::{
    BELIEVED, Incoming, Reply, ReplyKind, STOPPED_MARKETING, StatusEvent, stops_marketing,
};
pub use id::{AccountId, ChannelId, MsgId, ProviderId};
pub use keyword::{Keyword, Keywords};
pub use life::{Life, Writer};
pub use message::{BusinessNumber, Button, Header, Message, Names, Template};
pub use opt_out::{OptOut, OptOutEntry, OptOutName, Source};
pub use outcome::{Answer, Receipt, Transport};
pub use person::Person;
pub use phone::Phone;
pub use refusal::{Refusal, RefusalKind};
pub use state::State;
pub use status::{Progress, Status};
pub use time::{Ages, Moment, UnixMs};
pub use user::UserId;
