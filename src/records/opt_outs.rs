//! Opt-outs in Datastore, one entity for what somebody said last about one channel under one name: they outlive a
//! store that is emptied, put back or left for another.

use crate::clock;
use crate::datastore::{Client, Entity, Error, Settings, Value};
use crate::domain::{ChannelId, OptOut, OptOutEntry, OptOutName, Source, UnixMs};
use std::collections::HashMap;

/// Entities that are read at once. Datastore gives no more than 300 where it is busy.
const PART: usize = 300;

/// The channel and when it was written here: what a reader that knows all before a time looks for. The one that is
/// indexed.
const CHANGED: &str = "changed";
const CHANNEL: &str = "channel";
const NAME: &str = "number";
const SCOPE: &str = "scope";
const OUT: &str = "opted_out";
const AT: &str = "since";
const SOURCE: &str = "source";

/// The opt-outs in Datastore. Clones share the connection.
#[derive(Debug, Clone)]
pub struct OptOuts {
    client: Client,
    place: String,
}

/// A part of what is there.
#[derive(Debug)]
pub struct Kept {
    /// What was said.
    pub entries: Vec<OptOutEntry>,
    /// What the next part is asked for with.
    pub next: Option<String>,
}

impl OptOuts {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// When the settings make no client.
    pub fn new(settings: &Settings) -> Result<Self, Error> {
        Ok(Self {
            client: Client::new(settings)?.beside_records(),
            place: settings.place(),
        })
    }

    /// Where they are kept, in words.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// What was written of a channel since a time, a part behind another.
    ///
    /// # Errors
    /// When Datastore cannot be asked.
    pub async fn read(
        &self,
        channel: &ChannelId,
        since: UnixMs,
        behind: Option<&str>,
    ) -> Result<Kept, Error> {
        // No name of a channel has a blank in it, and this sign is the one behind it.
        let (from, below) = (changed(channel, since), format!("{channel}!"));
        let range = from.as_str()..below.as_str();
        let part = self.client.between(CHANGED, range, PART, behind).await?;
        Ok(Kept {
            entries: part.entities.iter().filter_map(entry).collect(),
            next: part.next,
        })
    }

    /// Writes what counts before what is there, all or nothing; answers what is there and counts before it.
    ///
    /// # Errors
    /// When Datastore does not take it.
    pub async fn write(&self, entries: &[OptOutEntry]) -> Result<Vec<OptOutEntry>, Error> {
        let client = &self.client;
        let transaction = client.begin().await?;
        let names: Vec<String> = entries.iter().map(name).collect();
        let there = match client.lookup(&names, Some(&transaction)).await {
            Ok(there) => there,
            Err(error) => {
                // It would end by itself; a failure of this call changes nothing.
                let _ = client.rollback(transaction).await;
                return Err(error);
            }
        };
        let there = there
            .iter()
            .map(|one| (one.name.as_str(), self::entry(one)));
        let there: HashMap<&str, Option<OptOutEntry>> = there.collect();
        let (mut written, mut later) = (Vec::new(), Vec::new());
        for (one, name) in entries.iter().zip(&names) {
            match there.get(name.as_str()) {
                Some(Some(there)) if !one.prevails(there.is_out, there.at) => {
                    if there.prevails(one.is_out, one.at) {
                        later.push(there.clone());
                    }
                }
                _ => written.push(entity(one)),
            }
        }
        if written.is_empty() {
            let _ = client.rollback(transaction).await;
        } else {
            client.commit(transaction, &written).await?;
        }
        Ok(later)
    }
}

fn name(entry: &OptOutEntry) -> String {
    let (channel, scope) = (&entry.channel, entry.scope.as_str());
    format!("optout:{channel}:{scope}:{}", entry.name.text())
}

/// Compared as text, so of one length.
fn changed(channel: &ChannelId, at: UnixMs) -> String {
    let at = jiff::Timestamp::from_millisecond(at.0.max(0)).unwrap_or_default();
    format!("{channel} {}", at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ"))
}

fn entity(entry: &OptOutEntry) -> Entity {
    let text = |text: &str| Value::Text(text.to_owned());
    Entity::named(name(entry))
        .with(CHANGED, text(&changed(&entry.channel, clock::now())))
        .with_unindexed(CHANNEL, text(entry.channel.as_str()))
        .with_unindexed(NAME, text(&entry.name.text()))
        .with_unindexed(SCOPE, text(entry.scope.as_str()))
        .with_unindexed(OUT, Value::Bool(entry.is_out))
        .with_unindexed(AT, Value::Time(entry.at.0))
        .with_unindexed(SOURCE, text(entry.source.as_str()))
}

/// What an entity says; nothing where it is not one of these.
fn entry(entity: &Entity) -> Option<OptOutEntry> {
    let Value::Bool(is_out) = *entity.get(OUT) else {
        return None;
    };
    Some(OptOutEntry {
        channel: ChannelId::parse(&entity.text(CHANNEL)?).ok()?,
        name: OptOutName::parse(&entity.text(NAME)?)?,
        scope: OptOut::parse(&entity.text(SCOPE)?)?,
        is_out,
        at: UnixMs(entity.time(AT)?),
        source: Source::kept(&entity.text(SOURCE).unwrap_or_default()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_comes_back_as_it_was() {
        for (text, scope, is_out) in [
            ("12025550143", OptOut::All, true),
            ("US.77", OptOut::Marketing, false),
        ] {
            let one = OptOutEntry {
                channel: ChannelId::parse("shop-eu").unwrap(),
                name: OptOutName::parse(text).unwrap(),
                scope,
                is_out,
                at: UnixMs(1_930_000_000_123),
                source: Source::kept(Source::REPLY),
            };
            let entity = entity(&one);
            assert_eq!(
                entity.name,
                format!("optout:shop-eu:{}:{text}", scope.as_str())
            );
            assert_eq!(entry(&entity), Some(one));
        }
        assert_eq!(entry(&Entity::named("mark:default:1")), None);
    }

    #[test]
    fn times_are_found_in_their_order_and_by_channel() {
        let channel = |name| ChannelId::parse(name).unwrap();
        let (shop, other) = (channel("shop"), channel("shop-2"));
        let times = [0, 1_930_000_000_000, 1_930_000_000_001, 1_930_000_001_000];
        let texts = times.map(|at| changed(&shop, UnixMs(at)));
        assert!(texts.is_sorted(), "{texts:?}");
        assert!(*texts[3] < *"shop!");
        let of_other = changed(&other, UnixMs(times[1]));
        assert!(*of_other > *"shop!" || of_other < texts[0]);
    }
}
