//! What a configuration key is: its type, default and valid values, parsed as Kafka's `ConfigDef` parses them.

use std::borrow::Cow;
use std::fmt;

use base::collections::HashSet;
use thiserror::Error;

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    /// `true` or `false`, in any case.
    Boolean,
    /// Text.
    String,
    /// 32-bit integer.
    Int,
    /// 64-bit integer.
    Long,
    /// 64-bit floating point.
    Double,
    /// Comma-separated texts.
    List,
}

impl ConfigType {
    /// The type's number in DescribeConfigs.
    pub fn wire_code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }
}

impl fmt::Display for ConfigType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        })
    }
}

/// Which values of the type are valid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Constraint {
    /// Every one.
    Any,
    /// This or more.
    AtLeast(i64),
    /// Both ends included.
    Between(i64, i64),
    /// Both ends included, for doubles.
    Fraction,
    /// gzip's levels: 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// One of these texts; for a list, each element is.
    OneOf(&'static [&'static str]),
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
}

/// How a broker key's value becomes the topic key's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// As it is.
    Same,
    /// Milliseconds of a time limit.
    Milliseconds,
    /// Minutes to milliseconds.
    Minutes,
    /// Hours to milliseconds.
    Hours,
}

impl Unit {
    /// The topic key's value for a broker key's value. Negative limits of time mean "unlimited" in every unit.
    pub fn convert(self, value: &str) -> String {
        let factor = match self {
            Self::Same => return value.to_owned(),
            Self::Milliseconds => 1,
            Self::Minutes => 60_000,
            Self::Hours => 3_600_000,
        };
        match trimmed(value).parse::<i64>() {
            Ok(unlimited) if unlimited < 0 => "-1".to_owned(),
            Ok(number) => number.saturating_mul(factor).to_string(),
            Err(_) => value.to_owned(),
        }
    }
}

/// A broker key that gives a topic key its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub broker_key: &'static str,
    /// Its unit.
    pub unit: Unit,
}

/// A topic configuration key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TopicKey {
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: ConfigType,
    /// Kafka's default.
    pub default: &'static str,
    /// Which values are valid.
    pub valid: Constraint,
    /// Broker keys that set the default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// What it does here.
    pub doc: &'static str,
}

/// Why a topic configuration is refused. The messages follow Kafka's, which tools show as they are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidConfig {
    /// No such key.
    #[error("Unknown topic config name: {0}")]
    UnknownKey(String),
    /// The value cannot be parsed or is not valid.
    #[error("Invalid value {value} for configuration {key}: {why}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value: as it was given where it is not of the key's type, else as it was understood.
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// An element of a list is empty.
    #[error("Configuration '{0}' values must not be empty.")]
    EmptyElement(&'static str),
    /// There are no tiers of storage that a topic could be told to use.
    #[error(
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    )]
    NoTiers,
    /// Two keys contradict each other.
    #[error("conflict topic config setting {0}")]
    Conflict(String),
}

impl TopicKey {
    /// Checks a value.
    ///
    /// # Errors
    /// When it is not of the key's type or not valid.
    pub fn validate(&self, value: &str) -> Result<(), InvalidConfig> {
        let trimmed = trimmed(value);
        let wrong_type = || self.wrong(value, format!("Not a number of type {}", self.kind));
        match self.kind {
            ConfigType::Boolean => match trimmed.to_ascii_lowercase().as_str() {
                "true" | "false" => Ok(()),
                _ => Err(self.wrong(value, "Expected value to be either true or false")),
            },
            ConfigType::Int => self.check_range(trimmed.parse::<i32>().map_err(|_| wrong_type())?.into()),
            ConfigType::Long => self.check_range(trimmed.parse().map_err(|_| wrong_type())?),
            ConfigType::Double => self.check_fraction(parsed_double(trimmed).ok_or_else(wrong_type)?),
            ConfigType::String => self.check_text(trimmed),
            ConfigType::List => self.check_list(trimmed),
        }
    }

    fn wrong(&self, value: impl Into<String>, why: impl Into<String>) -> InvalidConfig {
        InvalidConfig::Value { key: self.name, value: value.into(), why: why.into() }
    }

    /// A valid value as it is shown, which is what Kafka made of the text when it read it.
    pub fn shown<'a>(&self, value: &'a str) -> Cow<'a, str> {
        let trimmed = trimmed(value);
        let parsed = match self.kind {
            ConfigType::Boolean => Some(trimmed.to_ascii_lowercase()),
            ConfigType::Int | ConfigType::Long => trimmed.parse::<i64>().ok().map(|number| number.to_string()),
            ConfigType::Double => parsed_double(trimmed).map(shown_double),
            ConfigType::List => Some(self.elements(trimmed).join(",")),
            ConfigType::String => None,
        };
        parsed.map_or(Cow::Borrowed(trimmed), Cow::Owned)
    }

    /// The elements of a list. Of those that are the same one counts, where they are words.
    fn elements<'a>(&self, list: &'a str) -> Vec<&'a str> {
        let mut seen = HashSet::default();
        let counts = |element: &&'a str| self.valid == Constraint::ThrottledReplicas || seen.insert(*element);
        list_elements(list).filter(counts).collect()
    }

    fn check_range(&self, number: i64) -> Result<(), InvalidConfig> {
        let why = match self.valid {
            Constraint::AtLeast(min) | Constraint::Between(min, _) if number < min => {
                format!("Value must be at least {min}")
            }
            Constraint::Between(_, max) if number > max => format!("Value must be no more than {max}"),
            Constraint::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
                "Value must be between 1 and 9 or equal to -1".to_owned()
            }
            _ => return Ok(()),
        };
        Err(self.wrong(number.to_string(), why))
    }

    /// What is not a number is not out of range either: so Kafka has it.
    fn check_fraction(&self, number: f64) -> Result<(), InvalidConfig> {
        let why = match self.valid {
            Constraint::Fraction if number < 0.0 => "Value must be at least 0",
            Constraint::Fraction if number > 1.0 => "Value must be no more than 1",
            _ => return Ok(()),
        };
        Err(self.wrong(shown_double(number), why))
    }

    fn check_text(&self, text: &str) -> Result<(), InvalidConfig> {
        match self.valid {
            Constraint::OneOf(choices) if !choices.contains(&text) => {
                Err(self.wrong(text, format!("String must be one of: {}", choices.join(", "))))
            }
            _ => Ok(()),
        }
    }

    fn check_list(&self, list: &str) -> Result<(), InvalidConfig> {
        if list.is_empty() {
            return Ok(());
        }
        let elements = self.elements(list);
        if self.valid != Constraint::ThrottledReplicas {
            return elements.into_iter().try_for_each(|element| match element {
                "" => Err(InvalidConfig::EmptyElement(self.name)),
                element => self.check_text(element),
            });
        }
        let is_replica = |element: &&str| element.is_empty() || is_partition_and_broker(element);
        let inner: Vec<&str> = elements.iter().copied().map(trimmed).collect();
        if inner.concat() == "*" || inner.iter().all(is_replica) {
            return Ok(());
        }
        let why = format!(
            "{} must be the literal '*' or a list of replicas in the following format: \
             [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            self.name
        );
        Err(self.wrong(format!("[{}]", elements.join(", ")), why))
    }
}

/// A value without what Java's `String.trim` takes off: blanks and control characters, and no other kind of space.
pub fn trimmed(value: &str) -> &str {
    value.trim_matches(|character| character <= ' ')
}

/// The elements of a trimmed list. Around its commas Kafka takes off less than at its ends: blanks and what Java's `\s`
/// means besides, and no other control characters.
pub fn list_elements(list: &str) -> impl Iterator<Item = &str> {
    const SPACES: [char; 6] = [' ', '\t', '\n', '\x0b', '\x0c', '\r'];
    list.split(',').map(|element| element.trim_matches(SPACES))
}

/// A trimmed text as Java's `Double.parseDouble` reads it, but for numbers in hexadecimal: a type may be said behind
/// the number, and what is none is written in one way only.
pub fn parsed_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return text.parse().ok();
    }
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    // Rust reads "inf" and "nan", too.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    digits.parse().ok().filter(|_| is_number)
}

/// A number as Java's `Double.toString` writes it: `0.5`, `1.0E7`, `1.2E-4`.
pub fn shown_double(number: f64) -> String {
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return format!("{number:?}");
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let text = format!("{number:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

fn is_partition_and_broker(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
}
