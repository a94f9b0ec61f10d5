//! What the log says of events, one line a second of each kind: a stranger may bring them about. Many
//! opt-outs within a minute are told to a person.

use crate::alert::{Code, Many};
use crate::domain::{ChannelId, OptOut};
use crate::store::Folded;
use crate::telemetry::{Tally, tell_opt_out};

static OPT_OUTS: Many = Many::of(
    Code::ManyOptOuts,
    "webhook",
    101,
    "people opted out. A campaign may have annoyed them, or somebody posts made-up replies. Their messages are \
     refused with 7003. Look at the campaign, and whether the webhook is open (`gateway check`).",
);

/// What was counted of a channel and not told yet.
pub(super) struct Report {
    opted_out: Tally,
    opted_out_of_marketing: Tally,
    inferred: Tally,
}

impl Report {
    pub(super) fn new() -> Self {
        Self {
            opted_out: Tally::new(),
            opted_out_of_marketing: Tally::new(),
            inferred: Tally::new(),
        }
    }

    pub(super) fn tell(&self, channel: &ChannelId, folded: &Folded) {
        OPT_OUTS.more(folded.opted_out + folded.opted_out_of_marketing);
        let all = (OptOut::All, &self.opted_out, folded.opted_out);
        let marketing = (
            OptOut::Marketing,
            &self.opted_out_of_marketing,
            folded.opted_out_of_marketing,
        );
        for (scope, tally, people) in [all, marketing] {
            if let Some(people) = tally.add(people.into()) {
                tell_opt_out(channel, scope, people);
            }
        }
        if let Some(messages) = self.inferred.add(folded.inferred.into()) {
            tracing::info!(%channel, messages,
                event = "send_proved", "an unknown send was proved by its status event");
        }
    }
}
