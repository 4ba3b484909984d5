//! A stream for programs that do one thing at a time, such as commands.

use std::future::Future;
use std::io::{self, Read, Write};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::{Network, Stream};

/// A connection whose reads and writes wait. Not for use within a runtime.
#[derive(Debug)]
pub struct BlockingStream {
    runtime: Runtime,
    stream: Stream,
    wait_max: Duration,
}

impl BlockingStream {
    /// Connects to `host:port`, trying each of its addresses for `connect_wait_max`. A read or write may wait `wait_max`.
    ///
    /// # Errors
    /// That of the last address, `TimedOut` among them.
    pub fn connect(
        network: &Network,
        address: &str,
        connect_wait_max: Duration,
        wait_max: Duration,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let stream = runtime.block_on(async {
            let mut failed = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
            for candidate in network.resolve_text(address).await? {
                match within(connect_wait_max, network.connect(candidate)).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) => failed = error,
                }
            }
            Err(failed)
        })?;
        Ok(Self { runtime, stream, wait_max })
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl Read for BlockingStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.runtime.block_on(within(self.wait_max, self.stream.read(buffer)))
    }
}

impl Write for BlockingStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.runtime.block_on(within(self.wait_max, self.stream.write(bytes)))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
