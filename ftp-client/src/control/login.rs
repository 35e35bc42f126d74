//! Login with `USER`, `PASS` and `ACCT` (RFC 959 §5.4).
//!
//! Over a slow network, the commands that precede the first transfer are sent together with `PASS`.
//! All their replies are read before one is judged: a server that checks passwords in the background
//! answers `530 530 230`. A server that drops its input at `PASS` answers only that. `USER` and `PASS`
//! are never sent together, because the reply to `USER` can forbid the password in plaintext (534).

use std::time::Duration;

use ftp_proto::{Command, Password, Reply, ReplyCode, Severity, Verb};

use super::{ControlConnection, step};
use crate::error::{Error, Phase, ProxyFault};
use crate::net::proxy::Proxy;
use crate::trace;

/// The commands that are sent together with `PASS`.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) commands: Vec<Command>,
    /// The time to wait for the reply to the first of these commands after the reply to `PASS`.
    pub(crate) patience: Duration,
}

/// Logs in. Every argument is checked before any is sent. Returns the replies to the commands sent
/// ahead: none if none were sent, or if the server dropped them. Returns `None` if they came before the
/// reply to `PASS`.
///
/// # Errors
///
/// Returns `Desynchronised` if the commands sent ahead have confused the server; the connection is
/// then closed.
pub(crate) fn login(
    control: &mut ControlConnection,
    user: &[u8],
    password: &[u8],
    account: Option<&Password>,
    ahead: &Ahead,
) -> Result<Option<Vec<Reply>>, Error> {
    let user = Command::User(user.to_vec());
    let password = Command::Pass(Password(password.to_vec()));
    let account = account.cloned().map(Command::Acct);
    for command in [Some(&user), Some(&password), account.as_ref()].into_iter().flatten() {
        command.encode()?;
    }
    let mut last = &user;
    let mut reply = control.request(last)?;
    let mut replies = Some(Vec::new());
    if is_intermediate(&reply) && reply.code() != ReplyCode::NEED_ACCOUNT {
        last = &password;
        (reply, replies) = send_with(control, last, ahead)?;
    }
    if reply.code() == ReplyCode::NEED_ACCOUNT
        && let Some(account) = &account
    {
        last = account;
        reply = control.request(last)?;
        // What was sent ahead came before the login.
        replies = Some(Vec::new());
    }
    match reply.code().severity() {
        Severity::Completion => Ok(replies),
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
        let done = login(control, &own.user, &own.password.0, None, &Ahead::default());
        done.map_err(|error| match error {
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

/// Sends `PASS` and the commands after it. Returns the reply to `PASS`, and the others as [`login`] does.
fn send_with(
    control: &mut ControlConnection,
    password: &Command,
    ahead: &Ahead,
) -> Result<(Reply, Option<Vec<Reply>>), Error> {
    if ahead.commands.is_empty() {
        return Ok((control.request(password)?, Some(Vec::new())));
    }
    let commands = [&[password.clone()][..], &ahead.commands].concat();
    let mut replies = control.exchange(&commands, ahead.patience).map_err(|error| match error {
        // A firewall may close a connection with several commands in one packet.
        Error::Closed => Error::Desynchronised,
        error => error,
    })?;
    let (at, is_in_order) = judge(replies.iter().map(Reply::code), &commands);
    let is_whole = replies.len() == commands.len();
    let reply = replies.remove(at);
    if !is_whole {
        trace::note(format_args!("no reply to some of the commands sent together with PASS"));
        match reply.code().severity() {
            Severity::Completion if is_in_order => control.expect_dropped()?,
            Severity::Completion => return Err(control.out_of_step(None, reply)),
            // The missing replies may still arrive.
            _ => control.close(),
        }
        replies.clear();
    }
    if !is_in_order {
        trace::note(format_args!("replies out of order: sending one command at a time"));
        return Ok((reply, None));
    }
    Ok((reply, Some(replies)))
}

/// Returns which of the replies to these commands, of which the first is `PASS`, is the reply to `PASS`,
/// and whether the replies are in order.
fn judge(codes: impl Iterator<Item = ReplyCode>, commands: &[Command]) -> (usize, bool) {
    let codes: Vec<u16> = codes.map(ReplyCode::value).collect();
    let is_misplaced = |(code, command): (&u16, &Command)| match code {
        211 => *command != Command::Feat,
        227 | 229 => command.verb() != Verb::Epsv,
        _ => false,
    };
    let early = codes.iter().zip(commands).any(is_misplaced);
    match codes.iter().position(|code| matches!(code, 230 | 232)) {
        Some(at) => (at, at == 0 && !early),
        None if early => (codes.iter().position(|code| *code >= 300).unwrap_or(0), false),
        // `TYPE` was answered before the password was found to be wrong.
        None if codes.first().is_some_and(|code| *code < 300) && codes.contains(&530) => {
            (codes.iter().position(|code| *code == 530).unwrap_or(0), false)
        }
        None => (0, true),
    }
}

impl ControlConnection {
    /// Sends several commands in one write, and returns all replies that arrive, at least one.
    /// Waits for the second reply at most for `patience`, and for the others as usual.
    fn exchange(&mut self, commands: &[Command], patience: Duration) -> Result<Vec<Reply>, Error> {
        let deadline = self.reply_deadline();
        self.send_together(commands, deadline)?;
        let mut replies: Vec<Reply> = Vec::new();
        while replies.len() < commands.len() {
            let limit = match replies.len() {
                1 => self.deadline(patience, Phase::Reply(None)).or(Some(deadline)),
                _ => deadline,
            };
            let next = match replies.is_empty() {
                true => self.any_reply(deadline).map(Some),
                false => self.any_reply_in(limit),
            };
            let reply = match next {
                Ok(Some(reply)) => reply,
                Ok(None) => break,
                // The server closes the connection after a refusal.
                Err(Error::Closed | Error::ServiceClosing(_))
                    if replies.first().is_some_and(is_refusal) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            };
            let is_done = replies.len() == 1 && !replies.iter().any(is_refusal);
            if is_done && step::is_banner(reply.code()) {
                trace::note(format_args!("ignoring {}: a banner after the login", reply.code()));
            } else if reply.code().severity() != Severity::Preliminary {
                replies.push(reply);
            }
            // A server may send 1xx or banners without end.
            self.go_on_or_close(deadline)?;
        }
        self.outstanding = None;
        self.following.clear();
        Ok(replies)
    }

    /// Makes sure that the server has dropped the commands sent together with `PASS`: the next reply
    /// must answer the next command.
    fn expect_dropped(&mut self) -> Result<(), Error> {
        let reply = self.request(&Command::Pwd)?;
        match reply.code() {
            ReplyCode::PATHNAME => Ok(()),
            _ => Err(self.out_of_step(None, reply)),
        }
    }
}

fn is_refusal(reply: &Reply) -> bool {
    reply.code().severity() != Severity::Completion
}
