//! What a hold needs of the queue: one message as a trial, and the end of those that an operator gives up.

use super::claim::{Waiting, begin, due};
use super::{Store, found, settle, signed};
use crate::domain::{Ages, ChannelId, Phone, Refusal, UnixMs, Writer};
use crate::store::{Claims, StoreError, Trial, row};

/// The newest messages among which a trial finds one of another recipient and template.
const NEWEST: usize = 32;

/// The newest queued messages, due or not: a trial waits for no pause. What was never tried is due when
/// it was accepted, and comes before what was tried or put aside.
const NEWEST_FRESH: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts = 0 AND due <= ?2
     ORDER BY due DESC, accepted_at DESC, id DESC LIMIT ?3";
const NEWEST_TRIED: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 0 AND due <= ?2
     ORDER BY due DESC, id DESC LIMIT ?3";
const NEWEST_ASIDE: &str =
    "SELECT id, msg_id, recipient, accepted_at, attempts, body, state, resent, lost, aside
     FROM message WHERE channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 1 AND due <= ?2
     ORDER BY due DESC, id DESC LIMIT ?3";

impl Store {
    /// Takes one message that shows whether a held scope may send again: the newest of another
    /// recipient and template than the last trial, or the only one. Messages that must not be sent any
    /// more are failed instead.
    pub async fn claim_trial(&self, trial: Trial, now: UnixMs) -> Result<Claims, StoreError> {
        self.write(move |txn| {
            let mut claims = Claims::default();
            // Of those that it comes across, some may have to be failed.
            while claims.taken.is_empty() {
                let mut found = Vec::new();
                for (channel, ages) in &trial.channels {
                    for sql in [NEWEST_FRESH, NEWEST_TRIED, NEWEST_ASIDE] {
                        let params = (channel.as_str(), i64::MAX, signed(NEWEST as u64));
                        let rows = due(txn, sql, channel, params)?.into_iter();
                        let rows = rows.filter(|one| !waits(one, *ages));
                        found.extend(rows.map(|one| (*ages, one)));
                    }
                }
                let best = found
                    .iter()
                    .enumerate()
                    .max_by_key(|(place, (_, one))| (fits(one, &trial.tried), usize::MAX - place));
                let Some((place, _)) = best else { break };
                let (ages, one) = found.swap_remove(place);
                begin(txn, one, ages, now, &mut claims)?;
            }
            Ok(claims)
        })
        .await
    }

    /// Fails up to `most` queued messages of a channel, the oldest first; answers how many.
    pub async fn fail_queued(
        &self,
        channel: &ChannelId,
        refusal: &Refusal,
        most: usize,
        now: UnixMs,
    ) -> Result<usize, StoreError> {
        let (channel, refusal) = (channel.clone(), refusal.clone());
        self.write(move |txn| {
            let mut found = Vec::new();
            for condition in [
                "channel = ?1 AND state = 0 AND attempts = 0 ORDER BY due, accepted_at LIMIT ?2",
                "channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 0 ORDER BY due LIMIT ?2",
                "channel = ?1 AND state = 0 AND attempts <> 0 AND aside = 1 ORDER BY due LIMIT ?2",
            ] {
                let room = signed((most - found.len()) as u64);
                found.extend(found::find_where(
                    txn.conn,
                    condition,
                    (channel.as_str(), room),
                )?);
            }
            for message in &found {
                settle::fail(txn, message, Writer::Worker, &refusal, now)?;
            }
            Ok(found.len())
        })
        .await
    }
}

/// Whether the clocks disagree about its age.
fn waits(one: &Result<Waiting, i64>, ages: Ages) -> bool {
    one.as_ref().is_ok_and(|one| ages.disagree(one.accepted_at))
}

/// How well a message fits a trial: of another recipient and template best.
fn fits(one: &Result<Waiting, i64>, tried: &Option<(Phone, String)>) -> u8 {
    let (Ok(one), Some((to, template))) = (one, tried) else {
        return 2;
    };
    let names_template = row::naming_template(template);
    let same_template = (one.body.as_deref()).is_some_and(|body| body.contains(&names_template));
    match (one.to != Some(*to), same_template) {
        (true, false) => 2,
        (true, true) => 1,
        (false, _) => 0,
    }
}
