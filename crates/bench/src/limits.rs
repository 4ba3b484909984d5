//! The machine's own limits, measured in the same run: loopback TCP, synced writes to the disk one after the other, and
//! synced writes at fixed moments: no broker that syncs before it acknowledges can be less late than those.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, anyhow};
use base::Clock;
use base::aligned::AlignedBuffer;

use crate::report::{Report, percentile};

const LENGTH: Duration = Duration::from_secs(3);
/// Long enough for a p99.9 of ten samples.
const PACED: Duration = Duration::from_secs(10);
const FILE_BYTES: u64 = 512 << 20;

/// Measures both.
pub fn measure(directory: &Path, report: &mut Report) -> Result<()> {
    report.fact("machine: loopback TCP, one stream of 64 KiB writes, MB/s", loopback()?);
    for bytes in [4 << 10, 64 << 10, 512 << 10] {
        let (rate, micros) = synced_writes(directory, bytes)?;
        report.fact(&format!("machine: synced writes of {} KiB, MB/s", bytes >> 10), rate);
        report.fact(&format!("machine: synced writes of {} KiB, mean µs", bytes >> 10), micros);
    }
    // A record of 1 KiB and its header take one page of the log.
    for kib in [4, 8] {
        let late = paced_writes(directory, kib << 10)?;
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
            let name = format!("machine: a synced write of {kib} KiB due every ms, {name} ms");
            report.fact(&name, percentile(&late, share));
        }
        let ratio = percentile(&late, 0.999) / percentile(&late, 0.99);
        report.fact(&format!("machine: a synced write of {kib} KiB due every ms, p99.9 ÷ p99"), ratio);
    }
    Ok(())
}

fn loopback() -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let reader = base::task::spawn_thread("reader", move || -> std::io::Result<u64> {
        let (mut stream, _) = listener.accept()?;
        let (mut buffer, mut total) = (vec![0; 256 << 10], 0);
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok(total),
                count => total += count as u64,
            }
        }
    })?;
    let mut stream = TcpStream::connect(address)?;
    let (clock, piece) = (Clock::system(), vec![1; 64 << 10]);
    let before = clock.monotonic();
    while clock.monotonic() - before < LENGTH {
        stream.write_all(&piece)?;
    }
    drop(stream);
    let total = reader.join().map_err(|_| anyhow!("the reader panicked"))??;
    Ok(total as f64 / 1e6 / (clock.monotonic() - before).as_secs_f64())
}

/// A file as the log writes it: direct and synced, filled before.
fn log_file(path: &Path) -> Result<File> {
    let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
    let plain = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let zeros = vec![0; 1 << 20];
    for at in (0..FILE_BYTES).step_by(1 << 20) {
        plain.write_all_at(&zeros, at)?;
    }
    plain.sync_all()?;
    Ok(OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path)?)
}

/// How late writes are done that are due every millisecond whatever the disk does, in ms, sorted.
fn paced_writes(directory: &Path, bytes: usize) -> Result<Vec<f64>> {
    let path = directory.join("paced-writes");
    let file = log_file(&path)?;
    let (clock, piece) = (Clock::system(), AlignedBuffer::zeroed(bytes));
    let (start, mut late) = (clock.monotonic(), Vec::new());
    for n in 0..PACED.as_millis() as u64 {
        let due = start + Duration::from_millis(n);
        std::thread::sleep(due.saturating_sub(clock.monotonic()));
        file.write_all_at(piece.as_slice(), n * piece.len() as u64 % FILE_BYTES)?;
        late.push((clock.monotonic() - due).as_secs_f64() * 1e3);
    }
    std::fs::remove_file(path)?;
    late.sort_by(f64::total_cmp);
    Ok(late)
}

/// MB/s and mean microseconds.
fn synced_writes(directory: &Path, bytes: usize) -> Result<(f64, f64)> {
    let path = directory.join("synced-writes");
    let file = log_file(&path)?;
    let (clock, piece) = (Clock::system(), AlignedBuffer::zeroed(bytes));
    let before = clock.monotonic();
    let mut writes = 0_u64;
    while clock.monotonic() - before < LENGTH {
        file.write_all_at(piece.as_slice(), writes * bytes as u64 % FILE_BYTES)?;
        writes += 1;
    }
    let taken = (clock.monotonic() - before).as_secs_f64();
    std::fs::remove_file(path)?;
    Ok((writes as f64 * bytes as f64 / 1e6 / taken, taken * 1e6 / writes as f64))
}
