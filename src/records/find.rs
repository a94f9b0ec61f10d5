//! Looking into Datastore: for a late status, and for people.

use super::entity::{self, Kept};
use super::{APART, Records};
use crate::datastore::Error;
use crate::domain::{AccountId, BusinessNumber, Person, Phone, Progress, ProviderId};
use crate::store::Adopted;
use tokio::time::sleep;

/// Entities read for one question.
const MOST: usize = 20;
/// The property with the provider's id.
const PROVIDER_ID: &str = "wa_message_id";
/// What is longer is no id, and Datastore refuses it.
const LONGEST_ID: usize = 512;

impl Records {
    /// What fits an id of MoEngage's, an id of the provider's or a phone number; the newest first.
    pub async fn find(&self, id: &str) -> Result<Vec<Kept>, Error> {
        let id = id.trim();
        if id.is_empty() || id.len() > LONGEST_ID {
            return Ok(Vec::new());
        }
        let numbers: Vec<String> = Phone::parse(id)
            .map(|phone| Person::of(phone).numbers().map(Phone::digits).collect())
            .unwrap_or_default();
        let ask = |property: &'static str, text: Option<&str>| {
            let text = text.map(str::to_owned);
            async move {
                match text {
                    Some(text) => self.shared.client.query(property, &text, MOST).await,
                    None => Ok(Vec::new()),
                }
            }
        };
        // The old connector kept the number under another name.
        let asked = tokio::join!(
            ask("mo_msg_id", Some(id)),
            ask(PROVIDER_ID, Some(id)),
            ask("recipient", numbers.first().map(String::as_str)),
            ask("recipient", numbers.get(1).map(String::as_str)),
            ask("receiver_number", numbers.first().map(String::as_str)),
            ask("receiver_number", numbers.get(1).map(String::as_str)),
        );
        let mut found = Vec::new();
        for entities in <[_; 6]>::from(asked) {
            found.extend(entities?.iter().filter_map(entity::read));
        }
        Ok(once_each(found))
    }

    /// The messages of provider ids, as the store may take them in: of each `None` when nobody knows
    /// it or it belongs to no channel of this account. One query for [`MOST_TEXTS`] ids, all there
    /// may be.
    ///
    /// [`MOST_TEXTS`]: crate::datastore::MOST_TEXTS
    pub(super) async fn sent_as(
        &self,
        account: &AccountId,
        ids: &[ProviderId],
    ) -> Result<Vec<Option<Adopted>>, Error> {
        let mut found = self.sent_as_any(ids).await?;
        // A record of ours says more than the old connector's of the same message.
        found.sort_by_key(|kept| !kept.ours);
        let of = |id: &ProviderId| {
            let mut own = found
                .iter()
                .filter(|kept| kept.provider_id.as_deref() == Some(id.as_str()));
            own.find_map(|kept| self.adopted(account, kept))
        };
        Ok(ids.iter().map(of).collect())
    }

    async fn sent_as_any(&self, ids: &[ProviderId]) -> Result<Vec<Kept>, Error> {
        let ids = ids.iter().map(ProviderId::as_str);
        let ids: Vec<&str> = ids.filter(|id| id.len() <= LONGEST_ID).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let (client, most) = (&self.shared.client, MOST * ids.len());
        let mut entities = match client.query_any(PROVIDER_ID, &ids, most).await {
            Ok(all) if all.len() < most => {
                return Ok(all.iter().filter_map(entity::read).collect());
            }
            // An id that stands in thousands of records ("undefined", say) must not hide the others.
            Ok(some) => some,
            // Neither must one that Datastore does not take.
            Err(error) if error.blames_an_entity() && ids.len() > 1 => Vec::new(),
            Err(error) => return Err(error),
        };
        let (mut refused, mut answered) = (None, false);
        for id in ids {
            sleep(APART).await;
            match client.query(PROVIDER_ID, id, MOST).await {
                Ok(more) => {
                    answered = true;
                    entities.extend(more);
                }
                Err(error) if error.blames_an_entity() => refused = Some(error),
                Err(error) => return Err(error),
            }
        }
        // What is refused beside others that are not is an id that nobody has.
        match refused.filter(|_| !answered) {
            Some(error) => Err(error),
            None => Ok(entities.iter().filter_map(entity::read).collect()),
        }
    }

    fn adopted(&self, account: &AccountId, kept: &Kept) -> Option<Adopted> {
        if kept.ours && kept.account != account.as_str() {
            return None;
        }
        let from = BusinessNumber::parse(&kept.from).ok();
        let mut channels = self.channels_of(account);
        let channel = if kept.ours {
            channels.find(|channel| channel.id.as_str() == kept.channel)?
        } else {
            // The old connector knew no channels: the only one, else the one of that number.
            let first = channels.next()?;
            let mut rest = channels.peekable();
            let own = |channel: &&std::sync::Arc<crate::accounts::Channel>| {
                from.is_some() && channel.waba_number == from
            };
            match rest.peek() {
                None => first,
                Some(_) => std::iter::once(first).chain(rest).find(own)?,
            }
        };
        Some(Adopted {
            channel: channel.id.clone(),
            msg_id: kept.msg_id.clone(),
            inferred: kept.inferred,
            to: kept.to,
            from: from.or_else(|| channel.waba_number.clone())?,
            template: kept.template.clone(),
            language: kept.language.clone(),
            campaign: kept.campaign.clone(),
            conversation: kept.conversation.clone(),
            progress: Progress::at(kept.status),
            accepted_at: kept.accepted_at,
            version: kept.version,
        })
    }
}

/// Each message once, ours before the old connector's of the same, the newest first.
fn once_each(mut found: Vec<Kept>) -> Vec<Kept> {
    found.sort_by_key(|kept| !kept.ours);
    let mut each: Vec<Kept> = Vec::new();
    for kept in found {
        let same = |known: &Kept| {
            let channel = known.channel == kept.channel || !kept.ours;
            known.msg_id == kept.msg_id && channel
        };
        if !each.iter().any(same) {
            each.push(kept);
        }
    }
    each.sort_by_key(|kept| std::cmp::Reverse(kept.accepted_at));
    each.truncate(MOST);
    each
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::accounts::{Account, Channel, Channels, Pause};
    use crate::datastore::{Entity, Settings, Value};
    use crate::domain::ChannelId;
    use crate::domain::policy::Policy;
    use crate::limit::{Limiter, Rate};
    use crate::records::entity::tests::dirty;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    pub(in crate::records) fn account(id: &str) -> AccountId {
        AccountId::parse(id).unwrap()
    }

    /// Channels by account, name and number.
    pub(in crate::records) fn records(channels: &[(&str, &str, &str)]) -> Records {
        records_at("127.0.0.1:9", channels)
    }

    fn records_at(host: &str, channels: &[(&str, &str, &str)]) -> Records {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let channel = |(of, id, number): &(&str, &str, &str)| {
            let rate = Rate {
                per_second: None,
                concurrency: 1,
            };
            let limiter = Limiter::new(rate, Duration::ZERO);
            Arc::new(Channel {
                id: ChannelId::parse(id).unwrap(),
                account: Arc::new(Account::new(account(of), limiter)),
                tokens: Vec::new(),
                callback_url: String::new(),
                waba_number: BusinessNumber::parse(number).ok(),
                policy: Policy::default(),
                max_queue: None,
                starts_paused: false,
                pause: Pause::default(),
            })
        };
        let settings = Settings {
            project_id: "p".into(),
            kind: "K".into(),
            credentials: None,
            default_credentials: None,
            emulator_host: Some(host.into()),
            expire_after: Duration::ZERO,
        };
        let channels = channels.iter().map(channel).collect();
        Records::new(&settings, Arc::new(Channels::new(channels))).unwrap()
    }

    fn old(number: &str) -> Kept {
        let entity = Entity::named("P1")
            .with("mo_msg_id", Value::Text("m1".into()))
            .with("mo_waba_number", Value::Text(number.into()));
        entity::read(&entity).unwrap()
    }

    fn channel_of(records: &Records, kept: &Kept) -> Option<String> {
        let adopted = records.adopted(&account("acc"), kept)?;
        Some(adopted.channel.to_string())
    }

    #[test]
    fn an_old_record_belongs_to_the_only_channel_or_to_that_of_its_number() {
        let one = records(&[("acc", "a", ""), ("other", "b", "12025550100")]);
        assert_eq!(channel_of(&one, &old("12025550100")).as_deref(), Some("a"));
        let (a, b) = (("acc", "a", "12025550199"), ("acc", "b", "12025550100"));
        let two = records(&[a, b]);
        assert_eq!(
            channel_of(&two, &old("+1 202-555-0100")).as_deref(),
            Some("b")
        );
        assert_eq!(channel_of(&two, &old("12025550177")), None);
        assert_eq!(channel_of(&records(&[]), &old("12025550100")), None);
    }

    /// Whoever asks for a person finds what was sent to either number.
    #[tokio::test]
    async fn r_18_datastore_is_asked_for_all_numbers_of_a_person() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let router = axum::Router::new().fallback(async move |body: String| {
            let body: serde_json::Value = serde_json::from_str(&body).unwrap();
            let filter = &body["query"]["filter"]["propertyFilter"];
            let name = filter["property"]["name"].as_str().unwrap().to_owned();
            let value = filter["value"]["stringValue"].as_str().unwrap().to_owned();
            heard.lock().unwrap().push((name, value));
            "{}"
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let records = records_at(&listener.local_addr().unwrap().to_string(), &[]);
        tokio::spawn(async move { axum::serve(listener, router).await });
        for (id, numbers) in [
            ("+52 55 1234 5678", &["525512345678", "5215512345678"][..]),
            ("5215512345678", &["525512345678", "5215512345678"]),
            ("+1 202 555 0143", &["12025550143"]),
            ("m1", &[]),
        ] {
            records.find(id).await.unwrap();
            let mut expected = vec![("mo_msg_id", id), ("wa_message_id", id)];
            for number in numbers {
                expected.extend([("receiver_number", *number), ("recipient", *number)]);
            }
            expected.sort_unstable();
            let mut asked: Vec<_> = std::mem::take(&mut *asked.lock().unwrap());
            asked.sort_unstable();
            let asked: Vec<_> = asked.iter().map(|(a, b)| (&**a, &**b)).collect();
            assert_eq!(asked, expected, "{id}");
        }
    }

    /// One id that Datastore does not take must not keep it from being asked for the others.
    #[tokio::test]
    async fn r_61_an_id_that_is_refused_is_unknown_and_the_others_are_found() {
        let router = axum::Router::new().fallback(async |body: String| {
            if body.contains("bad") {
                let refusal = r#"{"error":{"status":"INVALID_ARGUMENT","message":"no"}}"#;
                return (axum::http::StatusCode::BAD_REQUEST, refusal.to_owned());
            }
            let properties = serde_json::json!({
                "mo_msg_id": { "stringValue": "m1" }, "wa_message_id": { "stringValue": "good" },
                "mo_waba_number": { "stringValue": "12025550100" },
            });
            let found = serde_json::json!([{ "entity": { "properties": properties } }]);
            let answer = serde_json::json!({ "batch": { "entityResults": found } });
            (axum::http::StatusCode::OK, answer.to_string())
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let channels = [("acc", "a", "12025550100")];
        let records = records_at(&listener.local_addr().unwrap().to_string(), &channels);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let ids = |ids: &[&str]| {
            ids.iter()
                .map(|id| ProviderId::parse(id).unwrap())
                .collect::<Vec<_>>()
        };
        let found = records
            .sent_as(&account("acc"), &ids(&["bad", "good"]))
            .await
            .unwrap();
        assert!(found[0].is_none() && found[1].is_some(), "{found:?}");
        let all = records
            .sent_as(&account("acc"), &ids(&["bad", "bad2"]))
            .await;
        assert!(all.is_err(), "it may refuse every query");
    }

    #[test]
    fn a_record_of_ours_belongs_to_its_channel_and_account() {
        let kept = |channel: &str, of: &str| {
            let mut dirty = dirty();
            dirty.record.channel = ChannelId::parse(channel).unwrap();
            dirty.record.account = account(of);
            entity::read(&entity::write(&dirty, Duration::ZERO)).unwrap()
        };
        let two = records(&[("acc", "a", ""), ("acc", "b", "")]);
        assert_eq!(channel_of(&two, &kept("b", "acc")).as_deref(), Some("b"));
        assert_eq!(channel_of(&two, &kept("gone", "acc")), None);
        assert_eq!(channel_of(&two, &kept("b", "other")), None);
        // Shown once, as ours says it, though the old connector has a record too.
        let mut both = vec![old("12025550100"), kept("b", "acc")];
        both[0].msg_id = both[1].msg_id.clone();
        let each = once_each(both);
        assert!(each.len() == 1 && each[0].ours, "{each:?}");
    }
}
