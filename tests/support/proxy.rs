//! A proxy on loopback that hands connections on to a server, breaks them off, and remembers what was asked.

#![allow(dead_code, reason = "each suite uses another part of it")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A running proxy. It ends with the test's process.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// After how many bytes of the server each of the next connections breaks off.
    cuts: Vec<usize>,
    asked: Vec<u8>,
    answered: usize,
}

impl Proxy {
    /// Starts a proxy before the server at `endpoint`, `http://host:port`.
    pub fn start(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
        let address = listener.local_addr().expect("address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).expect("the server");
                let cut = shared.lock().expect("no panic").cuts.pop();
                let (to_client, from_client) = (client.try_clone().expect("a socket"), client);
                let (to_server, from_server) = (server.try_clone().expect("a socket"), server);
                let asked = shared.clone();
                thread::spawn(move || {
                    hand_on(from_client, to_server, None, &|bytes| {
                        asked.lock().expect("no panic").asked.extend_from_slice(bytes);
                    });
                });
                let answered = shared.clone();
                thread::spawn(move || {
                    hand_on(from_server, to_client, cut, &|bytes| {
                        answered.lock().expect("no panic").answered += bytes.len();
                    });
                });
            }
        });
        Self { address, state }
    }

    /// Returns the URL of the proxy.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Breaks the next connections off after so many bytes of the server, one each.
    pub fn cut(&self, after: &[usize]) {
        self.state.lock().expect("no panic").cuts = after.iter().rev().copied().collect();
    }

    /// Returns the lines of all requests and of their header fields so far, and forgets them.
    pub fn asked(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.state.lock().expect("no panic").asked);
        String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
    }

    /// Returns how many bytes the server sent so far, and forgets it.
    pub fn answered(&self) -> usize {
        std::mem::take(&mut self.state.lock().expect("no panic").answered)
    }
}

fn hand_on(mut from: TcpStream, mut to: TcpStream, cut: Option<usize>, told: &dyn Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    let mut left = cut.unwrap_or(usize::MAX);
    while left > 0 {
        let Ok(count @ 1..) = from.read(&mut buffer) else { break };
        let part = &buffer[..count.min(left)];
        told(part);
        left -= part.len();
        if to.write_all(part).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
