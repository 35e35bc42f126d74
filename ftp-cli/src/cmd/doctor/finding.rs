//! Defines the checks and their findings: one line for users, one event for programs. Lists all
//! diagnoses as data: the meaning of each, the cure, and the side that can apply it.

use std::fmt::Display;

use ftp_client::Error;
use ftp_client::error::{Phase, TlsError};

use crate::exit::{Exit, Failure, Result};
use crate::options::{DIAGNOSES, terms};

/// A property that doctor examines. Holds its lower-case name for programs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Check(pub(super) &'static str);

impl Check {
    pub(super) fn ok(self, seen: impl Display) -> Finding {
        Finding { check: self, grade: Grade::Ok, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a check that could not run, with the reason.
    pub(super) fn skip(self, seen: impl Display) -> Finding {
        Finding { check: self, grade: Grade::Skip, seen: seen.to_string(), diagnosis: None }
    }

    /// Returns a finding for a problem that this client copes with.
    pub(super) fn warn(self, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        self.wrong(Grade::Warn, diagnosis, seen)
    }

    /// Returns a finding for a problem that stops this client.
    pub(super) fn fail(self, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        self.wrong(Grade::Fail, diagnosis, seen)
    }

    pub(super) fn wrong(self, grade: Grade, diagnosis: Diagnosis, seen: impl Display) -> Finding {
        Finding { check: self, grade, seen: seen.to_string(), diagnosis: Some(diagnosis) }
    }
}

/// Result of a check.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Grade {
    /// The property could not be examined.
    Skip,
    Ok,
    /// A problem that does not stop this client.
    Warn,
    /// A problem that stops this client with its current options.
    Fail,
}

impl Grade {
    /// Returns one lower-case word for programs.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Finding {
    pub(super) check: Check,
    pub(super) grade: Grade,
    /// Observation in words; text from the server is already escaped.
    pub(super) seen: String,
    pub(super) diagnosis: Option<Diagnosis>,
}

impl Finding {
    /// Returns whether there is a problem, whether or not it stops this client.
    pub(super) fn is_problem(&self) -> bool {
        self.grade > Grade::Ok
    }
}

/// Returns the diagnosis and the message for an error of a connection or of its login. With `again`,
/// the same has succeeded before.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn of_connection(error: &Error, again: bool) -> Result<(Diagnosis, String)> {
    let failure = Failure::login(error);
    let diagnosis = match (error, failure.exit) {
        (Error::Timeout(Phase::Overall), _)
        | (_, Exit::Interrupted | Exit::Local | Exit::Usage) => return Err(failure),
        (Error::Timeout(Phase::Greeting), _) => Diagnosis("greeting-never"),
        (Error::Timeout(Phase::Handshake), _) => Diagnosis("tls-stalls"),
        (Error::Timeout(Phase::Reply(_)), _) => Diagnosis("reply-never"),
        (Error::Tls(TlsError::DataProtectionRefused { .. }), _) => Diagnosis("protection-refused"),
        (Error::Tls(_), Exit::Tls) => Diagnosis("tls-handshake"),
        (_, Exit::Protocol) => Diagnosis("reply-invalid"),
        (Error::Refused { .. } | Error::ServiceClosing(_) | Error::Greeting(_), exit) => match exit
        {
            _ if again => Diagnosis("login-again"),
            Exit::Temporary => Diagnosis("login-failed"),
            _ => Diagnosis("login-refused"),
        },
        _ => Diagnosis("connection-lost"),
    };
    Ok((diagnosis, failure.message))
}

/// Returns the finding for a connection that breaks, or cannot be opened again, after an earlier one
/// succeeded.
///
/// # Errors
///
/// Returns the failure itself if it says nothing about the server.
pub(super) fn not_again(check: Check, error: &Error) -> Result<Finding> {
    let (diagnosis, why) = of_connection(error, true)?;
    Ok(check.fail(diagnosis, why))
}

/// A problem that doctor can find. Holds its name in `help/diagnoses.txt`, which is part of the stable
/// interface.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Diagnosis(pub(super) &'static str);

/// What `help/diagnoses.txt` says about a problem.
pub(super) struct Explanation {
    /// The exit code of `doctor` if this problem is the first failure.
    pub(super) exit: Exit,
    /// The side that can apply the cure, as one word for programs: the user of this `client`, the
    /// operator of a firewall or NAT in the `network`, or the operator of the `server`.
    pub(super) side: &'static str,
    /// The meaning, in full sentences.
    pub(super) means: String,
    /// An imperative without a final full stop.
    pub(super) cure: String,
}

impl Explanation {
    /// Reads all diagnoses, in the order of the checks that find them.
    pub(super) fn all() -> impl Iterator<Item = (&'static str, Self)> {
        terms(DIAGNOSES).filter_map(|(facts, text)| {
            let mut facts = facts.split(' ');
            let (name, kind, side) = (facts.next()?, facts.next()?, facts.next()?);
            let (means, cure) = text.split_once(" Do: ")?;
            let (means, cure) = (means.to_owned(), cure.to_owned());
            Some((name, Self { exit: Exit::of_kind(kind)?, side, means, cure }))
        })
    }

    /// Returns where the cure can be applied, in words for users.
    pub(super) fn place(&self) -> &'static str {
        match self.side {
            "client" => "here",
            "network" => "in the network",
            _ => "at the server",
        }
    }
}

impl Diagnosis {
    pub(super) fn explanation(self) -> Explanation {
        let found = Explanation::all().find(|(name, _)| *name == self.0);
        found.expect("a test finds each name of the source in the list").1
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns the names in the source of doctor that follow `before` in quotes.
    fn named(before: &str) -> BTreeSet<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cmd/doctor");
        let mut found = BTreeSet::new();
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let Ok(text) = std::fs::read_to_string(path) else { continue };
            let code = text.split("#[cfg(test)]").next().unwrap();
            let names = code.split(before).skip(1).filter_map(|rest| rest.strip_prefix('"'));
            found.extend(names.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
        found
    }

    #[test]
    fn every_diagnosis_has_a_unique_name_a_meaning_and_a_cure() {
        let mut names = BTreeSet::new();
        for (name, Explanation { exit, side, means, cure }) in Explanation::all() {
            assert!(names.insert(name.to_owned()), "{name} twice");
            let is_word = |char: char| char.is_ascii_lowercase() || char == '-' || char == '8';
            assert!(name.chars().all(is_word), "{name}");
            assert!(
                means.ends_with('.') && means.starts_with(char::is_uppercase),
                "{name}: {means}"
            );
            assert!(
                !cure.ends_with('.') && !cure.starts_with(char::is_uppercase),
                "{name}: {cure}"
            );
            assert!(["client", "network", "server"].contains(&side), "{name}");
            assert_ne!(exit, Exit::Success, "{name}");
        }
        assert_eq!(names.len(), terms(DIAGNOSES).count());
        assert_eq!(names, named("Diagnosis("));
    }

    #[test]
    fn the_checks_are_those_of_the_documents() {
        let json = include_str!("../man/json.md");
        let (_, list) = json.split_once("`doctor` makes these checks: ").unwrap();
        let (list, _) = list.split_once(". Several\n").unwrap();
        let of_options = ["--upload-dir", "doctor"];
        let listed = list.split('`').skip(1).step_by(2).filter(|word| !of_options.contains(word));
        assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), named("Check("));
    }
}
