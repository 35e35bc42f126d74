//! `--temp`: gives a complete upload its final name.

use ftp_client::{Client, Error, Severity, Verb};

use crate::display::shown;
use crate::exit::Failure;

/// What to do if the server refuses the final name of a complete upload.
pub(super) const CURE: &str = "; if the server never replaces a file by a rename, remove the old \
                               file first, or omit --temp";

/// Renames a complete upload from its temporary name to its final name. If that fails, removes the
/// temporary file, unless `keeps` is set or the connection has failed.
///
/// # Errors
///
/// Returns the failure of the rename. Its message contains the temporary name.
pub(crate) fn publish(
    client: &mut Client,
    temporary: &[u8],
    own: &[u8],
    keeps: bool,
) -> Result<(), Failure> {
    client.rename(temporary, own).map_err(|error| {
        let is_item = !Failure::from(&error).fatal;
        let removed = !keeps && is_item && client.delete(temporary).is_ok();
        not_renamed(temporary, &error, removed)
    })
}

/// Returns the failure for a complete upload whose rename failed with `error`. `removed` tells
/// whether the temporary file was removed.
pub(crate) fn not_renamed(temporary: &[u8], error: &Error, removed: bool) -> Failure {
    let failure = Failure::from(error);
    let mut message =
        format!("uploaded as {}, but not renamed: {}", shown(temporary), failure.message);
    if matches!(error, Error::Refused(Verb::Rnto, reply)
        if reply.code().severity() == Severity::Permanent)
    {
        message.push_str(CURE);
    }
    if removed {
        message.push_str("; the temporary file was removed");
    }
    Failure { message, ..failure }
}
