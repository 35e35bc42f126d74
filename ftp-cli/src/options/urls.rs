//! Operands that name something on a server.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ftp_proto::{Escaped, FtpUrl};

use crate::exit::Failure;

/// Reads an operand that names something on a server.
///
/// # Errors
///
/// `Usage` if it is no URL.
pub(crate) fn parse(operand: &OsStr) -> Result<FtpUrl, Failure> {
    let bytes = operand.as_bytes();
    if !is_url(bytes) && (may_hold_password(bytes) || lacks_slash(bytes)) {
        return Err(Failure::usage(
            "not an FTP URL (not shown: it may hold a password); write ftp://USER@HOST/PATH, with \
             %40 for an @ in PATH, and name --password-file",
        ));
    }
    FtpUrl::parse(bytes).map_err(|error| {
        // Not the operand itself, which may hold a password.
        let form = "ftp://[user@]host[:port]/path or [user@]host:path";
        let kind = error.kind;
        let at = error.at;
        if operand.as_bytes().get(at) == Some(&b'#') {
            return Failure::usage("not an FTP URL: # begins a fragment; write %23 in a name");
        }
        if !bytes.contains(&b':')
            && !bytes.contains(&b'@')
            && FtpUrl::parse(&with_scheme(bytes)).is_ok()
        {
            let operand = Escaped(bytes);
            let message = format!("\"{operand}\" has no scheme; did you mean ftp://{operand}?");
            return Failure::usage(message);
        }
        Failure::usage(format!("not an FTP URL: {kind} at byte {at}; expected {form}"))
    })
}

fn with_scheme(operand: &[u8]) -> Vec<u8> {
    [b"ftp://", operand].concat()
}

/// The schemes of FTP URLs.
const SCHEMES: [&[u8]; 3] = [b"ftp", b"ftps", b"ftpes"];

/// Splits an argument at its first colon.
pub(crate) fn split_at_colon(argument: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = argument.iter().position(|byte| *byte == b':')?;
    Some((argument.get(..colon)?, argument.get(colon + 1..)?))
}

/// Whether what stands before the first colon of an argument is the name of a scheme of FTP.
fn has_scheme(head: &[u8]) -> bool {
    SCHEMES.iter().any(|scheme| scheme.eq_ignore_ascii_case(head))
}

/// Whether an argument was meant as an FTP URL, with a scheme.
pub(crate) fn is_url(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| has_scheme(head) && rest.starts_with(b"//"))
}

/// Whether it was meant as one, with a slash too few.
fn lacks_slash(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(head, rest)| {
        has_scheme(head) && rest.starts_with(b"/") && !rest.starts_with(b"//")
    })
}

/// Whether an argument may hold a password, as `user:password@host` does, so that no message may
/// show it.
pub(crate) fn may_hold_password(argument: &[u8]) -> bool {
    split_at_colon(argument).is_some_and(|(_, rest)| rest.contains(&b'@'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    #[test]
    fn url_refuses_what_it_cannot_do_hl_09_cl_65() {
        for (text, want) in [
            ("http://h/x", Exit::Usage),
            ("ftp://u:geheim@:21/x", Exit::Usage),
            ("ftp://h/a%0d%0aDELE%20b", Exit::Usage),
            ("ftp://h/a%00", Exit::Usage),
            ("ftp://h/a;type=x", Exit::Usage),
            ("ftp://h:0/a", Exit::Usage),
            ("ftp://h:65536/a", Exit::Usage),
            ("file.txt", Exit::Usage),
            ("u:geheim@h/x", Exit::Usage),
            ("u@v:geheim@h:x", Exit::Usage),
            ("ftp:/u:geheim@h/x", Exit::Usage),
            ("FTPS:/h/geheim", Exit::Usage),
            ("http://u:geheim@h/x", Exit::Usage),
        ] {
            let failure = parse(OsStr::new(text)).unwrap_err();
            assert_eq!(failure.exit, want, "{text}");
            assert!(!failure.message.contains("geheim"), "{}", failure.message);
        }
    }
}
