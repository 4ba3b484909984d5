//! A connection on which frames are written as they are given.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use serde_json::Value;

use crate::catalogue::Api;
use crate::codec::{decode, put_unsigned};
use crate::story::Framing;

/// What every client of the oracle calls itself.
pub const CLIENT_ID: &str = "oracle";
/// No answer of a broker is larger.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A reply.
    Reply(Value),
    /// Bytes that are no reply of this version.
    Garbled(String),
    /// The connection was closed.
    Closed,
    /// Nothing within the time that was given.
    Silence,
}

/// The time between two pieces of a frame.
const PIECES_APART: Duration = Duration::from_millis(50);

/// A connection to one broker.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    /// Requests whose answers are still to come, in their order.
    unanswered: Vec<i32>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).context("connecting")?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, correlation: 0, unanswered: Vec::new() })
    }

    /// Sends a request: `size key version correlation client-id [tags] body`. A connection that is closed is found so when
    /// its answer is read.
    pub fn send(&mut self, api: &Api, version: i16, body: &[u8], framing: Framing) {
        self.correlation += 1;
        let mut frame = vec![0; 4];
        frame.extend(api.key.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(self.correlation.to_be_bytes());
        match framing.client.unwrap_or(Some(CLIENT_ID)) {
            Some(client) => {
                frame.extend((client.len() as i16).to_be_bytes());
                frame.extend(client.bytes());
            }
            None => frame.extend((-1_i16).to_be_bytes()),
        }
        if api.is_request_flexible(version) {
            // One field: tag 77 of two bytes.
            frame.extend(if framing.has_tags { &[1, 77, 2, 9, 9][..] } else { &[0] });
        }
        frame.extend(body);
        frame.resize(frame.len() + framing.trailing, 0);
        frame.truncate(frame.len().saturating_sub(framing.cut));
        self.unanswered.push(self.correlation);
        self.send_raw(frame, framing.first_piece);
    }

    /// Sends a frame whose first four bytes are filled in with its length.
    fn send_raw(&mut self, mut frame: Vec<u8>, first_piece: Option<usize>) {
        let size = (frame.len() - 4) as i32;
        frame[..4].copy_from_slice(&size.to_be_bytes());
        // Whoever has closed it is asked for an answer all the same.
        let (first, rest) = frame.split_at(first_piece.unwrap_or_default().min(frame.len()));
        if !first.is_empty() {
            drop(self.stream.write_all(first));
            std::thread::sleep(PIECES_APART);
        }
        drop(self.stream.write_all(rest));
    }

    /// Sends bytes as they are.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// Forgets that the last request wants an answer: it is one that gets none.
    pub fn expect_none(&mut self) {
        self.unanswered.pop();
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// When it is not the one that is due: what comes afterwards could be attributed to nothing.
    pub fn receive(&mut self, api: &Api, version: i16, patience: Duration) -> Result<Answer> {
        let frame = match self.frame(patience)? {
            Ok(frame) => frame,
            Err(none) => return Ok(none),
        };
        ensure!(!self.unanswered.is_empty(), "an answer that nobody waits for");
        let due = self.unanswered.remove(0);
        let (correlation, mut body) = frame.split_first_chunk::<4>().context("an answer without a header")?;
        let correlation = i32::from_be_bytes(*correlation);
        ensure!(correlation == due, "the answer is to request {correlation}, and {due} is due");
        if api.is_response_header_flexible(version) {
            let mut tags = Vec::new();
            put_unsigned(0, &mut tags);
            match body.strip_prefix(&tags[..]) {
                Some(rest) => body = rest,
                None => return Ok(Answer::Garbled("tagged fields in a response header".to_owned())),
            }
        }
        // Version 0 answers whoever asks in a version that there is not.
        let version = if api.key == 18 && !api.response.versions.contains(version) { 0 } else { version };
        Ok(match decode(&api.response, version, body) {
            Ok(value) => Answer::Reply(value),
            Err(why) => Answer::Garbled(format!("{why:#}")),
        })
    }

    fn frame(&mut self, patience: Duration) -> Result<Result<Vec<u8>, Answer>> {
        self.stream.set_read_timeout(Some(patience.max(Duration::from_millis(1))))?;
        let mut size = [0; 4];
        if let Err(none) = self.fill(&mut size)? {
            return Ok(Err(none));
        }
        let size = i32::from_be_bytes(size);
        let length = usize::try_from(size).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let Some(length) = length else { bail!("a frame of {size} bytes") };
        let mut frame = vec![0; length];
        Ok(self.fill(&mut frame)?.map(|()| frame))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<Result<(), Answer>> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Ok(Ok(())),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(Err(Answer::Silence)),
                ErrorKind::UnexpectedEof
                | ErrorKind::ConnectionReset
                | ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted => Ok(Err(Answer::Closed)),
                _ => Err(error).context("reading an answer"),
            },
        }
    }
}
