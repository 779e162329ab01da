//! What README says of tests.

use std::path::Path;

#[test]
fn every_test_that_the_readme_links_is_in_the_file_that_it_links() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let links = readme.lines().filter_map(|line| {
        let (_, link) = line.strip_suffix(") |")?.rsplit_once('[')?;
        link.split_once("](")
    });
    let mut seen = 0;
    for (test, file) in links.filter(|(_, file)| file.ends_with(".rs")) {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.contains(&format!("fn {test}(")), "{test} is not in {file}");
        seen += 1;
    }
    assert!(seen > 30, "{seen} links were found");
}
