//! Kafka's own command line tools, unchanged from their jars, doing everyday things at a broker.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::install::Clients;
use crate::process::wait_until;

/// What one tool may take.
const TOOL_TIMEOUT: Duration = Duration::from_secs(60);

/// One step that was done and what it printed.
#[derive(Clone, Debug)]
pub struct Step {
    /// The tool and its arguments.
    pub command: String,
    /// What it printed.
    pub output: String,
}

/// Runs `kafka-topics`, `-configs`, `-console-producer`, `-console-consumer`, `-get-offsets`, `-consumer-groups`,
/// `-delete-records` and `-broker-api-versions` against a broker and checks what they say. Names start with `prefix`.
///
/// # Errors
/// At the first tool that fails or says something wrong, with its output.
pub fn run_kafka_tools(clients: &Clients, bootstrap: &str, prefix: &str, directory: &Path) -> Result<Vec<Step>> {
    crate::process::fresh_dir(directory)?;
    let mut bench = Bench { clients, bootstrap, directory, steps: Vec::new() };
    let topic = format!("{prefix}-tools");
    let group = format!("{prefix}-tools-group");
    let plain = "org.apache.kafka.tools";
    let (topics, offsets) = (format!("{plain}.TopicCommand"), format!("{plain}.GetOffsetShell"));
    let (producer, consumer) = (format!("{plain}.ConsoleProducer"), format!("{plain}.consumer.ConsoleConsumer"));
    let groups = format!("{plain}.consumer.group.ConsumerGroupCommand");
    let configs = "kafka.admin.ConfigCommand";

    bench.says(&format!("{plain}.BrokerApiVersionsCommand"), &[], &["ApiVersions(18)", "Produce(0)", "Fetch(1)"])?;
    let create = ["--create", "--topic", &topic, "--partitions", "3", "--config", "retention.ms=3600000"];
    bench.says(&topics, &create, &[&format!("Created topic {topic}.")])?;
    bench.fails(&topics, &create, "already exists")?;
    bench.says(&topics, &["--list"], &[&topic])?;
    bench.says(
        &topics,
        &["--describe", "--topic", &topic],
        &["PartitionCount: 3", "retention.ms=3600000", "Partition: 2"],
    )?;
    bench.says(&topics, &["--alter", "--topic", &topic, "--partitions", "4"], &[])?;
    bench.says(&topics, &["--describe", "--topic", &topic], &["PartitionCount: 4"])?;

    let entity = ["--entity-type", "topics", "--entity-name", &topic];
    bench.says(
        configs,
        &[&["--alter", "--add-config", "max.message.bytes=123456"], &entity[..]].concat(),
        &["Completed updating"],
    )?;
    bench.says(
        configs,
        &[&["--describe"], &entity[..]].concat(),
        &["max.message.bytes=123456", "DYNAMIC_TOPIC_CONFIG"],
    )?;
    bench.says(
        configs,
        &[&["--alter", "--delete-config", "max.message.bytes"], &entity[..]].concat(),
        &["Completed updating"],
    )?;
    bench.lacks(configs, &[&["--describe"], &entity[..]].concat(), "max.message.bytes=123456")?;
    broker_settings(&mut bench, configs, &topic)?;

    let lines: Vec<String> = (0..100).map(|i| format!("key-{i}:a line typed at the console, number {i}")).collect();
    let keyed = ["--topic", &topic, "--property", "parse.key=true", "--property", "key.separator=:"];
    bench.typed(&producer, &keyed, &lines)?;
    let read =
        ["--topic", &topic, "--group", &group, "--from-beginning", "--max-messages", "100", "--timeout-ms", "30000"];
    let printed = bench.run(
        &consumer,
        &[&read[..], &["--property", "print.key=true", "--property", "key.separator=:"]].concat(),
        None,
    )?;
    let mut got: Vec<&str> = printed.lines().filter(|line| line.starts_with("key-")).collect();
    let mut expected: Vec<&str> = lines.iter().map(String::as_str).collect();
    got.sort_unstable();
    expected.sort_unstable();
    ensure!(got == expected, "kafka-console-consumer printed {} of {} lines:\n{printed}", got.len(), expected.len());

    let ends = bench.run(&offsets, &["--topic", &topic], None)?;
    ensure!(offsets_sum(&ends, &topic)? == 100, "kafka-get-offsets should add up to 100:\n{ends}");
    let starts = bench.run(&offsets, &["--topic", &topic, "--time", "earliest"], None)?;
    ensure!(offsets_sum(&starts, &topic)? == 0, "kafka-get-offsets --time earliest should add up to 0:\n{starts}");

    bench.says(&groups, &["--list"], &[&group])?;
    let described = bench.run(&groups, &["--describe", "--group", &group], None)?;
    ensure!(lags(&described, &topic) == Some(0), "kafka-consumer-groups should show no lag:\n{described}");
    bench.says(&groups, &["--describe", "--group", &group, "--state"], &["Empty"])?;
    let reset = ["--reset-offsets", "--to-earliest", "--group", &group, "--topic", &topic, "--execute"];
    bench.says(&groups, &reset, &[&topic])?;
    let described = bench.run(&groups, &["--describe", "--group", &group], None)?;
    ensure!(lags(&described, &topic) == Some(100), "after the reset the lag should be 100:\n{described}");
    bench.says(&groups, &["--delete-offsets", "--group", &group, "--topic", &topic], &["Successful"])?;
    bench.says(&groups, &["--delete", "--group", &group], &["Deletion of requested consumer groups"])?;
    bench.lacks(&groups, &["--list"], &group)?;

    let plan = directory.join("delete-records.json");
    fs::write(&plan, format!(r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"offset":-1}}]}}"#))?;
    let plan = plan.to_str().context("the directory's name is not text")?;
    bench.says(&format!("{plain}.DeleteRecordsCommand"), &["--offset-json-file", plan], &["low_watermark"])?;
    bench.says(&topics, &["--delete", "--topic", &topic], &[])?;
    wait_until(TOOL_TIMEOUT, || Ok(!bench.run(&topics, &["--list"], None)?.lines().any(|line| line == topic)))
        .context("the deleted topic is still listed")?;
    Ok(bench.steps)
}

/// Settings of all brokers together and of the one there is, with the id 1, and what becomes of them for a topic.
fn broker_settings(bench: &mut Bench<'_>, configs: &str, topic: &str) -> Result<()> {
    let alter = |change: [&'static str; 2], entity: &[&'static str]| {
        [&["--alter"], &change[..], &["--entity-type", "brokers"], entity].concat()
    };
    let describe = |entity: &[&'static str]| [&["--describe", "--entity-type", "brokers"], entity].concat();
    let (all, one) = (&["--entity-default"][..], &["--entity-name", "1"][..]);
    let of_topic = ["--describe", "--all", "--entity-type", "topics", "--entity-name", topic];

    let (set_all, set_one) = ("message.max.bytes=654321", "message.max.bytes=765432");
    bench.says(configs, &alter(["--add-config", set_all], all), &["Completed updating default config for brokers"])?;
    bench.says(configs, &describe(all), &[set_all, "DYNAMIC_DEFAULT_BROKER_CONFIG"])?;
    bench.says(configs, &of_topic, &["max.message.bytes=654321"])?;
    bench.says(configs, &alter(["--add-config", set_one], one), &["Completed updating config for broker 1"])?;
    bench.says(configs, &describe(one), &[set_one, "DYNAMIC_BROKER_CONFIG"])?;
    bench.says(configs, &of_topic, &["max.message.bytes=765432"])?;
    let fixed = alter(["--add-config", "node.id=2"], one);
    bench.fails(configs, &fixed, "Cannot update these configs dynamically")?;
    let wrong = alter(["--add-config", "message.max.bytes=much"], one);
    bench.fails(configs, &wrong, "Invalid")?;
    for (entity, set) in [(one, set_one), (all, set_all)] {
        bench.says(configs, &alter(["--delete-config", "message.max.bytes"], entity), &["Completed updating"])?;
        bench.lacks(configs, &describe(entity), set)?;
    }
    Ok(())
}

/// Sums the third column of `topic:partition:offset` lines.
fn offsets_sum(text: &str, topic: &str) -> Result<i64> {
    let lines = text.lines().filter_map(|line| line.strip_prefix(topic)?.strip_prefix(':'));
    lines
        .map(|line| line.rsplit(':').next().context("a line without an offset")?.parse::<i64>().context("an offset"))
        .sum()
}

/// Sums the LAG column (the sixth) of a described group.
fn lags(text: &str, topic: &str) -> Option<i64> {
    let mut found = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.get(1) == Some(&topic)).then(|| words.get(5)?.parse::<i64>().ok())?
    });
    let first = found.next()?;
    Some(first + found.sum::<i64>())
}

struct Bench<'a> {
    clients: &'a Clients,
    bootstrap: &'a str,
    directory: &'a Path,
    steps: Vec<Step>,
}

impl Bench<'_> {
    /// Runs a tool to its end and returns its output and whether it succeeded.
    fn attempt(&mut self, tool: &str, arguments: &[&str], input: Option<&Path>) -> Result<(bool, String)> {
        let (out, err) = (self.directory.join("tool.out"), self.directory.join("tool.err"));
        let mut command = self.clients.java(128, &["tools/libs/*"], tool);
        command.env(
            "JDK_JAVA_OPTIONS",
            format!(
                "-Dheadwater.log=WARN -Dlog4j2.configurationFile={}",
                self.clients.source("java/log4j2.properties").display()
            ),
        );
        command.args(["--bootstrap-server", self.bootstrap]).args(arguments);
        command.stdin(input.map_or_else(|| Ok(Stdio::null()), |path| fs::File::open(path).map(Stdio::from))?);
        let mut child =
            command.stdout(fs::File::create(&out)?).stderr(fs::File::create(&err)?).spawn().context("starting java")?;
        let mut status = None;
        let waited = wait_until(TOOL_TIMEOUT, || {
            status = child.try_wait()?;
            Ok(status.is_some())
        });
        let output = format!("{}{}", fs::read_to_string(&out)?, fs::read_to_string(&err)?);
        let shown = format!("{tool} {}", arguments.join(" "));
        if waited.is_err() {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{shown}: did not end within {TOOL_TIMEOUT:?}:\n{output}");
        }
        self.steps.push(Step { command: shown, output: output.clone() });
        Ok((status.is_some_and(|status| status.success()), output))
    }

    fn run(&mut self, tool: &str, arguments: &[&str], input: Option<&Path>) -> Result<String> {
        let (succeeded, output) = self.attempt(tool, arguments, input)?;
        ensure!(succeeded, "{tool} {} failed:\n{output}", arguments.join(" "));
        Ok(output)
    }

    fn says(&mut self, tool: &str, arguments: &[&str], expected: &[&str]) -> Result<()> {
        let output = self.run(tool, arguments, None)?;
        for part in expected {
            ensure!(output.contains(part), "{tool} {} should say {part:?}:\n{output}", arguments.join(" "));
        }
        Ok(())
    }

    fn lacks(&mut self, tool: &str, arguments: &[&str], unexpected: &str) -> Result<()> {
        let output = self.run(tool, arguments, None)?;
        ensure!(
            !output.contains(unexpected),
            "{tool} {} should not say {unexpected:?}:\n{output}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn fails(&mut self, tool: &str, arguments: &[&str], expected: &str) -> Result<()> {
        let (succeeded, output) = self.attempt(tool, arguments, None)?;
        ensure!(
            !succeeded && output.contains(expected),
            "{tool} {} should fail with {expected:?}:\n{output}",
            arguments.join(" ")
        );
        Ok(())
    }

    fn typed(&mut self, tool: &str, arguments: &[&str], lines: &[String]) -> Result<()> {
        let input = self.directory.join("typed.txt");
        fs::write(&input, lines.join("\n") + "\n")?;
        self.run(tool, arguments, Some(&input)).map(drop)
    }
}
