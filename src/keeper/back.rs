//! A store that went back to an older state: nothing is sent until an operator decides, who is told at once.

use crate::alert::{self, Code};
use crate::channel::{Account, Channels, Hold};
use crate::outbox::Outbox;
use crate::store::WentBack;

/// Does as the store says.
pub(super) fn follow(outbox: &Outbox, channels: &Channels) {
    for account in channels.accounts() {
        let now = outbox.store.went_back(&account.id);
        let hold = now.map(|back| Hold {
            reason: back.words(),
            since: back.since,
        });
        let before = account.hold_store(hold);
        let subject = format!("account {}", account.id);
        match (now, before) {
            (Some(back), None) => {
                alert::raise(Code::StoreWentBack, &subject, &text(&account, back))
            }
            (None, Some(_)) => {
                alert::over(Code::StoreWentBack, &subject);
                account.work.notify_one();
            }
            _ => {}
        }
    }
}

fn text(account: &Account, back: WentBack) -> String {
    let (words, waited, id) = (back.words(), back.waited, &account.id);
    format!(
        "{words}. Nothing is sent: of the {waited} messages that waited in that state, some may have been sent. \
         Messages are accepted, statuses are relayed. POST /api/holds/store:{id}/release at the ops listener \
         sends all that waits, some of it perhaps twice. .../fail with {{\"confirm\": {waited}}} fails what waited \
         in that state and sends what came since. A gateway that starts anew may need a new SEED_REFRESH_TOKEN."
    )
}
