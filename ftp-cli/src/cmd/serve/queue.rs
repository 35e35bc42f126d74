//! A queue of the events that the main thread of a server handles.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use super::certificate::renewal::Renewed;
use super::control::Call;
use super::running::Running;
use super::systemd::Service;

/// Interval at which a draining server checks whether the last session has ended.
const DRAIN_CHECK: Duration = Duration::from_millis(200);

/// An event for the main thread.
#[derive(Debug)]
pub(super) enum Event {
    /// A signal to stop, or the end of the last session of a draining server.
    Stop,
    /// SIGHUP.
    Reload,
    /// It is time to check the certificate files, or to report certificates that expire soon.
    CertificatesDue,
    /// The certificate files were checked.
    Certificates(Box<Renewed>),
    /// A request through the control socket.
    Control(Call),
}

/// The events that are not handled yet, the oldest first.
pub(super) struct Queue {
    receiver: Receiver<Event>,
    waiting: VecDeque<Event>,
}

impl Queue {
    pub(super) const fn new(receiver: Receiver<Event>) -> Self {
        Self { receiver, waiting: VecDeque::new() }
    }

    /// Waits for the next event. A stop comes first, and several reloads count as one. Notifies the
    /// watchdog of the service manager while it waits.
    pub(super) fn next(&mut self, service: &mut Service, running: &Running<'_>) -> Event {
        loop {
            // Many requests in a row must not delay the watchdog.
            if service.pause().is_some_and(|pause| pause.is_zero()) {
                service.beat(running.server());
            }
            self.waiting.extend(self.receiver.try_iter());
            if let Some(event) = self.take() {
                return event;
            }
            let certificates = running.certificate_pause();
            if certificates.is_some_and(|pause| pause.is_zero()) {
                return Event::CertificatesDue;
            }
            let check = match running.has_drained() {
                Some(true) => return Event::Stop,
                Some(false) => Some(DRAIN_CHECK),
                None => None,
            };
            let pauses = [service.pause(), check, certificates, running.check_former_logins()];
            let received = match pauses.into_iter().flatten().min() {
                Some(pause) => self.receiver.recv_timeout(pause),
                None => self.receiver.recv().map_err(RecvTimeoutError::from),
            };
            match received {
                Ok(event) => self.waiting.push_back(event),
                Err(RecvTimeoutError::Timeout) => {}
                // All threads that send events are gone: stop as for a signal.
                Err(RecvTimeoutError::Disconnected) => return Event::Stop,
            }
        }
    }

    fn take(&mut self) -> Option<Event> {
        if self.waiting.iter().any(|event| matches!(event, Event::Stop)) {
            return Some(Event::Stop);
        }
        let event = self.waiting.pop_front()?;
        if matches!(event, Event::Reload) {
            self.waiting.retain(|event| !matches!(event, Event::Reload));
        }
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_comes_before_reloads_and_repeated_reloads_are_merged() {
        let mut queue = Queue::new(std::sync::mpsc::channel().1);
        let taken = |queue: &mut Queue| queue.take().map(|event| format!("{event:?}"));
        queue.waiting.extend([Event::Reload, Event::Reload]);
        assert_eq!(taken(&mut queue).as_deref(), Some("Reload"));
        assert_eq!(taken(&mut queue), None);
        queue.waiting.extend([Event::Reload, Event::Stop]);
        assert_eq!(taken(&mut queue).as_deref(), Some("Stop"));
    }
}
