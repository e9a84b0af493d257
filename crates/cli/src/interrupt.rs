//! SIGINT and SIGTERM. An operation is told through its [`Progress`](silt::Progress), fails where
//! bytes move, and tidies up; one that is not there in time is ended, which the store survives.

use std::io::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long an operation may take to tidy up. Together with that it is over within a second.
const GRACE: Duration = Duration::from_millis(700);

/// The signal that came; 0 before.
static RECEIVED: AtomicI32 = AtomicI32::new(0);

/// From now on, signals are asked for by [`signal`].
pub(crate) fn watch() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        // Where that is not possible, signals end the program at once, as they do by themselves.
        if let Ok(signals) = Signals::new([SIGINT, SIGTERM]) {
            thread::spawn(move || wait_for(signals));
        }
    });
}

/// The signal that asked the program to end.
pub(crate) fn signal() -> Option<i32> {
    Some(RECEIVED.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
}

/// The exit code that shells give a program which a signal has ended.
pub(crate) fn exit_code(signal: i32) -> u8 {
    u8::try_from(signal).map_or(1, |signal| signal | 0x80)
}

/// What a user is told.
pub(crate) fn message(signal: i32) -> &'static str {
    match signal {
        SIGINT => "error: interrupted (SIGINT)\n",
        _ => "error: told to end (SIGTERM)\n",
    }
}

fn wait_for(mut signals: Signals) {
    for signal in signals.forever() {
        if RECEIVED.swap(signal, Ordering::Relaxed) != 0 {
            end(signal);
        }
        thread::spawn(move || {
            thread::sleep(GRACE);
            end(signal);
        });
    }
}

fn end(signal: i32) -> ! {
    silt::save::remove_unfinished();
    let _ = io::stderr().write_all(message(signal).as_bytes());
    std::process::exit(exit_code(signal).into())
}
