//! What a store promises, in words for an operator.

/// How much of design.md G1 to G4 holds; from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// All of it: what was accepted is on disk.
    Holds,
    /// Some of what decides is not told.
    Unknown,
    /// It survives a killed store, but a lost machine takes the last moments with it.
    LastMoments,
    /// A restart of the store, or its lack of memory, loses accepted messages.
    Broken,
}

/// How a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it promises.
    pub promise: Promise,
    /// The same in a sentence.
    pub summary: String,
    /// What is wrong, and what to do; a sentence each.
    pub warnings: Vec<String>,
}

impl Report {
    /// Of the embedded store, which refuses to open without what it promises.
    pub fn embedded() -> Self {
        Self {
            promise: Promise::Holds,
            summary: "embedded: every accepted message is synced to disk".into(),
            warnings: Vec::new(),
        }
    }
}
