//! Users in layers: `[defaults]`, the user's groups in their order, and `[users.NAME]`. A later
//! layer wins.

use std::collections::BTreeMap;
use std::fmt;

use super::row::Setting;
use super::user::{GROUPS, USER, User, is_name};
use crate::daemon::toml_text::{is_bare, shown};
use crate::daemon::values::did_you_mean;

/// Names of the tables of users' keys.
pub(super) const DEFAULTS: &str = "defaults";
pub(super) const GROUP_TABLES: &str = "groups";
pub(super) const USER_TABLES: &str = "users";

/// A table of users' keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Table<'a> {
    Defaults,
    Group(&'a str),
    User(&'a str),
}

impl Table<'_> {
    /// Returns what is wrong with the name, if anything.
    pub(super) fn objection(self) -> Option<&'static str> {
        match self {
            Self::Group(name) if !is_bare(name) => {
                Some("invalid group name: expected letters, digits, - and _")
            }
            Self::User(name) if !is_name(name) => {
                Some("invalid user name: it is empty or has control characters")
            }
            Self::Defaults | Self::Group(_) | Self::User(_) => None,
        }
    }

    pub(super) fn rows(self) -> impl Iterator<Item = &'static Setting<User>> + Clone {
        let has_groups = matches!(self, Self::User(_));
        USER.iter().filter(move |row| has_groups || row.key != GROUPS)
    }
}

/// Shows the key of the table, such as `users.anna`.
impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Defaults => f.write_str("defaults"),
            Self::Group(name) => write!(f, "groups.{}", shown(name)),
            Self::User(name) => write!(f, "users.{}", shown(name)),
        }
    }
}

/// Users of a file, sorted by name, and the tables that they inherit from.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserLayers {
    // In these, only the keys with an origin are set.
    defaults: User,
    groups: BTreeMap<String, User>,
    own: BTreeMap<String, User>,
    /// The users with all their values.
    whole: BTreeMap<String, User>,
}

impl UserLayers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &User)> {
        self.whole.iter()
    }

    /// Returns a user with all values.
    pub(super) fn user(&self, name: &str) -> Option<&User> {
        self.whole.get(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Returns `[defaults]` and the groups, without users.
    pub(super) fn inherited(&self) -> Self {
        let (defaults, groups) = (self.defaults.clone(), self.groups.clone());
        Self { defaults, groups, ..Self::default() }
    }

    /// Returns the keys of a table.
    pub(super) fn get(&self, table: Table<'_>) -> Option<&User> {
        match table {
            Table::Defaults => Some(&self.defaults),
            Table::Group(name) => self.groups.get(name),
            Table::User(name) => self.own.get(name),
        }
    }

    /// Replaces the keys of a table.
    pub(super) fn put(&mut self, table: Table<'_>, keys: User) {
        match table {
            Table::Defaults => self.defaults = keys,
            Table::Group(name) => drop(self.groups.insert(name.to_owned(), keys)),
            Table::User(name) => drop(self.own.insert(name.to_owned(), keys)),
        }
    }

    /// Combines the layers of each user. Call it after the last change of a layer.
    pub(super) fn resolve(&mut self) {
        let whole = self.own.iter().map(|(name, own)| (name.clone(), self.combined(name, own)));
        self.whole = whole.collect();
    }

    /// Returns the user with these keys of its own.
    pub(super) fn combined(&self, name: &str, own: &User) -> User {
        let mut user = own.clone();
        let groups = own.groups.iter().rev().map(|group| Table::Group(group));
        for table in groups.chain([Table::Defaults]) {
            if let Some(layer) = self.get(table) {
                USER.iter().for_each(|row| row.inherit(&mut user, layer, table));
            }
        }
        user.expand_roots(name);
        user
    }

    /// Returns a message if there is no group of this name; it suggests a similar name.
    pub(super) fn objection_to_group(&self, group: &str) -> Option<String> {
        if self.groups.contains_key(group) {
            return None;
        }
        let near = did_you_mean(group, self.groups.keys().map(String::as_str));
        Some(format!("unknown group \"{group}\"{near}"))
    }

    /// Returns the groups without a user.
    pub(crate) fn idle_groups(&self) -> impl Iterator<Item = &String> {
        let is_used = |group: &str| {
            self.whole.values().any(|user| user.groups.iter().any(|other| other == group))
        };
        self.groups.keys().filter(move |name| !is_used(name))
    }

    /// Returns the users' own tables, with the keys that are set there.
    pub(crate) fn own_tables(&self) -> impl Iterator<Item = (Table<'_>, &User)> {
        self.own.iter().map(|(name, own)| (Table::User(name), own))
    }

    /// Returns the tables that users inherit from, with the keys that are set there.
    pub(crate) fn tables(&self) -> impl Iterator<Item = (Table<'_>, &User)> {
        let groups = self.groups.iter().map(|(name, layer)| (Table::Group(name), layer));
        [(Table::Defaults, &self.defaults)].into_iter().chain(groups)
    }
}
