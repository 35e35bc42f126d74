//! HASH (draft-bryan-ftpext-hash-02).

use ftp_proto::{Pathname, Reply, ReplyCode};

use crate::auth::Rights;
use crate::digest::Digesting;
use crate::limits;
use crate::places::Place;
use crate::reply::{self, Purpose};
use crate::session::{Outcome, Session, Working};

/// `HASH <file>`: 213 with the digest of all of it by the algorithm that is chosen. It tells as much
/// of a file as to read it, and so needs that right. 553 for a directory, 556 for a file that is
/// too large, 450 when enough digests are being made already, in all or for the client's host.
pub(super) fn hash(session: &Session, path: &Pathname) -> Outcome {
    let resolved = session.resolve(path);
    let Some(storage) = session.storage(Rights::RETRIEVE) else { return reply::no_right().into() };
    let source = match storage.read(&resolved) {
        Ok(source) => source,
        Err(error) => return reply::storage_failure(&error, Purpose::Digest).into(),
    };
    if source.size() > limits::DIGEST_SIZE {
        return reply::too_much_to_digest().into();
    }
    let Some(place) = Place::get(&session.context.digests, session.peer.ip()) else {
        let text = "Other digests are being made, try again";
        return Reply::new(ReplyCode::FILE_BUSY, text).into();
    };
    let algorithm = session.algorithm;
    Working::new(resolved, Digesting::new(source, algorithm, path.clone(), place)).into()
}
