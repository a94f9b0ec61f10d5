//! Opaque identifiers: `parse` is the only way in, `as_str` the only way out. What foreign ids
//! print is masked where it could be a phone number (design.md G6).

use super::phone::mask_digits;
use std::fmt;
use std::sync::Arc;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdError {
    /// The text is empty.
    Empty,
    /// The text has more bytes than the limit named here.
    TooLong(usize),
    /// The text has a character that this kind of identifier does not allow.
    BadCharacter,
    /// The text begins as the names do that Datastore keeps for itself.
    Reserved,
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("must not be empty"),
            Self::TooLong(limit) => write!(f, "must not be longer than {limit} bytes"),
            Self::BadCharacter => {
                f.write_str("may hold only lower-case letters, digits, '-' and '_'")
            }
            Self::Reserved => f.write_str("must not begin with '__'"),
        }
    }
}

impl std::error::Error for IdError {}

fn opaque(text: &str, limit: usize) -> Result<Arc<str>, IdError> {
    match text.len() {
        0 => Err(IdError::Empty),
        n if n > limit => Err(IdError::TooLong(limit)),
        _ => Ok(text.into()),
    }
}

fn name(text: &str) -> Result<Arc<str>, IdError> {
    let id = opaque(text, 64)?;
    // `__...__` is Datastore's own, and its names of ours begin with this one (records/entity.rs).
    if text.starts_with("__") {
        return Err(IdError::Reserved);
    }
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    if text.chars().all(allowed) {
        Ok(id)
    } else {
        Err(IdError::BadCharacter)
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $parse:expr, $shown:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks a text and takes it as an identifier.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                $parse(text).map(Self)
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&$shown(&self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*$shown(&self.0), f)
            }
        }
    };
}

id!(
    /// One set of provider credentials: owns tokens, rate, breaker and the provider's ids.
    AccountId,
    name,
    str::to_owned
);
id!(
    /// One WhatsApp Business number on one account.
    ChannelId,
    name,
    str::to_owned
);
id!(
    /// MoEngage's id of one message. Opaque, at most 512 bytes (contracts/moengage.md Q23).
    MsgId,
    |text| opaque(text, 512),
    mask_digits
);
id!(
    /// The provider's id of one message, as status events name it. Its format is unknown, so it
    /// is never looked into (contracts/jumper.md section 4.1).
    ProviderId,
    |text| opaque(text, 512),
    mask_digits
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_as_it_is() {
        assert_eq!(MsgId::parse("a b/ü").unwrap().as_str(), "a b/ü");
        assert_eq!(MsgId::parse(""), Err(IdError::Empty));
        assert!(MsgId::parse(&"x".repeat(512)).is_ok());
        assert_eq!(MsgId::parse(&"x".repeat(513)), Err(IdError::TooLong(512)));
    }

    #[test]
    fn a_number_in_a_foreign_id_does_not_print() {
        let id = MsgId::parse("camp_919876543210_7").unwrap();
        assert_eq!(
            format!("{id} {id:?}"),
            "camp_91********10_7 \"camp_91********10_7\""
        );
    }

    #[test]
    fn a_name_is_safe_in_a_path_and_a_label() {
        assert!(ChannelId::parse("shop-1_in").is_ok());
        for bad in ["Shop", "a/b", "a b", "ä"] {
            assert_eq!(ChannelId::parse(bad), Err(IdError::BadCharacter), "{bad}");
        }
        assert_eq!(ChannelId::parse("__shop"), Err(IdError::Reserved));
        assert!(ChannelId::parse("_shop__").is_ok());
    }
}
