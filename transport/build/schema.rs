//! What a schema says, as values.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

/// A file of schemas.
#[derive(Debug)]
pub(crate) struct Schema {
    /// The file's name without its end; the name of the module.
    pub(crate) name: String,
    /// Its messages.
    pub(crate) messages: Vec<Message>,
}

/// Versions from first to last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Range {
    /// Whether all versions of `other` are in this range.
    pub(crate) fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }
}

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// What a client sends for the API of this key.
    Request(i16),
    /// What it gets back.
    Response(i16),
    /// Something inside of another message, or of a record.
    Data,
}

/// One message with all structs it is made of.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) versions: Range,
    /// The first flexible version.
    pub(crate) flexible: Option<i16>,
    /// The message itself, then all others.
    pub(crate) structs: Vec<Struct>,
}

/// Fields in the order of the wire.
#[derive(Debug, PartialEq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// Names of the fields that lead here, each with a dot behind it.
    pub(crate) path: String,
    /// Versions that have it.
    pub(crate) versions: Range,
    pub(crate) fields: Vec<Field>,
}

/// What a field, or an element of its array, is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    I8,
    I16,
    U16,
    I32,
    U32,
    I64,
    F64,
    String,
    Uuid,
    Bytes,
    Records,
    Struct(String),
}

/// What a field holds where nothing was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Preset {
    /// Zero, false, empty: nothing was written in the schema.
    Zero,
    Null,
    True,
    Number(i64),
    Text(String),
}

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) array: bool,
    /// Versions in which it may be null.
    pub(crate) nullable: Option<Range>,
    pub(crate) versions: Range,
    /// Its number, if it is a tagged field.
    pub(crate) tag: Option<u32>,
    /// Keeps the form of old versions in flexible ones.
    pub(crate) fixed: bool,
    pub(crate) preset: Preset,
    /// Whether a value in it may be dropped in versions without it.
    pub(crate) ignorable: bool,
    /// Not shown when a message is printed.
    pub(crate) secret: bool,
}

/// What is wrong with a schema.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Line, from 1.
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Fault {
    pub(crate) fn new(line: usize, text: impl fmt::Display) -> Self {
        Self { line, text: text.to_string() }
    }

    pub(crate) fn in_file(&self, path: &Path) -> String {
        format!("{}:{}: {}", path.display(), self.line, self.text)
    }
}

/// An error if two files tell of messages of the same name or of the same API.
pub(crate) fn check_unique(schemas: &[Schema]) -> Result<(), String> {
    let (mut names, mut requests) = (BTreeSet::new(), BTreeSet::new());
    for schema in schemas {
        for message in &schema.messages {
            if !names.insert(&message.name) {
                return Err(format!("{}: a second schema of {}", schema.name, message.name));
            }
            if let Role::Request(key) = message.role
                && !requests.insert(key)
            {
                return Err(format!("{}: a second schema of API {key}", schema.name));
            }
        }
    }
    Ok(())
}
