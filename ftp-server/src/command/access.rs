//! Access control commands (RFC 959 §4.1.1): USER, PASS, ACCT, REIN, QUIT; HOST (RFC 7151), LANG
//! (RFC 2640) and CLNT; and protection by TLS (RFC 4217, RFC 2228 §3): AUTH, PBSZ, PROT, CCC; and
//! SSCN.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ftp_proto::{
    AuthMechanism, Escaped, HostName, LanguageTag, Password, ProtectionLevel, Reply, ReplyCode,
};

use crate::auth::{AuthError, Login, LoginAttempt, Rights};
use crate::context::Context;
use crate::ledger::SharedState;
use crate::log::{EventKind, Refusal};
use crate::session::{Access, Outcome, Session, User};
use crate::shares::host_of;
use crate::storage::{Capabilities, RemoteStorage};
use crate::threads::ThreadJob;
use crate::tls::{AskedName, TlsPolicy};
use crate::{deadline, limits};

/// Maximum bytes of a client program's name that are logged.
const CLIENT_NAME: usize = 256;

/// `USER <name>`: 331 for any name, known or not (RFC 2577 §7).
pub(super) fn user(session: &mut Session, name: &[u8]) -> Outcome {
    session.login.access = Access::Named(name.to_vec());
    Reply::new(ReplyCode::NEED_PASSWORD, "Password required").into()
}

/// `PASS <password>`: 230 after a login, 332 if the authenticator asks for an account, 530 if the
/// login is refused, 451 if the authenticator cannot decide. 534 if the user's TLS policy forbids
/// the login; 421 if the user has too many sessions or the client's host is banned.
///
/// The server delays each 530: the first by `LoginPolicy::delay`, the second by twice and later
/// ones by four times that delay. After `LoginPolicy::failures` refusals, it closes the connection
/// with 421. A 451 is delayed too, but does not count as a refusal.
pub(super) fn pass(session: &mut Session, password: &Password) -> Outcome {
    let password = match password.0.strip_prefix(b"-") {
        Some(rest) if session.context.config.dash_password => Password(rest.to_vec()),
        _ => password.clone(),
    };
    match std::mem::take(&mut session.login.access) {
        Access::Named(name) => login(session, name, password, None),
        other => out_of_sequence(session, other, "Use USER first"),
    }
}

/// `ACCT <account>`: finishes a login if the authenticator asked for an account; 202 if the user is
/// already logged in.
pub(super) fn acct(session: &mut Session, account: &[u8]) -> Outcome {
    match std::mem::take(&mut session.login.access) {
        Access::Unaccounted { name, password } => login(session, name, password, Some(account)),
        user @ Access::User(_) => {
            session.login.access = user;
            Reply::new(ReplyCode::SUPERFLUOUS, "No account is needed").into()
        }
        other => out_of_sequence(session, other, "Use PASS first"),
    }
}

fn out_of_sequence(session: &mut Session, access: Access, text: &str) -> Outcome {
    session.login.access = access;
    Reply::new(ReplyCode::BAD_SEQUENCE, text).into()
}

fn login(
    session: &mut Session,
    name: Vec<u8>,
    password: Password,
    account: Option<&[u8]>,
) -> Outcome {
    let start = Instant::now();
    let bans = Arc::clone(&session.peer.current.get().bans);
    let peer = session.peer.address;
    match ask_ledger(session, move || bans.is_banned_anywhere(peer.ip(), start)) {
        Some(false) => {}
        Some(true) => return refuse_banned(session, &name),
        None => return refuse_uncounted(session, &name),
    }
    let host = session.host.as_ref();
    let tls = session.tls();
    let deadline = session.login_deadline();
    let attempt = LoginAttempt {
        user: &name,
        password: &password.0,
        account,
        host,
        peer,
        tls,
        deadline,
        is_client_gone: session.login.is_client_gone.as_deref(),
    };
    let answer = Arc::clone(&session.context).authenticator.login(&attempt);
    // Logins from the same host in other sessions may have failed while this login waited for its
    // turn.
    if is_banned(session, Instant::now()) {
        return refuse_banned(session, &name);
    }
    let reason = match answer {
        Ok(_) if !has_certificate_of(session, &name) => AuthError::Certificate,
        Ok(login) => match login.objection(peer.ip(), SystemTime::now()) {
            Some(reason) => reason,
            None => return enter(session, name, login),
        },
        Err(AuthError::NeedAccount) if account.is_none() => {
            session.login.access = Access::Unaccounted { name, password };
            return Reply::new(ReplyCode::NEED_ACCOUNT, "Account required").into();
        }
        Err(AuthError::TooMany) => return refuse_more(session, &name),
        Err(AuthError::NeedAccount) => AuthError::Refused,
        Err(reason) => reason,
    };
    refuse(session, &name, reason, start)
}

fn is_banned(session: &Session, now: Instant) -> bool {
    session.peer.current.get().bans.is_banned(session.peer.ip(), now)
}

/// Refuses a login from a banned host, and closes the connection so that the client cannot guess
/// again.
fn refuse_banned(session: &Session, name: &[u8]) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason: AuthError::Banned });
    Outcome::Close(Refusal::Banned.reply())
}

/// Returns whether the client may log in as this user: either no certificate is required, or the
/// client has presented one that belongs to this user.
fn has_certificate_of(session: &Session, user: &[u8]) -> bool {
    match (&session.secured, &session.context.tls) {
        (Some(secured), _) => secured.may_be(user),
        (None, Some(acceptor)) => !acceptor.rules().cert_user,
        (None, None) => true,
    }
}

fn refuse(session: &mut Session, name: &[u8], reason: AuthError, start: Instant) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason });
    match reason {
        AuthError::Unavailable => {
            let reply = Reply::new(ReplyCode::LOCAL_ERROR, "Cannot check the password now");
            // The reply is delayed although the server is at fault: each attempt may cost the
            // server as much as a wrong password.
            let at = deadline::after(start, session.context.config.logins.delay);
            return Outcome::Late { reply, at, closes: false };
        }
        // The server is at fault, or nothing was guessed: Windows tries anonymous logins before each
        // login of a user. So the failure does not count towards a ban.
        AuthError::NoHome | AuthError::TooMany | AuthError::NoAnonymous => {}
        _ => {
            // The current settings apply, even if the session began with older ones.
            let Context { bans, watchdog, .. } = &*session.peer.current.get();
            let peer = session.peer.ip();
            let (own, all) = (bans.note(peer, start), Arc::clone(bans));
            let all = ask_ledger(session, move || all.note_in_ledger(peer, start)).flatten();
            if let Some(duration) = own.or(all) {
                let network = host_of(peer);
                session.tell(EventKind::Banned { network, duration });
                watchdog.ban(session.peer.address, deadline::after(start, duration));
            }
        }
    }
    session.peer.login_failures = session.peer.login_failures.saturating_add(1);
    let policy = session.context.config.logins;
    let delay = policy.delay.saturating_mul(match session.peer.login_failures {
        1 => 1,
        2 => 2,
        _ => 4,
    });
    // The delay starts when the command arrives, so it hides the time that the authenticator took.
    let at = deadline::after(start, delay);
    let closes = session.peer.login_failures >= policy.failures;
    let reply = match closes {
        true => Reply::new(ReplyCode::SERVICE_CLOSING, "Too many failed logins"),
        false => Reply::new(ReplyCode::NOT_LOGGED_IN, "Login incorrect"),
    };
    Outcome::Late { reply, at, closes }
}

/// Begins the session of a user. This is a separate function because a session keeps each page of
/// stack that its thread has used, and the authenticator uses most of it.
#[inline(never)]
fn enter(session: &mut Session, name: Vec<u8>, login: Login) -> Outcome {
    let why = match login.tls {
        TlsPolicy::Required if session.secured.is_none() => Some("Use AUTH TLS first"),
        TlsPolicy::Off if session.secured.is_some() => Some("Not permitted under TLS"),
        _ => None,
    };
    if let Some(why) = why {
        let reason = AuthError::Protection;
        session.tell(EventKind::LoginRefused { user: &name, reason });
        return Reply::new(ReplyCode::DENIED_BY_POLICY, why).into();
    }
    let Context { config, user_sessions, shared, .. } = &*session.context;
    let sessions = login.limits.sessions.unwrap_or(config.limits.per_user);
    let rate_per_user = login.limits.rate_per_user.unwrap_or(config.limits.rate_per_user);
    let user = login.name.as_deref().unwrap_or(&name);
    let Some(counted) = user_sessions.enter(user, sessions, rate_per_user) else {
        return refuse_more(session, &name);
    };
    let mut present = None;
    if let Some(shared) = shared.as_ref().filter(|_| sessions > 0) {
        let (shared, user) = (shared.clone(), user.to_vec());
        match ask_ledger(session, move || shared.enter(&user, sessions)) {
            Some(Ok(Some(presence))) => present = Some(Box::new(presence)),
            Some(Ok(None)) => return refuse_more(session, &name),
            Some(Err(_)) | None => return refuse_uncounted(session, &name),
        }
    }
    session.transfer.representation = login.representation;
    let mut user = User::new(config, name, login, counted, present);
    let is_remote = user.storage.capabilities().contains(Capabilities::REMOTE);
    // After a login to a remote storage, uploads to every storage can be given up.
    if is_remote || session.peer.away.is_some() {
        let teller = session.late_teller(&user);
        session.peer.away.get_or_insert_default().log_in(teller);
    }
    if let Some(away) = session.peer.away.clone().filter(|_| is_remote) {
        let attended = Arc::new(RemoteStorage::new(Arc::clone(&user.storage), away));
        user.remote = Some(std::mem::replace(&mut user.storage, attended));
    }
    session.login.access = Access::User(user);
    Reply::new(ReplyCode::LOGGED_IN, "Logged in").into()
}

/// Makes a call for a login that may ask the ledger, in another thread if that can wait for long.
/// Returns `None` if the decision about the login is useless before the answer; the call then goes
/// on. Also returns `None` if there is no thread.
fn ask_ledger<T: Send + 'static>(
    session: &Session,
    call: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if !session.context.shared.as_ref().is_some_and(SharedState::is_remote) {
        return Some(call());
    }
    let job = ThreadJob::begin(call).ok()?;
    loop {
        if let Some(done) = job.wait(limits::TICK) {
            return done.ok();
        }
        if session.login.is_client_gone.as_ref().is_some_and(|is_gone| is_gone()) {
            return None;
        }
    }
}

/// Refuses a user who already has the maximum number of sessions.
fn refuse_more(session: &Session, name: &[u8]) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason: AuthError::TooMany });
    let text = "Too many connections for this user";
    Outcome::Close(Reply::new(ReplyCode::SERVICE_CLOSING, text))
}

/// Refuses a user whose sessions on other servers cannot be counted at the moment.
fn refuse_uncounted(session: &Session, name: &[u8]) -> Outcome {
    session.tell(EventKind::LoginRefused { user: name, reason: AuthError::Unavailable });
    let text = "Cannot count the connections of this user now";
    Outcome::Close(Reply::new(ReplyCode::SERVICE_CLOSING, text))
}

/// `REIN`: 220, and the session returns to its state after the greeting; failed logins stay
/// counted. 421 if the client's address may no longer connect.
///
/// Under TLS, the protection ends too (RFC 4217 §13). So the reply is 534 if TLS is required or
/// implicit.
pub(super) fn rein(session: &mut Session) -> Outcome {
    let is_protected = session.secured.is_some();
    if is_protected && (session.peer.is_implicit || session.needs_tls()) {
        let text = "TLS is required, and REIN would end it: open a new connection";
        return Reply::new(ReplyCode::DENIED_BY_POLICY, text).into();
    }
    session.reinitialize();
    if session.context.is_denied(session.peer.ip()) {
        return Outcome::Close(Refusal::Denied.reply());
    }
    let ready = Reply::new(ReplyCode::SERVICE_READY, "Ready for a new user");
    if is_protected { Outcome::Unprotect(ready) } else { ready.into() }
}

/// `HOST <hostname>`: 220 with the host's banner if this server has that host (RFC 7151 §3.2). If
/// no hosts are configured, the server accepts every domain name. Any other host gets 504, and an
/// earlier `HOST` no longer applies. A login in progress starts again, because the user's name may
/// belong to another user on this host.
pub(super) fn host(session: &mut Session, name: &HostName) -> Outcome {
    session.login.access = Access::Greeted;
    session.host = session.host_by_tls();
    let name = name.clone().into_canonical();
    let config = &session.context.config;
    let is_here = match &name {
        HostName::Domain(_) => config.hosts.is_empty(),
        HostName::Address(address) => *address == session.peer.reached.ip(),
    };
    // A client that has named a host in its TLS handshake must stay with that host (RFC 7151
    // §3.2.2).
    let is_other = match session.asked_name() {
        AskedName::Missing => false,
        AskedName::Foreign => true,
        AskedName::Host(asked) => asked != name,
    };
    if is_other || !is_here && config.host(&name).is_none() {
        return Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Not a host of this server")
            .into();
    }
    session.host = Some(name);
    let banner = session.host_banner().unwrap_or("Host accepted");
    Reply::new(ReplyCode::SERVICE_READY, banner).into()
}

/// `LANG [<tag>]`: 200 for English in any variant and for the default, which is English; 504 for
/// other languages (RFC 2640 §4.2).
pub(super) fn lang(tag: Option<&LanguageTag>) -> Outcome {
    if tag.is_none_or(|tag| tag.primary() == "en") {
        Reply::new(ReplyCode::OKAY, "Replies are in English").into()
    } else {
        Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, "Only English is supported").into()
    }
}

/// `CLNT <name>`: 200; the server only logs the name. The first `CLNT` of a session is logged at
/// info level, later ones at debug level, because a client can repeat the command without end.
pub(super) fn clnt(session: &mut Session, name: &[u8]) -> Outcome {
    let again = std::mem::replace(&mut session.peer.is_client_known, true);
    let level = if again { log::Level::Debug } else { log::Level::Info };
    let shown = name.get(..CLIENT_NAME).unwrap_or(name);
    log::log!(level, "{}: client is {}", session.peer.address, Escaped(shown));
    Reply::new(ReplyCode::OKAY, "Noted").into()
}

/// `QUIT`: 221, then the session ends. During a transfer, the command waits until the transfer has
/// ended.
pub(super) fn quit() -> Outcome {
    Outcome::Close(Reply::new(ReplyCode::CLOSING, "Goodbye"))
}

/// `AUTH TLS`: 234, then the handshake; 504 for other mechanisms. If
/// [`Tls::auth_ssl_alias`](crate::Tls::auth_ssl_alias) is set, the server also accepts `AUTH SSL`,
/// which protects data connections too. `AUTH` ends a login (RFC 4217 §4.2).
pub(super) fn auth(session: &mut Session, mechanism: &AuthMechanism) -> Result<Outcome, Reply> {
    let with_data = match mechanism {
        AuthMechanism::Tls => false,
        AuthMechanism::TlsWithData
            if session.context.tls.as_ref().is_some_and(|tls| tls.rules().auth_ssl_alias) =>
        {
            true
        }
        _ => {
            let text = "Only AUTH TLS is supported";
            return Err(Reply::new(ReplyCode::PARAMETER_NOT_IMPLEMENTED, text));
        }
    };
    session.log_out();
    let reply = Reply::new(ReplyCode::SECURITY_ACCEPTED, "Begin the TLS handshake");
    Ok(Outcome::Protect { reply, with_data })
}

/// `PBSZ <size>`: 200 with the buffer size, which is always 0 for TLS.
pub(super) fn pbsz(session: &mut Session) -> Reply {
    session.transfer.has_buffer_size = true;
    Reply::new(ReplyCode::OKAY, "PBSZ=0")
}

/// `PROT <prot-code>`: 200 for `P` and `C`, 534 for the one of them that the policy forbids, 536
/// for levels without an equivalent in TLS.
pub(super) fn prot(session: &mut Session, level: ProtectionLevel) -> Result<Reply, Reply> {
    let deny = |text| Err(Reply::new(ReplyCode::DENIED_BY_POLICY, text));
    match (level, session.data_policy()) {
        (ProtectionLevel::Private, TlsPolicy::Off) => {
            return deny("Data connections are unencrypted here, use PROT C");
        }
        (ProtectionLevel::Clear, TlsPolicy::Required) => {
            return deny("Data connections need TLS, use PROT P");
        }
        (ProtectionLevel::Private | ProtectionLevel::Clear, _) => {}
        (ProtectionLevel::Safe | ProtectionLevel::Confidential, _) => {
            let text = "TLS does not have this level, use PROT P";
            return Err(Reply::new(ReplyCode::PROTECTION_NOT_SUPPORTED, text));
        }
    }
    let is_private = level == ProtectionLevel::Private;
    if is_private != session.transfer.is_private {
        session.transfer.close_open_data();
    }
    session.transfer.is_private = is_private;
    Ok(Reply::new(ReplyCode::OKAY, format!("Protection is {}", level.as_str())))
}

/// `SSCN [ON | OFF]`: 200 with the server's role in the TLS handshakes of its data connections.
/// After `SSCN ON`, the server is the TLS client, whichever side connects, and the other side must
/// be a trusted server. This lets two servers exchange a file under TLS.
///
/// `SSCN ON` gets 550 without the right `FXP`, and 503 before `PROT P`. It stays in effect until
/// `SSCN OFF` or `REIN`. No RFC defines SSCN; the replies use the wording of glftpd, drftpd and
/// ioFTPD.
pub(super) fn sscn(session: &mut Session, argument: &[u8]) -> Result<Reply, Reply> {
    let has_right = session.user().is_some_and(|user| user.rights.contains(Rights::FXP));
    let is_on = match argument.to_ascii_uppercase().as_slice() {
        b"" => session.transfer.begins_handshakes,
        b"OFF" => false,
        b"ON" if !has_right => {
            let text = "Copying to other servers is not permitted";
            return Err(Reply::new(ReplyCode::FILE_UNAVAILABLE, text));
        }
        b"ON" if !session.transfer.is_private => {
            return Err(Reply::new(ReplyCode::BAD_SEQUENCE, "Use PROT P first"));
        }
        b"ON" => true,
        _ => return Err(Reply::new(ReplyCode::BAD_ARGUMENT, "Use SSCN ON or SSCN OFF")),
    };
    if is_on != session.transfer.begins_handshakes {
        session.transfer.close_open_data();
    }
    session.transfer.begins_handshakes = is_on;
    let side = if is_on { "CLIENT" } else { "SERVER" };
    Ok(Reply::new(ReplyCode::OKAY, format!("SSCN:{side} METHOD")))
}

/// `CCC`: always refused. 533 in plaintext, because there is no protection to end (RFC 2228 §3);
/// 534 under TLS, and the connection stays protected.
pub(super) fn ccc(session: &Session) -> Reply {
    let (code, text) = match session.secured {
        None => (ReplyCode::PROTECTION_DENIED, "The control connection is not protected"),
        Some(_) => (ReplyCode::DENIED_BY_POLICY, "The control connection stays protected"),
    };
    Reply::new(code, text)
}

/// Checks the protection level before a transfer: 521 if the policy forbids that level (RFC 4217
/// §10.2).
pub(super) fn check_data(session: &Session) -> Result<(), Reply> {
    let is_protected = session.transfer.is_private;
    match session.data_policy() {
        TlsPolicy::Required if !is_protected => {
            Err(Reply::new(ReplyCode::DATA_PROTECTION_NEEDED, "Use PROT P first"))
        }
        TlsPolicy::Off if is_protected => {
            Err(Reply::new(ReplyCode::DATA_PROTECTION_NEEDED, "Use PROT C first"))
        }
        _ => Ok(()),
    }
}
