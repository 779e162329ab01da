//! Reads the TOML file: dotted names, with the line of each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::catalogue::{find, nearest};

/// A file of settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// It is not TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser says.
        reason: String,
    },
    /// A name is not known.
    #[error("{}:{line}: there is no setting {name}; did you mean {nearest}?", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
        /// The nearest right one.
        nearest: &'static str,
    },
    /// A value is wrong.
    #[error("{}:{line}: {name} = {value}: {reason}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The setting.
        name: String,
        /// Its value.
        value: String,
        /// What would be right.
        reason: String,
    },
}

/// Reads a file's settings, checked one by one against the catalogue.
pub fn read(path: &Path) -> Result<BTreeMap<&'static str, String>, FileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|reason| FileError::Unreadable { path: path.to_owned(), reason })?;
    parse(path, &text)
}

/// As [`read`], of a text; `path` is for the errors.
pub fn parse(path: &Path, text: &str) -> Result<BTreeMap<&'static str, String>, FileError> {
    let table = DeTable::parse(text).map_err(|error| FileError::Syntax {
        path: path.to_owned(),
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut found = Vec::new();
    flatten("", table.get_ref(), &mut found);
    let mut settings = BTreeMap::new();
    for (name, position, value) in found {
        let line = line_of(text, position);
        let Some(setting) = find(&name) else {
            let nearest = nearest(&name);
            return Err(FileError::Unknown { path: path.to_owned(), line, name, nearest });
        };
        setting.check(&value).map_err(|reason| FileError::Value {
            path: path.to_owned(),
            line,
            name,
            value: value.clone(),
            reason,
        })?;
        settings.insert(setting.name, value);
    }
    Ok(settings)
}

fn flatten(prefix: &str, table: &DeTable<'_>, found: &mut Vec<(String, usize, String)>) {
    for (key, value) in table {
        let name =
            if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(inner) => flatten(&name, inner, found),
            _ => found.push((name, key.span().start, plain(value))),
        }
    }
}

/// A value without quotes; a list joined by commas.
fn plain(value: &Spanned<DeValue<'_>>) -> String {
    match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.to_string().replace('_', ""),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(","),
        DeValue::Table(_) => String::new(),
    }
}

fn line_of(text: &str, position: usize) -> usize {
    text.bytes().take(position).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BTreeMap<&'static str, String>, FileError> {
        parse(Path::new("node.toml"), text)
    }

    #[test]
    fn dotted_names_and_tables_mean_the_same() {
        let dotted = parsed("node.id = 3\nquorum.voters = [\"1@a:1\", \"2@b:2\"]\n").unwrap();
        let tables = parsed("[node]\nid = 3\n[quorum]\nvoters = \"1@a:1,2@b:2\"\n").unwrap();
        assert_eq!(dotted, tables);
        assert_eq!(dotted.get("node.id").map(String::as_str), Some("3"));
    }

    #[test]
    fn a_typo_is_told_with_its_line_and_the_nearest_name() {
        let error = parsed("node.id = 3\n\nquic.lisen = \"127.0.0.1:1\"\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "node.toml:3: there is no setting quic.lisen; did you mean quic.listen?"
        );
    }

    #[test]
    fn a_value_out_of_bounds_is_told_with_its_line_and_the_bounds() {
        let error = parsed("node.id = 0\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "node.toml:1: node.id = 0: must be a whole number (id) from 1 to 1000000"
        );
    }

    #[test]
    fn broken_toml_is_told_with_its_line() {
        let error = parsed("node.id = 3\nlog.level = \n").unwrap_err();
        assert!(error.to_string().starts_with("node.toml:2: "), "{error}");
    }
}
