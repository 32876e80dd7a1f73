//! Tables with hostile names and damaged lines.

use proptest::prelude::*;

use super::{Table, parse_line, unescape};

const PODS: &[u8] = b"/var/lib/kubelet/pods";

#[test]
fn names_come_back_from_their_escapes() {
    let check = |text: &[u8], expected: Option<&[u8]>| assert_eq!(unescape(text).as_deref(), expected);
    check(b"/plain", Some(b"/plain"));
    check(br"/a\040b\011c\012d\134e\043", Some(b"/a b\tc\nd\\e#"));
    check(br"/\377", Some(b"/\xff"));
    for bad in [&br"/a\04"[..], br"/a\", br"/a\09x", br"/a\400", b""] {
        check(bad, None);
    }
}

#[test]
fn lines_with_and_without_optional_fields() {
    let mount =
        parse_line(br"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:7 - ext3 /dev/root rw").unwrap();
    assert_eq!((mount.id, mount.device, mount.point.as_slice()), (36, (98, 0), &b"/mnt 2"[..]));
    assert_eq!((mount.root.as_slice(), mount.kind.as_slice()), (&b"/mnt1"[..], &b"ext3"[..]));
    assert!(parse_line(b"1 0 0:1 / / rw - tmpfs none rw").is_some());
    for bad in [
        &b""[..],
        b"x 35 98:0 / /m rw - ext4 d rw",
        b"36 -1 98:0 / /m rw - ext4 d rw",
        b"36 35 98 / /m rw - ext4 d rw",
        b"36 35 98:0 / relative rw - ext4 d rw",
        b"36 35 98:0 / /m rw ext4 d rw",
        br"36 35 98:0 / /m\9 rw - ext4 d rw",
        b"99999999999999999999999 35 98:0 / /m rw - ext4 d rw",
    ] {
        assert_eq!(parse_line(bad), None, "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn the_topmost_of_stacked_mounts_counts_and_pods_have_theirs() {
    let text = b"1 0 8:1 / / rw - ext4 d rw
2 1 8:2 / /var/lib/kubelet/pods/u-1/volumes/kubernetes.io~nfs/a rw - nfs d rw
3 2 8:3 / /var/lib/kubelet/pods/u-1/volumes/kubernetes.io~nfs/a rw - nfs d rw
nonsense
4 1 8:4 / /var/lib/kubelet/pods/u-10/volumes/kubernetes.io~nfs/a rw - nfs d rw
5 1 8:4 / /var/lib/kubelet/pods rw - nfs d rw
6 1 8:4 / /var/lib/kubelet/podsx/u-1/y rw - nfs d rw
";
    let table = Table::parse(text, PODS);
    assert_eq!(table.mounts.len(), 6);
    assert_eq!(table.find(b"/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~nfs/a").unwrap().id, 3);
    assert_eq!(
        table.of_pod("u-1").map(|m| (m.id, table.is_top(m))).collect::<Vec<_>>(),
        [(2, false), (3, true)]
    );
    assert_eq!(table.of_pod("u-10").count(), 1);
    assert_eq!(table.of_pod("u-2").count(), 0);
    assert!(table.find(b"/var").is_none());
}

/// As the kernel does it (`mangle`).
fn escape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for b in name {
        match b {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend(format!("\\{b:03o}").into_bytes()),
            b => out.push(*b),
        }
    }
    out
}

proptest! {
    #[test]
    fn every_name_is_found_as_it_was_and_no_name_makes_another_line(
        names in proptest::collection::vec(proptest::collection::vec(1u8..=255, 1..40), 1..20),
    ) {
        let mut text = Vec::new();
        for (n, name) in names.iter().enumerate() {
            text.extend(format!("{} 1 8:1 / /", n + 10).into_bytes());
            text.extend(escape(name));
            text.extend(b" rw - ext4 /dev/x rw\n");
        }
        let table = Table::parse(&text, PODS);
        prop_assert_eq!(table.mounts.len(), names.len());
        for name in &names {
            let last = names.iter().rposition(|other| other == name).unwrap() as u64 + 10;
            let path = [b"/", name.as_slice()].concat();
            prop_assert_eq!(table.find(&path).map(|m| m.id), Some(last));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let table = Table::parse(&bytes, PODS);
        prop_assert!(table.mounts.len() <= bytes.len());
    }
}
