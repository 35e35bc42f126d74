//! Connects to servers, logs in and retries, as the options say.

pub(crate) mod credentials;
pub(crate) mod dialler;
pub(crate) mod netrc;
pub(crate) mod proxies;
pub(crate) mod secret;
pub(crate) mod sessions;
pub(crate) mod tls_options;
