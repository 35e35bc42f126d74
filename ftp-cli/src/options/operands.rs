//! Operands that name a remote object.

use std::ffi::{OsStr, OsString};
use std::net::Ipv6Addr;
use std::path::is_separator;

use ftp_proto::{Escaped, FtpUrl, ParseError, ParseErrorKind};

use crate::exit::{Exit, Failure, Result};
use crate::system::{OsStrExt, OsStringExt, has_drive};

/// Parses an operand that names a remote object.
///
/// # Errors
///
/// Returns `Usage` if it is not a URL.
pub(crate) fn parse_url(operand: &OsStr) -> Result<FtpUrl> {
    let bytes = operand.as_bytes();
    if has_drive(bytes) {
        let operand = operand.to_string_lossy();
        return Err(Failure::usage(format!("{operand}: a local path; expected ftp://HOST/PATH")));
    }
    if !is_url(bytes) && (may_hold_password(bytes) || lacks_slash(bytes)) {
        return Err(Failure::usage(
            "not an FTP URL (not shown: it may hold a password); write ftp://USER@HOST/PATH, with \
             %40 for an @ in PATH, and use --password-file",
        ));
    }
    if let Some((head, rest)) = split_at_colon(bytes)
        && has_scheme(head)
        && rest.starts_with(b"\\")
    {
        let message = "not an FTP URL: a URL has / instead of \\: write ftp://HOST/PATH";
        return Err(Failure::usage(message));
    }
    if let Some(url) = at_port(bytes) {
        return Err(Failure::usage(format!(
            "the number after the host is a path there; for a port, write {url}; for the path, \
             ftp://HOST/PATH"
        )));
    }
    FtpUrl::parse(bytes).map_err(|error| {
        if let Some(address) = ipv6_address(bytes) {
            let form = "an IPv6 address needs brackets: write ftp://";
            return Failure::usage(format!("not an FTP URL: {form}[{address}]/PATH"));
        }
        if let Some(name) = bookmark(bytes) {
            return Failure::usage(format!(
                "@{}: no such bookmark in the configuration file; expected ftp://HOST/PATH",
                Escaped(name)
            ));
        }
        // Messages omit an operand with a colon or an `@`, which may contain a password.
        let form = "ftp://[user@]host[:port]/path or [user@]host:path";
        if operand.as_bytes().get(error.at) == Some(&b'#') {
            return Failure::usage("not an FTP URL: # begins a fragment; write %23 in a name");
        }
        if !bytes.contains(&b':')
            && !bytes.contains(&b'@')
            && FtpUrl::parse(&with_scheme(bytes)).is_ok()
        {
            let operand = Escaped(bytes);
            let message = format!("\"{operand}\": missing scheme; did you mean ftp://{operand}?");
            return Failure::usage(message);
        }
        if let Some(why) = of_other_protocol(bytes) {
            return Failure::usage(format!("not an FTP URL: {why}"));
        }
        let (before, after) = bytes.split_at_checked(error.at).unwrap_or_default();
        if (before.is_empty() || before.ends_with(b"//")) && matches!(after, [b':' | b'@', ..]) {
            let message = "the user before @ is empty; write ftp://USER@HOST/PATH, or omit the @ \
                           for an anonymous login";
            return Failure::new(Exit::Login, message);
        }
        let reason = reason(bytes, error);
        Failure::usage(format!("not an FTP URL: {reason}; expected {form}"))
    })
}

/// Parses operands that name remote objects, and checks each of them. `needs` is the message if there
/// are no operands.
///
/// # Errors
///
/// Returns `Usage` if there are none, or one is not a URL, and the errors of `check`.
pub(crate) fn parse_urls(
    operands: &[OsString],
    needs: &str,
    check: impl Fn(&FtpUrl) -> Result,
) -> Result<Vec<FtpUrl>> {
    if operands.is_empty() {
        return Err(Failure::usage(needs));
    }
    let checked = |operand: &OsString| parse_url(operand).and_then(|url| check(&url).map(|()| url));
    operands.iter().map(checked).collect()
}

/// Returns the host of an operand if it is an IPv6 address without brackets.
fn ipv6_address(operand: &[u8]) -> Option<Ipv6Addr> {
    let (_, rest) = split_at_colon(operand).filter(|_| is_url(operand)).unwrap_or((b"", operand));
    let host = rest.strip_prefix(b"//").unwrap_or(rest).split(|byte| *byte == b'/').next()?;
    std::str::from_utf8(host).ok()?.parse().ok()
}

/// Returns what to use for a URL of another protocol.
fn of_other_protocol(operand: &[u8]) -> Option<String> {
    let (scheme, _) = split_at_colon(operand).filter(|(_, rest)| rest.starts_with(b"//"))?;
    let is = |names: &[&str]| names.iter().any(|name| name.as_bytes().eq_ignore_ascii_case(scheme));
    if SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return None;
    }
    let shown = Escaped(scheme);
    Some(if is(&["sftp", "scp", "ssh"]) {
        format!("{shown} is SSH, not FTP; use sftp or scp, or ftpes:// if the server offers FTP")
    } else if is(&["http", "https"]) {
        format!("{shown} is not FTP; use curl, or ftp:// if the server offers FTP")
    } else {
        format!("unknown scheme \"{shown}\"; expected ftp, ftpes (TLS) or ftps (implicit TLS)")
    })
}

/// Returns what `HOST:PORT` or `HOST:PORT/PATH` without a scheme means, in which the port would be the path.
fn at_port(operand: &[u8]) -> Option<FtpUrl> {
    let (mut host, _) = split_at_colon(operand).filter(|_| !is_url(operand))?;
    if host.contains(&b'[') {
        host = operand.get(..=operand.iter().position(|byte| *byte == b']')?)?;
    }
    let path = operand.strip_prefix(host)?.strip_prefix(b":")?;
    let port = path.split(|byte| *byte == b'/').next()?;
    let is_port = port.iter().all(u8::is_ascii_digit)
        && std::str::from_utf8(port).is_ok_and(|port| port.parse::<u16>().is_ok());
    let slash: &[u8] = if path == port { b"/" } else { b"" };
    FtpUrl::parse(&[&with_scheme(operand), slash].concat()).ok().filter(|_| is_port)
}

/// Returns the name in `@NAME` or `@NAME/PATH`.
fn bookmark(operand: &[u8]) -> Option<&[u8]> {
    let rest = operand.strip_prefix(b"@")?;
    let name = rest.split(|byte| *byte == b'/').next()?;
    (!name.is_empty() && !rest.contains(&b':') && !rest.contains(&b'@')).then_some(name)
}

fn reason(bytes: &[u8], error: ParseError) -> &'static str {
    match (error.kind, bytes.get(error.at)) {
        (ParseErrorKind::UnknownWord, _) => "unknown ;type",
        (ParseErrorKind::LineBreak, _) => "CR, LF and NUL are not allowed",
        (_, Some(b'%')) => "expected two hexadecimal digits after %",
        (ParseErrorKind::BadNumber, _) => "invalid port",
        (ParseErrorKind::UnexpectedEnd, Some(b'[')) => "missing ]",
        (ParseErrorKind::UnexpectedEnd, _) => "missing host or path",
        _ => "invalid host",
    }
}

pub(super) fn with_scheme(operand: &[u8]) -> Vec<u8> {
    [b"ftp://", operand].concat()
}

const SCHEMES: [&[u8]; 3] = [b"ftp", b"ftps", b"ftpes"];

pub(crate) fn split_at_colon(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = argument.iter().position(|byte| *byte == b':')?;
    Some((argument.get(..colon)?, argument.get(colon + 1..)?))
}

fn has_scheme(head: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(head))
}

pub(crate) fn is_url(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| has_scheme(head) && rest.starts_with(b"//"))
}

/// Returns whether an operand is remote: it has a scheme, or a colon before any separator of local
/// paths. On Windows, a colon can also follow the letter of a local drive.
pub(crate) fn is_remote(operand: &OsStr) -> bool {
    let bytes = operand.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':');
    let slash = bytes.iter().position(|byte| is_separator(char::from(*byte)));
    colon.is_some_and(|colon| slash.is_none_or(|slash| colon < slash)) && !has_drive(bytes)
}

/// Returns whether an argument is an FTP URL with a missing slash.
fn lacks_slash(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| {
        has_scheme(head) && rest.starts_with(b"/") && !rest.starts_with(b"//")
    })
}

/// Returns whether messages must not show an argument, because it may contain a password, as in
/// `user:password@host`.
pub(crate) fn may_hold_password(argument: &[u8]) -> bool {
    !has_drive(argument) && split_at_colon(argument).is_some_and(|(_, rest)| rest.contains(&b'@'))
}

/// Returns whether a word in place of a command is the name or address of a host, as ftp and lftp
/// take it.
pub(super) fn is_host(name: &str) -> bool {
    name.contains('.')
        && !name.contains('/')
        && FtpUrl::parse(&with_scheme(name.as_bytes())).is_ok()
}

/// Returns the failure for a URL in place of a command, or for another argument that may hold a
/// password. The message does not show the password.
pub(super) fn lacking(argument: &[u8]) -> Option<Failure> {
    let lists = "ftp-cli help lists the commands";
    if is_url(argument) {
        return Some(Failure::usage(match FtpUrl::parse(argument) {
            Ok(url) => {
                let command = if argument.ends_with(b"/") { "ls" } else { "get" };
                format!("missing command before the URL, such as ftp-cli {command} {url}")
            }
            Err(_) => format!("missing command before the URL; {lists}"),
        }));
    }
    let message = format!("unknown command (not shown: it may hold a password); {lists}");
    may_hold_password(argument).then(|| Failure::usage(message))
}

/// Returns an argument as text for getopts, which accepts only UTF-8: each byte becomes one character.
pub(super) fn to_text(argument: &OsStr) -> String {
    argument.as_bytes().iter().copied().map(char::from).collect()
}

/// Returns the argument, or the part of one, whose text this is.
pub(super) fn from_text(text: &str) -> OsString {
    // No character is above U+00FF.
    OsString::from_vec(text.chars().flat_map(u8::try_from).collect())
}
