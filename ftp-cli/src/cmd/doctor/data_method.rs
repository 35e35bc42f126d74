//! Methods of data connections.

use ftp_client::{ClientBuilder, Extended, Mode};

/// A method of data connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum DataMethod {
    Epsv,
    Pasv,
    Eprt,
    Port,
}

impl DataMethod {
    pub(super) const ALL: [Self; 4] = [Self::Epsv, Self::Pasv, Self::Eprt, Self::Port];

    /// Returns a builder whose client uses only this method.
    pub(super) fn alone(self, builder: ClientBuilder) -> ClientBuilder {
        match self {
            Self::Epsv => builder.mode(Mode::Passive).epsv(Extended::Always),
            Self::Pasv => builder.mode(Mode::Passive).epsv(Extended::Never),
            Self::Eprt => builder.mode(Mode::Active).eprt(Extended::Always),
            Self::Port => builder.mode(Mode::Active).eprt(Extended::Never),
        }
    }

    /// Returns the command of the method.
    pub(super) const fn command(self) -> &'static str {
        match self {
            Self::Epsv => "EPSV",
            Self::Pasv => "PASV",
            Self::Eprt => "EPRT",
            Self::Port => "PORT",
        }
    }

    pub(super) const fn is_active(self) -> bool {
        matches!(self, Self::Eprt | Self::Port)
    }
}
