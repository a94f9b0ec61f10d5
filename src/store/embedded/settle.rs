//! Write C: the end of an attempt, with everything that hangs on it, in one transaction.

use super::writer::Txn;
use super::{
    Store, callbacks, channel_id, damage, damaged, early, events, evidence, history, signed,
};
use crate::domain::proof::LastProof;
use crate::domain::state::Step;
use crate::domain::{
    Callback, ChannelId, Life, MsgId, Phone, Receipt, Refusal, State, Status, StatusEntry, UnixMs,
    Writer,
};
use crate::store::{ClaimedMessage, Folded, QuickReply, Settlement, StoreError, row};
use rusqlite::{Connection, Params, Result, Row};

/// A message as far as a step needs it.
pub(super) struct Found {
    pub(super) id: i64,
    pub(super) channel: ChannelId,
    pub(super) msg_id: MsgId,
    pub(super) life: Life,
}

impl Found {
    /// Asks the model whether this may happen, and counts it in the ledger. What it gives is to be
    /// written.
    pub(super) fn step(&self, txn: &mut Txn<'_>, writer: Writer, step: Step) -> Result<Life> {
        let next = self.life.after(writer, step).map_err(damaged)?;
        txn.deltas.moved(&self.channel, self.life.state, next.state);
        Ok(next)
    }
}

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
            evidence::weigh(txn, handle, now, &mut folded)?;
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
            events::rank(Some(Status::Failed)),
            row::moment(now, "failed", &refusal.to_string()),
        ))?;
    let entry = Callback::Status(StatusEntry {
        msg_id: message.msg_id.clone(),
        status: Status::Failed,
        at: now,
        error: Some(refusal.clone()),
    });
    callbacks::enqueue(txn, &message.channel, Some(message.id), &entry, now)
}

/// Messages by a condition on the table `message`; those that cannot be read are passed over.
pub(super) fn find_where(
    conn: &Connection,
    condition: &str,
    params: impl Params,
) -> Result<Vec<Found>> {
    let sql =
        format!("SELECT id, channel, msg_id, state, resent, lost FROM message WHERE {condition}");
    let mut select = conn.prepare_cached(&sql)?;
    let rows = select.query_map(params, |row| damage::readable(found(row)))?;
    // One that cannot be read is in no step that anything waits for.
    rows.filter_map(Result::transpose).collect()
}

fn found(row: &Row<'_>) -> Result<Found> {
    Ok(Found {
        id: row.get(0)?,
        channel: channel_id(row.get_ref(1)?.as_str()?)?,
        msg_id: MsgId::parse(row.get_ref(2)?.as_str()?).map_err(damaged)?,
        life: life(row.get(3)?, row.get(4)?, row.get(5)?)?,
    })
}

/// The life of a row, by its columns. A receipt of an earlier attempt cannot come while a later one
/// is under way: the only process claims nothing before it has told the end of what it claimed.
pub(super) fn life(number: i64, resent: bool, lost: bool) -> Result<Life> {
    Ok(Life {
        state: state(number)?,
        resent,
        lost,
        taken: false,
    })
}

/// The number of a state in a row.
pub(super) fn number(state: State) -> i64 {
    let place = State::ALL.iter().position(|known| *known == state);
    signed(place.unwrap_or_default() as u64)
}

/// The state of a row: its number is its place in [`State::ALL`].
pub(super) fn state(number: i64) -> Result<State> {
    let place = usize::try_from(number).ok();
    let state = place.and_then(|place| State::ALL.get(place).copied());
    state.ok_or_else(|| damaged(format!("no state {number}")))
}

/// The phone number of a row.
pub(super) fn phone(number: i64) -> Result<Phone> {
    Phone::from_number(number.unsigned_abs()).map_err(damaged)
}
