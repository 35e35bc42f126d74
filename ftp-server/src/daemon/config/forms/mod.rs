//! Reads the fields of settings from values, and shows them as values, grouped by their syntax.

mod directories;
mod lists;
mod numbers;
mod texts;

pub(crate) use directories::{DIRECTORIES, MOUNTS, MountPoint};
pub(crate) use lists::{
    ADDRESSES, ARGUMENTS, EVENTS, HEADERS, HOSTS, HookEvent, NAMES, NETWORKS, OVERRIDES, PATTERNS,
    PINS, PROGRAM, RIGHTS, USERS,
};
pub(crate) use numbers::{
    ATTEMPTS, COUNT, DIRECTORY_MODE, EXPIRY, Expiry, FILE_MODE, FILES, IDLE_TIME, MODE, NUMBER,
    OWN_COUNT, OWN_IDLE_TIME, OWN_UMASK, PROCESSES, RATE, SIZE, SPEED, TIME, UMASK, WAITING_TIME,
};
pub(crate) use texts::{
    ACCESS_KEY, ADDRESS, BUCKET, CLIENTS, CONFINE, ENDPOINT, FILE, GROUP, HOME, LEDGER, LINE, LOG,
    LOG_TARGET, LogFormat, LogTarget, METRICS, ON_FAILURE, OWN_PARTIAL, OWN_ROOT, OWN_SWITCH,
    OWN_SYNC, OWNER, PARTIAL, PASSWORD, PORTS, REGION, REUSE, ROLE, ROOT, RUN_AS, SWITCH, SYNC,
    TLS, TYPE, VERSION,
};

use super::kind::Kind;
use super::value::{Checked, TomlValue};

/// How a field of the type `T` is read and shown.
pub(crate) struct Form<T: 'static> {
    kind: Kind,
    read: fn(&TomlValue) -> Checked<T>,
    show: fn(&T) -> TomlValue,
}

impl<T> Form<T> {
    const fn new(
        kind: Kind,
        read: fn(&TomlValue) -> Checked<T>,
        show: fn(&T) -> TomlValue,
    ) -> Self {
        Self { kind, read, show }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    // Each row would contain a copy of this and the next function: 100 KB of the program.
    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<T> {
        (self.read)(value)
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &T) -> TomlValue {
        (self.show)(field)
    }

    /// Reads a value of `--set`, and returns the first message.
    #[cfg(test)]
    pub(crate) fn assigned(&self, text: &str) -> Result<T, String> {
        let value = self.kind.given(text);
        self.read(&value).map_err(|mut objections| objections.remove(0).why)
    }
}

/// The form of one word, number or other text.
pub(crate) struct Scalar<T: 'static> {
    kind: Kind,
    /// Parses the text, or returns a message about the error.
    read: fn(&str) -> Result<T, String>,
    show: fn(&T) -> String,
}

impl<T> Scalar<T> {
    const fn new(kind: Kind, read: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Self {
        Self { kind, read, show }
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.kind
    }

    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<T> {
        (self.read)(self.kind.text(value)?).map_err(|why| value.objection(why))
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &T) -> TomlValue {
        self.kind.single((self.show)(field))
    }
}

/// The form of a text that can be empty. Empty: none, or another setting applies.
pub(crate) struct Optional<T: 'static>(Scalar<T>);

impl<T> Optional<T> {
    const fn new(kind: Kind, read: fn(&str) -> Result<T, String>, show: fn(&T) -> String) -> Self {
        Self(Scalar::new(kind, read, show))
    }

    pub(crate) const fn kind(&self) -> Kind {
        self.0.kind
    }

    #[inline(never)]
    pub(crate) fn read(&self, value: &TomlValue) -> Checked<Option<T>> {
        match self.0.kind.text(value)? {
            "" => Ok(None),
            _ => self.0.read(value).map(Some),
        }
    }

    #[inline(never)]
    pub(crate) fn show(&self, field: &Option<T>) -> TomlValue {
        field.as_ref().map_or_else(|| TomlValue::text(""), |field| self.0.show(field))
    }
}
