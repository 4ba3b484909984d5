//! One connection to a broker: requests are pipelined, answers come in order, and what is under way when it breaks is of
//! unknown outcome.
//!
//! As in real clients, a request that is not answered in time takes the connection with it: an answer that is still to
//! come would stand before all others.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base::net::{Network, Stream};
use base::task::JoinHandle;
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use wire::header::{RequestHeader, ResponseHeader};
use wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use wire::{ApiKey, ErrorCode, Message, Reader, Request, Writer};

use super::{Life, Settings};

/// A fetch that is kept for want of records is no silence.
const SILENCE_TIME_MIN: Duration = Duration::from_secs(1);

/// Why a call has no answer.
#[derive(Clone, Debug)]
pub enum CallError {
    /// The broker has certainly not seen the request.
    NotSent(Arc<str>),
    /// It may have been served, or still be.
    Unknown(Arc<str>),
}

impl CallError {
    /// In words.
    pub fn why(&self) -> &Arc<str> {
        match self {
            Self::NotSent(why) | Self::Unknown(why) => why,
        }
    }
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for CallError {}

/// What a call comes to.
pub type Called<T> = Result<T, CallError>;

/// A connection; it ends when it is dropped.
#[derive(Debug)]
pub struct Connection {
    /// No other connection of a run has this number.
    pub number: u64,
    shared: Arc<Shared>,
    life: Life,
    request_time_max: Duration,
    versions: BTreeMap<ApiKey, i16>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or the connection was closed.
    changed: Notify,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    next_correlation: i32,
    to_write: VecDeque<Bytes>,
    /// Since when, for which answer, and who.
    waiting: VecDeque<(Duration, i32, oneshot::Sender<Bytes>)>,
    closed: Option<Arc<str>>,
}

impl Shared {
    fn close(&self, why: &str) {
        let mut state = self.state.lock();
        if state.closed.is_none() {
            state.closed = Some(why.into());
        }
        state.waiting.clear();
        state.to_write.clear();
        self.changed.notify_one();
    }

    fn closed(&self) -> Option<Arc<str>> {
        self.state.lock().closed.clone()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// Connects and learns which versions the broker speaks.
    ///
    /// # Errors
    /// Nothing was asked of the broker then.
    pub async fn open(network: &Network, address: &str, life: &Life, settings: &Settings) -> Called<Self> {
        let not_sent = |error: io::Error| CallError::NotSent(format!("{address}: {error}").into());
        let connecting = async {
            let addresses = network.resolve_text(address).await?;
            let first: SocketAddr = *addresses.first().ok_or(io::ErrorKind::NotFound)?;
            network.connect(first).await
        };
        let stream = tokio::time::timeout(settings.connect_time_max, connecting).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(not_sent)?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            changed: Notify::new(),
            room: Arc::new(Semaphore::new(settings.requests_in_flight_max)),
        });
        let task = base::task::spawn("client connection", serve(stream, shared.clone(), life.clone()));
        let mut connection = Self {
            number: life.next_connection(),
            shared,
            life: life.clone(),
            request_time_max: settings.request_time_max,
            versions: BTreeMap::from([(ApiKey::ApiVersions, *ApiVersionsRequest::VERSIONS.end())]),
            task,
        };
        connection.versions = connection
            .learn_versions(settings)
            .await
            .map_err(|error| CallError::NotSent(format!("{address}: which versions it speaks: {error}").into()))?;
        Ok(connection)
    }

    async fn learn_versions(&mut self, settings: &Settings) -> Called<BTreeMap<ApiKey, i16>> {
        let request = ApiVersionsRequest {
            client_software_name: "headwater-simulator".into(),
            client_software_version: "1".into(),
            ..ApiVersionsRequest::default()
        };
        let mut answer: ApiVersionsResponse = self.call(&request).await?;
        if ErrorCode::from_code(answer.error_code) == ErrorCode::UnsupportedVersion {
            self.versions.insert(ApiKey::ApiVersions, 0);
            answer = self.call(&ApiVersionsRequest::default()).await?;
        }
        let mut versions = BTreeMap::new();
        for offered in &answer.api_keys {
            let Ok(api) = ApiKey::try_from(offered.api_key) else { continue };
            let Some(ours) = api.versions() else { continue };
            let wanted = settings.versions_max.get(&api).copied().unwrap_or(*ours.end());
            let highest = offered.max_version.min(*ours.end()).min(wanted);
            if highest >= offered.min_version.max(*ours.start()) {
                versions.insert(api, highest);
            }
        }
        Ok(versions)
    }

    /// Whether nothing can be asked any more.
    pub fn is_closed(&self) -> bool {
        self.shared.closed().is_some()
    }

    /// Whether another request may go out at once.
    pub fn has_room(&self) -> bool {
        self.shared.room.available_permits() > 0
    }

    /// Whether an answer has been due for a while: whoever wants to know something asks somebody else.
    pub fn is_silent(&self) -> bool {
        let first = self.shared.state.lock().waiting.front().map(|(since, ..)| *since);
        first.is_some_and(|since| self.life.now() > since + SILENCE_TIME_MIN)
    }

    /// The version in which requests of this kind go, if the broker knows it.
    pub fn version(&self, api: ApiKey) -> Option<i16> {
        self.versions.get(&api).copied()
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn call<Q: Request>(&self, request: &Q) -> Called<Q::Response> {
        self.call_within(self.request_time_max, request).await
    }

    /// As [`Self::call`], for requests that the broker may keep for a while.
    ///
    /// # Errors
    /// Without an answer.
    pub async fn call_within<Q: Request>(&self, limit: Duration, request: &Q) -> Called<Q::Response> {
        self.send(limit, request).await?.await
    }

    /// Asks, in the order of these calls; what is returned waits for the answer.
    ///
    /// # Errors
    /// When the request certainly does not go out.
    pub async fn send<Q: Request>(
        &self,
        limit: Duration,
        request: &Q,
    ) -> Called<impl Future<Output = Called<Q::Response>> + use<Q>> {
        let permit = self.shared.room.clone().acquire_owned().await.expect("it is never closed");
        let (answer, version) = self.enqueue(request, true)?;
        let answer = answer.expect("one was asked for");
        // The time runs from here, whenever the answer is first waited for.
        let answer = tokio::time::timeout(limit, answer);
        let (shared, life) = (self.shared.clone(), self.life.clone());
        Ok(async move {
            let _permit: OwnedSemaphorePermit = permit;
            let unknown = |why: &str| Err(CallError::Unknown(format!("{}: {why}", Q::NAME).into()));
            match answer.await {
                Ok(Ok(bytes)) => decode::<Q>(bytes, version).or_else(|why| {
                    life.complain(format_args!("the answer to {} version {version} is none: {why}", Q::NAME));
                    shared.close("an answer was none");
                    unknown(&why)
                }),
                Ok(Err(_)) => unknown(&shared.closed().unwrap_or_else(|| "the connection is gone".into())),
                Err(_) => {
                    shared.close("a request was not answered in time");
                    unknown("not answered in time")
                }
            }
        })
    }

    /// Asks for what is not answered.
    ///
    /// # Errors
    /// When the request certainly does not go out.
    pub fn send_unanswered<Q: Request>(&self, request: &Q) -> Called<()> {
        self.enqueue(request, false).map(drop)
    }

    fn enqueue<Q: Request>(&self, request: &Q, is_answered: bool) -> Called<(Option<oneshot::Receiver<Bytes>>, i16)> {
        let not_sent = |why: String| CallError::NotSent(why.into());
        let version =
            self.version(Q::API_KEY).ok_or_else(|| not_sent(format!("{} is not served in common", Q::NAME)))?;
        let mut state = self.shared.state.lock();
        if let Some(why) = &state.closed {
            return Err(CallError::NotSent(why.clone()));
        }
        let correlation = state.next_correlation;
        let bytes = encode(request, version, correlation, self.life.name()).map_err(|why| {
            self.life.complain(format_args!("cannot say what it wants: {why}"));
            not_sent(why)
        })?;
        state.next_correlation = correlation.wrapping_add(1);
        state.to_write.push_back(bytes);
        let answer = is_answered.then(|| {
            let (sender, receiver) = oneshot::channel();
            state.waiting.push_back((self.life.now(), correlation, sender));
            receiver
        });
        self.shared.changed.notify_one();
        Ok((answer, version))
    }
}

fn encode<Q: Request>(request: &Q, version: i16, correlation: i32, client: &str) -> Result<Bytes, String> {
    let header = RequestHeader {
        request_api_key: Q::API_KEY.code(),
        request_api_version: version,
        correlation_id: correlation,
        client_id: Some(client.into()),
        ..RequestHeader::default()
    };
    let mut writer = Writer::new();
    header
        .encode(&mut writer, Q::request_header_version(version))
        .and_then(|()| request.encode(&mut writer, version))
        .and_then(|()| writer.finish_framed())
        .map(wire::Frame::into_bytes)
        .map_err(|error| format!("{} version {version}: {error}", Q::NAME))
}

fn decode<Q: Request>(bytes: Bytes, version: i16) -> Result<Q::Response, String> {
    let mut reader = Reader::new(bytes);
    let read = |reader: &mut Reader, version| {
        ResponseHeader::decode(reader, Q::response_header_version(version))?;
        Q::Response::decode(reader, version)
    };
    if Q::API_KEY == ApiKey::ApiVersions {
        // Who does not know the version says so in version 0.
        let mut ahead = reader.clone();
        if let Ok(answer) = read(&mut ahead, 0)
            && ahead.remaining() == 0
        {
            return Ok(answer);
        }
    }
    let answer = read(&mut reader, version).map_err(|error| error.to_string())?;
    if reader.remaining() > 0 {
        return Err(format!("{} bytes follow it", reader.remaining()));
    }
    Ok(answer)
}

/// Carries bytes both ways until either side has had enough.
async fn serve(stream: Stream, shared: Arc<Shared>, life: Life) {
    let (mut reads, mut writes) = stream.split();
    let writing = async {
        loop {
            let next = {
                let mut state = shared.state.lock();
                if state.closed.is_some() {
                    return Ok(());
                }
                state.to_write.pop_front()
            };
            match next {
                Some(bytes) => writes.write_all(&bytes).await?,
                None => shared.changed.notified().await,
            }
        }
    };
    let reading = async {
        let mut received = BytesMut::new();
        loop {
            while let Some(frame) =
                wire::frame::next_frame(&mut received, wire::frame::FRAME_BYTES_MAX).map_err(io::Error::other)?
            {
                let correlation = frame.first_chunk::<4>().map(|bytes| i32::from_be_bytes(*bytes));
                let first = shared.state.lock().waiting.pop_front();
                match first {
                    // Who does not wait any more has no use for it.
                    Some((_, expected, answer)) if Some(expected) == correlation => drop(answer.send(frame)),
                    expected => {
                        let expected = expected.map(|(_, expected, _)| expected);
                        life.complain(format_args!("answer {correlation:?} came where {expected:?} is due"));
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
            }
            if reads.read_buf(&mut received).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    };
    let ended: io::Result<()> = base::select! {
        biased;
        ended = writing => ended,
        ended = reading => ended,
    };
    let why = match ended {
        Ok(()) => "closed".to_owned(),
        Err(error) => error.to_string(),
    };
    shared.close(&why);
}
