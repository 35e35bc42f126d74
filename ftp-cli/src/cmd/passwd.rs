//! `passwd`: the hash of a password, as the file of `serve --config` has it.

use std::io::{self, ErrorKind, IsTerminal, Read};

use ftp_server::PasswordHash;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use crate::credentials::{self, Secret};
use crate::events::Events;
use crate::exit::{Exit, Failure};
use crate::options::Options;
use crate::output;
use crate::signals;
use crate::stdio::{Messages, Stdio};

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result<(), Failure> {
    if !options.operands.is_empty() {
        let why = "passwd takes no operand: it asks for the password, or reads it";
        return Err(Failure::usage(why));
    }
    let password = match options.value("password-file") {
        Some(file) => credentials::read_file(file)?,
        None if stdio.is_process && io::stdin().is_terminal() => ask(stdio)?,
        None => credentials::read_only_line(&mut stdio.input, "standard input")?,
    };
    let hash = PasswordHash::new(password.as_bytes()).map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Failure::usage(error.to_string()),
        _ => Failure::new(Exit::Internal, error.to_string()),
    })?;
    output::print(&mut stdio.output, format!("{hash}\n").as_bytes())
}

/// Asks twice on the terminal, where nothing of it is to be seen.
fn ask(stdio: &mut Stdio) -> Result<Secret, Failure> {
    let failed = |error| Failure::local("terminal", &io::Error::from(error));
    let shown = tcgetattr(io::stdin()).map_err(failed)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    let set = |modes| tcsetattr(io::stdin(), OptionalActions::Flush, modes);
    // Whoever interrupts this is to see again what is typed.
    let (messages, before) = (stdio.messages.clone(), shown.clone());
    signals::on_signals(false, move |signal| {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &before);
        signals::end(signal, &messages, &Events::default());
    })?;
    set(&hidden).map_err(failed)?;
    let asked = ask_twice(&mut stdio.input, &stdio.messages);
    set(&shown).map_err(failed)?;
    asked
}

fn ask_twice(input: &mut dyn Read, messages: &Messages) -> Result<Secret, Failure> {
    let mut line = |prompt: &[u8]| {
        messages.write(prompt);
        let line = credentials::read_line(input, "terminal");
        messages.write(b"\n");
        line
    };
    let (first, second) = (line(b"Password: ")?, line(b"Again: ")?);
    match first.as_bytes() == second.as_bytes() {
        true => Ok(first),
        false => Err(Failure::usage("these are two passwords; nothing is made of them")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_twice_has_to_be_the_same() {
        let messages = Messages::new(io::sink(), false);
        for (typed, want) in [
            (&b"secret\nsecret\n"[..], Some(&b"secret"[..])),
            (b"secret\r\nsecret", Some(b"secret")),
            (b"secret\nSecret\n", None),
            (b"secret\n", None),
            (b"\n\n", None),
            (b"a\0\na\0\n", None),
            (b"a\rb\na\rb\n", None),
        ] {
            let mut typed = typed;
            let found = ask_twice(&mut typed, &messages);
            assert_eq!(found.as_ref().map(Secret::as_bytes).ok(), want);
            assert!(found.is_ok() || found.is_err_and(|failure| failure.exit == Exit::Usage));
        }
    }
}
