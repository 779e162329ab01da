//! Schemas → Rust.
//!
//! Each struct of a schema becomes one struct that is both read (its strings, bytes and arrays are then slices of the
//! frame) and written. What is common to all of them is not generated but lies in `src/kafka/`: what is generated are
//! straight lists of calls, one per field.

mod code;
mod message;
mod read;
mod structure;
mod tables;
mod value;
mod write;

use code::Code;
pub(crate) use tables::{apis, error_codes};

use crate::schema::{Message, Role, Schema};

/// All messages, a module per file of schemas.
pub(crate) fn messages(schemas: &[Schema]) -> String {
    let mut code = Code::default();
    for schema in schemas {
        let about = match schema.messages.first().map(|first| first.role) {
            Some(Role::Request(key)) => format!("API {key}."),
            _ => "No API of its own.".to_owned(),
        };
        code.line(format_args!("/// {about}"));
        code.open(format_args!("pub mod {}", schema.name));
        let response = schema.messages.iter().find(|message| matches!(message.role, Role::Response(_)));
        for message in &schema.messages {
            match message.role {
                Role::Request(_) => module(&mut code, "request", message, response),
                Role::Response(_) => module(&mut code, "response", message, None),
                Role::Data => message::emit(&mut code, message, None),
            }
        }
        if schema.messages.iter().any(|message| message.role == Role::Data) {
            code.line("use super::parts::*;");
        }
        code.close();
    }
    tables::catalogue(&mut code, schemas);
    code.text
}

fn module(code: &mut Code, name: &str, message: &Message, response: Option<&Message>) {
    code.line(format_args!("pub use {name}::{};", message.name));
    code.line(format_args!("/// [`{}`] and what it is made of.", message.name));
    code.open(format_args!("pub mod {name}"));
    code.line("use super::super::parts::*;");
    message::emit(code, message, response);
    code.close();
}
