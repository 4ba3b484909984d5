//! Kafka's command line tools, unchanged.

use testkit::{Clients, tools};

use crate::support::{local, start};

#[test]
fn kafkas_own_tools_work_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let clients = Clients::installed_parts(&["java"]).unwrap();
    let broker = start(local(directory.path()), directory.path());
    let steps =
        tools::run_kafka_tools(&clients, &broker.bootstrap(), "proof", &directory.path().join("tools")).unwrap();
    for step in steps {
        println!("{}", step.command);
    }
}
