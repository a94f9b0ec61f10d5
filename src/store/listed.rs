//! A template list as text, the same in every backend.

use super::types::CachedTemplates;
use crate::domain::UnixMs;
use crate::domain::template::Variant;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct TemplatesRow {
    fetched_at: i64,
    /// Name, language, id.
    variants: Vec<(String, String, String)>,
}

pub(super) fn write(templates: &CachedTemplates) -> Result<String, serde_json::Error> {
    let parts = |v: &Variant| (v.name.clone(), v.language.clone(), v.id.clone());
    serde_json::to_string(&TemplatesRow {
        fetched_at: templates.fetched_at.0,
        variants: templates.variants.iter().map(parts).collect(),
    })
}

pub(super) fn read(text: &str) -> Result<CachedTemplates, serde_json::Error> {
    let row: TemplatesRow = serde_json::from_str(text)?;
    let variant = |(name, language, id)| Variant { name, language, id };
    Ok(CachedTemplates {
        fetched_at: UnixMs(row.fetched_at),
        variants: row.variants.into_iter().map(variant).collect(),
    })
}
