//! What a configuration key is: one definition yields parsing, validation, defaults, DescribeConfigs and the
//! documentation page.

use std::fmt;

use base::collections::HashSet;
use partition::config::{list_elements, parsed_double, shown_double, trimmed};

/// The type of a value, as Kafka's `ConfigDef.Type`; also the type byte of DescribeConfigs v3+.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Any text.
    String,
    /// 32 bits, signed.
    Int,
    /// 64 bits, signed.
    Long,
    /// A decimal number.
    Double,
    /// Values separated by commas.
    List,
}

impl Kind {
    /// The type byte of DescribeConfigs.
    pub fn describe_configs_type(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
        }
    }

    /// Kafka's name of it.
    fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
        }
    }
}

/// What a value must be beyond its type.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Nothing more.
    Any,
    /// A number of at least this.
    AtLeast(i64),
    /// A number of at least 0 in the broker's file, and of at least 1 when it is set while the broker runs: what limits
    /// connections could not be set anew once it lets nobody in.
    AtLeastOneRunning,
    /// A number other than 0.
    NotZero,
    /// A number of at least this, as the broker requires where the key's definition does not.
    Required(i64),
    /// A number within these, both included.
    Between(i64, i64),
    /// gzip's levels: 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// Milliseconds between two assignments of a group, 0 or more. While the broker runs they are set to no more than Kafka's
    /// longest, which is a key of its own there and not kept here.
    AssignmentInterval,
    /// A number from 0 to 1.
    Fraction,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list, which may be empty, of these words. What names one twice is read as if it did so once, and not taken when it
    /// is set while the broker runs.
    ListOf(&'static [&'static str]),
    /// A number of threads, 1 or more. While the broker runs it changes to no less than half and no more than double.
    Threads,
    /// Likewise, of those that clean logs.
    CleanerThreads,
    /// Java classes. Such as are not there already cannot be loaded while the broker runs.
    Classes,
    /// Whatever the function accepts; its error says what is wrong.
    Custom(fn(&str) -> Result<(), String>),
}

/// Kafka's default of the longest time between two assignments of a group.
const ASSIGNMENT_INTERVAL_MS_MAX: i64 = 15_000;

/// When a new value takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Update {
    /// At the next start.
    Restart,
    /// At once, through AlterConfigs on a broker or on the cluster-wide default.
    Dynamic,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDef {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The default as text; `None` is Kafka's null.
    pub default: Option<&'static str>,
    /// The validator.
    pub check: Check,
    /// When a change takes effect.
    pub update: Update,
    /// What it does, in our words.
    pub doc: &'static str,
}

/// What is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This value: as it was given where it is not of the key's type, else as it was understood.
    Value(String),
    /// A list as such.
    List,
    /// What the broker wants beyond what keys are defined to be; the reason says all.
    Rule,
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key.
    pub key: String,
    /// How it is told.
    pub fault: Fault,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, fault, reason } = self;
        match fault {
            Fault::Value(value) => write!(f, "Invalid value {value} for configuration {key}: {reason}"),
            Fault::List => write!(f, "Configuration '{key}' {reason}"),
            Fault::Rule => f.write_str(reason),
        }
    }
}

impl std::error::Error for Invalid {}

impl ConfigDef {
    /// Checks `value` and brings it into the form in which it is kept and shown (trimmed, booleans in lower case,
    /// numbers as Java writes them).
    ///
    /// # Errors
    /// When it is not of the key's type or fails the key's validator.
    pub fn parse(&self, value: &str) -> Result<String, Invalid> {
        let wrong_type = || self.invalid(value, format!("Not a number of type {}", self.kind.name()));
        let trimmed = trimmed(value);
        match self.kind {
            Kind::Boolean => match trimmed.to_ascii_lowercase() {
                lower if lower == "true" || lower == "false" => Ok(lower),
                _ => Err(self.invalid(value, "Expected value to be either true or false")),
            },
            Kind::Int => self.check_number(trimmed.parse::<i32>().map_err(|_| wrong_type())?.into()),
            Kind::Long => self.check_number(trimmed.parse().map_err(|_| wrong_type())?),
            Kind::Double => self.check_double(parsed_double(trimmed).ok_or_else(wrong_type)?),
            Kind::String | Kind::List => self.check_text(trimmed),
        }
    }

    fn invalid(&self, value: impl Into<String>, reason: impl Into<String>) -> Invalid {
        Invalid { key: self.name.to_owned(), fault: Fault::Value(value.into()), reason: reason.into() }
    }

    /// [`Self::parse`] for a value that is kept with the metadata, where it goes before the broker's file.
    ///
    /// Kafka checks such a value twice: by the key's definition, and by the part of the broker that is reconfigured
    /// (`ConnectionQuotas.validateReconfiguration`), which refuses some that the definition lets pass.
    ///
    /// # Errors
    /// As [`Self::parse`], and when the running broker does not take it.
    pub fn parse_running(&self, value: &str) -> Result<String, Invalid> {
        let parsed = self.parse(value)?;
        match (self.check, parsed.parse::<i64>()) {
            (Check::AtLeastOneRunning, Ok(number)) if number < 1 => {
                Err(Invalid::running(self.name, format!("Invalid {} {number}", self.name)))
            }
            _ => Ok(parsed),
        }
    }

    /// [`Self::parse_running`] for a value that is about to be set. Kafka 4.4.0 drops what a list of its file names again,
    /// and refuses such a list when it is set; 3.9.2 takes it, and so may an older release have kept it.
    ///
    /// # Errors
    /// As [`Self::parse_running`], and when a list names a word twice.
    pub(crate) fn parse_new(&self, value: &str) -> Result<String, Invalid> {
        if self.kind == Kind::List {
            let (words, mut seen) = (words_of(trimmed(value)), HashSet::default());
            let list = |reason: &str| {
                Err(Invalid { key: self.name.to_owned(), fault: Fault::List, reason: reason.to_owned() })
            };
            if !words.iter().all(|word| seen.insert(*word)) {
                return list("values must not be duplicated.");
            }
            if words.contains(&"") {
                return list("values must not be empty.");
            }
        }
        let parsed = self.parse_running(value)?;
        match (self.check, parsed.parse::<i64>()) {
            (Check::AssignmentInterval, Ok(interval)) if interval > ASSIGNMENT_INTERVAL_MS_MAX => {
                let longest = self.name.replace(".assignment.", ".max.assignment.");
                Err(Invalid::rule(self.name, format!("{} must be less than or equal to {longest}", self.name)))
            }
            _ => Ok(parsed),
        }
    }

    fn check_number(&self, number: i64) -> Result<String, Invalid> {
        let reason = match self.check {
            Check::AtLeast(least) | Check::Between(least, _) if number < least => {
                format!("Value must be at least {least}")
            }
            Check::Between(_, most) if number > most => format!("Value must be no more than {most}"),
            Check::AtLeastOneRunning | Check::AssignmentInterval | Check::CleanerThreads if number < 0 => {
                "Value must be at least 0".to_owned()
            }
            Check::NotZero if number == 0 => {
                let limit = format!("{} must be unlimited (-1) or, greater than or equal to 1", self.name);
                return Err(Invalid::required(self.name, &limit));
            }
            Check::Required(least) if number < least => {
                let bound = format!("{} must be greater than or equal to {least}", self.name);
                return Err(Invalid::required(self.name, &bound));
            }
            Check::Threads if number < 1 => "Value must be at least 1".to_owned(),
            // What Java says: memory is divided among them first.
            Check::CleanerThreads if number == 0 => return Err(Invalid::rule(self.name, "/ by zero".to_owned())),
            Check::GzipLevel if number != -1 && !(1..=9).contains(&number) => {
                "Value must be between 1 and 9 or equal to -1".to_owned()
            }
            Check::Custom(check) => match check(&number.to_string()) {
                Ok(()) => return Ok(number.to_string()),
                Err(reason) => reason,
            },
            _ => return Ok(number.to_string()),
        };
        Err(self.invalid(number.to_string(), reason))
    }

    fn check_double(&self, number: f64) -> Result<String, Invalid> {
        let reason = match self.check {
            Check::Fraction if number < 0.0 => "Value must be at least 0",
            Check::Fraction if number > 1.0 => "Value must be no more than 1",
            _ => return Ok(shown_double(number)),
        };
        Err(self.invalid(shown_double(number), reason))
    }

    fn check_text(&self, text: &str) -> Result<String, Invalid> {
        let one_of = |text: &str, words: &[&str]| {
            Err(self.invalid(text, format!("String must be one of: {}", words.join(", "))))
        };
        match self.check {
            Check::OneOf(words) if !words.contains(&text) => one_of(text, words),
            Check::ListOf(words) => {
                let mut seen = HashSet::default();
                let mut items = words_of(text);
                items.retain(|item| seen.insert(*item));
                match items.iter().find(|item| !words.contains(item)) {
                    Some(&"") => {
                        let reason = "values must not be empty.".to_owned();
                        Err(Invalid { key: self.name.to_owned(), fault: Fault::List, reason })
                    }
                    Some(wrong) => one_of(wrong, words),
                    None => Ok(items.join(",")),
                }
            }
            Check::Custom(check) => {
                check(text).map_err(|reason| self.invalid(text, reason))?;
                Ok(text.to_owned())
            }
            _ => Ok(text.to_owned()),
        }
    }
}

impl Invalid {
    /// What the broker wants.
    pub(crate) fn rule(key: &str, reason: String) -> Self {
        Self { key: key.to_owned(), fault: Fault::Rule, reason }
    }

    /// What the broker wants of its configuration as a whole, in Scala's words.
    pub(crate) fn required(key: &str, what: &str) -> Self {
        Self::rule(key, format!("requirement failed: {what}"))
    }

    /// What one of its parts does not take while it runs, as Kafka's `DynamicBrokerConfig` wraps it up.
    pub(crate) fn running(key: &str, why: impl fmt::Display) -> Self {
        let class = "org.apache.kafka.common.config.ConfigException";
        Self::rule(key, format!("Invalid value {class}: {why} for configuration Invalid dynamic configuration"))
    }
}

impl ConfigDef {
    /// Checks what a change from one valid value to another has to heed while the broker runs.
    pub(crate) fn check_change(&self, now: &str, then: &str) -> Result<(), Invalid> {
        let counts = || {
            let count = |text: &str| text.parse::<i64>().unwrap_or(1);
            (count(now), count(then))
        };
        let key = self.name;
        match self.check {
            Check::Threads => {
                let (now, then) = counts();
                let failed = format!("Dynamic thread count update validation failed for {key}={then}, value should");
                if then < now / 2 {
                    let why = format!("{failed} be at least half the current value {now}");
                    return Err(Invalid::running(key, why));
                }
                if then > now * 2 {
                    let why = format!("{failed} not be greater than double the current value {now}");
                    return Err(Invalid::running(key, why));
                }
            }
            Check::CleanerThreads => {
                let (now, then) = counts();
                let what = match then {
                    then if then < now / 2 => "reduced to less than half",
                    then if then > now * 2 => "increased to more than double",
                    _ => return Ok(()),
                };
                let why = format!("Log cleaner threads cannot be {what} the current value {now}");
                return Err(Invalid::running(key, why));
            }
            Check::Classes => {
                let classes = |text| str::split(text, ',').map(str::trim).filter(|class| !class.is_empty());
                if classes(then).any(|class| classes(now).all(|known| known != class)) {
                    let why = format!(
                        "Validation of dynamic config update of Set({key}) failed with class class \
                         kafka.server.DynamicMetricsReporters"
                    );
                    return Err(Invalid::running(key, why));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The words of a trimmed list.
fn words_of(list: &str) -> Vec<&str> {
    if list.is_empty() { Vec::new() } else { list_elements(list).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(kind: Kind, check: Check) -> ConfigDef {
        ConfigDef { name: "k", kind, default: None, check, update: Update::Restart, doc: "" }
    }

    #[test]
    fn values_are_checked_by_type_and_validator() {
        let fine = [
            (key(Kind::Boolean, Check::Any), " TRUE ", "true"),
            (key(Kind::Int, Check::AtLeast(1)), "1", "1"),
            (key(Kind::Int, Check::AtLeast(1)), "+007", "7"),
            (key(Kind::Int, Check::AtLeast(1)), "\0\t7\n", "7"),
            (key(Kind::Double, Check::Any), "12345678", "1.2345678E7"),
            (key(Kind::Long, Check::Any), "9223372036854775807", "9223372036854775807"),
            (key(Kind::Int, Check::GzipLevel), "-1", "-1"),
            (key(Kind::Int, Check::GzipLevel), "9", "9"),
            (key(Kind::Double, Check::Fraction), "0.5", "0.5"),
            (key(Kind::Double, Check::Fraction), "1d", "1.0"),
            (key(Kind::Double, Check::Fraction), "NaN", "NaN"),
            (key(Kind::List, Check::ListOf(&["compact", "delete"])), "compact, delete", "compact,delete"),
            (key(Kind::List, Check::ListOf(&["compact", "delete"])), "", ""),
            (key(Kind::List, Check::ListOf(&["compact", "delete"])), "delete, delete", "delete"),
            (key(Kind::List, Check::ListOf(&["compact", "delete"])), "\x01delete\t,\x0bcompact", "delete,compact"),
            (key(Kind::Int, Check::AtLeastOneRunning), "0", "0"),
            (key(Kind::Long, Check::NotZero), "-2", "-2"),
            (key(Kind::String, Check::OneOf(&["a", "b"])), "b", "b"),
        ];
        for (key, value, kept) in fine {
            assert_eq!(key.parse(value).as_deref(), Ok(kept), "{key:?}");
        }
        let wrong = [
            (key(Kind::Boolean, Check::Any), "yes"),
            (key(Kind::Int, Check::Any), "2147483648"),
            (key(Kind::Int, Check::Any), "\u{a0}7"),
            (key(Kind::Int, Check::AtLeast(1)), "0"),
            (key(Kind::Int, Check::Between(1, 9)), "10"),
            (key(Kind::Int, Check::GzipLevel), "0"),
            (key(Kind::Int, Check::GzipLevel), "10"),
            (key(Kind::Int, Check::GzipLevel), "-2"),
            (key(Kind::Double, Check::Fraction), "1.5"),
            (key(Kind::List, Check::ListOf(&["compact"])), "compact,"),
            (key(Kind::List, Check::ListOf(&["compact"])), "compact,\x01compact"),
            (key(Kind::Int, Check::AtLeastOneRunning), "-1"),
            (key(Kind::Long, Check::NotZero), "0"),
            (key(Kind::List, Check::ListOf(&["compact"])), "delete"),
            (key(Kind::String, Check::OneOf(&["a"])), "A"),
        ];
        for (key, value) in wrong {
            assert!(key.parse(value).is_err(), "{value} for {key:?}");
        }
    }
    /// Each was asked of Kafka 4.4.0, in its file and through AlterConfigs.
    #[test]
    fn a_list_that_names_a_word_twice_is_read_and_not_set() {
        let policy = key(Kind::List, Check::ListOf(&["compact", "delete"]));
        for twice in ["delete,delete", "delete, delete", " compact , delete ,compact"] {
            assert!(policy.parse_running(twice).is_ok(), "{twice}");
            assert!(policy.parse_new(twice).is_err(), "{twice}");
        }
        for once in ["", "delete", " compact , delete "] {
            assert_eq!(policy.parse_new(once), policy.parse(once), "{once}");
        }
    }
}
