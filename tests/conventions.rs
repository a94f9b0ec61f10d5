//! The conventions of this code base, as tests.

mod tidy;
