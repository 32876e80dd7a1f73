//! How bounds are divided.

use service::config::DOMAINS_MAX;

use super::part_of;
use crate::limits::{CLIENT_STREAMS_MAX, WATCHES_MAX};

#[test]
fn many_domains_have_streams_enough_each() {
    let streams = [0, 1, 2, 16, 33, DOMAINS_MAX].map(|domains| part_of(CLIENT_STREAMS_MAX, domains));
    assert_eq!(streams, [64, 64, 32, 4, 4, 4]);
    assert_eq!(part_of(WATCHES_MAX, DOMAINS_MAX), 64);
}
