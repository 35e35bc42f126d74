//! The parsed options of trees.

use std::ffi::{OsStr, OsString};

use ftp_client::{ListOptions, ListingForm};

use super::filter::Filter;
use crate::exit::Failure;
use crate::options::{Options, values};
use crate::transfer::options::TransferOptions;

/// Facts by which files of the same name are compared, besides their size.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Comparison {
    Size,
    Time,
    Hash,
}

/// Treatment of symbolic links of the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum LinkChoice {
    /// The target gets the same links.
    Keep,
    /// The target gets copies of the objects that the links lead to.
    Follow,
    Skip,
}

/// Options of `mirror` and `fxp -r`.
pub(super) struct MirrorOptions {
    pub(super) filter: Filter,
    pub(super) list: ListOptions,
    pub(super) comparison: Comparison,
    pub(super) deletes: bool,
    /// `--ignore-errors`.
    pub(super) ignores_errors: bool,
    pub(super) max_delete: Option<usize>,
    pub(super) is_dry: bool,
    pub(super) links: LinkChoice,
    /// `--perms`.
    pub(super) perms: bool,
    /// `--backup-dir`.
    pub(super) backup: Option<OsString>,
    /// `--stats`.
    pub(super) stats: bool,
    /// Number of ports of `--active-ports`; `usize::MAX` without that option.
    pub(super) active_ports: usize,
    /// Options for each file; options that only `get` and `put` accept are not set.
    pub(super) transfer: TransferOptions,
}

impl MirrorOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, and for options that contradict each other or have no
    /// effect.
    pub(super) fn from_options(options: &Options) -> Result<Self, Failure> {
        let forms =
            [("auto", ListingForm::Auto), ("mlsd", ListingForm::Mlsd), ("list", ListingForm::List)];
        let form = options.parsed("listing", |text| values::word(text, &forms))?;
        let number = |text: &str| {
            text.parse::<usize>()
                .map_err(|_| format!("invalid number \"{text}\": expected a whole number"))
        };
        let max_delete = options.parsed("max-delete", number)?;
        let deletes = options.has("delete");
        if max_delete.is_some() && !deletes {
            return Err(Failure::usage("--max-delete needs --delete"));
        }
        if options.has("ignore-errors") && !deletes {
            return Err(Failure::usage("--ignore-errors needs --delete"));
        }
        let modes =
            [("size", Comparison::Size), ("time", Comparison::Time), ("hash", Comparison::Hash)];
        let named = options.parsed("compare", |text| values::word(text, &modes))?;
        let comparison = match options.last_of(&["size-only", "compare"]) {
            Some("size-only") => Comparison::Size,
            _ => named.unwrap_or(Comparison::Time),
        };
        if options.has("remove-source") && comparison == Comparison::Size {
            return Err(Failure::usage("--remove-source needs --compare time or --compare hash"));
        }
        if options.has("remove-source") && deletes {
            return Err(Failure::usage("--remove-source and --delete exclude each other"));
        }
        let choices = [
            ("keep", LinkChoice::Keep),
            ("follow", LinkChoice::Follow),
            ("skip", LinkChoice::Skip),
        ];
        let links = options.parsed("links", |text| values::word(text, &choices))?;
        let links = links.unwrap_or(LinkChoice::Skip);
        if options.has("remove-source") && links == LinkChoice::Follow {
            let message = "--remove-source and --links follow exclude each other: the targets of links are never removed";
            return Err(Failure::usage(message));
        }
        let ports = options.parsed("active-ports", values::ports)?;
        let active_ports = ports.map_or(usize::MAX, |ports| ports.count());
        let backup = options.value("backup-dir").map(OsStr::to_owned);
        if backup.as_ref().is_some_and(|backup| backup.is_empty()) {
            return Err(Failure::usage("--backup-dir: expected a directory"));
        }
        Ok(Self {
            filter: Filter::from_options(options)?,
            list: ListOptions { all: true, form: form.unwrap_or_default() },
            comparison,
            deletes,
            ignores_errors: options.has("ignore-errors"),
            max_delete,
            is_dry: options.has("dry-run"),
            links,
            perms: options.has("perms"),
            backup,
            stats: options.has("stats"),
            active_ports,
            transfer: TransferOptions::from_options(options)?,
        })
    }
}
