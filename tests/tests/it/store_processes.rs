//! Create-if-absent in a folder, between processes: of many that want the same keys, exactly one gets each.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use repository::env::Env;
use repository::store::{FileStore, Key, Put, Store as _};

const PROCESSES: usize = 6;
const KEYS: usize = 200;
/// Tells the racer where to run and who it is.
const FOLDER: &str = "HOLDFAST_TESTS_RACE_FOLDER";
const NAME: &str = "HOLDFAST_TESTS_RACE_NAME";

fn key(n: usize) -> Key {
    Key::new(format!("default/m/{:02}/{n}", n % 7)).expect("a good key")
}

/// One racer's object: large enough that a torn or mixed one would show.
fn content(name: &str, n: usize) -> Bytes {
    format!("{name} {n}\n").repeat(500).into()
}

/// Not a test: what each process of the race runs. It prints the keys that it won.
#[tokio::test]
#[ignore = "started by the race, as a process"]
async fn racer() {
    let (Some(folder), Ok(name)) = (std::env::var_os(FOLDER), std::env::var(NAME)) else { return };
    let store = FileStore::open(Path::new(&folder), &Env::system()).unwrap();
    // All wait for the last one, so that the race is one.
    std::fs::write(Path::new(&folder).join(format!(".ready-{name}")), "").unwrap();
    let ready = |n: usize| Path::new(&folder).join(format!(".ready-{n}")).exists();
    while !(0..PROCESSES).all(ready) {
        std::hint::spin_loop();
    }
    for n in 0..KEYS {
        // On a busy machine one would win all before the next is given a turn.
        tokio::time::sleep(Duration::from_micros(100)).await;
        if store.put_new(&key(n), content(&name, n)).await.unwrap() == Put::Created {
            println!("won {n}");
        }
        // Whoever won: it is there whole as soon as anybody is told so.
        let found = store.get(&key(n)).await.unwrap();
        let winner = found.split(|b| *b == b' ').next().unwrap();
        assert_eq!(found, content(std::str::from_utf8(winner).unwrap(), n));
    }
}

#[tokio::test]
async fn each_key_has_one_winner_among_processes() {
    let dir = tempfile::tempdir().unwrap();
    let racers: Vec<_> = (0..PROCESSES)
        .map(|n| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "store_processes::racer", "--include-ignored", "--nocapture"])
                .env(FOLDER, dir.path())
                .env(NAME, n.to_string())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut winners: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (name, racer) in racers.into_iter().enumerate() {
        let output = racer.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        for (_, rest) in text.match_indices("won ").map(|(at, found)| text.split_at(at + found.len())) {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            winners.entry(number.parse().unwrap()).or_default().push(name.to_string());
        }
    }
    assert_eq!(winners.len(), KEYS);
    let store = FileStore::open(dir.path(), &Env::system()).unwrap();
    for (n, names) in &winners {
        assert_eq!(names.len(), 1, "key {n} was won by {names:?}");
        assert_eq!(store.get(&key(*n)).await.unwrap(), content(&names[0], *n), "key {n}");
    }
    assert_eq!(store.list("default/m/", None).try_collect::<Vec<_>>().await.unwrap().len(), KEYS);
    let left = std::fs::read_dir(dir.path().join(".tmp")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "unfinished files stay");
    let by_racer: BTreeMap<&String, usize> = winners.values().fold(BTreeMap::new(), |mut count, names| {
        *count.entry(&names[0]).or_default() += 1;
        count
    });
    assert!(by_racer.len() > 1, "one process won all, so nobody raced: {by_racer:?}");
}
