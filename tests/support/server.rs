//! What all servers here share: connections are taken, requests read one after another, answers written as they are
//! told. Who decides over the answers is somebody else.

use std::collections::HashMap;
use std::io::{self, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::http::{read_body, read_head, value};
use crate::{Json, found};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its place among all requests, from 0.
    pub number: usize,
    pub at: Instant,
    pub method: String,
    /// With its query.
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
    /// A value of its query.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.path.split_once('?')?;
        let found = form_urlencoded::parse(query.as_bytes()).find(|(known, _)| known == name);
        found.map(|(_, value)| value.into_owned())
    }
    /// # Panics
    /// The body is not JSON.
    #[must_use]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap()
    }
    /// The number in the field `id` of the body.
    ///
    /// # Panics
    /// There is none.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.json()["id"].as_u64().unwrap()
    }
}

/// What goes back for a request.
pub(crate) enum Told {
    Answer(Vec<u8>),
    /// And the connection ends behind it.
    Last(Vec<u8>),
    /// In parts of 256 KiB, with this time between two of them.
    Poured(Vec<u8>, Duration),
    /// Nothing: the connection ends.
    Nothing,
}

impl Told {
    pub(crate) fn whole(status: u16, headers: &[(&str, String)], body: &[u8]) -> Self {
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("HTTP/1.1 {status} As Told\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
        Self::Answer([head.as_bytes(), body].concat())
    }
}

/// Who decides over answers.
pub(crate) trait Answers: Send + Sync + 'static {
    /// Asked in the thread of the request's connection, which may be held up.
    fn answer(&self, seen: Seen) -> Told;
}

struct Doors {
    accepting: bool,
    /// Connections by their far end.
    open: HashMap<SocketAddr, TcpStream>,
}

/// Listens on a port of its own. Whoever holds requests up lets them go before this is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    answers: Arc<dyn Answers>,
    doors: Arc<Mutex<Doors>>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    /// # Panics
    /// There is no port to be had.
    pub(crate) fn start(answers: Arc<dyn Answers>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let doors = Arc::new(Mutex::new(Doors { accepting: true, open: HashMap::new() }));
        let mut server = Self { address, answers, doors, listening: None };
        server.listen(listener);
        server
    }

    fn listen(&mut self, listener: TcpListener) {
        let (answers, doors) = (Arc::clone(&self.answers), Arc::clone(&self.doors));
        self.listening = Some(std::thread::spawn(move || accept(&answers, &doors, &listener)));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Like `http://127.0.0.1:4711/path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Ends all connections and takes no new ones.
    pub(crate) fn refuse(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        {
            let mut doors = self.doors();
            doors.accepting = false;
            doors.open.drain().for_each(|(_, stream)| drop(stream.shutdown(Shutdown::Both)));
        }
        // Wakes the listener, which then finds that it is not wanted any more.
        TcpStream::connect(self.address).ok();
        listening.join().unwrap();
    }

    /// Takes connections again where it did before.
    ///
    /// # Panics
    /// Somebody else took the port.
    pub(crate) fn accept(&mut self) {
        self.doors().accepting = true;
        let listener = found("the port is free", || TcpListener::bind(self.address).ok());
        self.listen(listener);
    }

    fn doors(&self) -> MutexGuard<'_, Doors> {
        self.doors.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.refuse();
    }
}

fn accept(answers: &Arc<dyn Answers>, doors: &Arc<Mutex<Doors>>, listener: &TcpListener) {
    loop {
        let (stream, from) = listener.accept().unwrap();
        let mut held = doors.lock().unwrap();
        if !held.accepting {
            return;
        }
        held.open.insert(from, stream.try_clone().unwrap());
        let (answers, doors) = (Arc::clone(answers), Arc::clone(doors));
        // It ends with its connection.
        std::thread::spawn(move || {
            serve(&*answers, stream).ok();
            let stream = doors.lock().unwrap().open.remove(&from);
            stream.map(|stream| stream.shutdown(Shutdown::Both).ok())
        });
    }
}

fn serve(answers: &dyn Answers, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    while let Some((first, headers)) = read_head(&mut reader)? {
        let body = read_body(&mut reader, &headers)?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match answers.answer(Seen { number: 0, at: Instant::now(), method, path, headers, body }) {
            Told::Answer(bytes) => reader.get_mut().write_all(&bytes)?,
            Told::Last(bytes) => return reader.get_mut().write_all(&bytes),
            Told::Poured(bytes, pause) => {
                for part in bytes.chunks(256 << 10) {
                    reader.get_mut().write_all(part)?;
                    std::thread::sleep(pause);
                }
            }
            Told::Nothing => return Ok(()),
        }
    }
    Ok(())
}
