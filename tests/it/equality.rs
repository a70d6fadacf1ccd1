//! Random logs, converted in every way there is, and each table held against a plain model of it.

use crate::common::{Project, cases, findings, small_limits};
use crate::model;
use crate::world::{Growth, assert_same, now_ms, shown, world};
use proptest::prelude::*;
use proptest::sample::select;
use runq::store::Limits;

/// From so small that every log meets several slices, flushes, pages, row groups and compactions, to those
/// that are in use.
fn limits() -> impl Strategy<Value = Limits> {
    let small = |flush_points, compact_files, slice_bytes, threads| Limits {
        flush_points,
        compact_files,
        batch_rows: 7,
        row_group_rows: 32,
        page_rows: 8,
        read_bytes: 64,
        slice_bytes,
        partitions: Some(3),
        small_rows: 0,
        threads: Some(threads),
        ..Limits::default()
    };
    select(vec![
        small(40, 2, 900, 3),
        small(150, 3, 4_000, 1),
        small(60, 5, 1 << 20, 2),
        small_limits(),
        Limits::default(),
    ])
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn every_table_is_what_the_model_says(world in world(), limits in limits()) {
        let mut growing = Project::in_memory().with_limits(limits);
        growing.now_ms = 1_780_000_000_000;
        let mut growth = Growth::new(&world, &growing);
        growth.begin();
        growth.grow(&mut |growth| {
            let (runs, inputs) = growth.meaning();
            assert_same(&shown(&growing, &runs), &model::tables(&runs, &inputs, growing.now_ms), "half-way");
        });
        let (runs, inputs) = growth.meaning();
        drop(growth);
        let now_ms = now_ms(&runs, world.pause_s);
        let expected = model::tables(&runs, &inputs, now_ms);
        growing.now_ms = now_ms;
        assert_same(&shown(&growing, &runs), &expected, "grown");

        let mut at_once = Project::in_memory().with_limits(Limits::default());
        at_once.now_ms = now_ms;
        crate::common::copy(growing.root(), at_once.root());
        std::fs::remove_dir_all(at_once.root().join(".runq")).unwrap();
        at_once.refresh();
        assert_same(&shown(&at_once, &runs), &expected, "read at once");
        assert_eq!(findings(&growing.open()), findings(&at_once.open()));
    }
}
