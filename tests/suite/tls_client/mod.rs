//! Our client under TLS: against servers that others wrote, and against ours.

mod copies;
mod ours;
mod peer;
mod real;
mod refills;
mod scripted;
mod session;
