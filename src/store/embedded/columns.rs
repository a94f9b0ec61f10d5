//! What the columns of a row mean: the numbers of states, phones and progress.

use super::{damaged, signed};
use crate::domain::{Life, Phone, Progress, State, Status};
use rusqlite::Result;

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

/// The number that a row keeps for a progress: 0 for none, then the rank.
pub(super) fn rank(status: Option<Status>) -> i64 {
    let place = status.and_then(|status| Status::ALL.iter().position(|known| *known == status));
    place.map_or(0, |place| signed(place as u64) + 1)
}

/// The progress that a row keeps as this number.
pub(super) fn progress(rank: i64) -> Progress {
    let place = rank
        .checked_sub(1)
        .and_then(|place| usize::try_from(place).ok());
    Progress::at(place.and_then(|place| Status::ALL.get(place).copied()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_reads_back() {
        for status in [None].into_iter().chain(Status::ALL.map(Some)) {
            assert_eq!(progress(rank(status)).status(), status);
        }
    }
}
