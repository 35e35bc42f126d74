//! Rights by directory.

use super::lists::RIGHTS;
use crate::daemon::config::forms::Form;
use crate::daemon::config::kind::Kind;
use crate::daemon::config::value::{Checked, Content, TomlEntry, TomlValue, all};
use crate::{DirectoryRights, Rights, VirtualPath};

/// `{ "/DIRECTORY" = RIGHTS }`. The rights have the form of [`RIGHTS`] or are `[]`.
pub(crate) const DIRECTORIES: Form<Vec<DirectoryRights>> = Form::new(
    Kind::Directories,
    |value| {
        let rules = by_path(value, Kind::Directories, "directory", path_below, rights)?;
        Ok(rules.into_iter().map(|(path, rights)| DirectoryRights::new(path, rights)).collect())
    },
    |rules| {
        let show = |rule: &DirectoryRights| (shown(&rule.path), RIGHTS.show(&rule.rights));
        TomlValue::table(rules.iter().map(show))
    },
);

/// Reads the rights to a directory; unlike those of a user, they can be empty.
fn rights(value: &TomlValue) -> Checked<Rights> {
    match &value.content {
        Content::List(items) if items.is_empty() => Ok(Rights::NONE),
        Content::Single(_, text) if text == "[]" => Ok(Rights::NONE),
        _ => RIGHTS.read(value),
    }
}

/// Reads a table with a path in each entry, and sorts the items by path. `what` describes the
/// paths in messages.
pub(super) fn by_path<T>(
    value: &TomlValue,
    kind: Kind,
    what: &str,
    path: fn(&str) -> Result<VirtualPath, &'static str>,
    read: fn(&TomlValue) -> Checked<T>,
) -> Checked<Vec<(VirtualPath, T)>> {
    let item = |entry: &TomlEntry| {
        let wrong = |why| entry.objection(format!("invalid {what} \"{}\": {why}", entry.name));
        Ok((path(&entry.name).map_err(wrong)?, entry.read(read)?))
    };
    let mut items = all(kind.entries(value)?.iter().map(item))?;
    items.sort_unstable_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
    match items.iter().zip(items.iter().skip(1)).find(|((one, _), (other, _))| one == other) {
        Some(((path, _), _)) => {
            Err(value.objection(format!("{what} \"{}\" is named twice", shown(path))))
        }
        None => Ok(items),
    }
}

pub(super) fn shown(path: &VirtualPath) -> String {
    String::from_utf8_lossy(path.as_bytes()).into_owned()
}

/// Reads an absolute path of a directory below the root.
///
/// # Errors
///
/// Returns what is expected instead.
pub(super) fn path_below(text: &str) -> Result<VirtualPath, &'static str> {
    let path = VirtualPath::from(text);
    let is_same = path.as_bytes() == text.trim_end_matches('/').as_bytes();
    if path.is_root() || !is_same || text.chars().any(char::is_control) {
        Err("expected a path such as /incoming or /a/b")
    } else if text.trim_end_matches('/').ends_with(char::is_whitespace) {
        Err("remove the space at the end")
    } else if text.contains("%u") {
        Err("%u stands for the user's name only in roots and mount targets")
    } else {
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_rules_have_a_literal_path_and_any_rights() {
        let read = |text: &str| DIRECTORIES.assigned(text);
        for (text, path, rights) in [
            ("/in=read", "/in", Rights::READ),
            (" /a b/c/= [list, create] ;", "/a b/c", Rights::LIST | Rights::CREATE),
            ("/private=[]", "/private", Rights::NONE),
            ("{ '/a;b' = \"read\" }", "/a;b", Rights::READ),
            ("{ '/a=b, \"[\u{e9}' = [] }", "/a=b, \"[\u{e9}", Rights::NONE),
            ("{ \"/a\" = \"[]\" }", "/a", Rights::NONE),
        ] {
            let rules = [DirectoryRights::new(path.into(), rights)];
            assert_eq!(read(text).as_deref(), Ok(&rules[..]), "{text}");
            let shown = DIRECTORIES.show(&rules.to_vec());
            assert_eq!(DIRECTORIES.read(&shown).as_deref(), Ok(&rules[..]));
            assert_eq!(read(&shown.to_string()).as_deref(), Ok(&rules[..]));
        }
        for (text, want) in [
            ("/in =read", "invalid directory \"/in \": remove the space at the end"),
            ("/in /=read", "invalid directory \"/in /\": remove the space at the end"),
            ("/in\u{a0}=read", "invalid directory \"/in\u{a0}\": remove the space at the end"),
            (
                "/%u=read",
                "invalid directory \"/%u\": %u stands for the user's name only in roots and mount targets",
            ),
            ("/in", "invalid rule \"/in\": expected /DIRECTORY=RIGHTS"),
        ] {
            assert_eq!(read(text), Err(want.to_owned()));
        }
        assert!(read("/in=").unwrap_err().starts_with("unknown right \"\""));
    }
}
