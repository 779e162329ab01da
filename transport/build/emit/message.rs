//! A message: its structs, and what ties it to its versions and its API.

use super::code::{Code, shown};
use super::value::Borrowing;
use super::{read, structure, write};
use crate::schema::{Message, Role, Struct};

/// `response` is the one to a request.
pub(crate) fn emit(code: &mut Code, message: &Message, response: Option<&Message>) {
    let borrowing = Borrowing::of(message);
    for found in &message.structs {
        let about = if found.name == message.name { about(message) } else { about_part(found) };
        structure::emit(code, found, &about, &borrowing);
        code.open(format_args!("impl<'a> Element<'a> for {}", borrowing.name(&found.name, "'a")));
        read::emit(code, found, message);
        write::emit(code, found, message);
        code.close();
    }
    let name = borrowing.name(&message.name, "'a");
    code.open(format_args!("impl<'a> Message<'a> for {name}"));
    code.line(format_args!("const NAME: &'static str = {:?};", message.name));
    let (first, last) = (message.versions.first, message.versions.last);
    code.line(format_args!("const VERSIONS: Versions = Versions {{ first: {first}, last: {last} }};"));
    code.line(format_args!("const FLEXIBLE: Option<i16> = {:?};", message.flexible));
    code.close();
    let api = message.name.trim_end_matches("Request").trim_end_matches("Response");
    let role = match message.role {
        Role::Request(_) => "Request",
        Role::Response(_) => "Response",
        Role::Data => return,
    };
    code.open(format_args!("impl<'a> {role}<'a> for {name}"));
    code.line(format_args!("const KEY: crate::kafka::ApiKey = crate::kafka::ApiKey::{api};"));
    if let Some(response) = response {
        let name = Borrowing::of(response).name(&response.name, "'r");
        code.line(format_args!("type Response<'r> = super::response::{name};"));
    }
    code.close();
}

fn about(message: &Message) -> String {
    let flexible = match message.flexible {
        Some(first) if first <= message.versions.first => ", all flexible".to_owned(),
        Some(first) => format!(", flexible from {first}"),
        None => ", none flexible".to_owned(),
    };
    let (name, versions) = (&message.name, shown(message.versions));
    let plural = if message.versions.first == message.versions.last { "version" } else { "versions" };
    format!("`{name}`: {plural} {versions}{flexible}.")
}

fn about_part(part: &Struct) -> String {
    format!("What `{}` holds; versions {}.", part.path.trim_end_matches('.'), shown(part.versions))
}
