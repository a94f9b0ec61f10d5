//! What a reply is known by when it comes again: after a lost answer of ours, or of a store's.

use crate::domain::{ChannelId, Keyword, Phone, Reply, UserId};
use ring::digest::{Context, SHA256};

/// How long a reply without an id is known by its content, in milliseconds. Who writes the same again
/// later means it.
const CONTENT_MS: i64 = 60_000;

/// What a reply is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) name: String,
    /// For how long, in milliseconds; `None` is as long as it is kept.
    pub(super) life_ms: Option<i64>,
}

impl Mark {
    /// The provider's id of the reply, or its content where it has none.
    pub(super) fn of(channel: &ChannelId, reply: &Reply) -> Self {
        match &reply.id {
            Some(id) => Self {
                name: id.as_str().to_owned(),
                life_ms: None,
            },
            None => Self {
                name: format!("content:{}", digest(channel, reply)),
                life_ms: Some(CONTENT_MS),
            },
        }
    }

    /// Whether it counts though it came before: by its content alone it may be another STOP, written
    /// after a START. To hear one too many harms nobody.
    pub(super) fn counts_again(&self, keyword: Option<Keyword>) -> bool {
        self.life_ms.is_some() && matches!(keyword, Some(Keyword::Stop(_)))
    }
}

fn digest(channel: &ChannelId, reply: &Reply) -> String {
    let mut context = Context::new(&SHA256);
    let user = reply.user.as_ref().map_or("", UserId::as_str);
    let from = reply.from.map_or_else(|| user.to_owned(), Phone::digits);
    let quoted = reply.context.as_ref().map_or("", |id| id.as_str());
    for part in [channel.as_str(), &from, &reply.dated, quoted, &reply.text] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let digest = context.finish();
    digest.as_ref()[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{OptOut, ProviderId, UnixMs};

    fn reply() -> Reply {
        Reply {
            id: None,
            from: Phone::from_number(12_025_550_100).ok(),
            user: None,
            context: None,
            text: "yes".into(),
            at: None,
            dated: String::new(),
        }
    }

    #[test]
    fn a_reply_is_known_by_its_id_or_for_a_minute_by_all_of_its_content() {
        let channel = |name| ChannelId::parse(name).unwrap();
        let named = Reply {
            id: ProviderId::parse("R1").ok(),
            ..reply()
        };
        let mark = Mark::of(&channel("a"), &named);
        assert_eq!((mark.name.as_str(), mark.life_ms), ("R1", None));
        assert!(!mark.counts_again(Some(Keyword::Stop(OptOut::All))));
        let others = [
            (channel("b"), reply()),
            (
                channel("a"),
                Reply {
                    from: Phone::from_number(12_025_550_101).ok(),
                    ..reply()
                },
            ),
            (
                channel("a"),
                Reply {
                    from: None,
                    user: UserId::parse("US.2025"),
                    ..reply()
                },
            ),
            (
                channel("a"),
                Reply {
                    context: ProviderId::parse("P1").ok(),
                    ..reply()
                },
            ),
            (
                channel("a"),
                Reply {
                    text: "yes ".into(),
                    ..reply()
                },
            ),
            (
                channel("a"),
                Reply {
                    dated: "2099-01-01".into(),
                    ..reply()
                },
            ),
        ];
        let mark = Mark::of(&channel("a"), &reply());
        assert_eq!(mark, Mark::of(&channel("a"), &reply()));
        // Believed now, and not when it comes again.
        let believed = Reply {
            at: Some(UnixMs(1)),
            ..reply()
        };
        assert_eq!(mark, Mark::of(&channel("a"), &believed));
        assert_eq!(mark.life_ms, Some(CONTENT_MS));
        assert!(mark.counts_again(Some(Keyword::Stop(OptOut::All))));
        assert!(!mark.counts_again(Some(Keyword::Start)) && !mark.counts_again(None));
        for (channel, other) in others {
            assert_ne!(mark.name, Mark::of(&channel, &other).name, "{other:?}");
        }
    }
}
