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
    /// A number within these, both included.
    Between(i64, i64),
    /// gzip's levels: 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// A number from 0 to 1.
    Fraction,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A list, which may be empty, of these words. What names one twice is read as if it did so once, and not taken when it
    /// is set while the broker runs.
    ListOf(&'static [&'static str]),
    /// A number of threads, 1 or more. While the broker runs it changes to no less than half and no more than double.
    Threads,
    /// Java classes. Such as are not there already cannot be loaded while the broker runs.
    Classes,
    /// Whatever the function accepts; its error says what is wrong.
    Custom(fn(&str) -> Result<(), String>),
}

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

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Invalid value {} for configuration {}: {}", self.value, self.key, self.reason)
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
        self.try_parse(trimmed(value)).map_err(|reason| Invalid {
            key: self.name.to_owned(),
            value: value.to_owned(),
            reason,
        })
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
            (Check::AtLeastOneRunning, Ok(number)) if number < 1 => Err(Invalid {
                key: self.name.to_owned(),
                value: value.to_owned(),
                reason: "Value must be at least 1 while the broker runs".to_owned(),
            }),
            _ => Ok(parsed),
        }
    }

    /// [`Self::parse_running`] for a value that is about to be set. Kafka 4.4.0 drops what a list of its file names again,
    /// and refuses such a list when it is set; 3.9.2 takes it, and so may an older release have kept it.
    ///
    /// # Errors
    /// As [`Self::parse_running`], and when a list names a word twice.
    pub(crate) fn parse_new(&self, value: &str) -> Result<String, Invalid> {
        let parsed = self.parse_running(value)?;
        if matches!(self.check, Check::ListOf(_)) && words_of(trimmed(value)).len() > words_of(&parsed).len() {
            let reason = "values must not be duplicated".to_owned();
            return Err(Invalid { key: self.name.to_owned(), value: value.to_owned(), reason });
        }
        Ok(parsed)
    }

    fn try_parse(&self, value: &str) -> Result<String, String> {
        let number = match self.kind {
            Kind::Boolean => {
                let lower = value.to_ascii_lowercase();
                return if lower == "true" || lower == "false" {
                    Ok(lower)
                } else {
                    Err("Expected value to be either true or false".to_owned())
                };
            }
            Kind::Int => Some(value.parse::<i32>().map(i64::from).map_err(|_| not_a("number of type INT"))?),
            Kind::Long => Some(value.parse::<i64>().map_err(|_| not_a("number of type LONG"))?),
            Kind::Double => {
                let number = parsed_double(value).ok_or_else(|| not_a("number of type DOUBLE"))?;
                return match self.check {
                    Check::Fraction if number < 0.0 => Err("Value must be at least 0".to_owned()),
                    Check::Fraction if number > 1.0 => Err("Value must be no more than 1".to_owned()),
                    _ => Ok(shown_double(number)),
                };
            }
            Kind::String | Kind::List => None,
        };
        match (self.check, number) {
            (Check::AtLeast(least), Some(number)) if number < least => Err(format!("Value must be at least {least}")),
            (Check::AtLeastOneRunning, Some(number)) if number < 0 => Err("Value must be at least 0".to_owned()),
            (Check::NotZero, Some(0)) => Err("Value must be negative for no limit, or at least 1".to_owned()),
            (Check::Threads, Some(number)) if number < 1 => Err("Value must be at least 1".to_owned()),
            (Check::Between(least, _), Some(number)) if number < least => {
                Err(format!("Value must be at least {least}"))
            }
            (Check::Between(_, most), Some(number)) if number > most => {
                Err(format!("Value must be no more than {most}"))
            }
            (Check::GzipLevel, Some(number)) if number != -1 && !(1..=9).contains(&number) => {
                Err("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            (Check::OneOf(words), _) if !words.contains(&value) => {
                Err(format!("String must be one of: {}", words.join(", ")))
            }
            (Check::ListOf(words), _) => {
                let items = words_of(value);
                if items.iter().all(|item| words.contains(item)) {
                    let mut seen = HashSet::default();
                    Ok(items.into_iter().filter(|item| seen.insert(*item)).collect::<Vec<_>>().join(","))
                } else {
                    Err(format!("Each item must be one of: {}", words.join(", ")))
                }
            }
            (Check::Custom(check), _) => check(value).map(|()| value.to_owned()),
            (
                Check::Any
                | Check::AtLeast(_)
                | Check::AtLeastOneRunning
                | Check::NotZero
                | Check::Between(..)
                | Check::GzipLevel
                | Check::Fraction
                | Check::Threads
                | Check::Classes
                | Check::OneOf(_),
                number,
            ) => Ok(number.map_or_else(|| value.to_owned(), |number| number.to_string())),
        }
    }
}

impl Check {
    /// Checks what a change from one valid value to another has to heed while the broker runs.
    pub(crate) fn check_change(self, now: &str, then: &str) -> Result<(), String> {
        match self {
            Self::Threads => {
                let count = |text: &str| text.parse::<i64>().unwrap_or(1);
                let (now, then) = (count(now), count(then));
                if then < now / 2 {
                    return Err(format!("value should be at least half the current value {now}"));
                }
                if then > now * 2 {
                    return Err(format!("value should not be greater than double the current value {now}"));
                }
            }
            Self::Classes => {
                let classes = |text| str::split(text, ',').map(str::trim).filter(|class| !class.is_empty());
                if let Some(class) = classes(then).find(|class| classes(now).all(|known| known != *class)) {
                    return Err(format!("{class} is a Java class, which this broker cannot run"));
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

fn not_a(what: &str) -> String {
    format!("Not a {what}")
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
