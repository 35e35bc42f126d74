//! Our client under TLS, with servers of other projects and with ours.

mod copies;
mod ends;
mod ours;
mod peer;
mod real;
mod refills;
mod scripted;
mod session;
mod sscn;
