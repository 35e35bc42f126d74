//! Who ends the process when a signal came: the thread that heard it, once the main thread has let
//! go of what it has.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ftp_client::Canceller;

use super::echo;

use crate::lock::lock;

/// How long a server may take to hear that it is over. Together with the last word it is less than
/// a second.
const GOOD_BYE: Duration = Duration::from_millis(500);

/// How far the process is with ending by a signal.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Running,
    /// The main thread is to let go of what it has.
    Signalled,
    /// It has: nothing more comes from it.
    LetGo,
}

/// Where the thread that hears signals and the main thread agree on who ends the process.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<(Mutex<Stage>, Condvar)>);

impl Ending {
    /// Cancels, and waits until the main thread has let go of what it has, or a moment.
    pub(super) fn begin(&self, canceller: &Canceller) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        *stage = Stage::Signalled;
        // Not before: the main thread may be through with it at once.
        canceller.cancel();
        echo::restore();
        let _ = changed.wait_timeout_while(stage, GOOD_BYE, |stage| *stage != Stage::LetGo);
    }

    /// Called by the main thread at its end: if a signal came, how the process ends is not its say.
    pub(crate) fn heed(&self) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        if *stage == Stage::Signalled {
            *stage = Stage::LetGo;
            drop(stage);
            changed.notify_all();
            loop {
                std::thread::park();
            }
        }
    }
}
