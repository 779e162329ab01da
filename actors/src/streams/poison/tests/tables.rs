//! Tables that are read from topics in which records are left out.

use super::*;

/// A table of `in`, behind which 13 panics, and what it has.
fn table_behind_which_13_fails(policy: Poison) -> TopologyDriver {
    let builder = StreamBuilder::new("app");
    builder.on_poison(policy);
    refuse_13(&builder.table::<String, i64>("in", "kept").to_stream()).to("out");
    TopologyDriver::new(&builder.build().unwrap(), 1).unwrap()
}

#[test]
fn a_table_that_is_restored_lacks_what_was_left_out_since_an_operator_behind_it_failed() {
    for policy in [Poison::Skip, Poison::dead_letter("dead")] {
        let mut driver = table_behind_which_13_fails(policy);
        send(&mut driver, &[5, 13]);
        assert_eq!((get(&driver, "kept"), driver.counts().skipped), (Some(5), 1));
        driver.lose_stores().unwrap();
        assert_eq!(get(&driver, "kept"), Some(5));
        send(&mut driver, &[6]);
        driver.delete("in", &"k".to_owned(), 0).unwrap();
        driver.lose_stores().unwrap();
        assert_eq!((get(&driver, "kept"), values(&mut driver)), (None, vec![5, 6]));
    }
}

#[test]
fn a_table_has_its_topic_for_a_changelog_only_where_no_record_is_left_out() {
    let describe = |policy| {
        let builder = StreamBuilder::new("app");
        builder.table::<String, i64>("in", "kept").to_stream().to("out");
        builder.on_poison(policy);
        builder.build().unwrap().describe()
    };
    assert!(describe(Poison::Fail).contains("store kept (changelog is its source in)"));
    assert!(describe(Poison::Skip).contains("store kept (changelog app-kept-changelog)"));
}
