//! Arguments that no message shows, since they may hold a password: what has an `@` after a colon,
//! and is not a URL without a password.
//!
//! Messages quote values that they refuse and files that are missing, wherever these come from. So
//! the arguments are looked for in what is said, and not each place of the code has to think of it.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::options::urls::{is_url, may_hold_password};
use ftp_proto::{Escaped, FtpUrl};

/// What stands in their place.
const INSTEAD: &str = "(an argument that may hold a password)";

/// The arguments, in each form in which a message may hold them. The default hides nothing.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Arc<[String]>);

impl Hidden {
    /// Those among the arguments of a run.
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

    /// The text without them.
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

/// The value in an argument that may be an option: what follows `--NAME=` or `-N`.
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
    fn what_may_hold_a_password_is_left_out_in_each_form() {
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
