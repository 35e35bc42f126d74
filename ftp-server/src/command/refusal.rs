//! Events for refused commands that use no data connection: logins in plaintext, and commands on
//! files and directories.

use ftp_proto::{Command, Pathname, Reply, ReplyCode, Severity, Verb};

use crate::listing;
use crate::log::{EventKind, LoginRefusal};
use crate::session::Session;
use crate::storage::VirtualPath;

/// Notifies observers if `reply` refuses a `USER` because TLS is required, or a logged-in user's
/// command on a file or directory, or listing. For `RNTO`, `renamed` is the path that `RNFR` named.
pub(super) fn tell(
    session: &mut Session,
    verb: Verb,
    argument: &[u8],
    renamed: Option<&VirtualPath>,
    reply: &Reply,
) {
    if verb == Verb::User && reply.code() == ReplyCode::DENIED_BY_POLICY {
        // One event per session is enough: a refused `USER` costs a client nothing, but observers
        // may run a program for each event.
        if let Ok(Command::User(name)) = Command::parse(verb, argument)
            && !std::mem::replace(&mut session.login.has_been_told_of_tls, true)
        {
            session.tell(EventKind::LoginRefused { user: &name, reason: LoginRefusal::Protection });
        }
        return;
    }
    let is_reported = matches!(
        verb,
        Verb::Cwd
            | Verb::Cdup
            | Verb::Mkd
            | Verb::Rmd
            | Verb::Dele
            | Verb::Rnfr
            | Verb::Rnto
            | Verb::Size
            | Verb::Mdtm
            | Verb::Mfmt
            | Verb::Mlst
            | Verb::Mlsd
            | Verb::List
            | Verb::Nlst
    );
    let severity = reply.code().severity();
    if !is_reported
        || !matches!(severity, Severity::Transient | Severity::Permanent)
        || session.user().is_none()
        || !session.context.observers.are_listening()
    {
        return;
    }
    let path = match verb {
        Verb::List | Verb::Nlst => listing::strip_all_flags(argument),
        // The time precedes the path.
        Verb::Mfmt => argument.splitn(2, |&byte| byte == b' ').nth(1).unwrap_or_default(),
        _ => argument,
    };
    let named = match verb {
        Verb::Cdup => session.login.directory.parent().unwrap_or_default(),
        Verb::List | Verb::Nlst | Verb::Mlsd | Verb::Mlst if path.is_empty() => {
            session.login.directory.clone()
        }
        _ => match Pathname::new(path) {
            Ok(path) => session.resolve(&path),
            // Without a path, there is nothing to report.
            Err(_) => return,
        },
    };
    let kind = match renamed {
        Some(from) => EventKind::CommandRefused { verb, path: from, to: Some(&named), reply },
        None => EventKind::CommandRefused { verb, path: &named, to: None, reply },
    };
    session.tell(kind);
}
