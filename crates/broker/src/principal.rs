//! [`Principal`]: who a client is, as far as it was asked.

use std::fmt;

use wire::Str;

/// Kafka's `KafkaPrincipal`: a type and a name, which belong together and are written `User:alice`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Principal {
    pub(crate) principal_type: Str,
    pub(crate) name: Str,
}

impl Principal {
    /// Whoever comes in by a listener that asks nobody who they are, as a PLAINTEXT one.
    pub(crate) const ANONYMOUS: Self =
        Self { principal_type: Str::from_static("User"), name: Str::from_static("ANONYMOUS") };
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.principal_type, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_is_written_as_kafka_writes_it() {
        assert_eq!(Principal::ANONYMOUS.to_string(), "User:ANONYMOUS");
    }
}
