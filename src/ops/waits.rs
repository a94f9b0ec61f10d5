//! Puts into the log why messages wait, in the words of `gateway trace`: once it has lasted, and when it
//! is over. Whether somebody is called is for the alerts to say.

use super::OpsState;
use super::why::{self, ChannelFacts, Code, Reason, Site};
use crate::accounts::Channel;
use crate::domain::ChannelId;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// For so many looks a reason must last before it is worth a line.
const LASTS: u32 = 5;

/// Tells why messages wait, until `stop`.
pub(super) async fn tell_waits(ops: &OpsState, stop: &CancellationToken) {
    let mut reported: HashMap<ChannelId, Waits> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(EVERY) => {}
        }
        let channels = &ops.shared.channels;
        let waits = |channel: &Channel| {
            let ledger = ops.shared.outbox.store.ledger(&channel.id);
            ledger.queued > 0
        };
        // Whether the store can write is proved by writing, so that is left alone where nothing waits.
        let site = match channels.iter().any(|channel| waits(channel)) {
            true => Some(Site::read(ops).await),
            false => None,
        };
        for channel in channels.iter() {
            let site = site.as_ref().filter(|_| waits(channel));
            let reason = site.and_then(|site| blocked(ops, channel, site));
            let reported = reported.entry(channel.id.clone()).or_default();
            reported.look(&channel.id, reason);
        }
    }
}

/// Why nothing of a channel is sent.
fn blocked(ops: &OpsState, channel: &Channel, site: &Site) -> Option<Reason> {
    let facts = ChannelFacts::read(ops, channel)?;
    why::channel(site, &facts).filter(|reason| reason.code != Code::Slowed)
}

/// What was told of a channel, and what may have to be.
#[derive(Debug, Default)]
struct Waits {
    reported: Option<Code>,
    /// The reason of the last look, and for how many looks it has lasted.
    last: Option<(Code, u32)>,
}

impl Waits {
    fn look(&mut self, channel: &ChannelId, reason: Option<Reason>) {
        let Some(reason) = reason else {
            self.last = None;
            if self.reported.take().is_some() {
                tracing::info!(
                    %channel, event = "channel_waits_no_more",
                    "messages of this channel wait no more"
                );
            }
            return;
        };
        let looks = match self.last {
            Some((code, looks)) if code == reason.code => looks + 1,
            _ => 1,
        };
        self.last = Some((reason.code, looks));
        if looks >= LASTS && self.reported != Some(reason.code) {
            self.reported = Some(reason.code);
            let (code, why) = (reason.code.as_str(), reason.sentence());
            tracing::info!(
                %channel, code, why, event = "channel_waits",
                "messages of this channel wait"
            );
        }
    }
}
