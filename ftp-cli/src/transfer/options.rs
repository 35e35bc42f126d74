//! Typed options of transfers. `get`, `put` and `batch` accept all of them, `mirror` and `fxp`
//! some; each is read only here.

use ftp_client::RateLimit;
use ftp_proto::{FtpUrl, RepresentationType};

use crate::connect::retry::Retrying;
use crate::exit::Failure;
use crate::options::{Options, values};

/// Largest number of connections for `--jobs`.
const JOBS: usize = 64;

/// Verification of `--verify`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Verify {
    /// Default: the size, if the server reports it.
    BestEffort,
    None,
    Size,
    Hash,
}

/// Options of the group transfer.
#[derive(Clone)]
pub(crate) struct TransferOptions {
    /// `--ascii` or `--binary`, which override the URL.
    representation: Option<RepresentationType>,
    pub(crate) resume: bool,
    pub(crate) append: bool,
    pub(crate) unique: bool,
    pub(crate) no_clobber: bool,
    pub(crate) in_place: bool,
    pub(crate) create_directories: bool,
    pub(crate) preserve: bool,
    pub(crate) verify: Verify,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) retrying: Retrying,
    pub(crate) jobs: usize,
}

impl TransferOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or two contradicting options.
    pub(crate) fn from_options(options: &Options) -> Result<Self, Failure> {
        let representation = match options.last_of(&["ascii", "binary"]) {
            Some("ascii") => Some(RepresentationType::Ascii),
            Some(_) => Some(RepresentationType::Image),
            None => None,
        };
        let words = [("none", Verify::None), ("size", Verify::Size), ("hash", Verify::Hash)];
        let verify = options.parsed("verify", |text| values::word(text, &words))?;
        let jobs = |text: &str| match text.parse() {
            Ok(jobs @ 1..=JOBS) => Ok(jobs),
            _ => Err(format!("invalid number \"{text}\": expected 1 to {JOBS}")),
        };
        let exclusive = [("append", "continue"), ("unique", "continue"), ("unique", "append")];
        for (one, other) in exclusive.into_iter().chain([("no-clobber", "append")]) {
            if options.has(one) && options.has(other) {
                let message = format!("--{one} and --{other} exclude each other");
                return Err(Failure::usage(message));
            }
        }
        if options.has("append") && verify == Some(Verify::Hash) {
            let message = "--verify hash and --append exclude each other";
            return Err(Failure::usage(message));
        }
        Ok(Self {
            representation,
            resume: options.has("continue"),
            append: options.has("append"),
            unique: options.has("unique"),
            no_clobber: options.has("no-clobber"),
            in_place: options.has("in-place"),
            create_directories: options.has("create-dirs"),
            preserve: options.has("preserve"),
            verify: verify.unwrap_or(Verify::BestEffort),
            rate_limit: options.parsed("limit-rate", values::rate)?.map(RateLimit::new),
            retrying: Retrying::from_options(options)?,
            jobs: options.parsed("jobs", jobs)?.unwrap_or(1),
        })
    }

    /// Returns the transfer type for a URL: the option, else `;type=`, else image.
    ///
    /// # Errors
    ///
    /// Returns `Usage` if another option counts bytes, which ASCII changes.
    pub(crate) fn representation(&self, url: &FtpUrl) -> Result<RepresentationType, Failure> {
        let representation =
            self.representation.or(url.representation()).unwrap_or(RepresentationType::Image);
        let counts = match self.verify {
            _ if self.resume => Some("--continue"),
            Verify::Size => Some("--verify size"),
            Verify::Hash => Some("--verify hash"),
            _ => None,
        };
        match counts {
            Some(what) if representation != RepresentationType::Image => {
                Err(Failure::usage(format!("{what} cannot be combined with --ascii or ;type=a")))
            }
            _ => Ok(representation),
        }
    }
}
