//! Connections between edges and routers: what is said arrives late, streams overtake each other, and a lost message is a lost connection,
//! which each side notices in its own time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use edge_gateway::shipper::Chunk;

use super::clockwork::Clockwork;
use super::event::{Down, Event, Up};

/// How slow and bad the network is.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// The least delay of anything.
    pub least: Duration,
    /// The most, but for stragglers.
    pub most: Duration,
    /// One in so many chunks of a stream is a straggler: it takes up to [`STRAGGLE`]. Zero: none.
    pub stragglers: u64,
    /// One in so many messages is lost for good, and the connection with it. Zero: none.
    pub loss: u64,
}

/// The most that a straggler takes.
const STRAGGLE: Duration = Duration::from_secs(5);
/// The longest that a side takes to notice that the other is gone.
const IDLE: Duration = Duration::from_secs(3);

/// One connection.
#[derive(Debug)]
pub struct Conn {
    /// The edge.
    pub edge: usize,
    /// The router.
    pub router: usize,
    up_at: Duration,
    down_at: Duration,
    streams: BTreeMap<u64, Duration>,
    /// Nothing gets through any more.
    cut: bool,
}

/// All of them.
#[derive(Debug)]
pub struct Network {
    conns: BTreeMap<u64, Conn>,
    made: u64,
    /// How it is now.
    pub weather: Weather,
    /// Edges and routers that cannot reach each other.
    pub apart: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Without connections.
    #[must_use]
    pub fn new(weather: Weather) -> Self {
        Self { conns: BTreeMap::new(), made: 0, weather, apart: BTreeSet::new() }
    }

    /// A new connection.
    pub fn connect(&mut self, edge: usize, router: usize) -> u64 {
        self.made += 1;
        let conn = Conn { edge, router, up_at: Duration::ZERO, down_at: Duration::ZERO, streams: BTreeMap::new(), cut: false };
        self.conns.insert(self.made, conn);
        self.made
    }

    /// A connection that neither side has forgotten.
    #[must_use]
    pub fn get(&self, id: u64) -> Option<&Conn> {
        self.conns.get(&id)
    }

    /// Those that `is` says.
    pub fn find(&self, is: impl Fn(&Conn) -> bool) -> Vec<u64> {
        self.conns.iter().filter(|(_, conn)| is(conn)).map(|(id, _)| *id).collect()
    }

    fn delay(&self, clockwork: &mut Clockwork) -> Duration {
        clockwork.between(self.weather.least, self.weather.most)
    }

    fn is_lost(&self, clockwork: &mut Clockwork) -> bool {
        self.weather.loss > 0 && clockwork.one_in(self.weather.loss)
    }

    /// The edge sends.
    pub fn up(&mut self, clockwork: &mut Clockwork, id: u64, up: Up) {
        let (lost, delay) = (self.is_lost(clockwork), self.delay(clockwork));
        let straggles = self.weather.stragglers > 0 && clockwork.one_in(self.weather.stragglers);
        let extra = if straggles { clockwork.between(Duration::ZERO, STRAGGLE) } else { Duration::ZERO };
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        if lost {
            return self.cut(clockwork, id);
        }
        let now = clockwork.now();
        let at = match &up {
            Up::Stream(Chunk { attempt, .. }, _) | Up::Reset(attempt) => {
                let before = conn.streams.entry(*attempt).or_default();
                *before = (*before).max(now + delay + extra);
                *before
            }
            Up::Say(_) | Up::Closed => {
                conn.up_at = conn.up_at.max(now + delay);
                conn.up_at
            }
        };
        clockwork.at(at, Event::Up(id, up));
    }

    /// The router sends.
    pub fn down(&mut self, clockwork: &mut Clockwork, id: u64, down: Down) {
        let (lost, delay) = (self.is_lost(clockwork), self.delay(clockwork));
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        if lost {
            return self.cut(clockwork, id);
        }
        let at = match &down {
            Down::Say(_) | Down::Closed => {
                conn.down_at = conn.down_at.max(clockwork.now() + delay);
                conn.down_at
            }
            Down::Delivered(_) | Down::Stop(_) => clockwork.now() + delay,
        };
        clockwork.at(at, Event::Down(id, down));
    }

    /// Nothing more gets through; what is on its way may still come. Each side notices in its own time.
    pub fn cut(&mut self, clockwork: &mut Clockwork, id: u64) {
        let Some(conn) = self.conns.get_mut(&id).filter(|conn| !conn.cut) else { return };
        conn.cut = true;
        let wait = clockwork.between(Duration::from_millis(1), IDLE);
        clockwork.after(wait, Event::Up(id, Up::Closed));
        let wait = clockwork.between(Duration::from_millis(1), IDLE);
        clockwork.after(wait, Event::Down(id, Down::Closed));
    }
}
