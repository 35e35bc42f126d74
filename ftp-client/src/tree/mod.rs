//! Directory trees: [`remove`] deletes one, and the rest are decisions for copies of trees.
//!
//! Some targets store two spellings of a name as one object: they ignore case, normalize Unicode,
//! drop dots and blanks at the end, or cut names short. Whoever writes into a directory, deletes
//! from it or removes a source therefore asks first: [`fold`] says which names may be one, and
//! [`relation`] what the target's answers prove ([`look`] asks a server). [`Causes`] holds back
//! deletions after a failure.
//!
//! ```
//! use ftp_client::tree::{Answer, Relation, fold, relation};
//!
//! // `Readme.txt` is new, and the directory lists `README.TXT`.
//! assert_eq!(fold(b"Readme.txt"), fold(b"README.TXT"));
//! // The server reports a size for both, so it stores both under one name.
//! assert_eq!(relation(Answer::There, Answer::There), Relation::One);
//! // It reports a size only for the listed name, so the new name is another file.
//! assert_eq!(relation(Answer::There, Answer::Absent), Relation::Two);
//! ```

mod causes;
mod compare;
mod copy;
mod encoding;
mod entry;
mod execute;
mod fault;
mod hand;
#[doc(hidden)]
pub mod links;
pub(crate) mod local;
mod manifest;
pub(crate) mod names;
mod options;
pub mod path;
mod plan;
pub(crate) mod probe;
mod remove;
mod scan;
mod steps;
mod sync;

pub use causes::Causes;
pub use compare::Difference;
pub use execute::Summary;
pub use fault::{Setting, TreeFault};
pub use names::{Answer, Relation, fold, look, relation};
pub use options::{Choice, Compare, LinkChoice, SyncOptions};
pub use remove::{RemoveOptions, RemoveReport, remove};
pub use steps::{Action, Excess, PlannedStep};
pub use sync::{TreeSide, TreeSync};
