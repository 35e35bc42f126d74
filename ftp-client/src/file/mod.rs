//! One local file and its transfer, tried again where that makes sense.

pub(crate) mod retry;
pub(crate) mod sink;
