//! A store that went back, among what is held.

use super::problem::Problem;
use super::{AccountOps, OpsState, view};
use serde_json::{Value, json};

/// How it is called among what is held.
fn id(ops: &AccountOps) -> String {
    format!("store:{}", ops.account.id)
}

pub(super) fn shown(ops: &AccountOps) -> Option<Value> {
    let back = ops.holds.went_back()?;
    Some(json!({
        "id": id(ops),
        "scope": "store",
        "name": ops.account.id.as_str(),
        "code": "store_went_back",
        "words": back.words(),
        "since": view::time(back.since),
        "next_trial": null,
        "waiting": back.waited,
    }))
}

/// The account whose store is meant by this id; nothing where it is the id of another hold.
pub(super) fn account<'a>(
    ops: &'a OpsState,
    named: &str,
) -> Result<Option<&'a AccountOps>, Problem> {
    if !named.starts_with("store:") {
        return Ok(None);
    }
    let mut all = ops.shared.accounts.iter();
    let found = all.find(|one| id(one) == named && one.holds.went_back().is_some());
    let absent = || Problem::not_found(format!("nothing is held as {named:?} now"));
    found.ok_or_else(absent).map(Some)
}
