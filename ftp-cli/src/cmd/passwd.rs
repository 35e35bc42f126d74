//! `passwd`: prints the hash of a password for the file of `serve --config`.

use std::io::{self, ErrorKind, IsTerminal};

use ftp_server::PasswordHash;

use crate::connect::{Secret, Terminal, credentials};
use crate::console::{Stdio, output, signals};
use crate::exit::{Exit, Failure, Result};
use crate::options::Options;
use crate::report::Events;

pub(crate) fn run(options: &Options, stdio: &mut Stdio) -> Result {
    if !options.operands.is_empty() {
        let why = "passwd takes no operand: it asks for the password, or reads standard input";
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

/// Asks for the password twice on the terminal.
fn ask(stdio: &Stdio) -> Result<Secret> {
    let terminal = Terminal::find().map_err(|error| Failure::local("terminal", &error))?;
    let messages = stdio.messages.clone();
    signals::on_signals(false, move |signal| signals::end(signal, &messages, &Events::default()))?;
    ask_twice(|prompt| terminal.ask(prompt))
}

fn ask_twice(mut ask: impl FnMut(&str) -> Result<Secret>) -> Result<Secret> {
    let first = ask("Password: ")?;
    let second = ask("Again: ")?;
    match first.as_bytes() == second.as_bytes() {
        true => Ok(first),
        false => Err(Failure::usage("the passwords do not match")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_entries_of_a_new_password_must_match() {
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
            let found = ask_twice(|_| credentials::read_line(&mut typed, "terminal"));
            assert_eq!(found.as_ref().map(Secret::as_bytes).ok(), want);
            assert!(found.is_ok() || found.is_err_and(|failure| failure.exit == Exit::Usage));
        }
    }
}
