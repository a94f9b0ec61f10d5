//! A template list as text, the same in every backend.

use super::types::CachedTemplates;
use crate::domain::UnixMs;
use crate::domain::template::Variant;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

#[derive(Serialize, Deserialize)]
struct TemplatesRow {
    fetched_at: i64,
    /// Name, language, id.
    variants: Vec<(String, String, String)>,
    /// The ids of those that are MARKETING. Apart, as 0.1.0 reads the row too, and leaves this out.
    #[serde(default)]
    marketing: BTreeSet<String>,
}

pub(super) fn write(templates: &CachedTemplates) -> Result<String, serde_json::Error> {
    let parts = |v: &Variant| (v.name.clone(), v.language.clone(), v.id.clone());
    let marketing = templates.variants.iter().filter(|v| v.is_marketing);
    serde_json::to_string(&TemplatesRow {
        fetched_at: templates.fetched_at.0,
        variants: templates.variants.iter().map(parts).collect(),
        marketing: marketing.map(|v| v.id.clone()).collect(),
    })
}

pub(super) fn read(text: &str) -> Result<CachedTemplates, serde_json::Error> {
    let row: TemplatesRow = serde_json::from_str(text)?;
    let variant = |(name, language, id)| Variant {
        name,
        language,
        is_marketing: row.marketing.contains(&id),
        id,
    };
    Ok(CachedTemplates {
        fetched_at: UnixMs(row.fetched_at),
        variants: row.variants.into_iter().map(variant).collect(),
    })
}
