//! Our client under TLS, with servers of other projects and with ours.

mod copies;
mod ours;
mod peer;
mod real;
mod refills;
mod scripted;
mod session;
mod sscn;
