//! Who asks for messages and is told how they went. One folder per door: its routes, what it reads, what it answers
//! and what it is told. A door knows no provider.

pub mod moengage;
