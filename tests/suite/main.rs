//! One test program: a module for each behaviour that needs more than one crate, or a program of
//! another project.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "in tests both are wanted, and clippy's own exception is for test functions alone"
)]

mod breaking;
mod client_commands;
mod clients;
mod clocks;
mod cut_stores;
mod cut_uploads;
mod daemons;
mod deflate;
mod documents;
mod files;
mod goals;
mod haproxy;
mod held;
mod interop_curl;
mod interop_ftplib;
mod interop_fxp;
mod interop_fxp_client;
mod interop_lftp;
mod interop_tls;
mod nat;
mod nodes;
mod packages;
mod peers;
mod pictures;
mod properties;
mod prose;
mod reuse;
mod server;
mod shaken;
mod stopped;
mod stores;
mod tls_client;
mod typed_by_hand;
