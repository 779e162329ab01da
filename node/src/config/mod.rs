//! A node's settings: a file, the environment, flags; checked, typed, documented.

mod actors;
pub mod catalogue;
pub mod file;
mod kafka;
mod listeners;
mod security;
pub mod setting;
mod typed;

use std::collections::BTreeMap;
use std::path::Path;

pub use actors::ActorsConfig;
pub use file::FileError;
pub use kafka::KafkaConfig;
pub use listeners::{ListenerConfig, SecurityProtocol};
pub use security::{AuthorizerConfig, ClientAuth, SaslConfig, SaslMechanism, SslConfig};
pub use typed::{NodeConfig, TlsFiles, Voter};

/// Settings that a node cannot start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is wrong.
    #[error(transparent)]
    File(#[from] FileError),
    /// A flag or environment variable names nothing.
    #[error("{source_name}: there is no setting {name}; did you mean {nearest}?")]
    Unknown {
        /// Where it was given.
        source_name: &'static str,
        /// The name.
        name: String,
        /// The nearest right one.
        nearest: &'static str,
    },
    /// A value is wrong.
    #[error("{name} = {value}: {reason}")]
    Value {
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// What would be right.
        reason: String,
    },
}

/// Settings as given, the later source over the earlier: defaults, file, environment, flags.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Takes a file's settings.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        self.given.extend(file::read(path)?);
        Ok(self)
    }

    /// Takes what environment variables say (`MILLSTREAM_NODE_ID` for `node.id`).
    pub fn environment(mut self, variables: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        for setting in catalogue::all() {
            if let Some(value) = variables(&setting.environment()) {
                self = self.set_from("environment", setting.name, &value)?;
            }
        }
        Ok(self)
    }

    /// Takes one setting.
    pub fn set(self, name: &str, value: &str) -> Result<Self, ConfigError> {
        self.set_from("command line", name, value)
    }

    fn set_from(mut self, source_name: &'static str, name: &str, value: &str) -> Result<Self, ConfigError> {
        let Some(setting) = catalogue::find(name) else {
            let nearest = catalogue::nearest(name);
            return Err(ConfigError::Unknown { source_name, name: name.to_owned(), nearest });
        };
        setting.check(value).map_err(|reason| ConfigError::Value {
            name: name.to_owned(),
            value: value.to_owned(),
            reason,
        })?;
        self.given.insert(setting.name, value.to_owned());
        Ok(self)
    }

    /// The value in force: what was given last, else the default; empty for an unknown name.
    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        match self.given.get(name) {
            Some(value) => value,
            None => catalogue::find(name).map_or("", |setting| setting.default),
        }
    }

    /// The settings given, without defaults.
    #[must_use]
    pub fn given(&self) -> &BTreeMap<&'static str, String> {
        &self.given
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_goes_over_the_environment_and_that_over_the_default() {
        let variables = |name: &str| (name == "MILLSTREAM_NODE_ID").then(|| "7".to_owned());
        let settings = Settings::default().environment(variables).unwrap();
        assert_eq!(settings.value("node.id"), "7");
        let settings = settings.set("node.id", "8").unwrap();
        assert_eq!(settings.value("node.id"), "8");
        assert_eq!(settings.value("num.partitions"), "6");
    }

    #[test]
    fn an_unknown_flag_is_told_with_the_nearest_name() {
        let error = Settings::default().set("node.idd", "8").unwrap_err();
        assert_eq!(error.to_string(), "command line: there is no setting node.idd; did you mean node.id?");
    }
}
