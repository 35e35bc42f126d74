//! Reads the user in an answer of `auth.program`. The answer has the same keys as a user in the
//! configuration file.

use toml::de::DeTable;

use super::layers::Table;
use super::lines::Lines;
use super::reader::Reader;
use super::table::Settings;
use super::toml_text::shown;
use super::user::User;

impl Settings {
    /// Returns a copy of these settings without the users of the file, for
    /// [`user_of`](Self::user_of).
    pub(crate) fn for_answers(&self) -> Self {
        Self { users: self.users.inherited(), ..self.clone() }
    }

    /// Returns the user with these keys (each on a line of TOML), and with the keys of `[defaults]`
    /// and of the user's groups.
    ///
    /// # Errors
    ///
    /// Returns a message that names the first wrong key and the error.
    pub(crate) fn user_of(&self, name: &str, keys: &str) -> Result<User, String> {
        let mut settings = self.clone();
        let text = format!("[users.{}]\n{keys}", shown(name));
        let (root, errors) = DeTable::parse_recoverable(&text);
        let mut reader = Reader::new("answer", Lines::of(&text), errors.is_empty());
        // Leaves out the name of the table, which is not in the answer.
        let own = format!("{}.", Table::User(name));
        let without = |wrong: String| wrong.replacen(&own, "", 1);
        if let Some(error) = errors.first() {
            return Err(without(reader.syntax(error)));
        }
        for (name, value) in root.get_ref() {
            reader.section(&mut settings, name, value);
        }
        if let Some((_, wrong)) = reader.problems.into_iter().next() {
            return Err(without(wrong));
        }
        settings.users.resolve();
        let user = settings.users.iter().next().map(|(_, user)| user.clone()).unwrap_or_default();
        // `auth.program` has checked the password, so no hash is needed.
        if let Some(lack) = user.lacks().find(|lack| *lack != "password") {
            return Err(format!("{lack} is missing"));
        }
        match settings.objections(&user).into_iter().next() {
            Some((key, wrong)) => Err(format!("{key}: {wrong}")),
            None => Ok(user),
        }
    }
}
