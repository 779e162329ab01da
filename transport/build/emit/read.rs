//! How a struct is read.

use super::code::{Code, condition, identifier, uses_version};
use super::value;
use crate::schema::{Field, Kind, Message, Struct};

pub(crate) fn emit(code: &mut Code, structure: &Struct, message: &Message) {
    let fields = structure.fields.iter().map(|field| initial(field, structure)).collect::<Vec<_>>();
    let arms = arms(structure);
    code.line(super::code::NOT_INLINED);
    code.open("fn read(r: &mut Reader<'a>, _: &'static str) -> Result<Self, Refused>");
    if fields.iter().chain(&arms).any(|text| uses_version(text)) {
        code.line("let v = r.version();");
    }
    code.open(format_args!("let {}this = Self", if arms.is_empty() { "" } else { "mut " }));
    for (field, value) in structure.fields.iter().zip(&fields) {
        code.line(format_args!("{}: {value},", identifier(&field.name)));
    }
    code.close_with("};");
    if !arms.is_empty() {
        code.open("for _ in 0..r.tag_count()?");
        code.line("let tag = r.open_tag()?;");
        code.open("match tag.number");
        for arm in &arms {
            code.line(arm);
        }
        code.line("_ => r.skip_rest(),");
        code.close();
        code.line("r.close_tag(tag)?;");
        code.close();
    } else if message.flexible.is_some() {
        code.line("r.skip_tags()?;");
    }
    code.line("Ok(this)");
    code.close();
}

/// The value of a field from the fixed part of the struct.
fn initial(field: &Field, structure: &Struct) -> String {
    if field.tag.is_some() {
        return value::preset(field);
    }
    let read = read(field, structure);
    match condition(field.versions, structure.versions) {
        None => read,
        Some(there) => format!("if {there} {{ {read} }} else {{ {} }}", value::preset(field)),
    }
}

/// The arms that take the tagged fields.
fn arms(structure: &Struct) -> Vec<String> {
    let mut arms = Vec::new();
    for field in &structure.fields {
        let Some(tag) = field.tag else { continue };
        let there = condition(field.versions, structure.versions).map(|there| format!(" if {there}"));
        let (name, read) = (identifier(&field.name), read(field, structure));
        arms.push(format!("{tag}{} => this.{name} = {read},", there.unwrap_or_default()));
    }
    arms
}

/// The call that reads a field in a version that has it.
fn read(field: &Field, structure: &Struct) -> String {
    let path = format!("{}{}", structure.path, field.name);
    let method = match &field.kind {
        _ if field.array => "array",
        Kind::Bool => "bool",
        Kind::I8 => "i8",
        Kind::I16 => "i16",
        Kind::U16 => "u16",
        Kind::I32 => "i32",
        Kind::U32 => "u32",
        Kind::I64 => "i64",
        Kind::F64 => "f64",
        Kind::Uuid => "uuid",
        Kind::String if field.fixed => "fixed_string",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Struct(_) => "structure",
    };
    match field.nullable {
        None => format!("r.{method}({path:?})?"),
        Some(range) => {
            let allowed = condition(range, field.versions).unwrap_or("true".to_owned());
            format!("r.{method}_or_null({path:?}, {allowed})?")
        }
    }
}
