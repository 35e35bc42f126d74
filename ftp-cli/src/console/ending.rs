//! Lets another thread end the process, after a signal or at the time limit, once the main thread
//! has released its resources.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use ftp_client::Canceller;

use super::{children, echo};

use crate::lock::lock;

/// Maximum time for the main thread to abort its transfers and release its resources. With the 250
/// ms for the last message, the process ends within a second.
const GOOD_BYE: Duration = Duration::from_millis(500);

/// Stage of the shutdown.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Stage {
    #[default]
    Running,
    /// The main thread must release its resources.
    Begun,
    /// The main thread has released its resources, and does nothing more.
    LetGo,
}

/// Agreement between the main thread and another one about who ends the process.
#[derive(Clone, Default)]
pub(crate) struct Ending(Arc<(Mutex<Stage>, Condvar)>);

impl Ending {
    /// Cancels the transfers, ends the child processes, and waits a short time for the main thread
    /// to release its resources.
    pub(super) fn begin(&self, canceller: Option<&Canceller>) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        *stage = Stage::Begun;
        // Cancelled only once the stage is set: the main thread may then call `heed` at once.
        if let Some(canceller) = canceller {
            canceller.cancel();
        }
        echo::restore();
        children::end();
        let _ = changed.wait_timeout_while(stage, GOOD_BYE, |stage| *stage != Stage::LetGo);
    }

    /// Returns at once, unless the shutdown has begun: then parks the main thread for good, and the
    /// other thread ends the process.
    pub(crate) fn heed(&self) {
        let (stage, changed) = &*self.0;
        let mut stage = lock(stage);
        if *stage == Stage::Begun {
            *stage = Stage::LetGo;
            drop(stage);
            changed.notify_all();
            loop {
                std::thread::park();
            }
        }
    }
}
