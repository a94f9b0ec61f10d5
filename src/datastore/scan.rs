//! All entities of which a text lies between two others, a part at a time.

use super::client::{Client, Found};
use super::error::Error;
use super::wire::Entity;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::Range;

/// A part of what a query finds.
#[derive(Debug)]
pub struct Part {
    /// The entities.
    pub entities: Vec<Entity>,
    /// What the next part is asked for with, if there may be one.
    pub next: Option<String>,
}

impl Client {
    /// At most `most` entities of which this property is a text in the range, in the order of these texts; behind
    /// those of the part before. One index does, which each property has by itself.
    ///
    /// # Errors
    /// When Datastore cannot be asked.
    pub async fn between(
        &self,
        property: &str,
        range: Range<&str>,
        most: usize,
        behind: Option<&str>,
    ) -> Result<Part, Error> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            batch: Batch,
        }
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase")]
        struct Batch {
            #[serde(default)]
            entity_results: Vec<Found>,
            #[serde(default)]
            more_results: String,
            end_cursor: Option<String>,
        }
        let bound = |op: &str, text: &str| {
            json!({ "propertyFilter": {
                "property": { "name": property }, "op": op, "value": { "stringValue": text },
            } })
        };
        let bounds = [
            bound("GREATER_THAN_OR_EQUAL", range.start),
            bound("LESS_THAN", range.end),
        ];
        let mut query = json!({
            "kind": [{ "name": self.kind() }],
            "filter": { "compositeFilter": { "op": "AND", "filters": bounds } },
            "order": [{ "property": { "name": property }, "direction": "ASCENDING" }],
            "limit": most,
        });
        if let Some(behind) = behind {
            query["startCursor"] = Value::from(behind);
        }
        let answer: Answer = self.call("runQuery", &json!({ "query": query })).await?;
        let batch = answer.batch;
        let is_last = batch.more_results == "NO_MORE_RESULTS";
        // One that does not move on would be asked for without end.
        let moves = batch.end_cursor.as_deref() != behind;
        let found = batch.entity_results.into_iter();
        Ok(Part {
            entities: found.map(|one| one.entity.read()).collect(),
            next: batch.end_cursor.filter(|_| !is_last && moves),
        })
    }
}
