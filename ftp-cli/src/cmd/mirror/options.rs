//! The parsed options of trees.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;

use ftp_client::fxp;
use ftp_client::listing::ListingForm;
use ftp_client::tree::{Compare, LinkChoice, SyncOptions};

use super::filter::Filter;
use crate::console::Cleanup;
use crate::exit::{Failure, Result};
use crate::options::{Options, values};
use crate::transfer::{TransferOptions, journals};

/// Options of `mirror` and `fxp -r`.
pub(super) struct MirrorOptions {
    pub(super) filter: Filter,
    /// `--max-delete`.
    pub(super) max_delete: Option<usize>,
    /// The options of the library that depend on nothing else.
    sync: SyncOptions<'static>,
    /// `--manifest`.
    pub(super) manifest: Option<String>,
    pub(super) deletes: bool,
    /// `--ignore-errors`.
    pub(super) ignores_errors: bool,
    pub(super) is_dry: bool,
    links: LinkChoice,
    /// `--backup-dir`.
    backup: Option<OsString>,
    /// `--stats`.
    pub(super) stats: bool,
    /// Options for each file; options that only `get` and `put` accept are not set.
    pub(super) transfer: TransferOptions,
}

impl MirrorOptions {
    /// Reads the options; `source` is a local SRC.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, and for options that contradict each other or have no
    /// effect. Returns `Local` if a file of patterns cannot be read.
    pub(super) fn from_options(
        options: &Options,
        source: Option<&Path>,
        input: &mut dyn Read,
    ) -> Result<Self> {
        let forms =
            [("auto", ListingForm::Auto), ("mlsd", ListingForm::Mlsd), ("list", ListingForm::List)];
        let form = options.parsed("listing", |text| values::word(text, &forms))?;
        let number = |text: &str| {
            text.parse::<usize>()
                .map_err(|_| format!("invalid number \"{text}\": expected a whole number"))
        };
        let max_delete = options.parsed("max-delete", number)?;
        let modes = [("size", Compare::Size), ("time", Compare::Time), ("hash", Compare::Digest)];
        let named = options.parsed("compare", |text| values::word(text, &modes))?;
        let comparison = match options.last_of(&["size-only", "compare"]) {
            Some("size-only") => Some(Compare::Size),
            _ => named,
        };
        if options.has("remove-source") && comparison == Some(Compare::Size) {
            return Err(Failure::usage("--remove-source needs --compare time or --compare hash"));
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
        let backup = options.value("backup-dir").map(OsStr::to_owned);
        if backup.as_ref().is_some_and(|backup| backup.is_empty()) {
            return Err(Failure::usage("--backup-dir: expected a directory"));
        }
        let manifest = options.optional("manifest").map(|name| match name.map(OsStr::to_str) {
            None => Ok(SyncOptions::MANIFEST.to_owned()),
            Some(Some(name)) => Ok(name.to_owned()),
            Some(None) => Err(Failure::usage("--manifest: expected a NAME in UTF-8")),
        });
        let sync = SyncOptions::new()
            .listing(form.unwrap_or_default())
            .replaces_changed(options.has("force"))
            .permissions(options.has("perms"));
        Ok(Self {
            filter: Filter::from_options(options, source, input)?,
            max_delete,
            sync: comparison.into_iter().fold(sync, SyncOptions::compare),
            manifest: manifest.transpose()?,
            deletes: options.has("delete"),
            ignores_errors: options.has("ignore-errors"),
            is_dry: options.has("dry-run"),
            links,
            backup,
            stats: options.has("stats"),
            transfer: TransferOptions::from_options(options)?,
        })
    }

    /// Checks the options of a mirror to a server.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for options that FTP cannot carry out, or that contradict each other.
    pub(super) fn check_upload(&self) -> Result {
        if self.links == LinkChoice::Keep {
            let message =
                "FTP cannot create symbolic links on a server; use --links follow or --links skip";
            return Err(Failure::usage(message));
        }
        if self.backup.is_some() && self.transfer.resume {
            let message = "--backup-dir and --continue exclude each other for uploads";
            return Err(Failure::usage(message));
        }
        Ok(())
    }

    /// Returns the options of the library; `relay` has those of a copy between two servers.
    pub(super) fn for_library(
        &self,
        cleanup: &Cleanup,
        relay: Option<fxp::Options>,
    ) -> SyncOptions<'_> {
        let transfer = &self.transfer;
        let options: SyncOptions<'_> = self.sync.clone();
        options
            .manifest(self.manifest.clone())
            .deletes(self.deletes)
            .most_deletions(self.max_delete)
            .ignores_errors(self.ignores_errors)
            .links(self.links)
            .moves(transfer.removes_source)
            .resume(transfer.how_to_resume())
            .is_dry(self.is_dry)
            .creates_parents(transfer.create_directories)
            .temporary(transfer.temporary.clone())
            .backup(self.backup.clone().map(Into::into))
            .journals(journals())
            .choice(|path, is_directory| self.filter.takes(path, is_directory))
            .only(transfer.selection)
            // In active mode, each job listens on a port of its own.
            .jobs(transfer.jobs)
            .rate_limit(transfer.rate_limit.clone())
            .relay(relay.unwrap_or_default())
            .patience(transfer.retrying.patience(cleanup.canceller()))
    }
}
