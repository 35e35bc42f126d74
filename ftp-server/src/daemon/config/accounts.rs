//! Changes to the users in the files that `include` names. A change is a file with its new text, and
//! is possible only if the whole configuration stays valid with it.

use std::fs;
use std::path::{Path, PathBuf};

use super::row::SetOption;
use super::stores::ITSELF;
use super::user::{Table, USER, User};
use super::{Config, DaemonError, Include};
use crate::PasswordHash;
use ftp_proto::text::toml_text::{Lines, quoted, shown};
use ftp_proto::text::values::shown_path;

impl Config {
    /// Returns the directory of the files that `include` names.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the file has no `include`.
    pub fn users_directory(&self) -> Result<&Path, DaemonError> {
        self.include().map(|include| &*include.directory)
    }

    fn include(&self) -> Result<&Include, DaemonError> {
        self.settings.include.as_ref().ok_or_else(|| {
            let file = self.file.as_deref().map_or_else(|| "configuration".to_owned(), shown_path);
            let what = "has no include; add this line at its top: include = \"users.d/*.toml\"";
            DaemonError::configuration(format!("{file}: {what}"))
        })
    }

    /// Returns the password hash of a user.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if there is no such user.
    pub fn password_of(&self, name: &str) -> Result<&PasswordHash, DaemonError> {
        let user = self.settings.users.user(name).and_then(|user| user.password.as_ref());
        user.ok_or_else(|| DaemonError::configuration(format!("unknown user {}", shown(name))))
    }

    /// Returns a table `[users.NAME]` with this password and these keys, with values as
    /// [`set`](Self::set) takes them.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the name, a key or a value is invalid.
    pub fn table_of_user(
        name: &str,
        password: &PasswordHash,
        keys: &[(String, String)],
    ) -> Result<String, DaemonError> {
        let (table, mut user) = (Table::User(name), User::default());
        if let Some(wrong) = table.objection() {
            return Err(DaemonError::configuration(format!("{table}: {wrong}")));
        }
        for (key, value) in keys {
            let given = SetOption { key, value, source: "set" };
            let row = given.row("users.NAME", table.rows());
            let set = row.and_then(|row| row.assign(&mut user, &format!("{table}."), &given));
            set.map_err(DaemonError::configuration)?;
        }
        let mut text = format!("[{table}]\npassword = {}\n", quoted(&password.to_string()));
        for row in USER.iter().filter(|row| user.origins.get(row.key).is_some()) {
            text.push_str(&format!("{} = {}\n", row.key, (row.show)(&user)));
        }
        Ok(text)
    }

    /// Returns the path of the control socket, if there is one.
    #[must_use]
    pub fn control_socket(&self) -> Option<PathBuf> {
        self.settings.control_socket.clone()
    }

    /// Returns the included file for a new user, and its text.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if the user exists, or if the configuration would be invalid with the
    /// file, or `Local` if a file cannot be read.
    pub fn with_user(
        &self,
        name: &str,
        password: &PasswordHash,
        keys: &[(String, String)],
    ) -> Result<(PathBuf, String), DaemonError> {
        let text = Self::table_of_user(name, password, keys)?;
        let defaults = self.settings.users.get(Table::Defaults);
        let has_root = defaults.is_some_and(|defaults| defaults.origins.get("root").is_some());
        if !has_root && !keys.iter().any(|(key, _)| key == "root" || key == "groups") {
            let (table, name) = (Table::User(name), shown(name));
            let cure = format!("--set root=/srv/ftp/{name} --set create_home=true");
            let why = format!("{table}: root is missing: add {cure}, or set both in [defaults]");
            return Err(DaemonError::configuration(why));
        }
        if let Some(user) = self.settings.users.get(Table::User(name)) {
            let (name, place) = (shown(name), user.origins.place(ITSELF));
            let why = format!("user {name} exists: {place}");
            return Err(DaemonError::configuration(why));
        }
        let path = self.include()?.path_of(name);
        // It may have other users, or be one that is not read.
        if path.symlink_metadata().is_ok() {
            let why = format!("{} exists: move its users to files of their own", shown_path(&path));
            return Err(DaemonError::configuration(why));
        }
        self.if_changed(&path, Some(&text))?;
        Ok((path, text))
    }

    /// Returns the included file of a user, and its text with another password.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if no included file has the user and the password, or if the
    /// configuration would be invalid, or `Local` if a file cannot be read.
    pub fn with_password(
        &self,
        name: &str,
        password: &PasswordHash,
    ) -> Result<(PathBuf, String), DaemonError> {
        let path = self.file_of(name)?;
        let failed = |error| DaemonError::local(shown_path(path), &error);
        let text = fs::read_to_string(path).map_err(failed)?;
        let own = self.settings.users.get(Table::User(name));
        let place = own.map_or("default", |own| own.origins.place("password"));
        let changed = replaced(&text, place, &quoted(&password.to_string())).filter(|changed| {
            let read = self.if_changed(path, Some(changed));
            read.is_ok_and(|config| config.password_of(name).is_ok_and(|now| now == password))
        });
        let changed = changed.ok_or_else(|| {
            let name = shown(name);
            let why = format!("users.{name}.password: {place}: cannot be changed; edit it by hand");
            DaemonError::configuration(why)
        })?;
        Ok((path.to_owned(), changed))
    }

    /// Returns the included file of a user, which has no other user.
    ///
    /// # Errors
    ///
    /// Returns `Configuration` if there is no such file, or if the configuration would be invalid
    /// without it, or `Local` if a file cannot be read.
    pub fn without_user(&self, name: &str) -> Result<PathBuf, DaemonError> {
        let path = self.file_of(name)?;
        let others = self.settings.users.own_tables().filter(|(_, own)| is_in(path, own));
        if others.count() > 1 {
            let why = format!("{}: has other users too; edit it by hand", shown_path(path));
            return Err(DaemonError::configuration(why));
        }
        self.if_changed(path, None)?;
        Ok(path.to_owned())
    }

    fn file_of(&self, name: &str) -> Result<&Path, DaemonError> {
        self.password_of(name)?;
        let own = self.settings.users.get(Table::User(name));
        let mut files = self.include()?.files.iter();
        let found = files.find(|path| own.is_some_and(|own| is_in(path, own)));
        found.map(PathBuf::as_path).ok_or_else(|| {
            let (name, place) = (shown(name), own.map_or("", |own| own.origins.place(ITSELF)));
            DaemonError::configuration(format!(
                "user {name} is not in an included file: edit {place}"
            ))
        })
    }

    /// Returns the valid configuration with this text in an included file; `None` removes the file.
    fn if_changed(&self, path: &Path, text: Option<&str>) -> Result<Self, DaemonError> {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        let changed = Self::read_replaced(file, Some((path, text)))?;
        changed.validate()?;
        Ok(changed)
    }
}

fn is_in(path: &Path, own: &User) -> bool {
    own.origins.place(ITSELF).rsplitn(3, ':').nth(2) == Some(&*shown_path(path))
}

/// Returns the text with another string at the place `FILE:LINE:COLUMN`.
fn replaced(text: &str, place: &str, new: &str) -> Option<String> {
    let mut numbers = place.rsplitn(3, ':').map(str::parse::<usize>);
    let (column, line) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let (before, rest) = text.split_at_checked(Lines::of(text).start(line))?;
    let (at, quote) = rest.char_indices().nth(column.checked_sub(1)?)?;
    let length = rest.get(at + 1..)?.find(quote)? + 2;
    Some(format!("{before}{}{new}{}", rest.get(..at)?, rest.get(at + length..)?))
}
