//! What a thread that gave way has, and what it starts inherits.

#[test]
fn a_thread_gives_way_and_so_do_those_that_it_starts() {
    let batch = || {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let after_name = stat.rsplit_once(") ").unwrap().1;
        // Field 41, counted from 1; the state is the third.
        after_name.split(' ').nth(41 - 3).unwrap().to_owned()
    };
    let thread = std::thread::spawn(move || {
        super::schedule_as_batch().unwrap();
        super::read_when_idle().unwrap();
        (batch(), std::thread::spawn(batch).join().unwrap())
    });
    assert_eq!(thread.join().unwrap(), ("3".to_owned(), "3".to_owned()));
}
