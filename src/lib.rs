//! The map.
pub mod channel;
pub mod domain;
pub mod limit;
pub mod store;
