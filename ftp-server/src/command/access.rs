//! Access control commands (RFC 959 §4.1.1): USER, PASS, QUIT.

use std::sync::Arc;

use ftp_proto::{Escaped, Password, Reply, ReplyCode};

use crate::auth::{AuthError, LoginAttempt};
use crate::session::{Access, Outcome, Session, User};
use crate::storage::VirtualPath;

/// `USER <name>`: 331 for any name, known or not (RFC 2577 §7).
pub(super) fn user(session: &mut Session, name: &[u8]) -> Outcome {
    session.access = Access::Named(name.to_vec());
    Reply::new(ReplyCode::NEED_PASSWORD, "Password required").into()
}

/// `PASS <password>`: 230 when the authenticator accepts, 530 when it refuses, 451 when it cannot
/// tell. After too many refusals the connection closes with 421.
pub(super) fn pass(session: &mut Session, password: &Password) -> Outcome {
    let Access::Named(name) = std::mem::replace(&mut session.access, Access::Greeted) else {
        return Reply::new(ReplyCode::BAD_SEQUENCE, "USER comes first").into();
    };
    let attempt = LoginAttempt { user: &name, password: &password.0, peer: session.peer };
    let error = match Arc::clone(&session.context).authenticator.login(&attempt) {
        Ok(login) => {
            log::info!("{} {}: logged in", session.peer, Escaped(&name));
            session.access =
                Access::User(User { name, storage: login.storage, rights: login.rights });
            session.directory = VirtualPath::root();
            return Reply::new(ReplyCode::LOGGED_IN, "Logged in").into();
        }
        Err(error) => error,
    };
    log::warn!("{} {}: login refused: {error}", session.peer, Escaped(&name));
    match error {
        AuthError::Unavailable => {
            return Reply::new(ReplyCode::LOCAL_ERROR, "Cannot check the password now").into();
        }
        AuthError::NoHome | AuthError::Refused => {}
    }
    session.login_failures += 1;
    if session.login_failures >= session.context.config.login_failures {
        return Outcome::Close(Reply::new(ReplyCode::SERVICE_CLOSING, "Too many failed logins"));
    }
    Reply::new(ReplyCode::NOT_LOGGED_IN, "Login incorrect").into()
}

/// `QUIT`: 221, and the end. A transfer that runs is waited for, since this is then looked at
/// after it.
pub(super) fn quit() -> Outcome {
    Outcome::Close(Reply::new(ReplyCode::CLOSING, "Goodbye"))
}
