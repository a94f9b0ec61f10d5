//! Whom an event names, by a number, the provider's user id or both, and whom the account knows by these
//! (`alias`). Where both stand beside each other and are two people's, the number decides.

use super::alias::{NUMBER, USER, dialled, known};
use super::signed;
use super::writer::Txn;
use crate::domain::{AccountId, Person, Phone, Reply, StatusEvent, UserId};
use rusqlite::Result;

/// What an event calls the person of a message.
pub(super) struct Named<'a> {
    pub(super) number: Option<Phone>,
    pub(super) user: Option<&'a UserId>,
}

impl<'a> From<&'a StatusEvent> for Named<'a> {
    fn from(event: &'a StatusEvent) -> Self {
        Self {
            number: event.recipient,
            user: event.user.as_ref(),
        }
    }
}

impl<'a> From<&'a Reply> for Named<'a> {
    fn from(reply: &'a Reply) -> Self {
        Self {
            number: reply.from,
            user: reply.user.as_ref(),
        }
    }
}

impl Named<'_> {
    /// The number that was dialled of whom a name is known of; and of whose the user id is where that is
    /// somebody else's than the number beside it, which decides.
    pub(super) fn dialled(
        &self,
        txn: &mut Txn<'_>,
        account: &AccountId,
    ) -> Result<(Option<Phone>, Option<Phone>)> {
        let (numbers, users) = known(txn, account)?;
        let by_number = match self.number.filter(|_| numbers) {
            Some(number) => {
                let key = signed(Person::of(number).key().number());
                dialled(txn.conn, account, NUMBER, &key)?
            }
            None => None,
        };
        let by_user = match self.user.filter(|_| users) {
            Some(user) => dialled(txn.conn, account, USER, &user.as_str())?,
            None => None,
        };
        let of = by_number.or(self.number);
        let (same, other) = match (of, by_user) {
            (Some(of), Some(user)) if Person::of(of) != Person::of(user) => (None, by_user),
            _ => (by_user, None),
        };
        Ok((by_number.or(same), other))
    }
}

/// The number of the person of a status, whom it may name by their user id alone.
pub(super) fn number_of(
    txn: &mut Txn<'_>,
    account: &AccountId,
    event: &StatusEvent,
) -> Result<Option<Phone>> {
    match (event.recipient, &event.user) {
        (None, Some(_)) => Ok(Named::from(event).dialled(txn, account)?.0),
        (number, _) => Ok(number),
    }
}

/// The user id, if nobody is known to have it.
pub(super) fn of_nobody<'a>(
    txn: &Txn<'_>,
    account: &AccountId,
    user: Option<&'a UserId>,
) -> Result<Option<&'a UserId>> {
    match user {
        Some(user) => {
            let known = dialled(txn.conn, account, USER, &user.as_str())?;
            Ok(known.is_none().then_some(user))
        }
        None => Ok(None),
    }
}
