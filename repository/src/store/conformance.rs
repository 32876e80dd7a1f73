//! For tests: what every store and every wrapper promises, as one suite.
//!
//! `check` wants an empty store for itself, uses keys below `conformance/`, and leaves them deleted.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::future::join_all;

use super::{
    Effect, Fault, FaultPlan, FaultStore, Key, Op, Put, RetryPolicy, RetryStore, Store, StoreError,
    StoreErrorKind,
};
use crate::env::{Clock as _, SystemClock, SystemRandom};

/// What a store did not keep.
pub type Broken = String;

/// Tries everything that the trait promises; the error says what was broken.
pub async fn check(store: Arc<dyn Store>) -> Result<(), Broken> {
    let suite = Suite { store };
    suite.create_once().await?;
    suite.create_under_race().await?;
    suite.list_after_write().await?;
    suite.list_in_order().await?;
    suite.read_ranges().await?;
    suite.read_tails().await?;
    suite.read_big_and_empty().await?;
    suite.miss_what_is_absent().await?;
    suite.delete().await?;
    suite.survive_lost_replies().await?;
    suite.clean().await
}

struct Suite {
    store: Arc<dyn Store>,
}

fn key(name: &str) -> Result<Key, Broken> {
    Key::new(format!("conformance/{name}")).map_err(|e| e.to_string())
}

fn ensure(good: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if good { Ok(()) } else { Err(what()) }
}

fn failed(what: &'static str) -> impl FnOnce(StoreError) -> Broken {
    move |e| format!("{what}: {e} ({:?}, {:?})", e.kind, e.source)
}

/// Bytes that compress badly and differ everywhere.
fn pattern(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut out = Vec::with_capacity(length + 8);
    while out.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.extend_from_slice(&(state ^ (state >> 29)).to_le_bytes());
    }
    out.truncate(length);
    out.into()
}

impl Suite {
    async fn put(&self, name: &str, bytes: impl Into<Bytes>) -> Result<Put, Broken> {
        self.store.put_new(&key(name)?, bytes.into()).await.map_err(failed("put"))
    }

    async fn get(&self, name: &str) -> Result<Bytes, Broken> {
        self.store.get(&key(name)?).await.map_err(failed("get"))
    }

    async fn names(&self, folder: &str, after: Option<&str>) -> Result<Vec<(String, u64)>, Broken> {
        let after = after.map(key).transpose()?;
        let prefix = format!("conformance/{folder}");
        let listed: Vec<_> =
            self.store.list(&prefix, after.as_ref()).try_collect().await.map_err(failed("list"))?;
        Ok(listed
            .into_iter()
            .map(|l| (l.key.as_str().strip_prefix("conformance/").unwrap_or("?").to_owned(), l.bytes))
            .collect())
    }

    async fn create_once(&self) -> Result<(), Broken> {
        let put = self.put("once/a", "first").await?;
        ensure(put == Put::Created, || "the first put of a key found it taken".to_owned())?;
        for bytes in ["first", "second, longer", ""] {
            let put = self.put("once/a", bytes).await?;
            ensure(put == Put::AlreadyExists, || format!("a second put ({bytes:?}) was accepted"))?;
        }
        ensure(self.get("once/a").await? == "first", || "a second put replaced the first".to_owned())
    }

    async fn create_under_race(&self) -> Result<(), Broken> {
        for round in 0..8 {
            let name = format!("race/{round}");
            let bodies: Vec<Bytes> = (0..16_u64).map(|n| pattern(20_000 + 100 * n as usize, n)).collect();
            let tasks = bodies.iter().map(|body| {
                let (store, key, body) = (self.store.clone(), key(&name), body.clone());
                tokio::spawn(async move { store.put_new(&key?, body).await.map_err(failed("racing put")) })
            });
            let mut winners = Vec::new();
            for (n, put) in join_all(tasks).await.into_iter().enumerate() {
                if put.map_err(|e| e.to_string())?? == Put::Created {
                    winners.push(n);
                }
            }
            let [winner] = winners[..] else {
                return Err(format!("{} of 16 racing puts were accepted", winners.len()));
            };
            ensure(self.get(&name).await? == bodies[winner], || {
                "the winner's bytes are not there".to_owned()
            })?;
        }
        Ok(())
    }

    async fn list_after_write(&self) -> Result<(), Broken> {
        ensure(self.names("list/", None).await?.is_empty(), || "an empty folder lists something".to_owned())?;
        for n in 0..20 {
            self.put(&format!("list/{n:02}"), pattern(n, 1)).await?;
            let count = self.names("list/", None).await?.len();
            ensure(count == n + 1, || format!("after {} puts the list has {count}", n + 1))?;
        }
        let recorded: Vec<_> =
            self.store.list("conformance/list/", None).try_collect().await.map_err(failed("list"))?;
        let now = SystemClock.now().seconds();
        let strange = recorded.iter().find(|l| (l.recorded.seconds() - now).abs() > 24 * 3600);
        ensure(strange.is_none(), || format!("an object was recorded at a strange time: {strange:?}"))?;
        // A listing that began before a put may or may not have it, but must have all that was there.
        let (listed, put) = tokio::join!(self.names("list/", None), self.put("list/zz", "x"));
        ensure(put? == Put::Created && listed?.len() >= 20, || {
            "a put during a listing hid objects".to_owned()
        })
    }

    async fn list_in_order(&self) -> Result<(), Broken> {
        // `-` and `.` sort before `/`, `0` after it: a folder's place among its siblings is that of `name/`.
        let names = ["a-b", "a.b", "a/b", "a/b.c", "a/b/c", "a0", "aa/x", "b", "b_/y", "b0"];
        let mut shuffled = names;
        shuffled.reverse();
        shuffled.swap(2, 6);
        for name in shuffled.iter().filter(|n| **n != "a/b/c") {
            self.put(&format!("order/{name}"), *name).await?;
        }
        let mut expected: Vec<String> =
            names.iter().filter(|n| **n != "a/b/c").map(|n| format!("order/{n}")).collect();
        expected.sort();
        let only_names = |listed: Vec<(String, u64)>| listed.into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        let listed = self.names("order/", None).await?;
        let sizes = listed.iter().all(|(n, bytes)| *bytes == (n.len() - "order/".len()) as u64);
        ensure(sizes, || format!("wrong sizes: {listed:?}"))?;
        let listed = only_names(listed);
        ensure(listed == expected, || format!("wrong order: {listed:?}"))?;
        let mut afters: Vec<String> = expected.clone();
        afters.extend(["order/a", "order/a/zz", "order/0", "order/zz", "aaa", "zzz"].map(str::to_owned));
        for after in afters {
            let listed = only_names(self.names("order/", Some(&after)).await?);
            let rest: Vec<_> = expected.iter().filter(|n| **n > after).cloned().collect();
            ensure(listed == rest, || format!("after {after}: {listed:?} instead of {rest:?}"))?;
        }
        let inner = only_names(self.names("order/a/", None).await?);
        ensure(inner == ["order/a/b", "order/a/b.c"], || format!("a folder lists {inner:?}"))?;
        let none = self.store.list("conformance/order", None).try_collect::<Vec<_>>().await;
        ensure(none.is_err(), || "a prefix that is no folder is accepted".to_owned())
    }

    async fn read_ranges(&self) -> Result<(), Broken> {
        let body = pattern(1000, 3);
        self.put("range", body.clone()).await?;
        let key = key("range")?;
        let good: [Range<u64>; 5] = [0..1, 0..1000, 999..1000, 123..456, 500..500];
        for range in good {
            let got = self.store.get_range(&key, range.clone()).await.map_err(failed("ranged get"))?;
            let expected = &body[range.start as usize..range.end as usize];
            ensure(got == expected, || format!("bytes {range:?} are wrong"))?;
        }
        #[expect(clippy::reversed_empty_ranges, reason = "a range that is none must be refused")]
        let bad: [Range<u64>; 5] = [0..1001, 999..1001, 1000..1001, 5000..6000, 10..5];
        for range in bad {
            match self.store.get_range(&key, range.clone()).await {
                Err(e) if e.kind == StoreErrorKind::Fatal => {}
                other => return Err(format!("bytes {range:?} of 1000 gave {other:?}")),
            }
        }
        Ok(())
    }

    async fn read_tails(&self) -> Result<(), Broken> {
        let body = pattern(1000, 5);
        self.put("tail/full", body.clone()).await?;
        self.put("tail/empty", "").await?;
        for bytes_max in [0, 1, 100, 999, 1000, 1001, 1 << 20] {
            let (tail, size) =
                self.store.get_tail(&key("tail/full")?, bytes_max).await.map_err(failed("get of a tail"))?;
            let expected = &body[1000 - bytes_max.min(1000) as usize..];
            ensure(tail == expected && size == 1000, || {
                format!("the last {bytes_max} of 1000 bytes came as {} of {size}", tail.len())
            })?;
            let (tail, size) = self
                .store
                .get_tail(&key("tail/empty")?, bytes_max)
                .await
                .map_err(failed("get of no tail"))?;
            ensure(tail.is_empty() && size == 0, || {
                format!("an empty object has a tail: {} of {size}", tail.len())
            })?;
        }
        Ok(())
    }

    async fn read_big_and_empty(&self) -> Result<(), Broken> {
        let big = pattern((33 << 20) + 17, 4);
        let size = big.len() as u64;
        self.put("size/big", big.clone()).await?;
        self.put("size/empty", "").await?;
        ensure(self.get("size/big").await? == big, || "a big object comes back changed".to_owned())?;
        let tail =
            self.store.get_range(&key("size/big")?, size - 5..size).await.map_err(failed("ranged get"))?;
        ensure(tail == big[big.len() - 5..], || "the end of a big object is wrong".to_owned())?;
        ensure(self.get("size/empty").await?.is_empty(), || {
            "an empty object comes back with bytes".to_owned()
        })?;
        let listed = self.names("size/", None).await?;
        let expected = [("size/big".to_owned(), size), ("size/empty".to_owned(), 0)];
        ensure(listed == expected, || format!("listed {listed:?}"))?;
        for (name, size) in expected {
            let found = self.store.find_size(&key(&name)?).await.map_err(failed("head"))?;
            ensure(found == Some(size), || format!("{name} has the size {found:?}"))?;
        }
        let again = self.put("size/empty", "x").await?;
        ensure(again == Put::AlreadyExists, || "an empty object does not count as existing".to_owned())
    }

    async fn miss_what_is_absent(&self) -> Result<(), Broken> {
        self.put("miss/there", "x").await?;
        for name in ["miss/absent", "nowhere/absent", "miss/there/below"] {
            let key = key(name)?;
            let is_missing = |e: StoreError| e.kind == StoreErrorKind::NotFound;
            let got = self.store.get(&key).await.err().is_some_and(is_missing);
            ensure(got, || format!("get of {name} is not `not found`"))?;
            let ranged = self.store.get_range(&key, 0..1).await.err().is_some_and(is_missing);
            ensure(ranged, || format!("ranged get of {name} is not `not found`"))?;
            let tail = self.store.get_tail(&key, 10).await.err().is_some_and(is_missing);
            ensure(tail, || format!("get of the tail of {name} is not `not found`"))?;
            let size = self.store.find_size(&key).await.map_err(failed("head"))?;
            ensure(size.is_none(), || format!("{name} has the size {size:?}"))?;
            self.store.delete(&key).await.map_err(failed("delete of what is absent"))?;
        }
        ensure(self.get("miss/there").await? == "x", || {
            "deleting what is absent took an object away".to_owned()
        })
    }

    async fn delete(&self) -> Result<(), Broken> {
        let key = key("deleted")?;
        for round in ["one", "two"] {
            let put = self.put("deleted", round).await?;
            ensure(put == Put::Created, || format!("put {round} after a delete found the key taken"))?;
            ensure(self.get("deleted").await? == round, || format!("{round} comes back changed"))?;
            self.store.delete(&key).await.map_err(failed("delete"))?;
            self.store.delete(&key).await.map_err(failed("second delete"))?;
            let size = self.store.find_size(&key).await.map_err(failed("head"))?;
            ensure(size.is_none(), || "a deleted object is still there".to_owned())?;
            let listed = self.names("", None).await?;
            ensure(!listed.iter().any(|(n, _)| n == "deleted"), || {
                "a deleted object is still listed".to_owned()
            })?;
        }
        Ok(())
    }

    async fn survive_lost_replies(&self) -> Result<(), Broken> {
        let lose = |op| Fault::once(op, "conformance/lost/*", Effect::LoseReply);
        let plan = FaultPlan { faults: Op::ALL.map(lose).to_vec(), crash: None };
        let faulty = Arc::new(FaultStore::new(self.store.clone(), plan));
        let quick = RetryPolicy { delay_first: Duration::from_millis(1), ..RetryPolicy::default() };
        let suite = Self { store: Arc::new(RetryStore::new(faulty, quick, Arc::new(SystemRandom))) };
        let put = suite.put("lost/a", "mine").await?;
        ensure(put == Put::AlreadyExists, || {
            "a put whose reply was lost did not find its object".to_owned()
        })?;
        ensure(suite.get("lost/a").await? == "mine", || "a lost reply changed the object".to_owned())?;
        let size = suite.store.find_size(&key("lost/a")?).await.map_err(failed("head"))?;
        ensure(size == Some(4), || format!("the size is {size:?}"))?;
        suite.put("lost/b", "other").await?;
        let listed = suite.names("lost/", None).await?;
        let expected = [("lost/a".to_owned(), 4), ("lost/b".to_owned(), 5)];
        ensure(listed == expected, || format!("a broken listing went on as {listed:?}"))?;
        suite.store.delete(&key("lost/a")?).await.map_err(failed("delete"))
    }

    async fn clean(&self) -> Result<(), Broken> {
        for (name, _) in self.names("", None).await? {
            self.store.delete(&key(&name)?).await.map_err(failed("delete"))?;
        }
        let left = self.names("", None).await?;
        ensure(left.is_empty(), || format!("deleted objects are still listed: {left:?}"))
    }
}

#[cfg(test)]
mod tests;
