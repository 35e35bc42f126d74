//! The client with a scripted peer: each test holds both sides of one dialogue. The ids in the
//! names are those of the conformance and hostile-input lists.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "what tests call panics as they do")]

mod ahead;
mod blocks;
mod cancelling;
mod clocks;
mod commands;
mod connecting;
mod control;
mod copying;
mod data_connections;
mod deflate;
mod directories;
mod downloads;
mod evidence;
mod files;
mod fxp;
mod listings;
mod local_files;
mod logins;
mod moments;
mod moves;
mod odd_ends;
mod one_call;
mod parts;
mod peer;
mod pool;
mod proxies;
mod ranges;
mod removals;
mod retry;
mod servers;
mod step;
mod trace;
mod trees;
mod uploads;
mod uploads_ahead;
mod uploads_resumed;
mod walks;
mod watching;
