//! Types, defaults and comparisons of fields, as Rust.

use std::collections::BTreeSet;

use super::code::identifier;
use crate::schema::{Field, Kind, Message, Preset};

/// The structs of a message that borrow.
#[derive(Debug)]
pub(crate) struct Borrowing(BTreeSet<String>);

impl Borrowing {
    pub(crate) fn of(message: &Message) -> Self {
        let mut found = BTreeSet::new();
        loop {
            let before = found.len();
            for structure in &message.structs {
                let borrows = structure.fields.iter().any(|field| {
                    field.array
                        || matches!(field.kind, Kind::String | Kind::Bytes | Kind::Records)
                        || matches!(&field.kind, Kind::Struct(name) if found.contains(name))
                });
                if borrows {
                    found.insert(structure.name.clone());
                }
            }
            if found.len() == before {
                return Self(found);
            }
        }
    }

    /// The name of a struct, with a lifetime if it has one.
    pub(crate) fn name(&self, name: &str, lifetime: &str) -> String {
        if self.0.contains(name) { format!("{name}<{lifetime}>") } else { name.to_owned() }
    }

    pub(crate) fn field_type(&self, field: &Field) -> String {
        let one = match &field.kind {
            Kind::Bool => "bool".to_owned(),
            Kind::I8 => "i8".to_owned(),
            Kind::I16 => "i16".to_owned(),
            Kind::U16 => "u16".to_owned(),
            Kind::I32 => "i32".to_owned(),
            Kind::U32 => "u32".to_owned(),
            Kind::I64 => "i64".to_owned(),
            Kind::F64 => "f64".to_owned(),
            Kind::Uuid => "Uuid".to_owned(),
            Kind::String => "Cow<'a, str>".to_owned(),
            Kind::Bytes => "Cow<'a, [u8]>".to_owned(),
            Kind::Records => "Records<'a>".to_owned(),
            Kind::Struct(name) => self.name(name, "'a"),
        };
        let whole = if field.array { format!("Array<'a, {one}>") } else { one };
        if field.nullable.is_some() { format!("Option<{whole}>") } else { whole }
    }
}

/// Whether the default is what Rust takes for one.
pub(crate) fn is_plain(field: &Field) -> bool {
    match field.preset {
        Preset::Zero => field.nullable.is_none() || field.kind == Kind::Records,
        Preset::Null => true,
        _ => false,
    }
}

/// The value of a field that nothing was said of.
pub(crate) fn preset(field: &Field) -> String {
    let value = match (&field.preset, &field.kind) {
        (Preset::Null, _) => return "None".to_owned(),
        (Preset::Zero, Kind::Records) if field.nullable.is_some() => return "None".to_owned(),
        (Preset::True, _) => "true".to_owned(),
        (Preset::Text(text), _) => format!("Cow::Borrowed({text:?})"),
        (Preset::Number(number), Kind::F64) => format!("{number}.0"),
        (Preset::Number(number), _) => number.to_string(),
        (Preset::Zero, _) if field.array => "Array::default()".to_owned(),
        (Preset::Zero, Kind::Bool) => "false".to_owned(),
        (Preset::Zero, Kind::F64) => "0.0".to_owned(),
        (Preset::Zero, Kind::String) => "Cow::Borrowed(\"\")".to_owned(),
        (Preset::Zero, Kind::Bytes) => "Cow::Borrowed(&[])".to_owned(),
        (Preset::Zero, Kind::Uuid) => "Uuid::ZERO".to_owned(),
        (Preset::Zero, Kind::Records) => "Records::default()".to_owned(),
        (Preset::Zero, Kind::Struct(name)) => format!("{name}::default()"),
        (Preset::Zero, _) => "0".to_owned(),
    };
    if field.nullable.is_some() { format!("Some({value})") } else { value }
}

/// Whether the field of `self` differs from its default.
pub(crate) fn differs(field: &Field) -> String {
    let this = format!("self.{}", identifier(&field.name));
    let empty = field.array || matches!(field.kind, Kind::String | Kind::Bytes | Kind::Records);
    match (&field.preset, field.nullable.is_some()) {
        (Preset::Null, _) => format!("{this}.is_some()"),
        (Preset::Zero, true) if field.kind == Kind::Records => format!("{this}.is_some()"),
        (Preset::Zero, true) if empty => format!("{this}.as_ref().is_none_or(|value| !value.is_empty())"),
        (Preset::Zero, false) if empty => format!("!{this}.is_empty()"),
        (Preset::Zero, false) if field.kind == Kind::Bool => this,
        (Preset::True, _) => format!("!{this}"),
        _ => format!("{this} != {}", preset(field)),
    }
}
