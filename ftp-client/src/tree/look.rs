//! Asks a server whether two names are one object.

use super::names::{Answer, Relation, relation};
use crate::client::Client;
use crate::error::Error;

/// Whether the server shows an object at a path.
type Question = fn(&mut Client, &[u8]) -> Result<bool, Error>;

/// Asks the server whether `unlisted`, a name that is about to be written, is the object that it
/// lists as `listed`. Both are paths of names with equal [`fold`](super::fold) in one directory.
///
/// The question is the first of `MLST`, `MDTM`, `SIZE` and `CWD` that the server answers for the
/// listed name. Its refusal for the other name then means that this name is free.
///
/// # Errors
///
/// Returns [`Error::Refused`] for a 4yz or 530 reply and for a refused return to the current
/// directory, [`Error::Argument`] if a path cannot be sent, and errors of the connection.
pub fn look(client: &mut Client, listed: &[u8], unlisted: &[u8]) -> Result<Relation, Error> {
    let questions: [Question; 4] = [
        |client, path| Ok(client.stat(path)?.is_some()),
        |client, path| Ok(client.modified(path)?.is_some()),
        |client, path| Ok(client.size(path)?.is_some()),
        // Without a way back, the directory is not entered.
        |client, path| Ok(client.visits(path)?.unwrap_or(false)),
    ];
    for question in questions {
        if question(client, listed)? {
            let answer = match question(client, unlisted)? {
                true => Answer::There,
                false => Answer::Absent,
            };
            return Ok(relation(Answer::There, answer));
        }
    }
    Ok(relation(Answer::Unknown, Answer::Unknown))
}
