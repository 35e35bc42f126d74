//! Rights by directory.

use ftp_server::{DirectoryRights, Rights, VirtualPath};

use super::texts::RIGHTS;
use crate::cmd::serve::settings::form::{Form, or_quotes};
use crate::cmd::serve::settings::kind::Kind;

/// `DIRECTORY=RIGHTS`, several with `;` between them; the rights as in [`RIGHTS`].
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
    let rights: Rights = (RIGHTS.read)(rights.trim())?;
    Ok(DirectoryRights::new(directory_path(path.trim())?, rights))
}

/// Reads an absolute path of a directory below the root.
pub(crate) fn directory_path(text: &str) -> Result<VirtualPath, String> {
    let path = VirtualPath::from(text);
    let is_odd = |char: char| char.is_control() || char == ';';
    let is_same = path.as_bytes() == text.trim_end_matches('/').as_bytes();
    match !path.is_root() && is_same && !text.chars().any(is_odd) {
        true => Ok(path),
        false => Err(format!("invalid directory \"{text}\": expected /incoming, /a/b")),
    }
}
