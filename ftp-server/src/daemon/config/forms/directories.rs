//! Rights by directory.

use super::texts::RIGHTS;
use crate::daemon::config::forms::{Form, or_quotes};
use crate::daemon::config::kind::Kind;
use crate::{DirectoryRights, Rights, VirtualPath};

/// `DIRECTORY=RIGHTS`, separated by `;`. The rights have the form of [`RIGHTS`] or are `[]`.
pub(crate) const DIRECTORIES: Form<Vec<DirectoryRights>> =
    Form::new(Kind::Directories, directories, |rules| {
        let show = |rule: &DirectoryRights| {
            let path = String::from_utf8_lossy(rule.path.as_bytes()).into_owned();
            format!("{path}={}", (RIGHTS.show)(&rule.rights))
        };
        or_quotes(rules.iter().map(show).collect::<Vec<_>>().join(";"))
    });

fn directories(text: &str) -> Result<Vec<DirectoryRights>, String> {
    let items = text.split(';').map(str::trim).filter(|item| !item.is_empty());
    let rules: Result<Vec<_>, _> = items.map(directory).collect();
    let mut rules = rules?;
    rules.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
    let mut pairs = rules.iter().zip(rules.iter().skip(1));
    match pairs.find(|(one, other)| one.path == other.path) {
        Some((one, _)) => {
            let path = String::from_utf8_lossy(one.path.as_bytes());
            Err(format!("directory \"{path}\" is named twice"))
        }
        None => Ok(rules),
    }
}

fn directory(item: &str) -> Result<DirectoryRights, String> {
    let Some((path, rights)) = item.rsplit_once('=') else {
        return Err(format!("invalid rule \"{item}\": expected /DIRECTORY=RIGHTS"));
    };
    Ok(DirectoryRights::new(directory_path(path)?, directory_rights(rights.trim())?))
}

/// Reads the rights to a directory; unlike those of a user, they can be empty.
pub(crate) fn directory_rights(text: &str) -> Result<Rights, String> {
    if text == "[]" { Ok(Rights::NONE) } else { (RIGHTS.read)(text) }
}

/// Reads an absolute path of a directory below the root.
pub(crate) fn directory_path(text: &str) -> Result<VirtualPath, String> {
    let path = VirtualPath::from(text);
    let is_odd = |char: char| char.is_control() || char == ';';
    let is_same = path.as_bytes() == text.trim_end_matches('/').as_bytes();
    let wrong = if path.is_root() || !is_same || text.chars().any(is_odd) {
        "expected a path such as /incoming or /a/b"
    } else if text.trim_end_matches('/').ends_with(char::is_whitespace) {
        "remove the space at the end"
    } else if text.contains("%u") {
        "%u stands for the user's name only in roots and mount targets"
    } else {
        return Ok(path);
    };
    Err(format!("invalid directory \"{text}\": {wrong}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_rules_have_a_literal_path_and_any_rights() {
        let read = |text: &str| (DIRECTORIES.read)(text);
        for (text, path, rights) in [
            ("/in=read", "/in", Rights::READ),
            (" /a b/c/= [list, create] ;", "/a b/c", Rights::LIST | Rights::CREATE),
            ("/private=[]", "/private", Rights::NONE),
        ] {
            let rules = [DirectoryRights::new(path.into(), rights)];
            assert_eq!(read(text).as_deref(), Ok(&rules[..]), "{text}");
            assert_eq!(read(&(DIRECTORIES.show)(&rules.to_vec())).as_deref(), Ok(&rules[..]));
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
