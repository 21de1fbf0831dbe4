//! A slow line to a server, so that a push takes long enough for something to happen in the middle of it.
//!
//! Looks at no byte; what goes up is slowed and counted, what comes down is not.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::harness::{Halt, check};

/// How long somebody waits for bytes on a line.
const PATIENCE: Duration = Duration::from_secs(60);

struct Wire {
    server: Mutex<String>,
    /// When the line is free again, and how many bytes it takes a second.
    free_at: Mutex<Instant>,
    rate: AtomicU64,
    passed: AtomicU64,
    ended: AtomicBool,
}

/// A line that lasts as long as the value.
pub(crate) struct Line {
    /// `127.0.0.1:PORT`, which stands for the server.
    pub(crate) address: String,
    wire: Arc<Wire>,
}

impl Line {
    /// Makes a line to `server` that takes so many bytes a second, over all connections.
    pub(crate) fn to(server: &str, rate: u64) -> Result<Self, Halt> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        let wire = Arc::new(Wire {
            server: Mutex::new(server.to_owned()),
            free_at: Mutex::new(Instant::now()),
            rate: AtomicU64::new(rate),
            passed: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let serving = Arc::clone(&wire);
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Relaxed) {
                    break;
                }
                let wire = Arc::clone(&serving);
                std::thread::spawn(move || wire.connect(caller));
            }
        });
        Ok(Self { address, wire })
    }

    /// Leads to another server from now on.
    pub(crate) fn lead_to(&self, server: &str) {
        server.clone_into(&mut self.wire.server.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Slows nothing from now on.
    pub(crate) fn open(&self) {
        self.wire.rate.store(u64::MAX, Ordering::Relaxed);
    }

    /// How many bytes went up.
    pub(crate) fn passed(&self) -> u64 {
        self.wire.passed.load(Ordering::Relaxed)
    }

    /// Waits until so many bytes have gone up.
    pub(crate) fn wait_for(&self, bytes: u64) -> Result<(), Halt> {
        let start = Instant::now();
        while self.passed() < bytes && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        check(self.passed() >= bytes, || format!("only {} of {bytes} bytes went up", self.passed()))
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.wire.ended.store(true, Ordering::Relaxed);
        // Lets the thread that accepts see it.
        let _ = TcpStream::connect(&self.address);
    }
}

impl Wire {
    fn connect(&self, caller: TcpStream) {
        let server = self.server.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(server) = TcpStream::connect(server) else { return };
        let (Ok(mut up), Ok(mut into)) = (caller.try_clone(), server.try_clone()) else { return };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let (mut down, mut back) = (server, caller);
                let _ = std::io::copy(&mut down, &mut back);
                let _ = back.shutdown(Shutdown::Both);
            });
            let _ = self.carry(&mut up, &mut into);
            let _ = into.shutdown(Shutdown::Write);
        });
    }

    fn carry(&self, from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
        let mut buffer = [0; 16 << 10];
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            self.wait_turn(count as u64);
            to.write_all(&buffer[..count])?;
            self.passed.fetch_add(count as u64, Ordering::Relaxed);
        }
    }

    /// Takes the line for as long as so many bytes need.
    fn wait_turn(&self, count: u64) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == u64::MAX {
            return;
        }
        let until = {
            let mut free_at = self.free_at.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = (*free_at).max(Instant::now());
            *free_at = begin + Duration::from_secs_f64(count as f64 / rate as f64);
            *free_at
        };
        std::thread::sleep(until.saturating_duration_since(Instant::now()));
    }
}
