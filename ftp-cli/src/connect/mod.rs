//! Connects to servers, logs in and retries, as the options say.

pub(crate) mod credentials;
#[cfg(feature = "client")]
pub(crate) mod dialler;
#[cfg(feature = "client")]
pub(crate) mod sessions;

pub(crate) use credentials::{Credentials, Finder, Secret, Terminal};
#[cfg(feature = "client")]
pub(crate) use {
    dialler::{Chosen, Dialler, Route, TlsOptions},
    sessions::{RefusedLogins, RetryObserver, Retrying, Sessions},
};
