//! What is learned of a target by making something there that is removed at once.

use ftp_client::{Client, Error, ListOptions};

use super::plan::Plan;
use super::side::join;
use crate::exit::Failure;

/// What a server makes of names that are not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Names {
    /// It keeps each byte, as far as is known.
    Kept {
        /// Whether it reads a 0xFF that is sent twice as one, where that was seen.
        doubles: Option<bool>,
    },
    /// It stores another name.
    Changed,
}

impl Names {
    /// Of a server that was not asked.
    pub(super) const UNKNOWN: Self = Self::Kept { doubles: None };
}

/// The end of the name of a directory that shows what a server makes of such names: a Telnet byte,
/// and one that no UTF-8 has alone.
const ODD: &[u8] = b"\xff-\xe9";

/// Whether a path is UTF-8, so that every server keeps it that keeps any name.
pub(super) fn is_text(path: &[u8]) -> bool {
    std::str::from_utf8(path).is_ok()
}

/// Finds out what a server makes of names that are not UTF-8, if `plan` has one: some store U+FFFD
/// for each such byte, where two files would become one, and 226 would tell nothing of it. `top` is
/// a directory that is there.
///
/// # Errors
///
/// What ends the connection.
pub(super) fn learn_names(client: &mut Client, top: &[u8], plan: &Plan) -> Result<Names, Failure> {
    let made = plan.directories.iter().filter(|place| place.is_new);
    let is_all_text = plan.copies.iter().all(|copy| is_text(&plan.path_of(copy)))
        && made.into_iter().all(|place| is_text(&place.path));
    if is_all_text {
        return Ok(Names::UNKNOWN);
    }
    let start = format!("{:x}-", std::process::id());
    let name = [super::TEMPORARY, start.as_bytes(), ODD].concat();
    let path = join(top, &name);
    match client.mkdir(&path) {
        Ok(_) => {}
        // Each of the names is refused then, or not.
        Err(Error::Refused(..)) => return Ok(Names::UNKNOWN),
        Err(error) => return Err(error.into()),
    }
    let listed = client
        .list_with(top, ListOptions { all: true, ..ListOptions::default() })
        .and_then(|entries| entries.gather(ftp_client::ListLimits::default()));
    // In the same form, whatever it means.
    let removed = client.rmdir(&path);
    let listing = match (listed, removed) {
        (Ok(listing), Ok(()) | Err(Error::Refused(..))) => listing,
        (Err(Error::Refused(..)), _) => return Ok(Names::UNKNOWN),
        (Err(error), _) | (_, Err(error)) => return Err(error.into()),
    };
    let holds = |name: &[u8]| listing.entries.iter().any(|entry| entry.name == name);
    if holds(&name) {
        return Ok(Names::UNKNOWN);
    }
    let doubled = [super::TEMPORARY, start.as_bytes(), b"\xff", ODD].concat();
    Ok(match holds(&doubled) {
        true => Names::Kept { doubles: Some(false) },
        false => Names::Changed,
    })
}
