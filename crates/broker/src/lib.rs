//! The broker: listeners, framing, dispatch, and one file for each API key in `handlers/`.

pub mod config;
mod limits;
mod net;
