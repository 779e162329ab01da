//! The definition of a struct, and its default.

use super::code::{Code, identifier, shown};
use super::value::{self, Borrowing};
use crate::schema::{Field, Preset, Struct};

pub(crate) fn emit(code: &mut Code, structure: &Struct, about: &str, borrowing: &Borrowing) {
    let plain = structure.fields.iter().all(value::is_plain);
    code.line(format_args!("/// {about}"));
    let secret = structure.fields.iter().any(|field| field.secret);
    let (debug, default_too) = (if secret { "" } else { ", Debug" }, if plain { ", Default" } else { "" });
    code.line(format_args!("#[derive(Clone, PartialEq{debug}{default_too})]"));
    code.open(format_args!("pub struct {}", borrowing.name(&structure.name, "'a")));
    for field in &structure.fields {
        code.line(format_args!("/// {}", told(field, structure)));
        code.line(format_args!("pub {}: {},", identifier(&field.name), borrowing.field_type(field)));
    }
    code.close();
    if !plain {
        default(code, structure, borrowing);
    }
    if secret {
        debug_without_secrets(code, structure, borrowing);
    }
}

fn debug_without_secrets(code: &mut Code, structure: &Struct, borrowing: &Borrowing) {
    code.open(format_args!("impl fmt::Debug for {}", borrowing.name(&structure.name, "'_")));
    code.open("fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result");
    code.line(format_args!("let mut fields = f.debug_struct({:?});", structure.name));
    for field in &structure.fields {
        let (name, this) = (&field.name, identifier(&field.name));
        if field.secret {
            code.line(format_args!("fields.field({name:?}, &\"(secret)\");"));
        } else {
            code.line(format_args!("fields.field({name:?}, &self.{this});"));
        }
    }
    code.line("fields.finish()");
    code.close();
    code.close();
}

fn default(code: &mut Code, structure: &Struct, borrowing: &Borrowing) {
    code.open(format_args!("impl Default for {}", borrowing.name(&structure.name, "'_")));
    code.open("fn default() -> Self");
    code.open("Self");
    for field in &structure.fields {
        code.line(format_args!("{}: {},", identifier(&field.name), value::preset(field)));
    }
    code.close();
    code.close();
    code.close();
}

/// What the schema says of a field, as a sentence.
fn told(field: &Field, structure: &Struct) -> String {
    let mut text = if field.versions == structure.versions {
        "In all versions".to_owned()
    } else {
        format!("Versions {}", shown(field.versions))
    };
    if let Some(tag) = field.tag {
        text += &format!("; tag {tag}");
    }
    match field.nullable {
        Some(range) if range != field.versions => text += &format!("; null in versions {}", shown(range)),
        Some(_) => text += "; may be null",
        None => {}
    }
    match &field.preset {
        Preset::Zero => {}
        Preset::Null => text += "; null by default",
        Preset::True => text += "; true by default",
        Preset::Number(number) => text += &format!("; {number} by default"),
        Preset::Text(word) => text += &format!("; `{word}` by default"),
    }
    if field.ignorable && field.versions != structure.versions {
        text += "; dropped where it does not exist";
    }
    text + "."
}
