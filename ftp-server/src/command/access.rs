//! Access control commands (RFC 959 §4.1.1): USER, PASS, ACCT, REIN, QUIT; and what a client says
//! of itself before: HOST (RFC 7151), LANG (RFC 2640), CLNT.

use std::sync::Arc;
use std::time::Instant;

use ftp_proto::{Escaped, HostName, LanguageTag, Password, Reply, ReplyCode};

use crate::auth::{AuthError, Login, LoginAttempt, UserSession};
use crate::context::Context;
use crate::deadline;
use crate::log::{EventKind, LoginRefusal, Refusal};
use crate::net::admission;
use crate::rate::{Rate, Throttle};
use crate::session::{Access, Outcome, Session, User};
use crate::storage::VirtualPath;
use crate::tls::TlsPolicy;

/// How many bytes of a client's name go to the log.
const CLIENT_NAME: usize = 256;

/// `USER <name>`: 331 for any name, known or not (RFC 2577 §7).
pub(super) fn user(session: &mut Session, name: &[u8]) -> Outcome {
    session.access = Access::Named(name.to_vec());
    Reply::new(ReplyCode::NEED_PASSWORD, "Password required").into()
}

/// `PASS <password>`: 230 when the authenticator accepts, 332 when it asks for an account, 530 when
/// it refuses, 451 when it cannot tell. Refusals are answered later each time; after too many of
/// them the connection closes with 421.
pub(super) fn pass(session: &mut Session, password: &Password) -> Outcome {
    let password = match password.0.strip_prefix(b"-") {
        Some(behind) if session.context.config.dash_password => Password(behind.to_vec()),
        _ => password.clone(),
    };
    match std::mem::replace(&mut session.access, Access::Greeted) {
        Access::Named(name) => login(session, name, password, None),
        other => out_of_sequence(session, other, "USER comes first"),
    }
}

/// `ACCT <account>`: the rest of a login, when the authenticator has asked for it; otherwise 202
/// to users, who need none.
pub(super) fn acct(session: &mut Session, account: &[u8]) -> Outcome {
    match std::mem::replace(&mut session.access, Access::Greeted) {
        Access::Unaccounted { name, password } => login(session, name, password, Some(account)),
        user @ Access::User(_) => {
            session.access = user;
            Reply::new(ReplyCode::SUPERFLUOUS, "No account is needed").into()
        }
        other => out_of_sequence(session, other, "PASS comes first"),
    }
}

fn out_of_sequence(session: &mut Session, access: Access, text: &str) -> Outcome {
    session.access = access;
    Reply::new(ReplyCode::BAD_SEQUENCE, text).into()
}

fn login(
    session: &mut Session,
    name: Vec<u8>,
    password: Password,
    account: Option<&[u8]>,
) -> Outcome {
    let start = Instant::now();
    if is_banned(session, start) {
        return refuse_banned(session, &name);
    }
    let peer = session.peer;
    let host = session.host.as_ref();
    let tls = session.tls();
    let deadline = session.login_deadline();
    let attempt =
        LoginAttempt { user: &name, password: &password.0, account, host, peer, tls, deadline };
    let answer = Arc::clone(&session.context).authenticator.login(&attempt);
    // Others of the host may have failed while this one waited for its turn.
    if is_banned(session, Instant::now()) {
        return refuse_banned(session, &name);
    }
    let error = match answer {
        Ok(_) if !has_certificate_of(session, &name) => {
            let error = AuthError::Refused;
            let reason = LoginRefusal::Certificate;
            return refuse(session, &name, error, reason, start);
        }
        Ok(login) => return enter(session, name, login),
        Err(AuthError::NeedAccount) if account.is_none() => {
            session.access = Access::Unaccounted { name, password };
            return Reply::new(ReplyCode::NEED_ACCOUNT, "Account required").into();
        }
        Err(error) => error,
    };
    let reason = match error {
        AuthError::Refused | AuthError::NeedAccount => LoginRefusal::Credentials,
        AuthError::NoHome => LoginRefusal::NoHome,
        AuthError::Unavailable => LoginRefusal::Unavailable,
    };
    refuse(session, &name, error, reason, start)
}

/// Whether too many logins from the client's host have failed, in whichever sessions.
fn is_banned(session: &Session, now: Instant) -> bool {
    session.current.get().bans.hold(session.peer.ip(), now)
}

/// A connection that was there before the ban makes no more guesses.
fn refuse_banned(session: &Session, name: &[u8]) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason: LoginRefusal::Banned });
    Outcome::Close(Refusal::Banned.reply())
}

/// Whether the client has shown a certificate of this user's, where it has to.
fn has_certificate_of(session: &Session, user: &[u8]) -> bool {
    match (&session.secured, &session.context.tls) {
        (Some(secured), _) => secured.may_be(user),
        (None, Some(acceptor)) => !acceptor.wants_user_certificates(),
        (None, None) => true,
    }
}

fn refuse(
    session: &mut Session,
    name: &[u8],
    error: AuthError,
    reason: LoginRefusal,
    start: Instant,
) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason });
    match error {
        AuthError::Unavailable => {
            return Reply::new(ReplyCode::LOCAL_ERROR, "Cannot check the password now").into();
        }
        // It is not for a guess that this one fails.
        AuthError::NoHome => {}
        AuthError::NeedAccount | AuthError::Refused => {
            // Whoever comes is asked by what is in force now.
            let Context { bans, config, watchdog, .. } = &*session.current.get();
            if bans.note(session.peer.ip(), start) {
                let network = admission::host_of(session.peer.ip());
                let duration = config.logins.ban_for;
                session.tell(EventKind::Banned { network, duration });
                watchdog.ban(session.peer, deadline::after(start, duration));
            }
        }
    }
    session.login_failures = session.login_failures.saturating_add(1);
    let policy = session.context.config.logins;
    let delay = policy.delay.saturating_mul(match session.login_failures {
        1 => 1,
        2 => 2,
        _ => 4,
    });
    // Counted from the command, so that it hides how long the authenticator took.
    let at = deadline::after(start, delay);
    let closes = session.login_failures >= policy.failures;
    let reply = match closes {
        true => Reply::new(ReplyCode::SERVICE_CLOSING, "Too many failed logins"),
        false => Reply::new(ReplyCode::NOT_LOGGED_IN, "Login incorrect"),
    };
    Outcome::Late { reply, at, closes }
}

fn enter(session: &mut Session, name: Vec<u8>, login: Login) -> Outcome {
    let why = match login.tls {
        TlsPolicy::Required if session.secured.is_none() => Some("AUTH TLS comes first"),
        TlsPolicy::Off if session.secured.is_some() => Some("Not under TLS"),
        _ => None,
    };
    if let Some(why) = why {
        let reason = LoginRefusal::Protection;
        session.tell(EventKind::LoginRefused { user: &name, reason });
        return Reply::new(ReplyCode::DENIED_BY_POLICY, why).into();
    }
    let Context { config, user_sessions, .. } = &*session.context;
    let sessions = login.limits.sessions.unwrap_or(config.limits.per_user);
    let rate_per_user = login.limits.rate_per_user.unwrap_or(config.limits.rate_per_user);
    let rate_per_session = login.limits.rate_per_session.unwrap_or(config.limits.rate_per_session);
    let mut counted = None;
    if sessions > 0 || rate_per_user > 0 {
        let user = login.name.as_deref().unwrap_or(&name);
        counted = user_sessions.enter(user, sessions, rate_per_user);
        if counted.is_none() {
            let reason = LoginRefusal::TooMany;
            session.tell(EventKind::LoginRefused { user: &name, reason });
            let text = "Too many connections of this user";
            return Outcome::Close(Reply::new(ReplyCode::SERVICE_CLOSING, text));
        }
    }
    let shared = counted.as_ref().and_then(UserSession::rate);
    let throttle = Throttle::new(Rate::new(rate_per_session).into_iter().chain(shared));
    let Login {
        storage,
        rights,
        mkdir_existing_ok,
        mkdir_parents,
        is_shared,
        name: own_name,
        tls,
        ..
    } = login;
    let owner = (!is_shared).then(|| own_name.unwrap_or_else(|| name.clone()));
    session.access = Access::User(User {
        name,
        owner,
        storage,
        rights,
        mkdir_existing_ok,
        mkdir_parents,
        tls,
        throttle,
        _counted: counted,
    });
    session.directory = VirtualPath::root();
    session.tell(EventKind::LoggedIn);
    Reply::new(ReplyCode::LOGGED_IN, "Logged in").into()
}

/// `REIN`: 220, and all is as behind the greeting of a session that begins now; only failed logins
/// are not forgotten. 421 where none may begin any more from this address.
///
/// Under TLS that ends with it (RFC 4217 §13), and so it is 534 where TLS has to be.
pub(super) fn rein(session: &mut Session) -> Outcome {
    let is_protected = session.secured.is_some();
    if is_protected && (session.is_implicit || session.needs_tls()) {
        let text = "TLS may not end here, connect anew";
        return Reply::new(ReplyCode::DENIED_BY_POLICY, text).into();
    }
    if session.user().is_some() {
        session.tell(EventKind::LoggedOut);
    }
    session.reinitialize();
    if session.context.is_denied(session.peer.ip()) {
        return Outcome::Close(Refusal::Denied.reply());
    }
    let ready = Reply::new(ReplyCode::SERVICE_READY, "Ready for a new user");
    if is_protected { Outcome::Unprotect(ready) } else { ready.into() }
}

/// `HOST <hostname>`: 220 when this server is that host (RFC 7151 §3.2), 504 otherwise. A login
/// that had begun begins anew: it may go to another host now.
pub(super) fn host(session: &mut Session, name: &HostName) -> Outcome {
    (session.access, session.host) = (Access::Greeted, None);
    let hosts = &session.context.config.hosts;
    let is_here = match name {
        HostName::Domain(_) => hosts.is_empty(),
        HostName::Address(address) => address.to_canonical() == session.local.ip(),
    };
    // Whose certificate the client has seen (RFC 7151 §3.2.2).
    let asked = session.secured.as_ref().and_then(|secured| secured.server_name());
    let is_other = asked.is_some_and(|asked| asked != *name);
    if is_other || !is_here && !hosts.contains(name) {
        return Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Not a host of this server")
            .into();
    }
    session.host = Some(name.clone());
    Reply::new(ReplyCode::SERVICE_READY, "Host accepted").into()
}

/// `LANG [<tag>]`: 200 for English in all its forms and for the default, which it is; 504 for
/// other languages (RFC 2640 §4.2).
pub(super) fn lang(tag: Option<&LanguageTag>) -> Outcome {
    if tag.is_none_or(|tag| tag.primary() == "en") {
        Reply::new(ReplyCode::OKAY, "Replies are in English").into()
    } else {
        Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Only English is spoken here").into()
    }
}

/// `CLNT [<name>]`: 200; what the client calls itself goes to the log and changes nothing. Anybody
/// may say it, and again: only the first of a session counts as news, or the log would fill.
pub(super) fn clnt(session: &mut Session, name: &[u8]) -> Outcome {
    let again = std::mem::replace(&mut session.is_client_known, true);
    let level = if again { log::Level::Debug } else { log::Level::Info };
    let shown = name.get(..CLIENT_NAME).unwrap_or(name);
    log::log!(level, "{}: client is {}", session.peer, Escaped(shown));
    Reply::new(ReplyCode::OKAY, "Noted").into()
}

/// `QUIT`: 221, and the end. A transfer that runs is waited for, since this is then looked at
/// after it.
pub(super) fn quit() -> Outcome {
    Outcome::Close(Reply::new(ReplyCode::CLOSING, "Goodbye"))
}
