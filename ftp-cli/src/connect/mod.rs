//! Connects to servers, logs in and retries, as the options say.

pub(crate) mod credentials;
#[cfg(feature = "client")]
pub(crate) mod dialler;
#[cfg(feature = "client")]
pub(crate) mod proxies;
pub(crate) mod secret;
#[cfg(feature = "client")]
pub(crate) mod sessions;
#[cfg(feature = "client")]
pub(crate) mod tls_options;

pub(crate) use credentials::{Credentials, Finder, Terminal};
pub(crate) use secret::Secret;
#[cfg(feature = "client")]
pub(crate) use {
    dialler::Dialler,
    proxies::{Chosen, Route},
    sessions::{RefusedLogins, RetryObserver, Retrying, Sessions},
    tls_options::TlsOptions,
};
