//! Typed options of trees.

use ftp_client::{ListOptions, ListingForm};

use super::filter::Filter;
use crate::exit::Failure;
use crate::options::{Options, values};
use crate::transfer::options::TransferOptions;

/// Options of `mirror` and `fxp -r`.
pub(super) struct MirrorOptions {
    pub(super) filter: Filter,
    pub(super) list: ListOptions,
    pub(super) size_only: bool,
    pub(super) deletes: bool,
    pub(super) max_delete: Option<usize>,
    pub(super) is_dry: bool,
    /// Options for each file; options that only `get` and `put` accept are not set.
    pub(super) transfer: TransferOptions,
}

impl MirrorOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// Returns `Usage` for an invalid value, or an option without effect.
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
        Ok(Self {
            filter: Filter::from_options(options)?,
            list: ListOptions { all: true, form: form.unwrap_or_default() },
            size_only: options.has("size-only"),
            deletes,
            max_delete,
            is_dry: options.has("dry-run"),
            transfer: TransferOptions::from_options(options)?,
        })
    }
}
