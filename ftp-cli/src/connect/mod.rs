//! A client that is connected and logged in, as the options say: how a server is reached, who logs
//! in, and what is tried again.

pub(crate) mod credentials;
pub(crate) mod dialler;
pub(crate) mod netrc;
pub(crate) mod prompt;
pub(crate) mod retry;
pub(crate) mod sessions;
pub(crate) mod tls_options;
