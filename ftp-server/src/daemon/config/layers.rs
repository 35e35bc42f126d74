//! Users in layers: `[defaults]`, the user's groups in their order, and `[users.NAME]`. A later
//! layer wins.

use std::fmt;

use super::row::Setting;
use super::user::{GROUPS, USER, User, is_name};
use crate::daemon::toml_text::shown;

/// A table of users' keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Table<'a> {
    Defaults,
    Group(&'a str),
    User(&'a str),
}

impl<'a> Table<'a> {
    /// Splits a key of `--set`: `defaults.KEY`, `groups.NAME.KEY`, `users.NAME.KEY`. The name may
    /// be in quotes.
    pub(super) fn split(key: &'a str) -> Option<KeyInTable<'a>> {
        let within = |table: &str| {
            let rest = key.strip_prefix(table)?.strip_prefix('.')?;
            rest.rsplit_once('.')
        };
        let bare = crate::daemon::toml_text::unquoted;
        if let Some(key) = key.strip_prefix("defaults.") {
            return Some(KeyInTable { table: Self::Defaults, key });
        }
        if let Some((name, key)) = within("groups") {
            return Some(KeyInTable { table: Self::Group(bare(name)), key });
        }
        let (name, key) = within("users")?;
        Some(KeyInTable { table: Self::User(bare(name)), key })
    }

    /// Returns what is wrong with the name, if anything.
    pub(super) fn objection(self) -> Option<&'static str> {
        let is_plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_');
        match self {
            Self::Group(name) if name.is_empty() || !name.chars().all(is_plain) => {
                Some("invalid group name: expected letters, digits, - and _")
            }
            Self::User(name) if !is_name(name) => {
                Some("invalid user name: it is empty or has control characters")
            }
            Self::Defaults | Self::Group(_) | Self::User(_) => None,
        }
    }

    /// Returns the row of a key, if this table can have the key.
    pub(super) fn row(self, key: &str) -> Option<&'static Setting<User>> {
        self.rows().find(|row| row.key == key)
    }

    pub(super) fn rows(self) -> impl Iterator<Item = &'static Setting<User>> {
        USER.iter().filter(move |row| matches!(self, Self::User(_)) || row.key != GROUPS)
    }
}

/// A key, and the table that has it.
pub(super) struct KeyInTable<'a> {
    pub(super) table: Table<'a>,
    pub(super) key: &'a str,
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

/// The keys of one table.
#[derive(Clone, Default)]
pub(super) struct Layer {
    given: Vec<Given>,
    /// Keys with an invalid value, which do not count as missing.
    pub(super) refused: Vec<&'static str>,
}

/// A valid value of a key, in the format of `--set`.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) row: &'static Setting<User>,
    pub(super) text: String,
    /// `server.toml:14`, or `--set`.
    pub(super) source: String,
    /// Column of the value in the file.
    pub(super) column: Option<usize>,
}

/// Shows only the keys, because a value may be a password hash.
impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.given.iter().map(|given| given.row.key)).finish()
    }
}

impl Layer {
    pub(super) fn give(&mut self, given: Given) {
        self.given.retain(|other| other.row.key != given.row.key);
        self.given.push(given);
    }

    /// Sets this layer's values for a user. If `inherited` is a table, their origins name it.
    fn apply(&self, user: &mut User, inherited: Option<Table<'_>>) {
        for Given { row, text, source, column } in &self.given {
            // The text was checked when it was read.
            if (row.set)(user, text).is_ok() {
                user.origins.note(row.key, source.clone(), *column);
                if let Some(table) = inherited {
                    user.origins.note_table(row.key, &table.to_string());
                }
            }
        }
    }

    /// Returns the values of this layer only, with the default values of all other keys.
    fn alone(&self) -> User {
        let mut user = User::default();
        self.apply(&mut user, None);
        user
    }

    /// Returns the groups that the layer names.
    fn groups(&self) -> Vec<String> {
        let given = self.given.iter().filter(|given| given.row.key == GROUPS).cloned();
        Self { given: given.collect(), refused: Vec::new() }.alone().groups
    }
}

/// Layers by name, sorted.
#[derive(Clone, Debug, Default)]
struct Named<T>(Vec<(String, T)>);

impl<T: Default> Named<T> {
    fn get(&self, name: &str) -> Option<&T> {
        let place = self.0.binary_search_by(|(other, _)| other.as_str().cmp(name)).ok()?;
        self.0.get(place).map(|(_, found)| found)
    }

    /// Returns the entry of this name, or adds one.
    fn with(&mut self, name: &str) -> &mut T {
        let place = self.0.partition_point(|(other, _)| other.as_str() < name);
        if self.0.get(place).is_none_or(|(other, _)| other != name) {
            self.0.insert(place, (name.to_owned(), T::default()));
        }
        let (_, found) = self.0.get_mut(place).expect("the entry exists or was just inserted");
        found
    }

    fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().map(|(name, value)| (name, value))
    }
}

/// Users of a file, sorted by name, and the tables that they inherit from.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserLayers {
    defaults: Layer,
    groups: Named<Layer>,
    own: Named<Layer>,
    /// The users with all their values.
    whole: Vec<(String, User)>,
}

impl UserLayers {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &User)> {
        self.whole.iter().map(|(name, user)| (name, user))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.own.0.is_empty()
    }

    /// Returns `[defaults]` and the groups, without users.
    pub(super) fn inherited(&self) -> Self {
        let (defaults, groups) = (self.defaults.clone(), self.groups.clone());
        Self { defaults, groups, ..Self::default() }
    }

    /// Returns the keys of a table, or adds the table.
    pub(super) fn layer(&mut self, table: Table<'_>) -> &mut Layer {
        match table {
            Table::Defaults => &mut self.defaults,
            Table::Group(name) => self.groups.with(name),
            Table::User(name) => self.own.with(name),
        }
    }

    /// Combines the layers of each user. Call it after the last change of a layer.
    pub(super) fn resolve(&mut self) {
        let whole = self.own.iter().map(|(name, own)| (name.clone(), self.of_layers(name, own)));
        self.whole = whole.collect();
    }

    fn of_layers(&self, name: &str, own: &Layer) -> User {
        let mut user = User::default();
        self.defaults.apply(&mut user, Some(Table::Defaults));
        for group in &own.groups() {
            if let Some(layer) = self.groups.get(group) {
                layer.apply(&mut user, Some(Table::Group(group)));
            }
        }
        own.apply(&mut user, None);
        user.expand_roots(name);
        user
    }

    /// Returns the required keys that are missing in all layers of a user; a key with an invalid
    /// value is not missing.
    pub(super) fn lacks(&self, name: &str) -> Vec<&'static str> {
        let Some(own) = self.own.get(name) else { return Vec::new() };
        let groups = own.groups();
        let groups = groups.iter().filter_map(|group| self.groups.get(group));
        let layers: Vec<&Layer> = groups.chain([&self.defaults, own]).collect();
        let is_refused = |key: &str| layers.iter().any(|layer| layer.refused.contains(&key));
        let user = self.of_layers(name, own);
        user.lacks().filter(|lack| !is_refused(lack)).collect()
    }

    /// Returns a message if there is no group of this name; it suggests a similar name.
    pub(super) fn objection_to_group(&self, group: &str) -> Option<String> {
        if self.groups.get(group).is_some() {
            return None;
        }
        let names = self.groups.iter().map(|(name, _)| name.as_str());
        let near = crate::daemon::values::nearest(group, names);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Some(format!("unknown group \"{group}\"{hint}"))
    }

    /// Returns the groups without a user.
    pub(crate) fn idle_groups(&self) -> impl Iterator<Item = &String> {
        let is_used = |group: &str| {
            self.whole.iter().any(|(_, user)| user.groups.iter().any(|other| other == group))
        };
        self.groups.iter().map(|(name, _)| name).filter(move |name| !is_used(name))
    }

    /// Calls `show` for each key in `[defaults]` and groups, with the key, its value and its
    /// origin.
    pub(crate) fn each_inherited(&self, mut show: impl FnMut(&str, &str, &str)) {
        let groups = self.groups.iter().map(|(name, layer)| (Table::Group(name), layer));
        for (table, layer) in [(Table::Defaults, &self.defaults)].into_iter().chain(groups) {
            let values = layer.alone();
            for row in USER.iter().filter(|row| values.origins.of(row.key) != "default") {
                let key = format!("{table}.{}", row.key);
                show(&key, &row.literal(&values), values.origins.of(row.key));
            }
        }
    }

    /// Returns whether all users and their values are equal, whatever their origins.
    pub(super) fn is_same(&self, others: &Self) -> bool {
        let is_same = |((name, user), (other_name, other)): (&(String, User), &(String, User))| {
            name == other_name && user.is_same(other)
        };
        self.whole.len() == others.whole.len() && self.whole.iter().zip(&others.whole).all(is_same)
    }
}
