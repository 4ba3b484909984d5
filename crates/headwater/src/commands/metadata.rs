//! `headwater metadata`: give up the end of a metadata log that cannot be read.

use std::path::PathBuf;

use anyhow::bail;
use base::{Clock, Entropy};
use blob::{Store, StoreOptions};
use clap::{Args, Subcommand};
use meta::Meta;

use crate::cli::ServerOptions;
use crate::config;

/// Give up the end of a metadata log that cannot be read
#[derive(Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Pass over what stands last in the metadata log and cannot be read, of a stopped broker. The change in it may have been
    /// acknowledged: that is lost for good. An object that can be brought back is better brought back
    GiveUpLast {
        /// The broker's configuration file
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The broker's store
        #[arg(long, value_name = "URL")]
        store: Option<String>,
        /// One configuration key; may be repeated
        #[arg(long = "override", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Yes, lose it
        #[arg(long)]
        yes: bool,
    },
}

/// Runs the command.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let Action::GiveUpLast { config, store, overrides, yes } = &options.action;
    let options = ServerOptions {
        config: config.clone(),
        store: store.clone(),
        wal: None,
        listen: None,
        http: None,
        overrides: overrides.clone(),
        log: String::new(),
    };
    let settings = config::of_process(&options)?;
    if !yes {
        bail!(
            "this gives up the last entries of the metadata log in {}, if they cannot be read, for good, and takes the office \
             of a broker that still runs; if you mean it, stop the broker and add --yes",
            settings.store
        );
    }
    // What a store says that refuses, or does not answer, is in what is logged.
    telemetry::logs::init(telemetry::logs::Format::for_stderr(), "warn")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let options = StoreOptions { clock, entropy: entropy.clone(), ..StoreOptions::default() };
        let store = Store::open(&settings.store, options).await?;
        let void = Meta::give_up_last(store, settings.broker.node_id, &entropy).await?;
        match void.as_slice() {
            [] => say!("the metadata log can be read to its end; nothing was changed"),
            [only] => say!("entry {only} of the metadata log was given up"),
            [first, .., last] => say!("entries {first} to {last} of the metadata log were given up"),
        }
        anyhow::Ok(())
    })
}
