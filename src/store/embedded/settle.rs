//! Write C: the end of an attempt, with everything that hangs on it, in one transaction.

use super::columns::{self, number};
use super::found::{Found, find_where};
use super::writer::Txn;
use super::{Store, callbacks, damaged, early, evidence, history, signed};
use crate::domain::proof::LastProof;
use crate::domain::state::Step;
use crate::domain::{Callback, Receipt, Refusal, Status, StatusEntry, UnixMs, Writer};
use crate::store::{ClaimedMessage, Folded, QuickReply, Settlement, StoreError, row};
use rusqlite::Result;

/// The message of a claim, as long as its attempt is under way.
const UNDER_WAY: &str = "id = ?1 AND attempts = ?2 AND state = 1";

impl Store {
    /// Keeps what the person can tap while the message is being sent: a tap may overtake the answer.
    pub async fn know_taps(
        &self,
        claimed: &ClaimedMessage,
        taps: Vec<QuickReply>,
    ) -> Result<(), StoreError> {
        let claim = (claimed.handle, signed(claimed.claim));
        self.step("taps", move |txn| {
            match find_where(txn.conn, UNDER_WAY, claim)?.pop() {
                Some(message) => keep_taps(txn, &message, &taps),
                None => Ok(()),
            }
        })
        .await
    }

    /// Ends an attempt. The claim is the fence: the only process loses no lease, so whoever has not
    /// made the claim whose attempt is under way has told its end before, and a repeated call does
    /// nothing. The history of an attempt that decided nothing keeps `answer`.
    pub async fn settle(
        &self,
        claimed: &ClaimedMessage,
        settlement: Settlement,
        answer: String,
        now: UnixMs,
    ) -> Result<Folded, StoreError> {
        let (handle, claim) = (claimed.handle, signed(claimed.claim));
        self.step("settle", move |txn| {
            let mut folded = Folded::default();
            let Some(message) = find_where(txn.conn, UNDER_WAY, (handle, claim))?.pop() else {
                return Ok(folded);
            };
            match &settlement {
                Settlement::Accepted { receipt, taps } => {
                    receive(txn, &message, receipt, now)?;
                    keep_taps(txn, &message, taps)?;
                    early::match_early(txn, &message, receipt, now, &mut folded)?;
                }
                Settlement::Retry { due, aside, proof } => {
                    let again = Retry {
                        due: *due,
                        aside: *aside,
                        proof: *proof,
                    };
                    retry(txn, &message, &again, &answer, now)?;
                }
                Settlement::Failed { refusal, proof } => {
                    fail(txn, &message, Writer::Holder, refusal, now)?;
                    keep_proof(txn, handle, *proof)?;
                    folded.wake.push(message.channel.clone());
                }
                Settlement::Unknown { until, taps } => {
                    let loss = Loss {
                        writer: Writer::Holder,
                        until: *until,
                        answer: &answer,
                    };
                    mark_unknown(txn, &message, &loss, now)?;
                    keep_taps(txn, &message, taps)?;
                }
            }
            // The end of this attempt may be what an unknown send of the same person waited for.
            evidence::infer_receipt(txn, handle, now, &mut folded)?;
            Ok(folded)
        })
        .await
    }
}

fn receive(txn: &mut Txn<'_>, message: &Found, receipt: &Receipt, now: UnixMs) -> Result<()> {
    let next = message.step(txn, Writer::Holder, Step::Receipt)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, lost = ?3, settled_at = ?4, provider_id = ?5,
                    conversation = ?6, proof = ?8, history = history || ?7 WHERE id = ?1",
        )?
        .execute((
            message.id,
            number(next.state),
            next.lost,
            now.0,
            receipt.provider_id.as_str(),
            &receipt.conversation,
            row::moment(now, "receipt", receipt.provider_id.as_str()),
            LastProof::Taken.number(),
        ))?;
    Ok(())
}

fn keep_taps(txn: &Txn<'_>, message: &Found, taps: &[QuickReply]) -> Result<()> {
    if taps.is_empty() {
        return Ok(());
    }
    let taps: Vec<_> = taps.iter().map(|tap| (&tap.label, &tap.payload)).collect();
    txn.conn
        .prepare_cached("UPDATE message SET taps = ?2 WHERE id = ?1")?
        .execute((message.id, serde_json::to_string(&taps).map_err(damaged)?))?;
    Ok(())
}

/// Keeps what the attempt of a message that is given up proved.
fn keep_proof(txn: &Txn<'_>, id: i64, proof: LastProof) -> Result<()> {
    txn.conn
        .prepare_cached("UPDATE message SET proof = ?2 WHERE id = ?1")?
        .execute((id, proof.number()))
        .map(drop)
}

/// How a message goes back to the queue.
struct Retry {
    /// When it is due.
    due: UnixMs,
    /// Whether it is put aside.
    aside: bool,
    /// What its attempt proved.
    proof: LastProof,
}

/// Back to the queue.
fn retry(
    txn: &mut Txn<'_>,
    message: &Found,
    again: &Retry,
    answer: &str,
    now: UnixMs,
) -> Result<()> {
    let next = message.step(txn, Writer::Holder, Step::Retry)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, due = ?3, aside = ?6, proof = ?7,
                    history = iif(length(history) < ?5, history || ?4, history) WHERE id = ?1",
        )?
        .execute((
            message.id,
            number(next.state),
            again.due.0,
            row::moment(now, "retry", answer),
            history::HISTORY_LIMIT,
            again.aside,
            again.proof.number(),
        ))?;
    Ok(())
}

/// An attempt of whose end nobody knows.
pub(super) struct Loss<'a> {
    /// Who says so.
    pub(super) writer: Writer,
    /// Until when evidence counts.
    pub(super) until: UnixMs,
    /// What was answered.
    pub(super) answer: &'a str,
}

/// Nobody knows what became of the attempt.
pub(super) fn mark_unknown(
    txn: &mut Txn<'_>,
    message: &Found,
    loss: &Loss<'_>,
    now: UnixMs,
) -> Result<()> {
    let next = message.step(txn, loss.writer, Step::Lose)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, due = ?3, proof = ?5, history = history || ?4
             WHERE id = ?1",
        )?
        .execute((
            message.id,
            number(next.state),
            loss.until.0,
            row::moment(now, "unknown", loss.answer),
            LastProof::Unclear.number(),
        ))?;
    Ok(())
}

/// Given up: MoEngage, which was told success, is told why.
pub(super) fn fail(
    txn: &mut Txn<'_>,
    message: &Found,
    writer: Writer,
    refusal: &Refusal,
    now: UnixMs,
) -> Result<()> {
    let next = message.step(txn, writer, Step::Fail)?;
    txn.conn
        .prepare_cached(
            "UPDATE message SET state = ?2, settled_at = ?3, lost = ?4, progress = ?5,
                    history = history || ?6 WHERE id = ?1",
        )?
        .execute((
            message.id,
            number(next.state),
            now.0,
            next.lost,
            columns::rank(Some(Status::Failed)),
            row::moment(now, "failed", &row::failure(refusal)),
        ))?;
    let entry = Callback::Status(StatusEntry {
        msg_id: message.msg_id.clone(),
        status: Status::Failed,
        at: now,
        error: Some(refusal.clone()),
    });
    callbacks::enqueue(txn, &message.channel, Some(message.id), &entry, now)
}
