//! Which damage of a parent is none.

use super::*;
use crate::ErrorKind;
use crate::index::testing::World;
use crate::session::Who;

#[tokio::test]
async fn what_is_gone_of_a_parent_is_explained_once_the_session_has_moved() {
    let world = World::new();
    let session = Session::open(world.objects.clone(), &Who::writer("node", "vol")).await.unwrap();
    let session = Arc::new(session);
    let suspects = Suspects::none(&session);
    let explained = || {
        let kinds = [ErrorKind::Damaged, ErrorKind::NotFound, ErrorKind::Store, ErrorKind::Cancelled];
        kinds.map(|kind| suspects.explain(&Error::new(kind, "read a segment")))
    };
    assert_eq!(explained(), [false; 4], "as long as nobody could delete it, damage is damage");
    session.renew().await.unwrap();
    assert_eq!(explained(), [true, true, false, false]);
}
