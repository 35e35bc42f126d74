//! Our client under TLS: against servers that others wrote, and against ours.

mod real;
mod session;
