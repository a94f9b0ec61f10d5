//! A store that went back to an older state: nothing is sent until an operator decides, who is told at once.

use crate::accounts::{Account, AccountHold, Channels};
use crate::alert::{self, Code};
use crate::outbox::Outbox;
use crate::store::WentBack;

/// Does as the store says.
pub fn follow_store(outbox: &Outbox, channels: &Channels) {
    for account in channels.accounts() {
        let now = outbox.store.went_back(&account.id);
        let hold = now.map(|back| AccountHold {
            reason: back.words(),
            since: back.since,
        });
        let before = account.hold_store(hold);
        let subject = format!("account {}", account.id);
        let lost = outbox.store.lost(&account.id);
        if lost > 0 {
            // An alert that stands already says another number.
            tracing::error!(
                account = %account.id, lost, event = "messages_lost",
                "Redis lost messages that this process had accepted"
            );
            alert::raise(Code::MessagesLost, &subject, &lost_words(lost));
        }
        match (now, before) {
            // Each time, so that a person is told again after hours.
            (Some(back), _) => {
                alert::raise(Code::StoreWentBack, &subject, &text(&account, back));
            }
            (None, Some(_)) => {
                alert::over(Code::StoreWentBack, &subject);
                account.work.notify_one();
            }
            _ => {}
        }
    }
}

fn lost_words(lost: usize) -> String {
    format!(
        "Redis went back to an older state and lost {lost} messages that this process had accepted and nobody had \
         sent. MoEngage was told success, so it does not repeat them, and the gateway cannot send them. Ask MoEngage \
         for the messages of these minutes that have no status. Set appendfsync always, or REDIS_WAIT_REPLICAS, to \
         lose fewer."
    )
}

fn text(account: &Account, back: WentBack) -> String {
    let (words, waited, id) = (back.words(), back.waited, &account.id);
    let decide = if back.silent == 0 {
        "Decide"
    } else {
        "If a process is frozen or cut off, bring it back: once it says what it sent, the gateway goes on by itself. \
         Otherwise decide"
    };
    format!(
        "{words}. The gateway sends nothing: a process may have sent some of the {waited} messages that waited in \
         that state. The gateway goes on to accept messages and to relay statuses. {decide} at the ops listener. \
         With POST /api/holds/store:{id}/release the gateway sends all that waits, and some people may get a \
         message twice. With .../fail and {{\"confirm\": {waited}}} it tells MoEngage 7004 for what waited in that \
         state, and sends what came since."
    )
}
