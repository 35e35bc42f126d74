//! `ledger.url`: the place of the ledger.

use super::root::Objects;

/// The place of the ledger.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) enum LedgerUrl {
    /// This server shares nothing.
    #[default]
    None,
    /// Objects of a store.
    Objects(Objects),
    /// The URL of a Redis server, without a password.
    Redis(String),
}

impl LedgerUrl {
    /// Reads a URL. An empty text means no ledger.
    ///
    /// # Errors
    ///
    /// Returns a message if the text does not name a ledger, or contains a password.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("redis://") {
            let login = rest.rsplit_once('@').map_or("", |(login, _)| login);
            // Other users may be able to read the settings, so the password is in its own file.
            return match login.contains(':') {
                true => Err("invalid ledger: use ledger.password_file for the password".to_owned()),
                false => Ok(Self::Redis(text.to_owned())),
            };
        }
        match Objects::parse(text) {
            _ if text.is_empty() => Ok(Self::None),
            Some(objects) => objects.map(Self::Objects),
            None => Err(format!(
                "invalid ledger \"{text}\": expected store:NAME/PREFIX or redis://HOST"
            )),
        }
    }

    /// Returns the text in the form that [`parse`](Self::parse) reads.
    pub(super) fn text(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Objects(objects) => objects.to_string(),
            Self::Redis(url) => url.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ledger_urls_name_a_store_or_redis() {
        for text in ["", "store:main/state", "s3://files", "redis://h", "redis://u@[::1]:7/3"] {
            assert_eq!(LedgerUrl::parse(text).unwrap().text(), text);
        }
        for (text, want) in [
            ("redis://:secret@h", "use ledger.password_file"),
            ("redis://u:secret@h", "use ledger.password_file"),
            ("rediss://h", "expected store:NAME/PREFIX or redis://HOST"),
            ("/srv", "expected store:NAME/PREFIX or redis://HOST"),
            ("store:main//x", "invalid prefix"),
        ] {
            let why = LedgerUrl::parse(text).unwrap_err();
            assert!(why.contains(want) && !why.contains("secret"), "{why}");
        }
    }
}
