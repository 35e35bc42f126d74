//! The settings of `serve` as data: each row of [`TABLE`] can be set in a file and by `--set
//! KEY=VALUE`, and appears in `help serve`, `--check` and `dist/server.toml`.

mod file;
mod form;
mod forms;
mod kind;
mod layers;
mod lines;
mod listen;
mod origins;
mod protection;
mod reader;
mod row;
#[cfg(test)]
mod sample;
mod table;
#[cfg(test)]
mod tests;
mod toml_text;
mod user;

pub(crate) use file::{File, Reading};
pub(crate) use forms::Expiry;
pub(crate) use listen::{MISSING, Passed, available, has_ipv6, is_missing};
pub(crate) use protection::Protection;
pub(crate) use table::{FIXED, Settings, TABLE};
pub(crate) use toml_text::shown;
pub(crate) use user::{USER, User};
