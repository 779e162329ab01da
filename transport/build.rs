//! Generates the messages of Kafka's protocol from `schemas/`.
//!
//! `schemas/*.schema` hold the messages (the notation is described in `build/parse.rs`), `schemas/errors.table`
//! the error codes. What is generated goes to `OUT_DIR` and is included by `src/kafka/`.

#[path = "build/emit/mod.rs"]
mod emit;
#[path = "build/errors.rs"]
mod errors;
#[path = "build/field.rs"]
mod field;
#[path = "build/parse.rs"]
mod parse;
#[path = "build/schema.rs"]
mod schema;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use schema::Schema;

/// Where the schemas are, from the root of the package.
const SCHEMAS: &str = "schemas";

fn main() -> ExitCode {
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Whether this line arrives or not, the build ends here.
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let directory = Path::new(SCHEMAS);
    let mut stdout = io::stdout();
    for watched in [SCHEMAS, "build", "build.rs"] {
        writeln!(stdout, "cargo::rerun-if-changed={watched}").map_err(|error| error.to_string())?;
    }
    let mut schemas = Vec::new();
    for path in schema_files(directory)? {
        schemas.push(read_schema(&path)?);
    }
    schema::check_unique(&schemas)?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    write(&out.join("kafka_messages.rs"), &emit::messages(&schemas))?;
    write(&out.join("kafka_apis.rs"), &emit::apis(&schemas))?;
    let table = directory.join("errors.table");
    let errors = errors::parse(&read(&table)?).map_err(|fault| fault.in_file(&table))?;
    write(&out.join("kafka_error_codes.rs"), &emit::error_codes(&errors))
}

/// The schema files by name, so that what is generated does not depend on the file system.
fn schema_files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("{}: {error}", directory.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read_schema(path: &Path) -> Result<Schema, String> {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let messages = parse::parse(&read(path)?).map_err(|fault| fault.in_file(path))?;
    Ok(Schema { name, messages })
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
