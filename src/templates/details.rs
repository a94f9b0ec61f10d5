//! What variants want, fetched when first needed, one call at a time for each.

use super::LEAST_GAP;
use crate::domain::template::{Detail, Variant};
use crate::providers::Provider;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

/// The longest pause after calls that told nothing: they take from the rate of the sends.
const MOST_GAP: Duration = Duration::from_secs(300);

/// The details by variant id; only variants of the list are in it.
#[derive(Debug, Default)]
pub(super) struct Details {
    slots: RwLock<HashMap<String, Arc<Slot>>>,
}

/// What one variant wants.
#[derive(Debug, Default)]
struct Slot {
    /// The detail and the round of the list it belongs to.
    known: RwLock<Option<(u64, Arc<Detail>)>>,
    /// Taken for the length of a fetch; holds how the last one went, if it told nothing.
    failed: Mutex<Option<Failed>>,
}

/// A fetch that told nothing.
#[derive(Debug, Clone, Copy)]
struct Failed {
    round: u64,
    at: Instant,
    /// How long nobody asks again.
    gap: Duration,
}

impl Failed {
    fn is_recent(&self, round: u64) -> bool {
        self.round == round && self.at.elapsed() < self.gap
    }

    /// One more, after the one before.
    fn again(before: Option<Self>, round: u64) -> Self {
        let before = before.filter(|before| before.round == round);
        let gap = before.map_or(LEAST_GAP, |before| MOST_GAP.min(2 * before.gap));
        let at = Instant::now();
        Self { round, at, gap }
    }
}

impl Details {
    /// The detail that belongs to this round of the list, else what was known before.
    pub(super) async fn get(
        &self,
        provider: &Provider,
        variant: &Variant,
        round: u64,
    ) -> Option<Arc<Detail>> {
        let slot = self.slot(&variant.id);
        if let Some(detail) = slot.of(round) {
            return Some(detail);
        }
        let mut failed = slot.failed.lock().await;
        let is_recent = failed.is_some_and(|failed| failed.is_recent(round));
        if !is_recent && slot.of(round).is_none() {
            match provider.template_detail(&variant.id).await {
                // It takes nothing away of what was told before, and does not make that new.
                Ok(detail) if detail == Detail::default() => {
                    *failed = Some(Failed::again(*failed, round));
                }
                Ok(detail) => {
                    slot.put(round, detail);
                    *failed = None;
                }
                Err(answer) => {
                    let answer = answer.summary();
                    debug!(
                        variant = variant.id,
                        answer, "the detail of a template cannot be fetched"
                    );
                    *failed = Some(Failed::again(*failed, round));
                }
            }
        }
        slot.last()
    }

    /// The detail that belongs to this round of the list. Makes no call.
    pub(super) fn of(&self, variant: &Variant, round: u64) -> Option<Arc<Detail>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&variant.id)?.of(round)
    }

    /// What is known. Makes no call.
    pub(super) fn known(&self, variant: &Variant) -> Option<Arc<Detail>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.get(&variant.id)?.last()
    }

    /// Forgets every variant that is not among `ids`.
    pub(super) fn keep(&self, ids: &HashSet<&str>) {
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|id, _| ids.contains(id.as_str()));
    }

    fn slot(&self, id: &str) -> Arc<Slot> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let known = slots.get(id).cloned();
        drop(slots);
        known.unwrap_or_else(|| {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            slots.entry(id.to_owned()).or_default().clone()
        })
    }
}

impl Slot {
    fn last(&self) -> Option<Arc<Detail>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|(_, detail)| detail.clone())
    }

    /// The detail, if it is at least as new as the list of this round.
    fn of(&self, round: u64) -> Option<Arc<Detail>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known
            .as_ref()
            .filter(|(of, _)| *of >= round)
            .map(|(_, detail)| detail.clone())
    }

    fn put(&self, round: u64, detail: Detail) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some((round, Arc::new(detail)));
    }
}
