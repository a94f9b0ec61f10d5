//! The claim of the next messages: whose turn it is, and how much of it may go to what was tried before.

use super::{LEAD, Worker};
use crate::clock;
use crate::domain::ChannelId;
use crate::store::{ClaimFrom, Claims, StoreError};
use std::collections::HashMap;
use tokio::time::Instant;

impl Worker {
    pub(super) async fn claim(&mut self, most: usize) -> Result<Claims, StoreError> {
        let moment = clock::moment();
        let ledger = |channel: &ChannelId| self.outbox.store.ledger(channel);
        let waiting = self.open_channels();
        let waiting = waiting.filter(|channel| ledger(&channel.id).queued > 0);
        let queues = waiting.map(|channel| ClaimFrom {
            channel: channel.id.clone(),
            ages: moment.ages(channel.policy.max_age),
            retries: 0,
            aside: 0,
        });
        let mut queues = self.order.ordered(queues.collect());
        let share = most.div_ceil(queues.len().max(1));
        for queue in &mut queues {
            let shares = self.shares.get(&queue.channel).copied().unwrap_or_default();
            [queue.retries, queue.aside] = shares.most(share);
        }
        let began = Instant::now();
        let claims = self.outbox.store.claim(queues, most, moment.latest).await;
        if let Ok(claims) = &claims {
            self.served(claims);
        }
        // Twice the smoothed time leaves room for the usual spread.
        let smoothed = (self.lead * 7 + began.elapsed() * 2) / 8;
        self.lead = smoothed.clamp(LEAD.0, LEAD.1);
        claims
    }

    /// Puts down whom the claim served.
    fn served(&mut self, claims: &Claims) {
        self.order
            .served(claims.taken.iter().map(|one| &one.channel));
        let mut used: HashMap<&ChannelId, (usize, [usize; 2])> = HashMap::new();
        for one in &claims.taken {
            let (slots, [retries, aside]) = used.entry(&one.channel).or_default();
            *slots += 1;
            *aside += usize::from(one.aside);
            *retries += usize::from(one.attempt > 1 && !one.aside);
        }
        for (channel, (slots, by)) in used {
            let shares = self.shares.entry(channel.clone()).or_default();
            shares.used(slots, by);
        }
    }
}
