//! Versions after versions of changing files: each comes back, and little is stored again.

use super::*;
use std::os::unix::fs::FileExt as _;

fn touch_pages(path: &Path, seed: u64, pages: usize) {
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    for i in 0..pages {
        let random = noise(seed * 1000 + i as u64, 8);
        let at = u64::from_le_bytes(random[..8].try_into().unwrap()) % (len / 8192) * 8192;
        file.write_all_at(&noise(seed * 77 + i as u64, 8192), at).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scattered_pages_cost_little_and_come_back() {
    let w = world().await;
    let db = w.volume().join("db");
    fs::write(&db, noise(1, 48 << 20)).unwrap();
    w.back_up().await;
    for version in 0..3 {
        touch_pages(&db, version, 60);
        let report = w.back_up().await;
        assert!(report.figures.bytes_new < 2_500_000, "{} bytes stored again", report.figures.bytes_new);
        w.check_round_trip().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_grow_shrink_and_turn_into_other_things() {
    let w = world().await;
    let v = w.volume();
    let log = v.join("log");
    fs::write(&log, noise(1, 200_000)).unwrap();
    fs::write(v.join("gone"), b"soon").unwrap();
    fs::create_dir(v.join("dir")).unwrap();
    fs::write(v.join("dir/inner"), noise(2, 70_000)).unwrap();
    w.back_up().await;
    let mut content = noise(1, 200_000);
    content.extend(noise(3, 6 << 20));
    fs::write(&log, &content).unwrap();
    fs::remove_file(v.join("gone")).unwrap();
    fs::remove_dir_all(v.join("dir")).unwrap();
    fs::write(v.join("dir"), b"a file now").unwrap();
    w.back_up().await;
    w.check_round_trip().await;
    content.splice(100..100, noise(4, 5000));
    fs::write(&log, &content).unwrap();
    let inserted = w.back_up().await;
    assert!(
        inserted.figures.bytes_new < 4 << 20,
        "an insertion finds what moved: {}",
        inserted.figures.bytes_new
    );
    w.check_round_trip().await;
    fs::write(&log, &content[..150_000]).unwrap();
    w.back_up().await;
    w.check_round_trip().await;
    fs::write(&log, b"").unwrap();
    w.back_up().await;
    w.check_round_trip().await;
}
