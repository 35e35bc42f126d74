//! Runs cases that mostly wait, several at a time.

use std::panic::resume_unwind;
use std::sync::Mutex;
use std::thread::{self, Builder};

/// Calls `work` with each of `items`, `most` of them at a time, and returns the results in the
/// order of the items. If a thread panics, the panic continues in the caller once the other threads
/// have ended.
///
/// Use it for cases that wait: for a timeout, for another program, or for a server that is slow on
/// purpose. Cases that compute do not become faster.
#[track_caller]
pub fn at_once<T: Send, R: Send>(
    most: usize,
    items: impl IntoIterator<Item = T>,
    work: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let waiting: Vec<_> = items.into_iter().enumerate().collect();
    let workers = most.min(waiting.len());
    let waiting = Mutex::new(waiting.into_iter());
    let next = || waiting.lock().expect("nobody panics while it is held").next();
    let works = || {
        let mut done = Vec::new();
        while let Some((at, item)) = next() {
            done.push((at, work(item)));
        }
        done
    };
    // A report of a missing program contains the name of the test, which is the name of the thread.
    let name = thread::current().name().unwrap_or("a test").to_owned();
    let mut done = thread::scope(|scope| {
        let start = |_| Builder::new().name(name.clone()).spawn_scoped(scope, works);
        let workers: Vec<_> = (0..workers).map(start).collect();
        let ends = workers.into_iter().map(|worker| worker.expect("a thread").join());
        let ends: Vec<_> = ends.collect();
        ends.into_iter()
            .flat_map(|end| end.unwrap_or_else(|panic| resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, came)| came).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn results_are_in_order_and_n_threads_run_at_once() {
        let all_are_there = Barrier::new(3);
        let double = |number: usize| {
            all_are_there.wait();
            2 * number
        };
        assert_eq!(at_once(3, 0..6, double), [0, 2, 4, 6, 8, 10]);
        assert!(at_once(3, [0; 0], double).is_empty());
    }

    #[test]
    #[should_panic(expected = "the fourth")]
    fn a_panic_in_a_parallel_task_is_propagated() {
        at_once(2, 0..6, |number| assert!(number != 3, "the fourth"));
    }
}
