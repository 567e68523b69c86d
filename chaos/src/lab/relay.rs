//! A wire with delay and loss: passes Ethernet frames between two interfaces of its namespace, each after the delay, some never.
//!
//! `tributary-chaos lab-relay LEFT RIGHT` takes lines `DELAY_MICROSECONDS LOSS_PER_MILLION` on standard input, each for all frames that
//! come from then on, and ends with its input. Only IPv4 is lost, so that neighbours stay known. What the interfaces' other ends send must
//! be whole frames with their checksums: offloads off. Bound: [`QUEUE_BYTES`] on their way in each direction; more is lost, as in a
//! router's queue.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use tokio::time::Instant;

use crate::telemetry::Rng;

/// Frames that wait, in bytes, in each direction.
const QUEUE_BYTES: usize = 8 << 20;
const MAX_FRAME: usize = 65_536;
/// Longest wait for a frame.
const IDLE: Duration = Duration::from_millis(100);
const IPV4: [u8; 2] = [0x08, 0x00];

/// The two interfaces.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    left: String,
    right: String,
}

#[derive(Debug, Default)]
struct Weather {
    delay_us: AtomicU64,
    loss_ppm: AtomicU64,
}

/// Frames on their way in one direction, in the order in which they came.
#[derive(Debug, Default)]
struct Flight {
    frames: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Flight {
    /// Takes a frame, unless the queue is full.
    fn take(&mut self, due: Instant, frame: &[u8]) {
        if self.bytes + frame.len() <= QUEUE_BYTES {
            self.bytes += frame.len();
            self.frames.push_back((due, frame.to_vec()));
        }
    }

    /// The next frame that is due. A delay that was made shorter lets nobody overtake.
    fn due(&mut self, now: Instant) -> Option<Vec<u8>> {
        let (_, frame) = self.frames.pop_front_if(|(due, _)| *due <= now)?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

/// Runs the relay until its standard input ends; needs its interfaces, and the right to open packet sockets (root).
#[must_use]
pub fn main(args: &Args) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab-relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let weather = Arc::new(Weather::default());
    let (left, right) = (Arc::new(open(&args.left)?), Arc::new(open(&args.right)?));
    println!("ready");
    io::stdout().flush()?;
    // Whichever ends first ends the relay.
    let (end, ended) = mpsc::sync_channel(3);
    for (from, to, seed) in [(&left, &right, 1), (&right, &left, 2)] {
        let (from, to, weather, end) = (Arc::clone(from), Arc::clone(to), Arc::clone(&weather), end.clone());
        thread::spawn(move || end.send(carry(&from, &to, &weather, Rng::new(seed))));
    }
    thread::spawn(move || end.send(listen(&weather)));
    ended.recv().map_err(io::Error::other)?
}

fn listen(weather: &Weather) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let numbers = line.split_once(' ').and_then(|(delay, loss)| Some((delay.parse().ok()?, loss.parse().ok()?)));
        let (delay, loss) = numbers.ok_or_else(|| io::Error::other(format!("{line:?}: expected DELAY_MICROSECONDS LOSS_PER_MILLION")))?;
        weather.delay_us.store(delay, Ordering::Relaxed);
        weather.loss_ppm.store(loss, Ordering::Relaxed);
    }
    Ok(())
}

/// A packet socket on one interface, for all protocols.
fn open(interface: &str) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let packet = socket::socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)?;
    let mut addresses = getifaddrs()?.filter(|address| address.interface_name == interface).filter_map(|address| address.address);
    let link = addresses.find_map(|address| address.as_link_addr().copied());
    let link = link.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{interface}: no such interface here")))?;
    socket::bind(packet.as_raw_fd(), &link)?;
    Ok(packet)
}

fn carry(from: &OwnedFd, to: &OwnedFd, weather: &Weather, mut rng: Rng) -> io::Result<()> {
    let (mut flight, mut frame) = (Flight::default(), vec![0; MAX_FRAME]);
    loop {
        let until = flight.frames.front().map_or(IDLE, |(due, _)| due.saturating_duration_since(Instant::now()).min(IDLE));
        let wait = u16::try_from(until.as_micros().div_ceil(1_000)).unwrap_or(u16::MAX);
        poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], wait)?;
        while let Some(len) = receive(from, &mut frame)? {
            let delay = Duration::from_micros(weather.delay_us.load(Ordering::Relaxed));
            let lost = frame[..len].get(12..14) == Some(&IPV4[..]) && rng.below(1_000_000) < weather.loss_ppm.load(Ordering::Relaxed);
            if !lost {
                flight.take(Instant::now() + delay, &frame[..len]);
            }
        }
        while let Some(frame) = flight.due(Instant::now()) {
            // An interface that is down, or a queue that is full, loses frames as any wire does.
            let _ = socket::send(to.as_raw_fd(), &frame, MsgFlags::empty());
        }
    }
}

/// One frame; none when there is none now, or the interface is down.
fn receive(from: &OwnedFd, frame: &mut [u8]) -> io::Result<Option<usize>> {
    match socket::recv(from.as_raw_fd(), frame, MsgFlags::empty()) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::EAGAIN | Errno::ENETDOWN) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame waits for its time, none overtakes, and the queue has its bound.
    #[tokio::test]
    async fn frames_wait_in_order_within_the_bound() {
        let (mut flight, now) = (Flight::default(), Instant::now());
        let ms = |n| now + Duration::from_millis(n);
        flight.take(ms(10), b"first");
        flight.take(ms(5), b"second");
        assert_eq!(flight.due(ms(9)), None, "the second does not overtake the first");
        assert_eq!([flight.due(ms(10)), flight.due(ms(10))], [Some(b"first".to_vec()), Some(b"second".to_vec())]);
        (0..QUEUE_BYTES / 1_000 + 5).for_each(|_| flight.take(now, &[0; 1_000]));
        assert_eq!(flight.frames.len(), QUEUE_BYTES / 1_000);
    }
}
