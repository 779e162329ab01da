//! One setting, as data: what builds the file parser, the flags, the environment and the documentation.

use std::fmt;

/// What a setting's value may be.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Any text.
    Text,
    /// A path of a file or directory; empty for none.
    Path,
    /// `host:port`.
    Address,
    /// A whole number within bounds, in this unit.
    Whole {
        /// The least value.
        least: i64,
        /// The greatest value.
        most: i64,
        /// What it counts.
        unit: &'static str,
    },
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// When a change takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applies {
    /// At the next start.
    AtRestart,
    /// For topics made from then on; a topic's own value is changed with `millstream topic alter`, live.
    ToNewTopics,
}

/// A setting of a node.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Kafka's name where Kafka has it.
    pub name: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// The value where nothing else is said.
    pub default: &'static str,
    /// When a change takes effect.
    pub applies: Applies,
    /// What it does, and what it costs.
    pub about: &'static str,
}

impl Setting {
    /// The environment variable that sets it: `node.id` is `MILLSTREAM_NODE_ID`.
    #[must_use]
    pub fn environment(&self) -> String {
        format!("MILLSTREAM_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Checks a value; the error says what would be right.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text | Kind::Path => Ok(()),
            Kind::Address => check_address(value),
            Kind::Whole { least, most, .. } => match value.parse::<i64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(()),
                _ => Err(format!("must be {}", self.kind)),
            },
            Kind::Flag => value.parse::<bool>().map(|_| ()).map_err(|_| "must be true or false".to_owned()),
            Kind::Choice(words) if words.contains(&value) => Ok(()),
            Kind::Choice(words) => Err(format!("must be one of {}", words.join(", "))),
        }
    }
}

fn check_address(value: &str) -> Result<(), String> {
    let wrong = || "must be host:port, as in 127.0.0.1:9092".to_owned();
    if value.is_empty() {
        return Ok(());
    }
    let (host, port) = value.rsplit_once(':').ok_or_else(wrong)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong());
    }
    Ok(())
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => formatter.write_str("text"),
            Self::Path => formatter.write_str("a path"),
            Self::Address => formatter.write_str("host:port"),
            Self::Whole { least, most, unit } => {
                write!(formatter, "a whole number ({unit}) from {least} to {most}")
            }
            Self::Flag => formatter.write_str("true or false"),
            Self::Choice(words) => write!(formatter, "one of {}", words.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        assert!(check_address("127.0.0.1:9092").is_ok());
        assert!(check_address("[::1]:9092").is_ok());
        assert!(check_address("localhost").is_err());
        assert!(check_address(":9092").is_err());
        assert!(check_address("a:70000").is_err());
    }
}
