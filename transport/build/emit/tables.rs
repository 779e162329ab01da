//! Tables: APIs, messages, error codes.

use super::code::Code;
use crate::errors::ErrorCode;
use crate::schema::{Message, Role, Schema};

/// `ApiKey` and the table of APIs, in the order of the keys.
pub(crate) fn apis(schemas: &[Schema]) -> String {
    let mut apis = Vec::new();
    for message in schemas.iter().flat_map(|schema| &schema.messages) {
        if let (Role::Request(key), Some(name)) = (message.role, message.name.strip_suffix("Request")) {
            apis.push((key, name, message));
        }
    }
    apis.sort_by_key(|(key, ..)| *key);
    let mut code = Code::default();
    code.line("/// An API that has messages here.");
    code.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]");
    code.line("#[repr(i16)]");
    code.open("pub enum ApiKey");
    for (key, name, _) in &apis {
        code.line(format_args!("/// Key {key}."));
        code.line(format_args!("{name} = {key},"));
    }
    code.close();
    code.line("/// All APIs that have messages here, in the order of their keys.");
    code.line(format_args!("pub static APIS: [Api; {}] = [", apis.len()));
    for (_, name, message) in &apis {
        let (first, last, flexible) = (message.versions.first, message.versions.last, message.flexible);
        code.line(format_args!(
            "    Api {{ key: ApiKey::{name}, name: {name:?}, versions: Versions {{ first: {first}, last: {last} }}, flexible: {flexible:?} }},"
        ));
    }
    code.line("];");
    lookups(&mut code, &apis);
    code.text
}

fn lookups(code: &mut Code, apis: &[(i16, &str, &Message)]) {
    code.open("impl ApiKey");
    code.line("/// The API of this key on the wire.");
    code.line("#[must_use]");
    code.open("pub const fn from_code(code: i16) -> Option<Self>");
    code.open("match code");
    for (key, name, _) in apis {
        code.line(format_args!("{key} => Some(Self::{name}),"));
    }
    code.line("_ => None,");
    code.close();
    code.close();
    code.line("/// What the table says of it.");
    code.line("#[must_use]");
    code.open("pub fn api(self) -> &'static Api");
    code.open("match self");
    for (index, (_, name, _)) in apis.iter().enumerate() {
        code.line(format_args!("Self::{name} => &APIS[{index}],"));
    }
    code.close();
    code.close();
    code.close();
}

/// The table of messages for those who do not know their types.
pub(crate) fn catalogue(code: &mut Code, schemas: &[Schema]) {
    let count = schemas.iter().map(|schema| schema.messages.len()).sum::<usize>();
    code.line("/// Every message, by name, for those who need no type of it: tools, tests, fuzzers.");
    code.line(format_args!("pub static CATALOGUE: [Entry; {count}] = ["));
    for schema in schemas {
        for message in &schema.messages {
            let path = format!("{}::{}", schema.name, message.name);
            let (name, first, last) = (&message.name, message.versions.first, message.versions.last);
            code.line(format_args!(
                "    Entry {{ name: {name:?}, versions: Versions {{ first: {first}, last: {last} }}, \
                 check: |bytes, version| {path}::decode(bytes, version).map(drop), \
                 rewrite: |bytes, version, to, writer| {path}::decode(bytes, version)?.write_to(to, writer).map_err(Into::into) }},"
            ));
        }
    }
    code.line("];");
}

/// The enum of error codes.
pub(crate) fn error_codes(errors: &[ErrorCode]) -> String {
    let mut code = Code::default();
    code.line("/// What went wrong, as a number on the wire.");
    code.line("#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]");
    code.line("#[repr(i16)]");
    code.open("pub enum ErrorCode");
    for error in errors {
        let retriable = if error.retriable { "; the same request may succeed later" } else { "" };
        code.line(format_args!("/// `{}`{retriable}.", error.name));
        code.line(format_args!("{} = {},", variant(&error.name), error.code));
    }
    code.close();
    code.open("impl ErrorCode");
    code.line("/// The error of this code on the wire; `None` for one that is not in the table.");
    code.line("#[must_use]");
    code.open("pub const fn from_code(code: i16) -> Option<Self>");
    code.open("match code");
    for error in errors {
        code.line(format_args!("{} => Some(Self::{}),", error.code, variant(&error.name)));
    }
    code.line("_ => None,");
    code.close();
    code.close();
    code.line("/// Kafka's name of it: capitals and underscores.");
    code.line("#[must_use]");
    code.open("pub const fn name(self) -> &'static str");
    code.open("match self");
    for error in errors {
        code.line(format_args!("Self::{} => {:?},", variant(&error.name), error.name));
    }
    code.close();
    code.close();
    retriable(&mut code, errors);
    code.close();
    code.text
}

fn retriable(code: &mut Code, errors: &[ErrorCode]) {
    code.line("/// Whether clients take it for a passing state and try again.");
    code.line("#[must_use]");
    code.open("pub const fn is_retriable(self) -> bool");
    let names =
        errors.iter().filter(|error| error.retriable).map(|error| format!("Self::{}", variant(&error.name)));
    code.line(format_args!("matches!(self, {})", names.collect::<Vec<_>>().join(" | ")));
    code.close();
}

/// `NOT_LEADER_OR_FOLLOWER` → `NotLeaderOrFollower`.
fn variant(name: &str) -> String {
    let mut variant = String::new();
    for word in name.split('_') {
        let (first, rest) = word.split_at(word.len().min(1));
        variant.push_str(first);
        variant.push_str(&rest.to_ascii_lowercase());
    }
    variant
}
