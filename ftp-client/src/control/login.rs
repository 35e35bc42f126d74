//! Login: `USER`, and `PASS` and `ACCT` if the server asks for them (RFC 959 §5.4).

use ftp_proto::{Command, Password, Reply, ReplyCode, Severity};

use crate::control::ControlConnection;
use crate::error::Error;

/// Logs in. Every argument is checked before the first is sent.
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

fn is_intermediate(reply: &Reply) -> bool {
    reply.code().severity() == Severity::Intermediate
}
