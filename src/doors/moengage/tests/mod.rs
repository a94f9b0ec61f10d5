//! What MoEngage sends, in the words of contracts/moengage.md section 7, and the tests over sockets.

mod callbacks;
mod gateway;
mod sends;

pub(crate) use super::samples::*;
