//! Data connections: agreeing on one, and waiting for it while the control connection may refuse it
//! (RFC 959 §3.2, RFC 2428).

mod active;
mod modes;
mod opening;
mod passive;

pub(crate) use modes::{DataModes, may_fall_back};
pub(crate) use opening::{Advance, Agreed, Opening, Prepared};
pub(crate) use passive::{FIRST_FREE_PORT, ahead, prepare_ahead};

use crate::config::{Config, Mode};
use crate::control::ControlConnection;
use crate::error::{DataAttempt, Error};

/// Agrees with the server on a data connection. Failed attempts are added to `attempts`;
/// `epsv_failed` skips `EPSV` this time.
pub(crate) fn prepare(
    control: &mut ControlConnection,
    config: &Config,
    modes: &mut DataModes,
    epsv_failed: bool,
    attempts: &mut Vec<DataAttempt>,
) -> Result<Prepared, Error> {
    match config.mode {
        Mode::Passive => passive::prepare(control, config, modes, epsv_failed, attempts),
        Mode::Active => active::prepare(control, config, modes, attempts),
    }
}
