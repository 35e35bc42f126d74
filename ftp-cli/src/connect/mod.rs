//! Connects to servers, logs in and retries, as the options say.

pub(crate) mod credentials;
#[cfg(feature = "client")]
pub(crate) mod dialler;
#[cfg(feature = "client")]
pub(crate) mod proxies;
#[cfg(feature = "client")]
pub(crate) mod sessions;
#[cfg(feature = "client")]
pub(crate) mod tls_options;

pub(crate) use credentials::{Credentials, Finder, Secret, Terminal};
#[cfg(feature = "client")]
pub(crate) use {
    dialler::Dialler,
    proxies::{Chosen, Route},
    sessions::{RefusedLogins, RetryObserver, Retrying, Sessions},
    tls_options::TlsOptions,
};
