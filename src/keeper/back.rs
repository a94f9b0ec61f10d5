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
        "{words}. The gateway sends nothing: of the {waited} messages that waited in that state, some may have \
         been sent. It goes on to accept messages and to relay statuses. A process that is frozen or cut off \
         ends this by itself once it is back. Otherwise decide at the ops listener. POST \
         /api/holds/store:{id}/release sends all that waits, some of it perhaps twice. .../fail with \
         {{\"confirm\": {waited}}} tells MoEngage 7004 for what waited in that state, and sends what came since."
    )
}
