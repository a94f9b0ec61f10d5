//! A road between two parties that harm can be done to: a TCP proxy in this process that refuses,
//! cuts, swallows, slows, half-closes or breaks off what goes over it. Knows nothing of HTTP or
//! Redis; bytes are bytes.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

/// Bytes read at once.
const CHUNK: usize = 4096;
/// Bytes of one direction of one connection that are kept at the most.
const MOST_KEPT: usize = 64 * 1024;
/// A slow road hands on as much as it may in this time at once.
const TICK: Duration = Duration::from_millis(50);
/// The most bytes that a ragged connection carries in its direction: `2^RAGGED`.
const RAGGED: f64 = 13.0;

/// Where a road leads to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// `Forth` is from who connects to the target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Direction {
    Forth,
    Back,
    Both,
}

impl Direction {
    fn has(self, one: Self) -> bool {
        self == Self::Both || self == one
    }
}

/// What a road does with what goes over it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// Hands everything on.
    Open,
    /// Open connections are reset, new ones as soon as they are made.
    Refuse,
    /// Open connections are reset once; new ones are as with `Open`.
    Cut,
    /// Bytes of that direction, and its end, get lost. Nobody is told: connections stay open and new
    /// ones are taken. With the next change those that lost something are reset.
    BlackHole(Direction),
    /// Bytes of that direction come later, and not more than so many a second on each connection.
    Slow {
        delay_ms: u64,
        bytes_per_second: u64,
        direction: Direction,
    },
    /// That direction ends, the other one goes on: at once on open connections, on new ones after
    /// the first bytes. What comes after the end is lost, as above.
    HalfClose(Direction),
    /// With the chance `share` a connection is reset after some bytes of one direction. How many and
    /// which, `seed` tells; from 1 to 8,192, small numbers as often as large ones.
    Ragged { seed: u64, share: f64 },
}

/// What the connections are told.
#[derive(Debug, Clone)]
struct Orders {
    way: Way,
    target: Target,
    /// Counts the ways that were set.
    turn: u64,
    /// Connections of an earlier count are reset.
    cuts: u64,
}

/// A road; ends, and resets what is open on it, when it is dropped.
#[derive(Debug)]
pub(crate) struct Road {
    addr: SocketAddr,
    orders: watch::Sender<Orders>,
    open: Arc<AtomicUsize>,
    harmed: Arc<AtomicUsize>,
}

impl Road {
    /// A new road, open, from a free port of the loopback.
    pub(crate) async fn to(target: Target) -> Self {
        Self::from(([127, 0, 0, 1], 0).into(), target).await
    }

    /// The same from a place that is free.
    pub(crate) async fn from(place: SocketAddr, target: Target) -> Self {
        let listener = TcpListener::bind(place).await;
        let listener = listener.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (orders, hears) = watch::channel(Orders {
            way: Way::Open,
            target,
            turn: 0,
            cuts: 0,
        });
        let (open, harmed) = (Arc::default(), Arc::default());
        tokio::spawn(take_in(
            listener,
            hears,
            Arc::clone(&open),
            Arc::clone(&harmed),
        ));
        Self {
            addr,
            orders,
            open,
            harmed,
        }
    }

    /// Where it begins.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// New connections lead there; open ones stay as they are.
    pub(crate) fn lead_to(&self, target: Target) {
        self.orders.send_modify(|orders| orders.target = target);
    }

    /// From now on it does this, to open connections too.
    pub(crate) fn set(&self, way: Way) {
        self.orders.send_modify(|orders| {
            orders.way = way;
            orders.turn += 1;
            orders.cuts += u64::from(way == Way::Cut);
        });
    }

    /// How often it did harm to a connection.
    pub(crate) fn harmed(&self) -> usize {
        self.harmed.load(Ordering::Relaxed)
    }

    /// Connections that are open now.
    pub(crate) fn connections(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

async fn take_in(
    listener: TcpListener,
    mut orders: watch::Receiver<Orders>,
    open: Arc<AtomicUsize>,
    harmed: Arc<AtomicUsize>,
) {
    for number in 0.. {
        let near = loop {
            tokio::select! {
                changed = orders.changed() => if changed.is_err() { return },
                taken = listener.accept() => match taken {
                    Ok((near, _)) => break near,
                    // waits because the process has no file left; others may be closed meanwhile
                    Err(_) => sleep(TICK).await,
                },
            }
        };
        let begun = orders.borrow().clone();
        let connection = Connection {
            number,
            turn: begun.turn,
            cuts: begun.cuts,
            harmed: Arc::clone(&harmed),
        };
        let orders = orders.clone();
        open.fetch_add(1, Ordering::Relaxed);
        let end = Counted(Arc::clone(&open));
        tokio::spawn(async move {
            let _end = end;
            // A party that goes away is no fault of the road.
            let _ = connection.run(near, begun, orders).await;
        });
    }
}

/// Counts a connection down.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection, and what was in force when it was made.
#[derive(Debug, Clone)]
struct Connection {
    number: u64,
    turn: u64,
    cuts: u64,
    /// Counts what is done to any connection of the road.
    harmed: Arc<AtomicUsize>,
}

impl Connection {
    fn harm(&self) {
        self.harmed.fetch_add(1, Ordering::Relaxed);
    }

    async fn run(
        self,
        mut near: TcpStream,
        begun: Orders,
        orders: watch::Receiver<Orders>,
    ) -> io::Result<()> {
        if begun.way == Way::Refuse {
            self.harm();
            return near.set_zero_linger();
        }
        near.set_nodelay(true)?;
        let (reset, far) = match begun.target {
            Target::Tcp(addr) => match TcpStream::connect(addr).await {
                Ok(mut far) => {
                    far.set_nodelay(true)?;
                    let reset = self.carry(near.split(), far.split(), orders).await;
                    (reset, Some(far))
                }
                Err(_) => (nobody_there(orders).await, None),
            },
            Target::Unix(path) => match UnixStream::connect(path).await {
                Ok(mut far) => (self.carry(near.split(), far.split(), orders).await, None),
                Err(_) => (nobody_there(orders).await, None),
            },
        };
        if reset {
            near.set_zero_linger()?;
            far.map_or(Ok(()), |far| far.set_zero_linger())?;
        }
        Ok(())
    }

    /// Carries both directions to their ends; whether the connection has to be reset.
    async fn carry<R, W>(
        self,
        near: (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
        far: (R, W),
        orders: watch::Receiver<Orders>,
    ) -> bool
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let forth = Lane::new(self.clone(), Direction::Forth, orders.clone());
        let back = Lane::new(self, Direction::Back, orders);
        tokio::try_join!(forth.carry(near.0, far.1), back.carry(far.0, near.1)).is_err()
    }
}

/// Whoever connects through a black hole does not hear that nobody is there.
async fn nobody_there(mut orders: watch::Receiver<Orders>) -> bool {
    let hole = |orders: &Orders| matches!(orders.way, Way::BlackHole(_));
    // When the road has gone, the connection is reset too.
    let _ = orders.wait_for(|orders| !hole(orders)).await;
    true
}

/// The connection has to be reset.
struct Reset;

/// One direction of a connection.
struct Lane {
    connection: Connection,
    direction: Direction,
    orders: watch::Receiver<Orders>,
    /// What is to be handed on, and when.
    kept: VecDeque<(Instant, Vec<u8>)>,
    /// Bytes in `kept`.
    size: usize,
    /// Whether something was swallowed.
    lost: bool,
    /// Whether nothing more can be read.
    ended: bool,
    /// Whether it was shut here although more may come.
    shut: bool,
    /// Bytes before the reset of a ragged connection, and since which turn.
    ragged: Option<(u64, Option<usize>)>,
    /// Bytes handed on.
    carried: usize,
}

impl Lane {
    fn new(connection: Connection, direction: Direction, orders: watch::Receiver<Orders>) -> Self {
        Self {
            connection,
            direction,
            orders,
            kept: VecDeque::new(),
            size: 0,
            lost: false,
            ended: false,
            shut: false,
            ragged: None,
            carried: 0,
        }
    }

    async fn carry(
        mut self,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> Result<(), Reset> {
        let mut chunk = [0; CHUNK];
        loop {
            let way = self.obey()?;
            let swallows = self.swallows(way);
            if self.wants_shut(way) && !self.shut {
                self.shut = true;
                self.connection.harm();
                to.shutdown().await.map_err(|_| Reset)?;
                continue;
            }
            if self.ended && self.kept.is_empty() && !swallows {
                if !self.shut {
                    to.shutdown().await.map_err(|_| Reset)?;
                }
                return Ok(());
            }
            let due = self.kept.front().map(|(due, _)| *due);
            let late = due.is_some_and(|due| due > Instant::now());
            let most = self.budget().unwrap_or(usize::MAX);
            let front = self.kept.front().map_or(&[][..], |(_, bytes)| bytes);
            tokio::select! {
                biased;
                changed = self.orders.changed() => changed.map_err(|_| Reset)?,
                wrote = to.write(&front[..front.len().min(most)]), if due.is_some() && !late => {
                    self.handed_on(wrote.map_err(|_| Reset)?)?;
                }
                read = from.read(&mut chunk), if !self.ended && self.size < MOST_KEPT => match read {
                    Ok(read @ 1..) => self.take(way, &chunk[..read]),
                    Ok(0) => self.ended = true,
                    // Whoever is cut off behind a black hole cannot tell the other side.
                    Err(_) if swallows => self.ended = true,
                    Err(_) => return Err(Reset),
                },
                // waits because the road is slow
                () = sleep_until(due.unwrap_or_else(Instant::now)), if late => {}
            }
            // The end of this direction is lost as bytes are.
            self.lost |= self.ended && swallows;
        }
    }

    /// The way in force, unless it resets this connection.
    fn obey(&mut self) -> Result<Way, Reset> {
        let orders = self.orders.borrow_and_update();
        let (way, turn, cuts) = (orders.way, orders.turn, orders.cuts);
        drop(orders);
        let cut = way == Way::Refuse || cuts != self.connection.cuts;
        if cut {
            self.connection.harm();
        }
        if cut || self.lost && !self.swallows(way) {
            return Err(Reset);
        }
        match way {
            Way::Ragged { seed, share } => {
                if self.ragged.is_none_or(|(since, _)| since != turn) {
                    self.ragged = Some((turn, self.draw(seed, share)));
                }
            }
            _ => self.ragged = None,
        }
        if !matches!(way, Way::Slow { direction, .. } if direction.has(self.direction)) {
            let now = Instant::now();
            self.kept
                .iter_mut()
                .for_each(|(due, _)| *due = now.min(*due));
        }
        if self.swallows(way) && !self.kept.is_empty() {
            self.kept.clear();
            (self.size, self.lost) = (0, true);
            self.connection.harm();
        }
        Ok(way)
    }

    fn swallows(&self, way: Way) -> bool {
        matches!(way, Way::BlackHole(direction) if direction.has(self.direction))
            || self.shut && self.wants_shut(way)
    }

    /// Whether this direction is to end here; a new connection may hand its first bytes on.
    fn wants_shut(&self, way: Way) -> bool {
        let half = matches!(way, Way::HalfClose(direction) if direction.has(self.direction));
        let is_old = self.connection.turn < self.orders.borrow().turn;
        half && (is_old || self.carried > 0 && self.kept.is_empty())
    }

    /// After how many bytes a ragged connection breaks off, if in this direction.
    fn draw(&self, seed: u64, share: f64) -> Option<usize> {
        // Both directions of a connection draw the same.
        let number = self.connection.number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = fastrand::Rng::with_seed(seed ^ number);
        let breaks = dice.f64() < share;
        let forth = dice.bool();
        let bytes = (dice.f64() * RAGGED).exp2();
        let ours = forth == (self.direction == Direction::Forth);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 1 and 8,192"
        )]
        (breaks && ours).then_some(bytes as usize)
    }

    fn budget(&self) -> Option<usize> {
        self.ragged.and_then(|(_, bytes)| bytes)
    }

    /// Keeps what was read until it is due, or forgets it.
    fn take(&mut self, way: Way, bytes: &[u8]) {
        if self.swallows(way) {
            self.lost = true;
            self.connection.harm();
            return;
        }
        self.size += bytes.len();
        let now = Instant::now();
        match way {
            Way::Slow {
                delay_ms,
                bytes_per_second,
                direction,
            } if direction.has(self.direction) => {
                self.connection.harm();
                let pace = bytes_per_second.max(1);
                let piece = usize::try_from(pace / 20).unwrap_or(CHUNK).clamp(1, CHUNK);
                let mut due = now + Duration::from_millis(delay_ms);
                due = self.kept.back().map_or(due, |(last, _)| due.max(*last));
                for part in bytes.chunks(piece) {
                    due += Duration::from_secs_f64(part.len() as f64 / pace as f64);
                    self.kept.push_back((due, part.to_vec()));
                }
            }
            _ => self.kept.push_back((now, bytes.to_vec())),
        }
    }

    /// So many bytes of the front are gone.
    fn handed_on(&mut self, bytes: usize) -> Result<(), Reset> {
        self.size -= bytes;
        self.carried += bytes;
        if let Some((_, front)) = self.kept.front_mut() {
            front.drain(..bytes);
            if front.is_empty() {
                self.kept.pop_front();
            }
        }
        if let Some((_, Some(left))) = &mut self.ragged {
            *left = left.saturating_sub(bytes);
            if *left == 0 {
                self.connection.harm();
                return Err(Reset);
            }
        }
        Ok(())
    }
}
