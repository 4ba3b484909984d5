//! What the integration tests share: a seeded source of random values and generators of every message.

#![allow(dead_code, reason = "not every test uses everything")]

use base::Uuid;
use bytes::{Bytes, BytesMut};
use wire::{EncodeError, Message, RawTaggedField, Str, Writer};

/// Random values from a seed (splitmix64); the same seed gives the same values.
pub struct Source {
    state: u64,
    depth: u32,
}

impl Source {
    pub fn new(seed: u64) -> Self {
        Self { state: seed, depth: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn edge(&mut self) -> u64 {
        match self.below(6) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63 | 1 << 31 | 1 << 15 | 1 << 7,
            _ => self.next(),
        }
    }

    pub fn bool(&mut self) -> bool {
        self.below(2) == 0
    }

    pub fn i8(&mut self) -> i8 {
        self.edge() as i8
    }

    pub fn i16(&mut self) -> i16 {
        self.edge() as i16
    }

    pub fn i32(&mut self) -> i32 {
        self.edge() as i32
    }

    pub fn i64(&mut self) -> i64 {
        self.edge() as i64
    }

    pub fn u16(&mut self) -> u16 {
        self.edge() as u16
    }

    pub fn u32(&mut self) -> u32 {
        self.edge() as u32
    }

    /// Never NaN, which equals nothing.
    pub fn f64(&mut self) -> f64 {
        self.i32() as f64 / 64.0
    }

    pub fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.edge(), self.edge())
    }

    pub fn str(&mut self) -> Str {
        let length = if self.below(40) == 0 { 200 } else { self.below(9) };
        let text: String = (0..length).map(|_| ['a', 'Z', '7', '-', 'é', '試', '🦀'][self.below(7) as usize]).collect();
        text.into()
    }

    pub fn bytes(&mut self) -> Bytes {
        let length = if self.below(40) == 0 { 3000 } else { self.below(20) };
        (0..length).map(|_| self.next() as u8).collect::<BytesMut>().freeze()
    }

    pub fn records(&mut self) -> Bytes {
        self.bytes()
    }

    pub fn nullable<T>(&mut self, allowed: bool, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if allowed && self.below(4) == 0 { None } else { Some(value(self)) }
    }

    pub fn array<T>(&mut self, mut element: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let most = [4, 3, 3, 2][self.depth.min(3) as usize];
        self.depth += 1;
        let elements = (0..self.below(most)).map(|_| element(self)).collect();
        self.depth -= 1;
        elements
    }

    /// Rising tags from `lowest` on; most often none.
    pub fn tags(&mut self, lowest: u32) -> Vec<RawTaggedField> {
        let mut tag = lowest;
        let mut fields = Vec::new();
        while self.below(6) == 0 {
            tag += self.below(200) as u32;
            fields.push(RawTaggedField { tag, data: self.bytes() });
            tag += 1;
        }
        fields
    }
}

/// A type that can be made at random, valid in a version.
pub trait Arbitrary: Sized {
    fn arbitrary(source: &mut Source, version: i16) -> Self;
}

/// One random message: encoded, decoded and compared.
pub struct Sample {
    pub bytes: Bytes,
    /// What went wrong on the way there and back.
    pub failure: Option<String>,
}

pub type Random = fn(&mut Source, i16) -> Result<Sample, EncodeError>;

fn random<T: Message + Arbitrary + PartialEq + std::fmt::Debug>(
    source: &mut Source,
    version: i16,
) -> Result<Sample, EncodeError> {
    let message = T::arbitrary(source, version);
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    let bytes = writer.finish().into_bytes();
    let failure = match T::from_bytes(bytes.clone(), version) {
        Ok(back) if back == message => None,
        Ok(back) => Some(format!("sent {message:?}\n got {back:?}")),
        Err(error) => Some(format!("sent {message:?}\n got {error}")),
    };
    Ok(Sample { bytes, failure })
}

#[allow(clippy::all, unused_variables, unused_mut, reason = "generated code")]
mod generated {
    use super::{Arbitrary, Random, Source, random};

    include!(concat!(env!("OUT_DIR"), "/arbitrary.rs"));
}

#[allow(unused_imports, reason = "not every test uses everything")]
pub use generated::RANDOM;
