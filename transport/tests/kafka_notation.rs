//! The notation of the schemas: what it means, and what is refused, with the line.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "what fails here fails the test")]

#[path = "../build/errors.rs"]
mod errors;
#[path = "../build/field.rs"]
mod field;
#[path = "../build/parse.rs"]
mod parse;
#[path = "../build/schema.rs"]
mod schema;

use std::path::Path;

use schema::{Fault, Field, Kind, Preset, Range, Role, Schema};

const ALL: Range = Range { first: 3, last: 13 };

fn field_of(line: &str) -> Field {
    field::parse(line, ALL).unwrap()
}

#[test]
fn a_field_without_versions_is_in_all_of_them() {
    let field = field_of("acks  i16");
    assert_eq!(field.versions, ALL);
    assert_eq!((field.kind, field.array, field.nullable, field.tag), (Kind::I16, false, None, None));
    assert_eq!(
        (field.preset, field.ignorable, field.fixed, field.secret),
        (Preset::Zero, false, false, false)
    );
}

#[test]
fn a_field_may_say_all_there_is_to_say() {
    let field = field_of("host  [Node]?7+  5+  tag 2  = null  ignorable  secret");
    assert_eq!((field.kind, field.array), (Kind::Struct("Node".into()), true));
    assert_eq!(field.versions, Range { first: 5, last: 13 });
    assert_eq!(field.nullable, Some(Range { first: 7, last: 13 }));
    assert_eq!((field.tag, field.preset), (Some(2), Preset::Null));
    assert!(field.ignorable && field.secret);
}

#[test]
fn versions_are_open_closed_or_single() {
    assert_eq!(field::range("5+", 9), Some(Range { first: 5, last: 9 }));
    assert_eq!(field::range("2-7", 9), Some(Range { first: 2, last: 7 }));
    assert_eq!(field::range("3", 9), Some(Range { first: 3, last: 3 }));
    for wrong in ["", "+", "-", "7-2", "-3", "a", "10+", "1-", "70000"] {
        assert_eq!(field::range(wrong, 9), None, "{wrong}");
    }
}

#[test]
fn a_default_is_of_the_type_of_its_field() {
    assert_eq!(field_of("a i32 = -1").preset, Preset::Number(-1));
    assert_eq!(field_of("a bool = true").preset, Preset::True);
    assert_eq!(field_of("a string = \"x\"").preset, Preset::Text("x".into()));
    for wrong in ["a i32 = true", "a i32 = null", "a bool = 1", "a [i32] = 1", "a string = x", "a i32 ="] {
        assert!(field::parse(wrong, ALL).is_err(), "{wrong}");
    }
}

#[test]
fn lines_that_are_no_fields_are_refused() {
    for (line, reason) in [
        ("Acks i16", "`Acks` is no name of a field"),
        ("acks", "the type of `acks` is missing"),
        ("acks int16", "`int16` is no type"),
        ("acks i16?", "a value of this type is never null"),
        ("acks i16 2+", "`acks` has versions that what is around it has not"),
        ("acks i16 5+ sometimes", "`sometimes` is not understood"),
        ("acks i16 tag", "a number expected behind `tag`"),
        ("name i32 fixed", "only a string that may be null may be `fixed`"),
        ("name string?2-20", "`string?2-20` is no type"),
        ("name [bytes]", "no message has an array of these"),
        ("name records", "records may be null wherever they are"),
        ("name records? tag 1", "records in a tagged field would have to be copied"),
        ("name Option", "`Option` means something else in what is generated"),
    ] {
        assert_eq!(field::parse(line, ALL), Err(reason.to_owned()), "{line}");
    }
}

const SCHEMA: &str = "# Comment.
api 7 Thing
versions 0-4
flexible 2+

request
  struct Owner
    id  i32
  parts  [Part]  1+
    name   string
    owner  Owner
    subs   [Sub]   3+
      x  i8
  owner  Owner

response
";

#[test]
fn an_api_is_two_messages_with_the_structs_they_are_made_of() {
    let messages = parse::parse(SCHEMA).unwrap();
    let [request, response] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((request.name.as_str(), request.role), ("ThingRequest", Role::Request(7)));
    assert_eq!((response.name.as_str(), response.role), ("ThingResponse", Role::Response(7)));
    assert_eq!((request.versions, request.flexible), (Range { first: 0, last: 4 }, Some(2)));
    let structs = request.structs.iter().map(|found| (found.name.as_str(), found.path.as_str()));
    let expected = [("ThingRequest", ""), ("Part", "parts."), ("Sub", "parts.subs."), ("Owner", "Owner.")];
    assert_eq!(structs.collect::<Vec<_>>(), expected);
    assert_eq!(response.structs[0].fields, []);
}

#[test]
fn what_stands_in_a_struct_has_its_versions() {
    let messages = parse::parse(SCHEMA).unwrap();
    let sub = &messages[0].structs[2];
    assert_eq!(sub.versions, Range { first: 3, last: 4 });
    assert_eq!(sub.fields[0].versions, sub.versions);
}

#[test]
fn a_file_may_hold_several_messages_that_are_no_api() {
    let text = "data Key\nversions 0\nflexible none\nfields\n  id  i16\n\ndata Value\nversions 0-1\nflexible 1+\nfields\n  x  i8\n";
    let messages = parse::parse(text).unwrap();
    assert_eq!(messages.iter().map(|message| message.name.as_str()).collect::<Vec<_>>(), ["Key", "Value"]);
    assert_eq!((messages[0].role, messages[0].flexible), (Role::Data, None));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let head = "data Thing\nversions 0-4\nflexible 2+\nfields\n";
    for (text, line, reason) in [
        ("thing\n", 1, "`api KEY NAME` or `data NAME` expected, not `thing`"),
        ("api x Thing\n", 1, "`x` is no API key"),
        ("data Thing\nversions 3+\n", 2, "`3+` is no range like `3-13`"),
        ("data Thing\nversions 3-4\nflexible 3-4+\n", 3, "`3-4+` is neither `none` nor a range like `9+`"),
        ("data Thing\nflexible none\n", 2, "`versions` expected, not `flexible none`"),
        ("data Thing\nversions 1\n", 2, "`flexible` expected"),
        (&format!("{head}   id  i32\n"), 5, "indent by steps of two spaces"),
        (&format!("{head}\tid  i32\n"), 5, "indent by steps of two spaces"),
        (&format!("{head}  id  i32\n    x  i32\n"), 6, "`id` has no fields of its own"),
        (&format!("{head}  id  i32\n  id  i32\n"), 6, "a second field `id`"),
        (&format!("{head}  a  i32 tag 1\n  b  i32 tag 1\n"), 6, "a second field of this tag"),
        (&format!("{head}  id  ii32\n"), 5, "`ii32` is no type"),
        (&format!("{head}  struct Owner\n  id  i32\n"), 5, "fields expected below this line"),
        (&format!("{head}  a  [A]\n"), 5, "`a` is of a struct `A` that is not told"),
        (&format!("{head}  a  [A]\n    x  i8\n  b  [A]\n    x  i8\n"), 5, "two structs `A` in this message"),
        ("api 1 Thing\nversions 0\nflexible none\nrequest\n", 4, "`response` expected"),
    ] {
        assert_eq!(parse::parse(text).unwrap_err(), Fault::new(line, reason), "{text}");
    }
}

#[test]
fn a_fault_names_its_file() {
    let fault = Fault::new(5, "`ii32` is no type");
    assert_eq!(fault.in_file(Path::new("schemas/thing.schema")), "schemas/thing.schema:5: `ii32` is no type");
}

#[test]
fn a_message_is_told_once() {
    let schema = |key: i16, name: &str| {
        let text = format!("api {key} {name}\nversions 0\nflexible none\nrequest\nresponse\n");
        Schema { name: name.to_lowercase(), messages: parse::parse(&text).unwrap() }
    };
    assert_eq!(schema::check_unique(&[schema(1, "A"), schema(2, "B")]), Ok(()));
    assert!(schema::check_unique(&[schema(1, "A"), schema(1, "B")]).unwrap_err().contains("API 1"));
    assert!(schema::check_unique(&[schema(1, "A"), schema(2, "A")]).unwrap_err().contains("ARequest"));
}

#[test]
fn a_table_of_errors_has_a_code_a_name_and_whether_to_try_again() {
    let errors = errors::parse("# Codes.\nerror -1 UNKNOWN\n\nerror 3 BUSY retriable\n").unwrap();
    let found = errors.iter().map(|error| (error.code, error.name.as_str(), error.retriable));
    assert_eq!(found.collect::<Vec<_>>(), [(-1, "UNKNOWN", false), (3, "BUSY", true)]);
    for (text, line) in
        [("error 3\n", 1), ("error x A\n", 1), ("error 1 A\nerror 1 B\n", 2), ("error 1 A no\n", 1)]
    {
        assert_eq!(errors::parse(text).unwrap_err().line, line, "{text}");
    }
}
