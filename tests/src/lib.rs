//! The test harness of the toolkit: everything that the suite needs to connect client, server,
//! command line and other programs over loopback.
//!
//! Nothing here is for users. A helper that cannot continue panics. The panic message is the test's
//! failure: the expected value, the actual value, and the dialogue so far.
#![expect(
    clippy::missing_panics_doc,
    reason = "a harness fails a test by panicking; each module says what it insists on"
)]

pub mod at_once;
pub mod between;
pub mod check;
pub mod compare;
pub mod content;
pub mod folding;
pub mod fxp;
pub mod hostile;
pub mod lying_disk;
pub mod names;
pub mod network;
pub mod peer;
pub mod port;
pub mod process;
pub mod prose;
pub mod random;
pub mod raw;
pub mod root;
pub mod scale;
pub mod site;
pub mod terminal;
pub mod tls;
pub mod wait;

/// The programs in the README, which must compile and, if they need no server, run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The READMEs of the libraries.
#[cfg(doctest)]
#[doc = include_str!("../../ftp-proto/README.md")]
#[doc = include_str!("../../ftp-client/README.md")]
#[doc = include_str!("../../ftp-server/README.md")]
struct Libraries;

/// The programs in the document about embedding.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
