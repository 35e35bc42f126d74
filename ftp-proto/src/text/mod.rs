//! The text that programs around the protocol share: values of options and settings, lines of JSON,
//! TOML, and times. Not part of the protocol; needs the feature `text`.

pub mod json;
mod stamp;
pub mod toml_text;
pub mod values;

pub use stamp::{Stamp, calendar, to_seconds};
