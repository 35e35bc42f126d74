//! `--report FILE`: writes the findings as text for the server's administrator, without passwords.

use std::cmp::Reverse;
use std::fmt::Write;
use std::path::Path;

use ftp_proto::{Escaped, FtpUrl};

use super::asked::Done;
use super::finding::Finding;
use super::report;
use crate::connect::credentials::Credentials;
use crate::connect::secret::Secret;
use crate::console::output::Printable;
use crate::display::{self, shown_path};
use crate::exit::Failure;
use crate::options::Options;

/// Minimum length, in characters, of a password that is masked inside words too. A shorter password
/// would mask parts of other words.
const LEAST: usize = 4;

/// The text that replaces a secret.
const MASK: &str = "****";

/// Writes the report of an examination, replacing an older report.
///
/// # Errors
///
/// Returns `Local` if the file cannot be written.
pub(super) fn write(
    path: &Path,
    options: &Options,
    url: &FtpUrl,
    credentials: &Credentials,
    done: &Done,
) -> Result<(), Failure> {
    let text = text(options, url, done, &Secrets::of(credentials));
    std::fs::write(path, text).map_err(|error| Failure::local(shown_path(path), &error))
}

fn text(options: &Options, url: &FtpUrl, done: &Done, secrets: &Secrets) -> String {
    let mut text = String::from("Report of ftp-cli doctor\n\n");
    let mut field = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<10}{}", Printable(value));
    };
    field("time", &display::timestamp());
    field("program", concat!("ftp-cli ", env!("CARGO_PKG_VERSION")));
    field("system", &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH));
    field("server", &secrets.masked(&url.to_string()));
    // Only the names are shown, because values can be secrets or paths of the user.
    let names: Vec<String> = options.names().map(|long| format!("--{long}")).collect();
    field("options", &names.join(" "));
    let result = match &done.outcome {
        Ok(()) => "everything requested works".to_owned(),
        Err(failure) => format!("exit code {}: {}", failure.exit.code(), failure.message),
    };
    field("result", &secrets.masked(&result));
    // Mask before the text is wrapped, because a password can contain spaces.
    let mask =
        |finding: &Finding| Finding { seen: secrets.masked(&finding.seen), ..finding.clone() };
    let findings: Vec<Finding> = done.findings.iter().map(mask).collect();
    text.push_str("\nProblems\n\n");
    if !findings.iter().any(Finding::is_problem) {
        text.push_str("none\n");
    }
    for finding in findings.iter().filter(|finding| finding.is_problem()) {
        text.push_str(&report::text(finding, true));
    }
    text.push_str("\nAll findings\n\n");
    for finding in &findings {
        text.push_str(&report::text(finding, false));
    }
    if let Some(command) = &done.command_to_share {
        let command = &secrets.masked(command);
        let _ = write!(text, "\nBest command line for this server\n\n{}\n", Printable(command));
    }
    text
}

/// The password and the account. A server may have repeated them in its replies.
struct Secrets {
    /// Each form in which a secret can occur in a text, the longest first.
    forms: Vec<String>,
}

impl Secrets {
    fn of(credentials: &Credentials) -> Self {
        let password = Some(&credentials.password).filter(|_| credentials.is_personal);
        let all = [password, credentials.account.as_ref()];
        Self::among(all.into_iter().flatten().map(Secret::as_bytes))
    }

    fn among<'s>(secrets: impl Iterator<Item = &'s [u8]>) -> Self {
        let forms = |secret: &[u8]| {
            [String::from_utf8_lossy(secret).into_owned(), Escaped(secret).to_string()]
        };
        let mut forms: Vec<_> = secrets.flat_map(forms).filter(|form| !form.is_empty()).collect();
        forms.sort_by_key(|form| Reverse(form.len()));
        Self { forms }
    }

    /// Returns the text with the secrets masked.
    fn masked(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| match form.chars().count() >= LEAST {
            true => text.replace(form, MASK),
            false => without_word(&text, form),
        })
    }
}

/// Masks a word wherever it is not a part of a longer word.
fn without_word(text: &str, word: &str) -> String {
    let mut left = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(word) {
        let is_beside = |char: Option<char>| char.is_some_and(char::is_alphanumeric);
        left.push_str(before);
        let is_part = is_beside(left.chars().next_back()) || is_beside(after.chars().next());
        left.push_str(if is_part { word } else { MASK });
        rest = after;
    }
    left + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_in_each_form() {
        for (secret, text, want) in [
            (&b"s3cret"[..], "PASS s3cret, xs3cretx", "PASS ****, x****x"),
            (b"correct horse", "215 a correct horse end", "215 a **** end"),
            (b"gehe\\im", "215 gehe\\\\im or gehe\\im", "215 **** or ****"),
            (b"g\xffheim", "215 g\\xffheim or g\u{fffd}heim", "215 **** or ****"),
            (b"abc", "abc: (abc) 'abc' abcd xabc abc", "****: (****) '****' abcd xabc ****"),
            (b"a", "a banana a", "**** banana ****"),
            (b"", "a", "a"),
        ] {
            assert_eq!(Secrets::among(std::iter::once(secret)).masked(text), want);
        }
    }
}
