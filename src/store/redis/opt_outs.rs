//! The list of who opted out: shown, put together with another, and owed to Datastore.

use super::damage::Text;
use super::{AccountKeys, Call, Store};
use crate::domain::{AccountId, ChannelId, OptOut, OptOutEntry, OptOutName, Source, UnixMs};
use crate::store::opt_outs::HIDDEN;
use crate::store::{Entrance, Page, StoreError};

/// What goes into one call: Redis does nothing else meanwhile.
const MOST: usize = 100;
/// The time of what an older program wrote.
const UNKNOWN: UnixMs = UnixMs(0);

/// Scope, name, when, how.
type Row = (Text, Text, i64, Text);
/// Channel, scope, name, whether out, when, how.
type Owed = (Text, Text, Text, bool, i64, Text);

/// An entry of the list as Redis keeps it.
struct Entry<'a> {
    /// The set of its scope.
    scope: &'a str,
    /// Whose it is.
    name: &'a str,
    /// When it was said, in milliseconds since 1970.
    at: i64,
    /// In which way.
    how: &'a str,
}

impl Entry<'_> {
    /// What it says of a channel; nothing where the name cannot be read.
    fn read(&self, channel: ChannelId, is_out: bool) -> Option<OptOutEntry> {
        let is_it = |one: &OptOut| set(*one) == self.scope;
        Some(OptOutEntry {
            channel,
            name: OptOutName::parse(self.name)?,
            scope: OptOut::ALL.into_iter().find(is_it)?,
            is_out,
            at: UnixMs(self.at),
            source: Source::kept(self.how),
        })
    }
}

impl Store {
    /// A part of the list of a channel.
    pub async fn opt_outs(
        &self,
        channel: &ChannelId,
        from: u64,
        most: u64,
    ) -> Result<Page, StoreError> {
        let home = self.home(channel)?;
        let (mut page, mut at, end) = (Page::default(), from, from + most);
        while at < end {
            let part = end.min(at + MOST as u64);
            let call = Call::new(&self.shared.scripts.list_opt_outs, home)
                .arg(channel.as_str())
                .arg(at)
                .arg(part - 1);
            let (looked, rows): (u64, Vec<Row>) = self.ask(&call).await?;
            let read = |(scope, name, at, how): Row| {
                let entry = Entry {
                    scope: scope.as_str(),
                    name: name.as_str(),
                    at,
                    how: how.as_str(),
                };
                entry.read(channel.clone(), true)
            };
            page.entries.extend(rows.into_iter().filter_map(read));
            if looked < part - at {
                return Ok(page);
            }
            at = part;
        }
        page.next = Some(end);
        Ok(page)
    }

    /// Takes what was said.
    pub async fn take_opt_outs(
        &self,
        account: &AccountId,
        entrance: Entrance,
        entries: Vec<OptOutEntry>,
    ) -> Result<usize, StoreError> {
        let Some(home) = self.home_of(account) else {
            return Ok(0);
        };
        let how = match entrance {
            Entrance::Now => "now",
            Entrance::Import => "import",
            Entrance::Merge => "merge",
        };
        self.take_said(home, how, &entries).await
    }

    async fn take_said(
        &self,
        home: &AccountKeys,
        how: &str,
        entries: &[OptOutEntry],
    ) -> Result<usize, StoreError> {
        let mut changed = 0;
        for some in entries.chunks(MOST) {
            let mut call = Call::new(&self.shared.scripts.take_opt_outs, home).arg(how);
            for one in some {
                push(&mut call, one);
                call.push(one.source.as_str());
            }
            changed += self.run::<usize>(&call).await?;
        }
        Ok(changed)
    }

    /// What Datastore does not have.
    pub async fn owed_opt_outs(
        &self,
        account: &AccountId,
        most: u64,
        now: UnixMs,
    ) -> Result<Vec<OptOutEntry>, StoreError> {
        self.shared.connection.is_ours()?;
        let Some(home) = self.home_of(account) else {
            return Ok(Vec::new());
        };
        let call = Call::new(&self.shared.scripts.owed_opt_outs, home)
            .arg(now.0)
            .arg(now.plus(HIDDEN).0)
            .arg(most);
        let rows: Vec<Owed> = self.ask(&call).await?;
        let read = |(channel, scope, name, is_out, at, how): Owed| {
            let channel = ChannelId::parse(channel.as_str()).ok()?;
            let entry = Entry {
                scope: scope.as_str(),
                name: name.as_str(),
                at,
                how: how.as_str(),
            };
            entry.read(channel, is_out)
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Datastore has these.
    pub async fn opt_outs_kept(
        &self,
        account: &AccountId,
        entries: Vec<OptOutEntry>,
    ) -> Result<(), StoreError> {
        let Some(home) = self.home_of(account) else {
            return Ok(());
        };
        for some in entries.chunks(MOST) {
            let mut call = Call::new(&self.shared.scripts.opt_outs_kept, home);
            for one in some {
                push(&mut call, one);
            }
            let _: u8 = self.ask(&call).await?;
        }
        Ok(())
    }

    /// Datastore is owed all of a channel.
    pub async fn owe_opt_outs(&self, channel: &ChannelId) -> Result<(), StoreError> {
        let home = self.home(channel)?;
        let key = |name: &str| format!("{}{name}", home.prefix);
        for from in (0..).step_by(MOST) {
            let mut ask = redis::cmd("ZRANGE");
            ask.arg(key(&format!("ol:{channel}")))
                .arg(from)
                .arg(from + MOST - 1);
            let names: Vec<Text> = self.shared.connection.command(&ask).await?;
            if names.is_empty() {
                break;
            }
            let mut owe = redis::cmd("ZADD");
            owe.arg(key("od"));
            for name in &names {
                owe.arg(0).arg(format!("{channel}|{}", name.as_str()));
            }
            let _: u64 = self.shared.connection.command(&owe).await?;
        }
        Ok(())
    }

    /// Puts into the list what a program wrote that kept none.
    pub async fn list_older_opt_outs(&self, channel: &ChannelId) -> Result<(), StoreError> {
        let home = self.home(channel)?;
        for scope in OptOut::ALL {
            let mut ask = redis::cmd("SMEMBERS");
            ask.arg(format!("{}{}:{channel}", home.prefix, set(scope)));
            let names: Vec<Text> = self.shared.connection.command(&ask).await?;
            let read = |name: &Text| {
                let entry = Entry {
                    scope: set(scope),
                    name: name.as_str(),
                    at: UNKNOWN.0,
                    how: Source::UNKNOWN,
                };
                entry.read(channel.clone(), true)
            };
            let older: Vec<OptOutEntry> = names.iter().filter_map(read).collect();
            self.take_said(home, "list", &older).await?;
        }
        Ok(())
    }

    /// How often the work of an account was handed out anew.
    pub fn openings(&self, account: &AccountId) -> u64 {
        let home = self.home_of(account);
        home.map_or(0, |home| home.standing.openings())
    }
}

/// The set of a scope.
fn set(scope: OptOut) -> &'static str {
    match scope {
        OptOut::All => "oo",
        OptOut::Marketing => "om",
    }
}

fn push(call: &mut Call<'_>, one: &OptOutEntry) {
    call.push(one.channel.as_str());
    call.push(set(one.scope));
    call.push(one.name.text());
    call.push(u8::from(one.is_out));
    call.push(one.at.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::RedisServer;

    #[tokio::test]
    async fn r_60_what_an_older_program_wrote_is_listed_and_owed() {
        let server = RedisServer::start();
        let channel = ChannelId::parse("a").unwrap();
        let account = AccountId::parse("acc").unwrap();
        let store = Store::open(
            server.link(),
            vec![(channel.clone(), account.clone())],
            true,
        );
        for command in [
            "SADD gw:{acc}:oo:a 12025550001 12025550002 nobody",
            "SADD gw:{acc}:om:a US.77",
            "ZADD gw:{acc}:ol:a 0 oo:12025550002",
            "HSET gw:{acc}:os:a oo:12025550002 1900000000000|reply|1",
        ] {
            server.say(command).await;
        }
        let list = async || store.opt_outs(&channel, 0, 9).await.unwrap().entries;
        assert_eq!(list().await.len(), 1, "those are not listed yet");
        store.list_older_opt_outs(&channel).await.unwrap();
        let row = |one: OptOutEntry| {
            (
                one.name.text(),
                one.scope,
                one.at.0,
                one.source.as_str().to_owned(),
            )
        };
        let listed: Vec<_> = list().await.into_iter().map(row).collect();
        let expected = [
            ("US.77", OptOut::Marketing, 0, "unknown"),
            ("12025550001", OptOut::All, 0, "unknown"),
            ("12025550002", OptOut::All, 1_900_000_000_000, "reply"),
        ];
        assert_eq!(
            listed,
            expected.map(|(a, b, c, d)| (a.into(), b, c, d.into()))
        );
        let owed = store.owed_opt_outs(&account, 9, UnixMs(1)).await.unwrap();
        assert_eq!(owed.len(), 2, "the third is not known to be owed");
    }

    /// It changes what decides, and not the list.
    #[tokio::test]
    async fn r_60_what_an_older_program_says_later_counts() {
        let server = RedisServer::start();
        let channel = ChannelId::parse("a").unwrap();
        let account = AccountId::parse("acc").unwrap();
        let store = Store::open(
            server.link(),
            vec![(channel.clone(), account.clone())],
            true,
        );
        let entry = |number: &str, is_out| OptOutEntry {
            channel: channel.clone(),
            name: OptOutName::parse(number).unwrap(),
            scope: OptOut::All,
            is_out,
            at: UnixMs(1_900_000_000_000),
            source: Source::kept(Source::REPLY),
        };
        let both = vec![entry("12025550001", true), entry("12025550002", false)];
        let taken = store.take_opt_outs(&account, Entrance::Import, both.clone());
        assert_eq!(taken.await.unwrap(), 1);
        let owed = store.owed_opt_outs(&account, 9, UnixMs(1)).await.unwrap();
        store.opt_outs_kept(&account, owed).await.unwrap();
        server.say("SREM gw:{acc}:oo:a 12025550001").await;
        server.say("SADD gw:{acc}:oo:a 12025550002").await;
        // Datastore still says what was said before.
        let taken = store.take_opt_outs(&account, Entrance::Merge, both);
        assert_eq!(taken.await.unwrap(), 0);
        let owed = store.owed_opt_outs(&account, 9, UnixMs(2)).await.unwrap();
        let mut owed: Vec<_> = owed
            .into_iter()
            .map(|one| (one.name.text(), one.is_out, one.at.0))
            .collect();
        owed.sort();
        let later = 1_900_000_000_001;
        let expected = [("12025550001", false, later), ("12025550002", true, later)];
        assert_eq!(
            owed,
            expected.map(|(name, is_out, at)| (name.to_owned(), is_out, at))
        );
    }
}
