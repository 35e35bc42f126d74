//! Kinds of stores that a program adds to the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::config::forms::{COUNT, FILE, LINE, SIZE, SWITCH, TIME};
use super::config::{Checked, Kind, TomlValue};
use crate::{Storage, StorageError};

/// A kind of `[stores.NAME]`, which a program adds with
/// [`Config::add_store_kind`](super::Config::add_store_kind).
///
/// ```
/// use std::sync::Arc;
///
/// use ftp_server::daemon::{Config, OpenStore, StoreKey, StoreKind, StoreValues};
/// use ftp_server::{MemoryStorage, Storage, StorageError};
///
/// struct Memory;
///
/// impl StoreKind for Memory {
///     fn keys(&self) -> &[StoreKey] {
///         const { &[StoreKey::count("files", "Maximum number of files.")] }
///     }
///
///     fn open(&self, values: &StoreValues) -> Result<Arc<dyn OpenStore>, String> {
///         let most = values.number("files").unwrap_or(1_000);
///         println!("at most {most} files"); // a real store would keep to that
///         Ok(Arc::new(OpenMemory(Arc::new(MemoryStorage::new()))))
///     }
/// }
///
/// struct OpenMemory(Arc<MemoryStorage>);
///
/// impl OpenStore for OpenMemory {
///     fn storage(
///         &self,
///         _prefix: &str,
///         _login: Option<(&[u8], &[u8])>,
///     ) -> Result<Arc<dyn Storage>, StorageError> {
///         Ok(Arc::clone(&self.0) as Arc<dyn Storage>)
///     }
///
///     fn check(&self) -> Result<Vec<String>, String> {
///         Ok(vec!["files are in memory".to_owned()])
///     }
/// }
///
/// let mut config = Config::from_toml(
///     "[anonymous]\nenabled = true\nroot = \"store:a\"\n[stores.a]\nkind = \"memory\"\nfiles = 5\n",
/// )?;
/// config.add_store_kind("memory", Memory);
/// config.validate()?;
/// # Ok::<(), ftp_server::daemon::DaemonError>(())
/// ```
pub trait StoreKind: Send + Sync {
    /// Returns the keys of the table, besides `kind`.
    fn keys(&self) -> &[StoreKey];

    /// Returns what is wrong with values that fit their keys: the key, or an empty text for the
    /// table, and the reason. By default, nothing is.
    fn objections(&self, _values: &StoreValues) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Opens a store, at the start, at a reload that changes its values, and for `--check`. Reads
    /// files, but waits for no network: a store that does not answer must not hold up the start.
    ///
    /// # Errors
    ///
    /// Returns why the store cannot be opened. The start or the reload then fails.
    fn open(&self, values: &StoreValues) -> Result<Arc<dyn OpenStore>, String>;
}

/// An open store.
pub trait OpenStore: Send + Sync {
    /// Returns whether each user has another storage: then each login gets its own one, and
    /// [`storage`](Self::storage) the name and the password.
    fn is_personal(&self) -> bool {
        false
    }

    /// Returns the files below `prefix`, which has no slash at either end and can be empty. `login` is
    /// the name and the password of a user who has just logged in, and `None` unless the store
    /// [is personal](Self::is_personal). Must not wait for a network, unless it is personal.
    ///
    /// # Errors
    ///
    /// Returns why users cannot log in.
    fn storage(
        &self,
        prefix: &str,
        login: Option<(&[u8], &[u8])>,
    ) -> Result<Arc<dyn Storage>, StorageError>;

    /// Tests the store for `--check`. Returns what it found out, one line for each finding.
    ///
    /// # Errors
    ///
    /// Returns why the store cannot be used.
    fn check(&self) -> Result<Vec<String>, String>;
}

/// A key of `[stores.NAME]`.
#[derive(Clone, Copy, Debug)]
pub struct StoreKey {
    key: &'static str,
    help: &'static str,
    form: StoreForm,
}

#[derive(Clone, Copy, Debug)]
enum StoreForm {
    Text,
    Switch,
    Count,
    Size,
    Time,
    File,
}

impl StoreKey {
    /// A key whose value is one line of text.
    #[must_use]
    pub const fn text(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::Text }
    }

    /// A key whose value is `true` or `false`.
    #[must_use]
    pub const fn switch(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::Switch }
    }

    /// A key whose value is a whole number.
    #[must_use]
    pub const fn count(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::Count }
    }

    /// A key whose value is a number of bytes, such as `"64 MiB"`.
    #[must_use]
    pub const fn size(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::Size }
    }

    /// A key whose value is a time, such as `"30 s"`.
    #[must_use]
    pub const fn time(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::Time }
    }

    /// A key whose value is the absolute path of a file with a secret, which no root may contain.
    #[must_use]
    pub const fn file(key: &'static str, help: &'static str) -> Self {
        Self { key, help, form: StoreForm::File }
    }

    /// Returns the name of the key.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.key
    }

    /// Returns the meaning of the key.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.help
    }

    pub(super) const fn kind(self) -> Kind {
        match self.form {
            StoreForm::Text | StoreForm::File => Kind::Text,
            StoreForm::Switch => Kind::Switch,
            StoreForm::Count => Kind::Number,
            StoreForm::Size => Kind::Size,
            StoreForm::Time => Kind::Time,
        }
    }

    pub(super) fn read(self, value: &TomlValue) -> Checked<StoreValue> {
        Ok(match self.form {
            StoreForm::Text => StoreValue::Text(LINE.read(value)?),
            StoreForm::Switch => StoreValue::Switch(SWITCH.read(value)?),
            StoreForm::Count => {
                StoreValue::Number(COUNT.read(value)?.try_into().unwrap_or(u64::MAX))
            }
            StoreForm::Size => StoreValue::Number(SIZE.read(value)?),
            StoreForm::Time => StoreValue::Time(TIME.read(value)?),
            StoreForm::File => StoreValue::File(FILE.read(value)?),
        })
    }
}

#[derive(Clone, Debug)]
pub(super) enum StoreValue {
    Text(String),
    Switch(bool),
    Number(u64),
    Time(Duration),
    File(Option<PathBuf>),
}

/// The values of `[stores.NAME]`, as their keys require. A key that is not set has no value.
#[derive(Clone, Debug)]
pub struct StoreValues {
    name: String,
    values: Vec<(&'static str, StoreValue)>,
}

impl StoreValues {
    pub(super) fn new(name: &str, values: Vec<(&'static str, StoreValue)>) -> Self {
        Self { name: name.to_owned(), values }
    }

    /// Returns the name of the store.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn get(&self, key: &str) -> Option<&StoreValue> {
        self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
    }

    /// Returns a line of text.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            StoreValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns a switch.
    #[must_use]
    pub fn switch(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            StoreValue::Switch(is_on) => Some(*is_on),
            _ => None,
        }
    }

    /// Returns a count, or a number of bytes.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        match self.get(key)? {
            StoreValue::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns a time.
    #[must_use]
    pub fn time(&self, key: &str) -> Option<Duration> {
        match self.get(key)? {
            StoreValue::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// Returns the path of a file.
    #[must_use]
    pub fn file(&self, key: &str) -> Option<&std::path::Path> {
        match self.get(key)? {
            StoreValue::File(path) => path.as_deref(),
            _ => None,
        }
    }

    /// Returns the files, each with its key.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &std::path::Path)> {
        self.values.iter().filter_map(|(key, _)| Some((*key, self.file(key)?)))
    }
}

#[derive(Clone, Default)]
pub(crate) struct StoreKinds(pub(super) BTreeMap<String, Arc<dyn StoreKind>>);

impl fmt::Debug for StoreKinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
