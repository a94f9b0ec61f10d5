//! What variants want, fetched when first needed, one call at a time for each.

use super::LEAST_GAP;
use crate::domain::template::{Detail, Variant};
use crate::provider::Provider;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

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
    /// Taken for the length of a fetch; holds for which round and when the last one failed.
    failed: Mutex<Option<(u64, Instant)>>,
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
        let recent = failed.is_some_and(|(of, at)| of == round && at.elapsed() < LEAST_GAP);
        if !recent && slot.of(round).is_none() {
            match provider.template_detail(&variant.id).await {
                Ok(detail) => {
                    let is_known = slot.put(round, detail);
                    *failed = (!is_known).then(|| (round, Instant::now()));
                }
                Err(answer) => {
                    let answer = answer.summary();
                    debug!(
                        variant = variant.id,
                        answer, "the detail of a template cannot be fetched"
                    );
                    *failed = Some((round, Instant::now()));
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

    /// Answers whether anything is known now.
    fn put(&self, round: u64, detail: Detail) -> bool {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        // An answer that tells nothing takes nothing away of what was told before.
        let before = known.take().map(|(_, before)| before);
        let is_empty = detail == Detail::default();
        let detail = if is_empty {
            before
        } else {
            Some(Arc::new(detail))
        };
        *known = detail.map(|detail| (round, detail));
        known.is_some()
    }
}
