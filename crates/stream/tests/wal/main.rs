//! The block log, on real files and on a device whose every operation can be torn, failed or held back.
//!
//! | Module | Protects |
//! |---|---|
//! | `crash` | torn writes, corruption, stale bytes: what a replay may say |
//! | `fence` | acknowledge only after a fence-page read that began after the sync; the first error ends all |
//! | `living` | reading a log while its owner writes |
//! | `seal` | the empty group behind the last of an idle owner |
//! | `steps` | a whole log in one thread, in the order of a seed; a hosted one |
//! | `space` | trim, recycling, capacity, a full disk |
//! | `unreadable` | one bad page in a place of logs |
//! | `files` | directories, devices, locks, golden names |

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

mod crash;
mod fence;
mod files;
mod living;
mod memory;
mod seal;
mod space;
mod steps;
mod support;
mod unreadable;
