//! The test harness of the toolkit: what the suite needs to let client, server, command line and
//! programs that others wrote meet over loopback.
//!
//! Nothing here is for users. A helper that cannot go on panics, and its message is the test's
//! failure: it says what was expected, what came, and what was said on the wire until then.
#![expect(
    clippy::missing_panics_doc,
    reason = "a harness fails a test by panicking; each module says what it insists on"
)]

pub mod at_once;
pub mod check;
pub mod compare;
pub mod content;
pub mod hostile;
pub mod names;
pub mod network;
pub mod peer;
pub mod process;
pub mod prose;
pub mod random;
pub mod raw;
pub mod root;
pub mod scale;
pub mod site;
pub mod terminal;
#[cfg(feature = "tls")]
pub mod tls;

/// The programs in the README, which have to compile and, where they need no server, to run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The same for programmers.
#[cfg(doctest)]
#[doc = include_str!("../../docs/embedding.md")]
struct Embedding;
