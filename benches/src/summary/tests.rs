//! Medians, growth and ratios of rows as `compare.sh` prints them.

use super::{markdown, median, parse};

const ROWS: &str = "\
# notes are skipped
restic\tD1\tfirst\t10.00\t20.00\t100.0\t200.00\t1\t0\t0.10
restic\tD1\tfirst\t30.00\t40.00\t100.0\t200.00\t2\t0\t0.10
restic\tD1\tunchanged\t3.00\t4.00\t50.0\t200.00\t1\t0\t0.10
restic\tD1\tchanged\t3.00\t4.00\t50.0\t210.00\t1\t0\t0.10
ours\tD1\tfirst\t5.00\t6.00\t60.0\t150.00\t1\t0\t0.10
ours\tD1\tfirst\t99.00\t99.00\t99.0\t99.00\t2\t1\t0.10
ours\tD1\tunchanged\t1.00\t1.00\t30.0\t150.00\t1\t0\t0.10
ours\tD1\tchanged\t1.50\t2.00\t30.0\t152.00\t1\t0\t0.10
ours\tD1\tdiff\t1.00\t1.00\t3.0\t152.00\t1\t0\t0.10
";

#[test]
fn tables_say_medians_ratios_and_failures() {
    let expected = "\
wall s / CPU s / peak MiB / repository MiB; medians of 2 rounds

| set, step | ours | restic |
|---|---|---|
| D1 first | 5.00 / 6.00 / 60 / 150.0 | 20.00 / 30.00 / 100 / 200.0 |
| D1 unchanged | 1.00 / 1.00 / 30 / 0.0 | 3.00 / 4.00 / 50 / 0.0 |
| D1 changed | 1.50 / 2.00 / 30 / 2.0 | 3.00 / 4.00 / 50 / 10.0 |

ours / peer: wall, CPU, repository; below 1 is better than the peer

| set, step | restic |
|---|---|
| D1 first | 0.25, 0.20, 0.75 |
| D1 unchanged | 0.33, 0.25, - |
| D1 changed | 0.50, 0.50, 0.20 |

Failed, and not in the medians:

- ours D1 first, round 2: exit code 1
";
    assert_eq!(markdown(&parse(ROWS).unwrap(), "ours"), expected);
}

#[test]
fn without_ours_there_are_no_ratios() {
    let text = markdown(&parse(ROWS).unwrap(), "holdfast");
    assert!(text.contains("| set, step | ours | restic |") && !text.contains("/ peer"), "{text}");
    assert!(markdown(&[], "holdfast").starts_with("wall s"));
}

#[test]
fn wrong_rows_are_named() {
    for (wrong, part) in [
        ("restic\tD1\tfirst", "3 fields"),
        ("a\tD1\tfirst\tx\t1\t1\t1\t1\t0\t0", "wall"),
        ("a\tD1\tfirst\t1\tNaN\t1\t1\t1\t0\t0", "cpu"),
        ("a\tD1\tfirst\t1\t1\t1\t-1\t1\t0\t0", "repository"),
    ] {
        let error = format!("{:#}", parse(wrong).unwrap_err());
        assert!(error.contains("line 1") && error.contains(part), "{error}");
    }
}

#[test]
fn the_median_is_in_the_middle() {
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    assert!(median(Vec::new()).is_nan());
}
