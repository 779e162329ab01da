//! How a struct is written.

use super::code::{Code, condition, identifier, opposite, uses_version};
use super::value;
use crate::schema::{Field, Kind, Message, Struct};

pub(crate) fn emit(code: &mut Code, structure: &Struct, message: &Message) {
    let mut body = Code::default();
    for field in structure.fields.iter().filter(|field| field.tag.is_none()) {
        in_place(&mut body, field, structure);
    }
    tagged(&mut body, structure, message);
    code.line(super::code::NOT_INLINED);
    code.open("fn write(&self, w: &mut Writer, _: &'static str) -> Result<(), Refused>");
    if uses_version(&body.text) {
        code.line("let v = w.version();");
    }
    for line in body.text.lines() {
        code.line(line);
    }
    code.line("Ok(())");
    code.close();
}

/// A field in the fixed part: written, or refused in a version that cannot hold its value.
fn in_place(code: &mut Code, field: &Field, structure: &Struct) {
    let write = write(field, structure);
    let Some(there) = condition(field.versions, structure.versions) else { return code.line(write) };
    code.open(format_args!("if {there}"));
    code.line(write);
    if !field.ignorable {
        code.close_with(&format!("}} else if {} {{", value::differs(field)));
        code.line(format_args!("    return Err(w.absent({:?}));", path(field, structure)));
        code.line("}");
    } else {
        code.close();
    }
}

fn tagged(code: &mut Code, structure: &Struct, message: &Message) {
    let mut fields = structure.fields.iter().filter(|field| field.tag.is_some()).collect::<Vec<_>>();
    // On the wire they stand in the order of their numbers.
    fields.sort_by_key(|field| field.tag);
    if message.flexible.is_none() {
        return;
    }
    for field in &fields {
        let (name, differs) = (&field.name, value::differs(field));
        code.line(format_args!("let has_{name} = {differs};"));
        if field.ignorable
            && let Some(there) = condition(field.versions, structure.versions)
        {
            code.line(format_args!("let has_{name} = has_{name} && {there};"));
        } else if let Some(elsewhere) = opposite(field.versions, structure.versions) {
            code.open(format_args!("if has_{name} && {elsewhere}"));
            code.line(format_args!("return Err(w.absent({:?}));", path(field, structure)));
            code.close();
        }
    }
    let count = fields.iter().map(|field| format!("u32::from(has_{})", field.name)).collect::<Vec<_>>();
    if count.is_empty() {
        return code.line("w.no_tags();");
    }
    code.line(format_args!("w.tag_count({});", count.join(" + ")));
    for field in &fields {
        code.open(format_args!("if has_{}", field.name));
        code.line(format_args!("let tag = w.open_tag({});", field.tag.unwrap_or_default()));
        code.line(write(field, structure));
        code.line("w.close_tag(tag);");
        code.close();
    }
}

fn path(field: &Field, structure: &Struct) -> String {
    format!("{}{}", structure.path, field.name)
}

/// The call that writes a field in a version that has it.
fn write(field: &Field, structure: &Struct) -> String {
    let (path, this) = (path(field, structure), format!("self.{}", identifier(&field.name)));
    let method = match &field.kind {
        _ if field.array => "array",
        Kind::Bool => return format!("w.bool({this});"),
        Kind::I8 => return format!("w.i8({this});"),
        Kind::I16 => return format!("w.i16({this});"),
        Kind::U16 => return format!("w.u16({this});"),
        Kind::I32 => return format!("w.i32({this});"),
        Kind::U32 => return format!("w.u32({this});"),
        Kind::I64 => return format!("w.i64({this});"),
        Kind::F64 => return format!("w.f64({this});"),
        Kind::Uuid => return format!("w.uuid({this});"),
        Kind::String if field.fixed => "fixed_string",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Records => "records",
        Kind::Struct(_) => "structure",
    };
    let Some(range) = field.nullable else { return format!("w.{method}({path:?}, &{this})?;") };
    let allowed = condition(range, field.versions).unwrap_or("true".to_owned());
    let inner = if field.array || matches!(field.kind, Kind::Records | Kind::Struct(_)) {
        "as_ref"
    } else {
        "as_deref"
    };
    format!("w.{method}_or_null({path:?}, {this}.{inner}(), {allowed})?;")
}
