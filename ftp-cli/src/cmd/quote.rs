//! `quote URL COMMAND...`: sends raw commands and prints all replies.

use ftp_client::{Client, Error, RawCommand, Reply};
use ftp_proto::{Escaped, FtpUrl, Severity};

use super::batch::line;
use crate::connect::Sessions;
use crate::console::{Cleanup, ResultLines, Stdio};
use crate::exit::{Exit, Failure, Result};
use crate::options::{Options, may_hold_password, parse_url};
use crate::report::{Events, Object, Tally};
use crate::system::OsStrExt;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    let Some((url, texts @ [_, ..])) = options.operands.split_first() else {
        let message = "quote needs a URL and a command: ftp-cli quote URL COMMAND...";
        return Err(Failure::usage(message));
    };
    let url = parse_url(url)?;
    let commands = texts.iter().map(|line| command(line.as_bytes()));
    let commands = commands.collect::<Result<Vec<_>, _>>()?;
    let cleanup = Cleanup::start(options, stdio)?;
    let mut sessions = Sessions::new(options, stdio, &cleanup)?;
    let messages = stdio.messages.clone();
    let events = stdio.events.clone();
    let mut lines = stdio.lines(options);
    let client = sessions.client(&url)?;
    let mut tally = Tally::new(commands.len(), "commands done", &messages, &events);
    let there = enter(client, &url);
    let is_there = there.is_ok();
    if let Err(failure) = there {
        let _ = tally.failed(Failure { fatal: true, ..failure }, |error| error);
    }
    for (command, text) in commands.iter().zip(texts).filter(|_| is_there) {
        let Err(failure) = quote(client, command, 0, &mut lines, &events) else {
            tally.done += 1;
            continue;
        };
        // What follows would act in another directory, or as another user.
        let text = text.as_bytes();
        let misses = line::leads_to(text).is_some() || line::may_set(text);
        let failure = Failure { fatal: failure.fatal || misses, ..failure };
        let fields = |error: Object| error.text("source", command.verb().as_str());
        if tally.failed(failure.context(&url), fields).is_break() {
            break;
        }
    }
    sessions.quit(tally.fatal());
    tally.finish()
}

/// Parses a command.
///
/// # Errors
///
/// Returns `Usage` for an invalid command, or for a command with a line ending.
pub(super) fn command(line: &[u8]) -> Result<RawCommand> {
    RawCommand::new(line).map_err(|error| {
        // The argument is not shown, because it may hold a password.
        let verb = line.split(|byte| *byte == b' ').next().unwrap_or_default();
        let verb = verb.get(..verb.len().min(16)).unwrap_or_default();
        if may_hold_password(line) {
            return Failure::item(Exit::Usage, format!("quote: invalid command: {error}"));
        }
        Failure::item(Exit::Usage, format!("quote {}: {error}", Escaped(verb)))
    })
}

fn enter(client: &mut Client, url: &FtpUrl) -> Result {
    match url.path() {
        b"" => Ok(()),
        path => client.cwd(path).map_err(|error| Failure::from(error).context(url)),
    }
}

/// Sends a command, that of the line `number` of a batch if it is not 0, and prints its reply.
///
/// # Errors
///
/// Returns a 4xx or 5xx reply as an error. Also returns errors of the connection. Returns `Usage`
/// for a command that transfers data or changes how connections work, such as `AUTH` or `MODE`.
pub(super) fn quote(
    client: &mut Client,
    command: &RawCommand,
    number: usize,
    lines: &mut ResultLines,
    events: &Events,
) -> Result {
    let reply = match client.quote(command) {
        Ok(reply) => reply,
        Err(Error::ServiceClosing(reply)) => {
            print(&reply, lines, events)?;
            return Err(Error::ServiceClosing(reply).into());
        }
        Err(error) => return Err(error.into()),
    };
    print(&reply, lines, events)?;
    match reply.code().severity() {
        Severity::Transient | Severity::Permanent => {
            let failure = Failure::from(Error::refused(command.verb(), reply));
            Err(Failure { fatal: false, ..failure })
        }
        _ => {
            let text = reply.lines().collect::<Vec<_>>().join(&b'\n');
            let code = u64::from(reply.code().value());
            let done = || {
                let done = Object::event("done").text("source", command.verb().as_str());
                let done = done.number("code", code).name("message", &text);
                if number > 0 { done.number("line", number as u64) } else { done }
            };
            events.done(done, 0);
            Ok(())
        }
    }
}

/// Prints all lines of a reply. Only line endings and, on a terminal, control characters are
/// changed. With `--json`, prints nothing, because the events contain the lines as text.
fn print(reply: &Reply, lines: &mut ResultLines, events: &Events) -> Result {
    if events.is_on() {
        return Ok(());
    }
    let code = reply.code();
    let last = reply.lines().count() - 1;
    for (at, line) in reply.lines().enumerate() {
        let start = match at {
            _ if at == last => format!("{code} "),
            0 => format!("{code}-"),
            _ => String::new(),
        };
        lines.print(&[start.as_bytes(), line].concat())?;
    }
    lines.flush()
}
