//! Login: `USER`, and `PASS` and `ACCT` if the server asks for them (RFC 959 §5.4).

use ftp_proto::{Command, Password, Reply, ReplyCode, Severity};

use crate::control::ControlConnection;
use crate::error::{Error, ProxyFault};
use crate::net::proxy::Proxy;

/// Logs in. Every argument is checked before any is sent.
pub(crate) fn login(
    control: &mut ControlConnection,
    user: &[u8],
    password: &[u8],
    account: Option<&Password>,
) -> Result<(), Error> {
    let user = Command::User(user.to_vec());
    let password = Command::Pass(Password(password.to_vec()));
    let account = account.cloned().map(Command::Acct);
    for command in [Some(&user), Some(&password), account.as_ref()].into_iter().flatten() {
        command.encode()?;
    }
    let mut last = &user;
    let mut reply = control.request(last)?;
    if is_intermediate(&reply) && reply.code() != ReplyCode::NEED_ACCOUNT {
        last = &password;
        reply = control.request(last)?;
    }
    if reply.code() == ReplyCode::NEED_ACCOUNT
        && let Some(account) = &account
    {
        last = account;
        reply = control.request(last)?;
    }
    match reply.code().severity() {
        Severity::Completion => Ok(()),
        _ => Err(Error::Refused(last.verb(), reply)),
    }
}

/// Logs in to an FTP proxy itself, if the proxy settings name a user. Returns the user name by
/// which the proxy finds the server: `user@host`, with the port if it is not 21 (RFC 1919 §4.3).
pub(crate) fn by_proxy(
    control: &mut ControlConnection,
    proxy: &Proxy,
    user: &[u8],
) -> Result<Vec<u8>, Error> {
    if let Some(own) = proxy.login() {
        login(control, &own.user, &own.password.0, None).map_err(|error| match error {
            Error::Refused(_, reply) => proxy.error(ProxyFault::LoginRefused(reply.to_string())),
            error => error,
        })?;
    }
    let place = control.server().to_string();
    let place = place.strip_suffix(":21").unwrap_or(&place);
    Ok([user, b"@", place.as_bytes()].concat())
}

fn is_intermediate(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Intermediate
}
