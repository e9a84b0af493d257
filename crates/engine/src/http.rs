//! As much HTTP as an engine's API needs: one request on each connection, with a body that is streamed.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// The longest head of an answer.
const MAX_HEAD_BYTES: u64 = 64 << 10;
const MAX_HEADERS: usize = 64;
/// Bytes of a body that go out together.
const CHUNK_BYTES: usize = 128 << 10;

/// Where an API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(String),
}

impl Address {
    /// As in `DOCKER_HOST`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix://") {
            return (!path.is_empty()).then(|| Self::Unix(path.into()));
        }
        let host = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://"))?;
        let host = host.trim_end_matches('/');
        (host.rsplit_once(':')?.1.parse::<u16>().is_ok()).then(|| Self::Tcp(host.to_owned()))
    }

    fn connect(&self) -> io::Result<Stream> {
        Ok(match self {
            Self::Unix(path) => Stream::Unix(UnixStream::connect(path)?),
            Self::Tcp(host) => Stream::Tcp(TcpStream::connect(host)?),
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(host) => f.write_str(host),
        }
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HttpError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    #[error("{0}")]
    Protocol(&'static str),
}

enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.read(buffer),
            Self::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => stream.write(bytes),
            Self::Tcp(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.flush(),
            Self::Tcp(stream) => stream.flush(),
        }
    }
}

/// Asks, and reads the head of the answer.
pub(crate) fn request(address: &Address, method: &str, path: &str) -> Result<Response, HttpError> {
    let mut stream = address.connect().map_err(HttpError::Connect)?;
    let head = format!("{}Content-Length: 0\r\n\r\n", head(method, path));
    stream.write_all(head.as_bytes()).map_err(HttpError::Broken)?;
    Response::read(stream)
}

/// Begins a request with a body of a length that is not known yet.
pub(crate) fn start_upload(
    address: &Address,
    path: &str,
    content_type: &str,
) -> Result<RequestBody, HttpError> {
    let mut stream = address.connect().map_err(HttpError::Connect)?;
    let head = format!(
        "{}Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n",
        head("POST", path)
    );
    stream.write_all(head.as_bytes()).map_err(HttpError::Broken)?;
    Ok(RequestBody { stream, waiting: Vec::with_capacity(CHUNK_BYTES) })
}

fn head(method: &str, path: &str) -> String {
    let agent = concat!("silt/", env!("CARGO_PKG_VERSION"));
    format!(
        "{method} {path} HTTP/1.1\r\nHost: engine\r\nUser-Agent: {agent}\r\nConnection: close\r\n"
    )
}

/// The body of a request. Dropped before its end, the other side sees that it was cut.
pub(crate) struct RequestBody {
    stream: Stream,
    waiting: Vec<u8>,
}

impl RequestBody {
    /// Ends the body and reads the head of the answer.
    pub(crate) fn finish(mut self) -> Result<Response, HttpError> {
        let sent = self.flush().and_then(|()| self.stream.write_all(b"0\r\n\r\n"));
        match sent {
            Ok(()) => Response::read(self.stream),
            Err(error) => self.answer_or(error),
        }
    }

    /// What the other side said when it stopped listening, or else `error`.
    pub(crate) fn answer_or(self, error: io::Error) -> Result<Response, HttpError> {
        Response::read(self.stream).map_err(|_| HttpError::Broken(error))
    }
}

impl Write for RequestBody {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(CHUNK_BYTES - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..count]);
        if self.waiting.len() == CHUNK_BYTES {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            write!(self.stream, "{:x}\r\n", self.waiting.len())?;
            self.waiting.extend_from_slice(b"\r\n");
            self.stream.write_all(&self.waiting)?;
            self.waiting.clear();
        }
        self.stream.flush()
    }
}

/// An answer, whose body is read from it.
pub(crate) struct Response {
    pub(crate) status: u16,
    stream: BufReader<Stream>,
    body: Body,
}

/// How much of the body is left.
enum Body {
    Length(u64),
    /// Bytes that are left of the chunk at hand; `None` after the last.
    Chunks(Option<u64>),
    UntilClosed,
}

impl Response {
    fn read(stream: Stream) -> Result<Self, HttpError> {
        let mut stream = BufReader::with_capacity(CHUNK_BYTES, stream);
        loop {
            let head = read_head(&mut stream)?;
            let (status, body) = parse_head(&head)?;
            // `100 Continue` and the like announce another answer.
            if status >= 200 {
                return Ok(Self { status, stream, body });
            }
        }
    }

    /// The whole body, which may have so many bytes.
    pub(crate) fn read_all(&mut self, limit: u64) -> Result<Vec<u8>, HttpError> {
        let mut bytes = Vec::new();
        self.take(limit + 1).read_to_end(&mut bytes).map_err(HttpError::Broken)?;
        match bytes.len() as u64 > limit {
            true => Err(HttpError::Protocol("the answer is longer than it may be")),
            false => Ok(bytes),
        }
    }

    /// The size of the next chunk, before which stands the end of the one before, if there was one.
    fn next_chunk(&mut self) -> io::Result<Option<u64>> {
        let mut line = String::new();
        self.stream.by_ref().take(100).read_line(&mut line)?;
        if line == "\r\n" {
            line.clear();
            self.stream.by_ref().take(100).read_line(&mut line)?;
        }
        let digits = line.split(';').next().unwrap_or_default().trim();
        match u64::from_str_radix(digits, 16) {
            Ok(0) => Ok(None),
            Ok(size) => Ok(Some(size)),
            Err(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut")),
        }
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let left = match &self.body {
            Body::UntilClosed => return self.stream.read(buffer),
            Body::Length(left) => *left,
            Body::Chunks(None) => 0,
            Body::Chunks(Some(0)) => {
                let next = self.next_chunk()?;
                self.body = Body::Chunks(next);
                next.unwrap_or(0)
            }
            Body::Chunks(Some(left)) => *left,
        };
        if left == 0 {
            return Ok(0);
        }
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.stream.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the answer was cut"));
        }
        let left = left - count as u64;
        self.body = match self.body {
            Body::Length(_) => Body::Length(left),
            _ => Body::Chunks(Some(left)),
        };
        Ok(count)
    }
}

fn read_head(stream: &mut BufReader<Stream>) -> Result<Vec<u8>, HttpError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = MAX_HEAD_BYTES - head.len() as u64;
        let read = stream.by_ref().take(left).read_until(b'\n', &mut head);
        match read.map_err(HttpError::Broken)? {
            0 if left == 0 => return Err(HttpError::Protocol("the answer has too long a head")),
            0 => return Err(HttpError::Broken(io::ErrorKind::UnexpectedEof.into())),
            _ => {}
        }
    }
    Ok(head)
}

fn parse_head(head: &[u8]) -> Result<(u16, Body), HttpError> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let status = match response.parse(head) {
        Ok(httparse::Status::Complete(_)) => response.code.unwrap_or(0),
        _ => return Err(HttpError::Protocol("the answer is no HTTP")),
    };
    let value = |name: &str| {
        let header = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    let is_chunked = value("Transfer-Encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
    let body = match (status, is_chunked, value("Content-Length")) {
        (100..=199 | 204 | 304, ..) => Body::Length(0),
        (_, true, _) => Body::Chunks(Some(0)),
        (_, false, Some(length)) => Body::Length(
            length.parse().map_err(|_| HttpError::Protocol("the answer has no length"))?,
        ),
        (_, false, None) => Body::UntilClosed,
    };
    Ok((status, body))
}

/// A part of a path or of a query, with all that has a meaning there escaped.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;
    use std::thread;

    /// Answers one request with `answer`, and gives what was asked.
    fn serve(answer: &'static [u8]) -> (Address, thread::JoinHandle<Vec<u8>>, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sock");
        let listener = UnixListener::bind(&path).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            let is_over = |asked: &[u8]| {
                let is_upload = asked.windows(8).any(|window| window == b"chunked\r");
                let end: &[u8] = if is_upload { b"\r\n0\r\n\r\n" } else { b"\r\n\r\n" };
                asked.ends_with(end)
            };
            while !is_over(&asked) && stream.read(&mut byte).unwrap() > 0 {
                asked.push(byte[0]);
            }
            stream.write_all(answer).unwrap();
            asked
        });
        (Address::Unix(path), thread, folder)
    }

    fn answer_of(answer: &'static [u8]) -> Result<(u16, Vec<u8>), HttpError> {
        let (address, thread, _folder) = serve(answer);
        let got = request(&address, "GET", "/x").and_then(|mut response| {
            let body = response.read_all(1000)?;
            Ok((response.status, body))
        });
        let asked = String::from_utf8(thread.join().unwrap()).unwrap();
        assert!(asked.starts_with("GET /x HTTP/1.1\r\nHost: "), "{asked}");
        got
    }

    #[test]
    fn bodies_end_in_each_of_the_three_ways() {
        for answer in [
            &b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nhello"[..],
            b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
            b"HTTP/1.1 404 Not Found\r\n\r\nhello",
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\nhello",
        ] {
            let (status, body) = answer_of(answer).unwrap();
            assert_eq!((status, body.as_slice()), (404, &b"hello"[..]));
        }
    }

    #[test]
    fn what_was_cut_or_is_no_answer_is_an_error() {
        for answer in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200",
            b"SSH-2.0-x\r\n\r\n",
            b"",
        ] {
            let got = answer_of(answer);
            assert!(got.is_err(), "{}: {got:?}", String::from_utf8_lossy(answer));
        }
    }

    #[test]
    fn an_upload_is_chunked_and_ends() {
        let (address, thread, _folder) = serve(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        let mut body = start_upload(&address, "/load", "application/x-tar").unwrap();
        body.write_all(&vec![b'x'; CHUNK_BYTES + 3]).unwrap();
        assert_eq!(body.finish().unwrap().status, 200);
        let asked = thread.join().unwrap();
        let end = [&b"\r\n3\r\nxxx\r\n0\r\n\r\n"[..]].concat();
        assert!(asked.ends_with(&end), "{}", String::from_utf8_lossy(&asked[asked.len() - 40..]));
    }

    #[test]
    fn addresses_are_those_of_docker_host() {
        let unix = Address::parse("unix:///run/docker.sock").unwrap();
        assert_eq!(unix, Address::Unix("/run/docker.sock".into()));
        assert_eq!(Address::parse("tcp://host:2375/").unwrap(), Address::Tcp("host:2375".into()));
        for other in ["unix://", "ssh://user@host", "tcp://host", "/run/docker.sock", ""] {
            assert_eq!(Address::parse(other), None, "{other}");
        }
        assert_eq!(escaped("a/b:1 é"), "a%2Fb%3A1%20%C3%A9");
    }
}
