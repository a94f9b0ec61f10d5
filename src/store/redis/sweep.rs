//! What time alone brings about: leases and holds that end, messages that grow too old.

use super::damage::Text;
use super::lease::TakenOver;
use super::{AccountKeys, Call, Store};
use crate::domain::{ChannelId, Moment, MsgId};
use crate::store::{StoreError, SweepRule, SweepScope, Swept, refusals, row};
use std::time::Duration;

/// Messages of each kind dealt with in one step; bounds how long Redis does nothing else.
const AT_ONCE: usize = 100;
/// Beyond the longest pause between tries, of ours or asked for by an upstream (an hour).
const FARTHEST: Duration = Duration::from_secs(2 * 3600);

/// Channel, `msg_id`, which refusal.
type Failed = Vec<(Text, Text, u8)>;
/// Channel, `msg_id`.
type Resent = Vec<(Text, Text)>;

/// What a sweep of one account looks at.
struct Look<'a> {
    /// The rules of the account's channels.
    rules: Vec<&'a SweepRule>,
    /// What else than holds.
    scope: SweepScope,
    /// When it is.
    now: Moment,
}

impl Store {
    /// Takes over from processes that are gone, ends holds that are over, and does what else it is to
    /// look at; a bounded number at once, and says whether there is more.
    pub async fn sweep(
        &self,
        rules: Vec<SweepRule>,
        look: SweepScope,
        now: Moment,
    ) -> Result<Swept, StoreError> {
        self.shared.connection.is_ours()?;
        let (mut swept, mut trouble) = (Swept::default(), None);
        for home in &self.shared.accounts {
            let at_home = |rule: &&SweepRule| {
                let of_rule = self.shared.homes.get(&rule.channel);
                of_rule.is_some_and(|of_rule| of_rule.account == home.account)
            };
            let at_home = Look {
                rules: rules.iter().filter(at_home).collect(),
                scope: look,
                now,
            };
            let done = self.sweep_at(home, &at_home, &mut swept).await;
            // One account's trouble is not another's.
            trouble = done.err().or(trouble);
        }
        match trouble {
            // What the others brought must be told.
            Some(error) if swept.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(
                    %error, event = "sweep_failed",
                    "holds and ages of an account could not be looked at"
                );
                Ok(swept)
            }
            None => Ok(swept),
        }
    }

    async fn sweep_at(
        &self,
        home: &AccountKeys,
        look: &Look<'_>,
        swept: &mut Swept,
    ) -> Result<(), StoreError> {
        let Look { rules, scope, now } = look;
        let holds: Vec<_> = rules
            .iter()
            .map(|rule| (rule.channel.clone(), rule.hold))
            .collect();
        let gone = self.take_over(home, "", &holds, now.latest).await?;
        let TakenOver {
            lost,
            more,
            mut folded,
        } = gone;
        if lost > 0 {
            tracing::warn!(account = %home.account, messages = lost,
                event = "sends_of_other_process_unknown",
                "another gateway process ended during these sends; their outcome is unknown and \
                 waits for evidence");
        }
        let (old, unknown) = (refusals::too_old(), refusals::outcome_unknown());
        let farthest = match scope {
            SweepScope::SetBack => Duration::ZERO,
            SweepScope::Holds | SweepScope::Ages => FARTHEST,
        };
        let mut call = Call::new(&self.shared.scripts.sweep, home)
            .arg(now.latest.0)
            .arg(now.earliest.0)
            .arg(AT_ONCE)
            .arg(u8::from(*scope != SweepScope::Holds))
            .arg(farthest.as_millis())
            .arg(row::write_refusal(&old))
            .arg(row::failure(&old))
            .arg(row::write_refusal(&unknown))
            .arg(row::failure(&unknown));
        for rule in rules {
            call.push(rule.channel.as_str());
            call.push(u8::from(rule.resend));
            call.push(rule.expired_before.0);
            call.push(rule.hold.as_millis());
        }
        let (failed, resent, unfinished, fold): (Failed, Resent, bool, super::events::Fold) =
            self.run(&call).await?;
        super::events::add(&mut folded, fold);
        for (channel, msg_id, which) in failed {
            let refusal = if which == 0 { &old } else { &unknown };
            if let Some((channel, msg_id)) = ids(&channel, &msg_id) {
                swept.failed.push((channel, msg_id, refusal.clone()));
            }
        }
        swept
            .resent
            .extend(resent.iter().filter_map(|(channel, id)| ids(channel, id)));
        swept.inferred += folded.inferred;
        swept.wake.extend(folded.wake);
        swept.more |= more || unfinished;
        if *scope == SweepScope::Holds || unfinished {
            return Ok(());
        }
        self.recount(home).await
    }
}

fn ids(channel: &Text, msg_id: &Text) -> Option<(ChannelId, MsgId)> {
    let channel = ChannelId::parse(channel.as_str()).ok()?;
    Some((channel, MsgId::parse(msg_id.as_str()).ok()?))
}
