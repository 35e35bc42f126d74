//! Hides, in all messages, the arguments that may contain a password: those with an `@` after a
//! colon, except URLs without a password.
//!
//! Many places in the code quote invalid values and names of missing files. So every message is
//! searched for the arguments.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::options::urls::{is_url, may_hold_password};
use ftp_proto::{Escaped, FtpUrl};

/// Replacement text.
const INSTEAD: &str = "(an argument that may hold a password)";

/// Hidden arguments, in each form in which a message may quote them. The default hides nothing.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<[String]>);

impl Hidden {
    /// Selects, from the arguments of a run, those that must be hidden.
    pub(crate) fn among(arguments: &[OsString]) -> Self {
        let mut forms = Vec::new();
        for argument in arguments {
            let value = value(argument.as_bytes());
            if !is_secret(value) {
                continue;
            }
            let text = String::from_utf8_lossy(value);
            let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
            forms.extend([text.into_owned(), Escaped(value).to_string(), quoted]);
        }
        Self(forms.into())
    }

    /// Returns the text without the hidden arguments.
    pub(crate) fn leave_out<'t>(&self, text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
        let mut text = text.into();
        for form in self.0.iter() {
            if text.contains(form) {
                text = Cow::Owned(text.replace(form, INSTEAD));
            }
        }
        text
    }
}

/// Returns the value of an argument that may be an option: the part after `--NAME=` or `-N`, else
/// the whole argument.
fn value(argument: &[u8]) -> &[u8] {
    let value = match argument {
        [b'-', b'-', rest @ ..] => {
            rest.iter().position(|byte| *byte == b'=').and_then(|at| rest.get(at + 1..))
        }
        [b'-', _, rest @ ..] => Some(rest),
        _ => None,
    };
    value.unwrap_or(argument)
}

fn is_secret(value: &[u8]) -> bool {
    match FtpUrl::parse(value) {
        Ok(url) if is_url(value) => url.password().is_some(),
        _ => may_hold_password(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_may_hold_a_password_are_hidden_in_every_form() {
        let arguments = [
            "get",
            "--jobs=ftp://u:S3cret@h/x",
            "-uu:S3cret@h",
            "u:S3\"cret\x1b@h",
            "ftp://u@h/x",
            "u@h:x",
            "10:30",
        ];
        let hidden = Hidden::among(&arguments.map(OsString::from));
        for (text, want) in [
            ("\"ftp://u:S3cret@h/x\" is not", "\"(an argument that may hold a password)\" is not"),
            ("u:S3cret@h/y: missing", "(an argument that may hold a password)/y: missing"),
            ("u:S3\"cret\\x1b@h", "(an argument that may hold a password)"),
            ("u:S3\\\"cret\x1b@h", "(an argument that may hold a password)"),
            ("ftp://u@h/x, u@h:x, 10:30", "ftp://u@h/x, u@h:x, 10:30"),
        ] {
            assert_eq!(hidden.leave_out(text), want);
        }
        assert_eq!(Hidden::default().leave_out("a:b@c"), "a:b@c");
    }
}
