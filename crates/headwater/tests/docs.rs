//! The configuration reference is made from the definitions that the broker reads; `HEADWATER_WRITE_DOCS=1` writes it anew.

#![allow(clippy::unwrap_used, reason = "a test fails where it unwraps")]

use std::fmt::Write;

use broker::config::{BROKER_KEYS, INERT_DOC, INERT_KEYS};
use partition::config::TOPIC_KEYS;

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn row(page: &mut String, name: &str, kind: &str, default: &str, doc: &str) {
    writeln!(page, "| `{name}` | {} | {} | {} |", kind.to_lowercase(), cell(default), cell(doc)).unwrap();
}

fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\nKeys come, in rising precedence, from a properties file (`headwater FILE`), from environment variables, from \
         `--override KEY=VALUE`,\nand from the flags `--store`, `--wal`, `--listen` and `--http`. An unknown key is an error; a key of \
         Kafka's that changes nothing\nhere is listed once in the log.\n\nThe file is read as `java.util.Properties` reads it, escapes and \
         continued lines included, but as UTF-8 if it is valid UTF-8 (else\nas ISO 8859-1, as Java does).\n\n`KAFKA_NUM_PARTITIONS` or \
         `HEADWATER_NUM_PARTITIONS` is `num.partitions`; `__` stands for `_`, `___` for `-`. A `KAFKA_` variable that\nnames no key is \
         only warned of, since other programs have such variables too; those of Kafka's scripts and image \
         (`KAFKA_HEAP_OPTS`,\n`KAFKA_VERSION`, ...) and Kubernetes' service links are passed over. An unknown `HEADWATER_` variable is an \
         error.\n\n## Broker keys\n\n| Key | Type | Default | What it does |\n|---|---|---|---|\n",
    );
    for key in BROKER_KEYS {
        row(&mut page, key.name, &format!("{:?}", key.kind), key.default.unwrap_or("–"), key.doc);
    }
    page.push_str("\n## Broker keys without effect\n\n");
    page.push_str(INERT_DOC);
    page.push_str(
        " All of them can be changed while the broker runs; numbers\nof threads, as in Kafka, to no less than half and no more \
         than double of what they are. `cordoned.log.dirs` must be empty:\nthere is one store for all partitions, and it always \
         takes new ones.\n\n",
    );
    page.push_str("| Key | Type | Default |\n|---|---|---|\n");
    for key in INERT_KEYS {
        let (kind, default) = (format!("{:?}", key.kind).to_lowercase(), key.default.unwrap_or_default());
        let default = if default.is_empty() { "–" } else { default };
        writeln!(page, "| `{}` | {kind} | {} |", key.name, cell(default)).unwrap();
    }
    page.push_str("\n## Topic keys\n\nSet at creation or later; the broker key named like it, where there is one, sets the default.\n\n");
    page.push_str("| Key | Type | Default | What it does |\n|---|---|---|---|\n");
    for key in TOPIC_KEYS {
        let default = if key.default.is_empty() { "–" } else { key.default };
        row(&mut page, key.name, &format!("{:?}", key.kind), default, key.doc);
    }
    page
}

#[test]
fn the_configuration_reference_is_what_the_broker_reads() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let page = reference();
    if std::env::var_os("HEADWATER_WRITE_DOCS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page, "run this test with HEADWATER_WRITE_DOCS=1");
}
