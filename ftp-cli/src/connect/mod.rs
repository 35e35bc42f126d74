//! Connects to servers, logs in and retries, as the options say.

pub(crate) mod credentials;
#[cfg(feature = "client")]
pub(crate) mod dialler;
pub(crate) mod netrc;
#[cfg(feature = "client")]
pub(crate) mod proxies;
pub(crate) mod secret;
#[cfg(feature = "client")]
pub(crate) mod sessions;
#[cfg(feature = "client")]
pub(crate) mod tls_options;
