//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{consume, group, metadata, produce, topic, wal};

/// The version, and whether this is none to ship.
const VERSION: &str = if base::plant::IS_PLANTED {
    concat!(env!("CARGO_PKG_VERSION"), " with planted bugs")
} else {
    env!("CARGO_PKG_VERSION")
};

/// A Kafka-compatible streaming broker whose disk is an object store.
#[derive(Parser)]
#[command(
    name = "headwater",
    version = VERSION,
    about = "A Kafka-compatible streaming broker whose disk is an object store",
    long_about = "A Kafka-compatible streaming broker whose disk is an object store.\n\nWithout a command it starts a \
                  broker: durable, on a directory below the present one, for clients on port 9092.",
    args_conflicts_with_subcommands = true
)]
pub struct Cli {
    /// What to do instead of serving
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub server: ServerOptions,
}

/// How a broker is started.
#[derive(Args, Debug, Clone)]
pub struct ServerOptions {
    /// A file of Kafka's `server.properties` keys
    #[arg(value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where data and metadata live: a directory, file:///dir, s3://bucket/prefix?region=…, gs://, az://, oss://, cos://,
    /// bos:// or memory://
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where the write-ahead log lives: a directory or a block device. The log of a store in memory is in memory unless
    /// this says otherwise
    #[arg(long, value_name = "PATH")]
    pub wal: Option<String>,
    /// Address for Kafka clients, HOST:PORT or NAME://HOST:PORT
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Address for metrics and health; "off" turns them off
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,
    /// Sets one configuration key; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
    /// What is logged, for example `info` or `warn,broker=debug`
    #[arg(long, value_name = "FILTER", env = "HEADWATER_LOG", default_value = "info")]
    pub log: String,
}

/// Client and maintenance commands.
#[derive(Subcommand)]
pub enum Command {
    /// Create, list, describe, alter and delete topics
    Topic(topic::Options),
    /// Produce records, one a line of standard input
    Produce(produce::Options),
    /// Print records
    Consume(consume::Options),
    /// List, describe, reset and delete consumer groups
    Group(group::Options),
    /// Look at write-ahead logs, give up a damaged one, remove one whose cluster is gone
    Wal(wal::Options),
    /// Give up the end of a metadata log that cannot be read
    Metadata(metadata::Options),
}

/// Where a client command finds the broker.
#[derive(Args, Debug, Clone)]
pub struct Bootstrap {
    /// Address of a broker
    #[arg(
        long = "bootstrap-server",
        short = 'b',
        global = true,
        value_name = "HOST:PORT",
        env = "HEADWATER_BOOTSTRAP",
        default_value = "127.0.0.1:9092"
    )]
    pub address: String,
}
