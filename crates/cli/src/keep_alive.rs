//! Tells the service manager that a long operation is alive, as sd_notify(3) describes: a message in
//! a datagram to the socket that `NOTIFY_SOCKET` names.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::output::one_line;

/// How often, where the manager's watchdog does not say.
const INTERVAL: Duration = Duration::from_secs(10);

/// Sends messages until it is dropped.
///
/// They come from a thread of their own, and so even while the operation waits for a slow device: to
/// end it then would help nobody, and no wait of its own is longer than that for the store's lock.
pub(crate) struct KeepAlive {
    socket: UnixDatagram,
    /// Dropped, it ends the thread.
    _running: Sender<()>,
}

impl KeepAlive {
    /// `None` where no service manager listens.
    pub(crate) fn start() -> Option<Self> {
        let address = address(&std::env::var_os("NOTIFY_SOCKET")?)?;
        let interval = watchdog_interval(std::env::var("WATCHDOG_USEC").ok().as_deref());
        Self::to(&address, interval.unwrap_or(INTERVAL))
    }

    fn to(address: &SocketAddr, interval: Duration) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect_addr(address).ok()?;
        let sender = socket.try_clone().ok()?;
        let (running, is_running) = mpsc::channel::<()>();
        // A start-up or running time that the manager limits goes on from each message.
        let extended = (interval * 3).as_micros();
        let message = format!("WATCHDOG=1\nEXTEND_TIMEOUT_USEC={extended}\n");
        thread::spawn(move || {
            loop {
                let _ = sender.send(message.as_bytes());
                if is_running.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        Some(Self { socket, _running: running })
    }

    /// What `systemctl status` shows.
    pub(crate) fn status(&self, text: &str) {
        let _ = self.socket.send(format!("STATUS={}\n", one_line(text)).as_bytes());
    }
}

/// A path, or with an `@` in front a name in the abstract namespace.
fn address(name: &OsStr) -> Option<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name).ok(),
        [b'/', ..] => SocketAddr::from_pathname(name).ok(),
        _ => None,
    }
}

/// Half of what the watchdog grants, as sd_watchdog_enabled(3) advises.
fn watchdog_interval(micros: Option<&str>) -> Option<Duration> {
    let micros: u64 = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros.div_ceil(2)).min(INTERVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let address = address(path.as_os_str()).unwrap();
        let keep_alive = KeepAlive::to(&address, Duration::from_millis(5)).unwrap();
        let mut buffer = [0; 200];
        for _ in 0..3 {
            let count = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"WATCHDOG=1\nEXTEND_TIMEOUT_USEC=15000\n");
        }
        keep_alive.status("Layer 1/2\n\x1b");
        let heard =
            std::iter::repeat_with(|| manager.recv(&mut buffer).map(|n| buffer[..n].to_vec()));
        let status = heard.map(Result::unwrap).find(|text| text.starts_with(b"STATUS=")).unwrap();
        assert_eq!(status.iter().filter(|byte| **byte < b' ').count(), 1);
        drop(keep_alive);
        manager.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!((0..1000).any(|_| manager.recv(&mut buffer).is_err()), "it ends");
    }

    #[test]
    fn the_interval_is_half_of_what_is_granted() {
        assert_eq!(watchdog_interval(Some("3000000")), Some(Duration::from_millis(1500)));
        assert_eq!(watchdog_interval(Some("3600000000")), Some(INTERVAL));
        assert_eq!(watchdog_interval(Some("0")), None);
        assert_eq!(watchdog_interval(Some("soon")), None);
        assert_eq!(watchdog_interval(None), None);
        assert!(address(OsStr::new("@abstract")).is_some() && address(OsStr::new("x")).is_none());
    }
}
